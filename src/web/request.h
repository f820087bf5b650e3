/* Which requests are answered, and how: a pure function of what a request says and of the server's rules, apart from
 * the server so that it can be tested and fuzzed alone.
 *
 * What it keeps out:
 *   DNS rebinding        the Host header must name an address, "localhost" or this machine; a name that an attacker
 * had point here is neither other sites          an Origin must be the Host's own, Sec-Fetch-Site "same-origin"; what
 * changes something must be a POST with the token in a header, which no page of another site can send whoever else
 * without the token nothing is answered, but where the server listens on this machine alone: there looking is free,
 * as the files of a run are paths                there are as many as this header lists; nothing is looked up by name
 *
 * Nothing is allocated; texts belong to the caller. */
#ifndef LEVEE_WEB_REQUEST_H
#define LEVEE_WEB_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEB_TOKEN_BYTES = 129, WEB_MOST_BODY_BYTES = 1024, WEB_NAME_BYTES = 256 };

typedef enum web_route {
    ROUTE_PAGE,
    ROUTE_STATE,
    ROUTE_HISTORY,
    ROUTE_EVENTS,
    ROUTE_METRICS,
    ROUTE_PAUSE, /* from here on only POST */
    ROUTE_RESUME,
    ROUTE_CHECKPOINT,
    ROUTE_STOP,
    ROUTE_COUNT
} web_route;

/* "/", "/state.json", ... */
const char *web_route_path(web_route route);

/* What a request says; NULL for what it does not. */
typedef struct web_request {
    const char *method, *path; /* the path without its query */
    const char *host, *origin, *fetch_site, *authorization;
    const char *token;   /* in the query */
    unsigned hosts;      /* how many Host headers there are */
    uint64_t body_bytes; /* that it announces */
} web_request;

typedef struct web_rules {
    char token[WEB_TOKEN_BYTES];
    char machine[WEB_NAME_BYTES]; /* the name of this machine; empty: not known */
    bool loopback;                /* looking needs no token */
} web_rules;

typedef struct web_answer {
    unsigned status; /* 200: the route is answered */
    web_route route;
    bool head; /* without a body */
} web_answer;

web_answer web_decide(const web_request *request, const web_rules *rules);

/* Are two texts equal? Takes as long for any two of the same lengths. */
bool web_same_secret(const char *a, const char *b);

/* Can this be a token: 16 to 128 letters, digits, '-', '_', '.' and '~'? */
bool web_token_is_sound(const char *token);

/* The number of a query's value; `otherwise` when it is none. */
uint64_t web_number(const char *text, uint64_t otherwise);

#endif

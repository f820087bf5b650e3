/* The page of a run, and its metrics for Prometheus, over HTTP.
 *
 * Who may ask what is in request.h, what is shown in state.h and exposition.h. A thread of its own answers, at a
 * lower priority than the training; it reads the board and never makes the training wait.
 *
 * Bounds. There are at most WEB_CONNECTIONS connections, of them WEB_STREAMS that are kept up to date (once a second)
 * and WEB_TELLINGS that read the history; who comes beyond that waits or is told to come again. Each has a fixed
 * memory. A connection that does not send its whole request, or does not take its answer, is closed after
 * WEB_PATIENCE_SECONDS. So what it takes is known when it is opened: what is ours is taken and touched then, what
 * libmicrohttpd takes later, by malloc, is bounded by web_library_bytes and booked under runtime.
 *
 * Without TLS: from elsewhere it is for a network that is trusted, or a tunnel. */
#ifndef LEVEE_WEB_WEB_H
#define LEVEE_WEB_WEB_H

#include "monitor/board.h"

enum { WEB_CONNECTIONS = 256, WEB_STREAMS = 160, WEB_TELLINGS = 32, WEB_PATIENCE_SECONDS = 10, WEB_URL_BYTES = 256 };

typedef enum web_order { ORDER_PAUSE, ORDER_RESUME, ORDER_CHECKPOINT, ORDER_STOP } web_order;

typedef struct web_options {
    const char *address; /* of the option --web: address.h */
    const char *token;   /* NULL: one is made */
    board *shown;        /* the caller's; outlives the page */
    /* Somebody who may has asked for this; called by the page's thread. NULL: nothing can be asked for. */
    void (*order)(void *context, web_order order);
    void *context;
    double patience_seconds; /* 0: WEB_PATIENCE_SECONDS */
    double update_seconds;   /* between two messages to a page; 0: one second */
} web_options;

typedef struct web web;

/* Opens it and starts to answer. LEVEE_USAGE when the address or token is no such thing, or the port is taken. */
levee_status web_open(web **opened, const web_options *options, levee_error *error);

/* Tells all pages what is newest, and closes. Accepts NULL. */
void web_close(web *w);

/* What a browser opens, token included. Whoever reads it may pause and stop the run. */
const char *web_url(const web *w);

/* Can others than this machine reach it? */
bool web_is_open_to_others(const web *w);

/* The most that the library takes while it answers, and that is not touched yet: for the plan to leave free. */
uint64_t web_library_bytes(void);

#endif

/* A small HTTP client for tests: sends what it is told, sound or not, and reads what comes. */
#ifndef LEVEE_TESTS_HTTP_CLIENT_H
#define LEVEE_TESTS_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

enum { HTTP_ANSWER_BYTES = 2 << 20 };

typedef struct http_answer {
    unsigned status; /* 0: no answer came */
    bool closed;     /* the server closed the connection */
    size_t bytes;    /* of the body, chunks put together */
    char head[4096], body[HTTP_ANSWER_BYTES];
} http_answer;

/* A connection to 127.0.0.1; -1 when it is refused. */
int http_connect(unsigned port);

/* Sends a text; false when the other side has closed. */
bool http_send(int connection, const char *text, size_t bytes);

/* Reads until the answer is whole, the connection is closed, or so many seconds have passed. */
void http_receive(int connection, http_answer *answer, double seconds);

/* Connects, sends a request with these lines of header ("Host: x\r\n...") and reads the answer. */
void http_ask(unsigned port, const char *method, const char *path, const char *headers, http_answer *answer);

/* The value of a header in an answer, up to the end of its line; NULL when it is not there. */
const char *http_header(const http_answer *answer, const char *name);

#endif

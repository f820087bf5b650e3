/* Where the page listens: from the text of an option to a socket, and to the address that people are told. */
#ifndef LEVEE_WEB_ADDRESS_H
#define LEVEE_WEB_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>

#include "levee.h"

enum { WEB_USUAL_PORT = 8642, ADDRESS_TEXT_BYTES = 64 };

typedef struct web_address {
    struct sockaddr_storage socket;
    socklen_t bytes;
    bool loopback;      /* only this machine can reach it */
    bool any_port_does; /* none was asked for: the usual one, or where that is taken, one that is free */
} web_address;

/* Reads "", "auto", "8642", ":8642", "127.0.0.1", "127.0.0.1:8642", "[::1]:8642", "localhost:0"; names other than
 * localhost are refused, because what they stand for may change. No address means 127.0.0.1. */
levee_status web_address_read(web_address *address, const char *text, levee_error *error);

/* A socket that listens there; the address says the port that it got. */
levee_status web_address_listen(web_address *address, int *listener, levee_error *error);

/* "127.0.0.1:8642", "[::1]:8642"; of an address that stands for all of the machine's, 127.0.0.1. */
void web_address_text(char text[ADDRESS_TEXT_BYTES], const web_address *address);

#endif

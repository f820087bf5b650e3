/* Where the page listens: see address.h. */
#include "web/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

static levee_status refuse(const char *text, levee_error *error) {
    return error_set(error, LEVEE_USAGE,
                     "--web %.80s: is no address; give ADDRESS:PORT with an address of numbers, as 127.0.0.1:8642, "
                     "[::1]:8642 or, to be reached from elsewhere, 0.0.0.0:8642",
                     text);
}

static bool read_port(const char *text, uint16_t *port) {
    size_t digits = strspn(text, "0123456789");
    unsigned long number = strtoul(text, NULL, 10);
    *port = (uint16_t)number;
    return digits && digits <= 5 && !text[digits] && number <= UINT16_MAX;
}

static bool set_ipv4(web_address *a, const char *host, uint16_t port) {
    struct sockaddr_in *in = (struct sockaddr_in *)&a->socket;
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    a->bytes = sizeof *in;
    if (inet_pton(AF_INET, !*host || !strcmp(host, "localhost") ? "127.0.0.1" : host, &in->sin_addr) != 1)
        return false;
    a->loopback = ntohl(in->sin_addr.s_addr) >> 24 == 127;
    return true;
}

static bool set_ipv6(web_address *a, const char *host, uint16_t port) {
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)&a->socket;
    *in = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
    a->bytes = sizeof *in;
    if (inet_pton(AF_INET6, host, &in->sin6_addr) != 1) return false;
    a->loopback = IN6_IS_ADDR_LOOPBACK(&in->sin6_addr);
    return true;
}

levee_status web_address_read(web_address *a, const char *text, levee_error *error) {
    char host[ADDRESS_TEXT_BYTES] = "";
    const char *given = !strcmp(text, "auto") ? "" : text, *port_text = NULL;
    uint16_t port = WEB_USUAL_PORT;
    memset(a, 0, sizeof *a);
    bool ipv6 = *given == '[', port_alone = *given && !given[strspn(given, "0123456789")];
    const char *end = port_alone ? given : ipv6 ? strchr(given, ']') : strchr(given, ':');
    if (ipv6 && !end) return refuse(text, error);
    size_t length = end ? (size_t)(end - given) : strlen(given);
    if (length >= sizeof host) return refuse(text, error);
    memcpy(host, given + ipv6, length - ipv6);
    if (end) port_text = end + ipv6;
    if (port_text && *port_text == ':')
        port_text++;
    else if (port_text && *port_text && !port_alone)
        return refuse(text, error);
    bool has_port = port_text && *port_text;
    if ((has_port && !read_port(port_text, &port)) || (port_text && !has_port && !ipv6)) return refuse(text, error);
    a->any_port_does = !has_port;
    bool sound = ipv6 ? set_ipv6(a, host, port) : set_ipv4(a, host, port);
    return sound ? LEVEE_OK : refuse(text, error);
}

static void set_port(web_address *a, uint16_t port) {
    if (a->socket.ss_family == AF_INET)
        ((struct sockaddr_in *)&a->socket)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)&a->socket)->sin6_port = htons(port);
}

/* 0, or why not. */
static int try_to_listen(web_address *a, int *listener) {
    enum { WAITING = 64 };
    int one = 1;
    *listener = socket(a->socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*listener < 0) return errno;
    setsockopt(*listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (!bind(*listener, (struct sockaddr *)&a->socket, a->bytes) && !listen(*listener, WAITING) &&
        !getsockname(*listener, (struct sockaddr *)&a->socket, &a->bytes))
        return 0;
    int failure = errno;
    close(*listener);
    *listener = -1;
    return failure;
}

levee_status web_address_listen(web_address *a, int *listener, levee_error *error) {
    char text[ADDRESS_TEXT_BYTES];
    int failure = try_to_listen(a, listener);
    if (failure == EADDRINUSE && a->any_port_does) {
        set_port(a, 0);
        failure = try_to_listen(a, listener);
    }
    if (!failure) return LEVEE_OK;
    web_address_text(text, a);
    return error_set(error, LEVEE_USAGE,
                     "--web %s: %s; give another address or port, or --web alone for any that is free", text,
                     strerror(failure));
}

void web_address_text(char text[ADDRESS_TEXT_BYTES], const web_address *a) {
    char host[INET6_ADDRSTRLEN] = "";
    if (a->socket.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&a->socket;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(text, ADDRESS_TEXT_BYTES, "%s:%u", in->sin_addr.s_addr == INADDR_ANY ? "127.0.0.1" : host,
                 ntohs(in->sin_port));
    } else {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)&a->socket;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        snprintf(text, ADDRESS_TEXT_BYTES, "[%s]:%u", IN6_IS_ADDR_UNSPECIFIED(&in->sin6_addr) ? "::1" : host,
                 ntohs(in->sin6_port));
    }
}

/* Many clients of a page: web_load PORT CLIENTS NEVER SECONDS. Of CLIENTS, NEVER ask for the stream and the history
 * and read nothing; of the rest half are pages (the page itself, the stream, and what is new of the history each two
 * seconds), half scrapers (/metrics each five seconds). Prints what was answered. One thread. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "platform/machine.h"

enum { MOST = 512 };

typedef enum kind { NEVER_READS, STREAM, PAGE_FETCHES, SCRAPES } kind;

typedef struct client {
    kind what;
    int connection; /* -1: none */
    double next;    /* when it asks again */
    bool begun;
} client;

static unsigned port;
static unsigned long long answers, refused, messages, bytes, dropped;

static int ask(const char *path, bool reads) {
    char request[256];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int small = 2048, connection = socket(AF_INET, SOCK_STREAM, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!reads) setsockopt(connection, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (connect(connection, (struct sockaddr *)&to, sizeof to)) {
        close(connection);
        return -1;
    }
    int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    if (send(connection, request, (size_t)length, MSG_NOSIGNAL) < 0) refused++;
    return connection;
}

static void begin(client *c, double now, unsigned number) {
    if (c->connection >= 0 || now < c->next) return;
    switch (c->what) {
    case NEVER_READS:
        c->connection = ask(number % 2 ? "/events" : "/history.json", false);
        break;
    case STREAM:
        c->connection = ask("/events", true);
        break;
    case PAGE_FETCHES:
        c->connection = ask(!c->begun ? "/" : "/history.json?after=1000000", true);
        break;
    case SCRAPES:
        c->connection = ask("/metrics", true);
        break;
    }
    c->next = now + (c->what == SCRAPES ? 5 : 2);
    c->begun = true;
}

static void receive(client *c) {
    char text[65536];
    ssize_t got = recv(c->connection, text, sizeof text, MSG_DONTWAIT);
    if (got > 0) {
        bytes += (unsigned long long)got;
        if (got > 12 && !strncmp(text, "HTTP/1.1 ", 9)) *(strncmp(text + 9, "200", 3) ? &refused : &answers) += 1;
        for (char *at = text; c->what == STREAM && (at = memmem(at, (size_t)(text + got - at), "data: ", 6)); at += 6)
            messages++;
        return;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    close(c->connection);
    c->connection = -1;
}

/* Is the connection of one who never reads gone? */
static void look_after(client *c) {
    int failure = 0;
    socklen_t length = sizeof failure;
    struct pollfd state = {.fd = c->connection, .events = POLLRDHUP};
    getsockopt(c->connection, SOL_SOCKET, SO_ERROR, &failure, &length);
    if (!failure && (poll(&state, 1, 0) <= 0 || !(state.revents & (POLLRDHUP | POLLHUP | POLLERR)))) return;
    dropped++;
    close(c->connection);
    c->connection = -1;
}

int main(int count, char **arguments) {
    static client clients[MOST];
    struct pollfd waits[MOST];
    if (count < 5) return 2;
    port = (unsigned)strtoul(arguments[1], NULL, 10);
    unsigned total = (unsigned)strtoul(arguments[2], NULL, 10), never = (unsigned)strtoul(arguments[3], NULL, 10),
             used = 0;
    unsigned reading = total - never, pages = reading / 2;
    if (total < never || total + pages > MOST) return 2;
    double began = machine_seconds(), until = began + strtod(arguments[4], NULL);
    for (unsigned i = 0; i < never; i++) clients[used++] = (client){.what = NEVER_READS};
    for (unsigned i = 0; i < pages; i++) clients[used++] = (client){.what = STREAM};
    for (unsigned i = 0; i < pages; i++) clients[used++] = (client){.what = PAGE_FETCHES};
    for (unsigned i = pages; i < reading; i++) clients[used++] = (client){.what = SCRAPES};
    /* They come one after the other within two seconds, as people do. */
    for (unsigned i = 0; i < used; i++) clients[i].connection = -1, clients[i].next = began + 2.0 * i / used;
    for (double now = began; now < until; now = machine_seconds()) {
        for (unsigned i = 0; i < used; i++) {
            begin(&clients[i], now, i);
            if (clients[i].what == NEVER_READS && clients[i].connection >= 0) look_after(&clients[i]);
            waits[i] =
                (struct pollfd){.fd = clients[i].what == NEVER_READS ? -1 : clients[i].connection, .events = POLLIN};
        }
        if (poll(waits, used, 20) <= 0) continue;
        for (unsigned i = 0; i < used; i++)
            if (waits[i].revents) receive(&clients[i]);
    }
    printf("%llu answers, %llu refused, %llu messages, %llu KiB; %llu of those who never read were dropped\n",
           answers, refused, messages, bytes / 1024, dropped);
    return 0;
}

/* A small HTTP client for tests: see http_client.h. */
#include "http_client.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "platform/machine.h"

int http_connect(unsigned port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connection >= 0 && !connect(connection, (struct sockaddr *)&to, sizeof to)) return connection;
    close(connection);
    return -1;
}

bool http_send(int connection, const char *text, size_t bytes) {
    while (bytes) {
        ssize_t sent = send(connection, text, bytes, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        text += sent;
        bytes -= (size_t)sent;
    }
    return true;
}

/* Waits for more, up to a moment; false when none came. */
static bool read_more(int connection, char *text, size_t room, size_t *length, double until, bool *closed) {
    struct pollfd ready = {.fd = connection, .events = POLLIN};
    double left = until - machine_seconds();
    if (left <= 0 || *length + 1 >= room || poll(&ready, 1, (int)(1000 * left) + 1) <= 0) return false;
    ssize_t got = recv(connection, text + *length, room - 1 - *length, 0);
    if (got <= 0) *closed = true;
    if (got <= 0) return false;
    *length += (size_t)got;
    text[*length] = 0;
    return true;
}

const char *http_header(const http_answer *answer, const char *name) {
    size_t length = strlen(name);
    for (const char *line = strstr(answer->head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (!strncasecmp(line + 2, name, length) && line[2 + length] == ':')
            return line + 3 + length + strspn(line + 3 + length, " ");
    return NULL;
}

/* Puts the chunks of raw[length] together; false as long as the last is not there. */
static bool join_chunks(http_answer *answer, const char *raw, size_t length) {
    answer->bytes = 0;
    for (size_t at = 0;;) {
        char *end;
        unsigned long bytes = strtoul(raw + at, &end, 16);
        if (end == raw + at || end + 2 > raw + length) return false;
        at = (size_t)(end - raw) + 2;
        size_t there = length - at < bytes ? length - at : bytes;
        memcpy(answer->body + answer->bytes, raw + at, there);
        answer->bytes += there;
        answer->body[answer->bytes] = 0;
        if (!bytes) return true;
        if (at + bytes + 2 > length) return false;
        at += bytes + 2;
    }
}

static bool is_whole(http_answer *answer, const char *raw, size_t length) {
    const char *announced = http_header(answer, "Content-Length"), *coding = http_header(answer, "Transfer-Encoding");
    if (coding && !strncasecmp(coding, "chunked", 7)) return join_chunks(answer, raw, length);
    memcpy(answer->body, raw, length);
    answer->body[answer->bytes = length] = 0;
    return announced && length >= strtoul(announced, NULL, 10);
}

void http_receive(int connection, http_answer *answer, double seconds) {
    static char raw[HTTP_ANSWER_BYTES];
    size_t length = 0;
    double until = machine_seconds() + seconds;
    answer->status = 0;
    answer->closed = false;
    answer->bytes = 0;
    *answer->head = *answer->body = *raw = 0;
    char *end = NULL;
    while (!(end = strstr(raw, "\r\n\r\n")) &&
           read_more(connection, raw, sizeof raw, &length, until, &answer->closed)) {
    }
    if (!end || (size_t)(end - raw) >= sizeof answer->head) return;
    memcpy(answer->head, raw, (size_t)(end - raw) + 2);
    answer->head[end - raw + 2] = 0;
    if (sscanf(answer->head, "HTTP/1.%*d %u", &answer->status) != 1) answer->status = 0;
    size_t begin = (size_t)(end - raw) + 4;
    while (!is_whole(answer, raw + begin, length - begin) &&
           read_more(connection, raw, sizeof raw, &length, until, &answer->closed)) {
    }
}

void http_ask(unsigned port, const char *method, const char *path, const char *headers, http_answer *answer) {
    char request[8192];
    int connection = http_connect(port);
    answer->status = 0;
    if (connection < 0) return;
    int length = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\n%s\r\n", method, path, headers);
    http_send(connection, request, (size_t)length);
    http_receive(connection, answer, 20);
    close(connection);
}

/* Steps in, wishes out: see channel.h. */
#include "watch/channel.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"

levee_status channel_open(channel *c, levee_error *error) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memset(c, 0, sizeof *c);
    for (unsigned i = 0; i < CHANNEL_MOST_PEERS; i++) c->peers[i].socket = -1;
    snprintf(c->name, sizeof c->name, "@levee-watch-%d", (int)getpid());
    size_t length = strlen(c->name);
    memcpy(address.sun_path, c->name, length);
    address.sun_path[0] = 0; /* abstract */
    c->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (c->listener >= 0 && !bind(c->listener, (struct sockaddr *)&address, bytes) &&
        !listen(c->listener, CHANNEL_MOST_PEERS))
        return LEVEE_OK;
    error_set(error, LEVEE_INTERNAL, "the socket %s for programs that take part: %s", c->name, strerror(errno));
    channel_close(c);
    return LEVEE_INTERNAL;
}

static void hang_up(channel_peer *p) {
    if (p->socket >= 0) close(p->socket);
    *p = (channel_peer){.socket = -1};
}

void channel_close(channel *c) {
    if (c->listener >= 0) close(c->listener);
    c->listener = -1;
    for (unsigned i = 0; i < CHANNEL_MOST_PEERS; i++) hang_up(&c->peers[i]);
}

void channel_poll(const channel *c, struct pollfd waits[CHANNEL_MOST_PEERS + 1]) {
    waits[0] = (struct pollfd){.fd = c->listener, .events = POLLIN};
    for (unsigned i = 0; i < CHANNEL_MOST_PEERS; i++)
        waits[i + 1] = (struct pollfd){.fd = c->peers[i].socket, .events = POLLIN};
}

static bool is_welcome(int socket) {
    struct ucred peer;
    socklen_t bytes = sizeof peer;
    return !getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) && (peer.uid == geteuid() || !peer.uid);
}

static void welcome(channel *c) {
    int socket = accept4(c->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket < 0) return;
    for (unsigned i = 0; i < CHANNEL_MOST_PEERS && is_welcome(socket); i++) {
        if (c->peers[i].socket >= 0) continue;
        c->peers[i] = (channel_peer){.socket = socket};
        return;
    }
    close(socket);
}

/* The peer has carried the wish out: have all? */
static void note_carried(channel *c, channel_peer *p) {
    guard_action wish = p->asked;
    p->asked = GUARD_NOTHING;
    for (unsigned i = 0; i < CHANNEL_MOST_PEERS; i++)
        if (c->peers[i].asked == wish) return;
    c->carried = wish;
}

static void take_step(channel *c, channel_peer *p, const char *text) {
    char *end;
    uint64_t number = strtoull(text, &end, 10);
    if (end == text) return;
    if (number > c->steps) c->steps = number;
    p->paused = false;
    if (*end == ' ' && p->asked != GUARD_NOTHING && !strcmp(end + 1, guard_action_name(p->asked))) note_carried(c, p);
}

static void take_word(channel *c, channel_peer *p, const char *word) {
    if (!strncmp(word, "step ", 5)) take_step(c, p, word + 5);
    if (!strcmp(word, "can-pause")) p->can_pause = true;
    if (!strcmp(word, "refused")) {
        c->refused = true;
        p->asked = GUARD_NOTHING;
    }
    if (!strcmp(word, "paused") && p->asked == GUARD_PAUSE) {
        p->paused = true;
        note_carried(c, p);
    }
}

static void listen_to(channel *c, channel_peer *p) {
    char word[64];
    ssize_t got;
    while ((got = recv(p->socket, word, sizeof word - 1, 0)) > 0) {
        word[got] = 0;
        take_word(c, p, word);
    }
    if (!got || (errno != EAGAIN && errno != EINTR)) hang_up(p);
}

void channel_serve(channel *c, const struct pollfd waits[CHANNEL_MOST_PEERS + 1]) {
    for (unsigned i = 0; i < CHANNEL_MOST_PEERS; i++)
        if (c->peers[i].socket >= 0 && waits[i + 1].fd == c->peers[i].socket && waits[i + 1].revents)
            listen_to(c, &c->peers[i]);
    if (waits[0].revents) welcome(c);
}

unsigned channel_wish(channel *c, guard_action wish) {
    unsigned told = 0;
    const char *word = guard_action_name(wish);
    c->carried = GUARD_NOTHING;
    c->refused = false;
    for (unsigned i = 0; i < CHANNEL_MOST_PEERS; i++) {
        channel_peer *p = &c->peers[i];
        if (p->socket < 0 || send(p->socket, word, strlen(word), MSG_NOSIGNAL) < 0) continue;
        p->asked = wish == GUARD_RESUME ? GUARD_NOTHING : wish;
        p->paused = p->paused && wish != GUARD_RESUME;
        told++;
    }
    return told;
}

unsigned channel_peers(const channel *c) {
    unsigned count = 0;
    for (unsigned i = 0; i < CHANNEL_MOST_PEERS; i++) count += c->peers[i].socket >= 0;
    return count;
}

bool channel_can_pause(const channel *c) {
    unsigned can = 0;
    for (unsigned i = 0; i < CHANNEL_MOST_PEERS; i++) can += c->peers[i].socket >= 0 && c->peers[i].can_pause;
    return can && can == channel_peers(c);
}

bool channel_paused(const channel *c) {
    unsigned paused = 0;
    for (unsigned i = 0; i < CHANNEL_MOST_PEERS; i++) paused += c->peers[i].socket >= 0 && c->peers[i].paused;
    return paused && paused == channel_peers(c);
}

guard_action channel_take_carried(channel *c) {
    guard_action carried = c->carried;
    c->carried = GUARD_NOTHING;
    return carried;
}

bool channel_take_refused(channel *c) {
    bool refused = c->refused;
    c->refused = false;
    return refused;
}

/* The channel to a program that takes part: it tells of its steps, and is told what memory asks of it.
 *
 * LEVEE_WATCH names a socket of sequenced packets, "@name" in the abstract name space, so that nothing is left in a
 * file system. Only processes of the same user, or root, are heard. Packets are words:
 *
 *   step N [wish]   step number N is finished; the wish that was received before was carried out in it
 *   refused         the program cannot carry out the last wish
 *   can-pause       it answers "pause" by "paused"
 *   paused          it has saved its work, given its memory back, and waits for "resume" or "stop"
 *
 * and the other way the wishes: shrink, grow, pause, resume, stop. Where several processes take part (one a device),
 * the largest number of a step counts, and a wish is carried out when all have answered it.
 *
 * Nothing is allocated, and nothing blocks. */
#ifndef LEVEE_WATCH_CHANNEL_H
#define LEVEE_WATCH_CHANNEL_H

#include <poll.h>

#include "guard/controller.h"
#include "levee.h"

enum { CHANNEL_MOST_PEERS = 16, CHANNEL_NAME_BYTES = 64 };

typedef struct channel_peer {
    int socket;         /* -1: nobody */
    guard_action asked; /* and not answered yet */
    bool can_pause, paused;
} channel_peer;

typedef struct channel {
    int listener; /* -1: closed */
    char name[CHANNEL_NAME_BYTES];
    channel_peer peers[CHANNEL_MOST_PEERS];
    uint64_t steps;       /* told so far */
    guard_action carried; /* the last wish, when all have carried it out */
    bool refused;         /* somebody cannot carry out the last wish */
} channel;

/* LEVEE_INTERNAL when no socket is to be had. channel_close accepts a closed one. */
levee_status channel_open(channel *c, levee_error *error);
void channel_close(channel *c);

/* What to wait for: CHANNEL_MOST_PEERS + 1 entries, those of nobody with a descriptor of -1. */
void channel_poll(const channel *c, struct pollfd waits[CHANNEL_MOST_PEERS + 1]);

/* Takes what came. */
void channel_serve(channel *c, const struct pollfd waits[CHANNEL_MOST_PEERS + 1]);

/* Tells everybody; the number of those who were told. */
unsigned channel_wish(channel *c, guard_action wish);

unsigned channel_peers(const channel *c);
bool channel_can_pause(const channel *c);
bool channel_paused(const channel *c);

/* What became of the last wish since the last call: the wish when it was carried out, else GUARD_NOTHING. */
guard_action channel_take_carried(channel *c);
bool channel_take_refused(channel *c);

#endif

/* What is asked of a training: see requests.h. Also levee_request. */
#include "train/requests.h"

#include <stdatomic.h>

#include "platform/machine.h"

/* One bit a kind: lock-free, so that a signal handler may set it. */
static atomic_uint asked;

/* When the first of them was asked, but for an attend, which is timed by who answers it. Two that come at the same
 * moment may both set it, which is no matter. */
static _Atomic double asked_seconds;

static unsigned bit(levee_request_kind kind) { return 1u << kind; }

enum { ATTEND = 1u << 8, ATTEND_AT_ONCE = 1u << 9 };

/* Of shrink and grow the one that was asked last counts. */
void levee_request(levee_request_kind kind) {
    if ((unsigned)kind > LEVEE_REQUEST_STOP) return;
    unsigned opposite = kind == LEVEE_REQUEST_SHRINK ? bit(LEVEE_REQUEST_GROW)
                        : kind == LEVEE_REQUEST_GROW ? bit(LEVEE_REQUEST_SHRINK)
                                                     : 0;
    unsigned before = atomic_load(&asked);
    /* One that takes the place of its opposite is timed by itself. */
    if (!(before & ~(unsigned)(ATTEND | ATTEND_AT_ONCE | opposite))) atomic_store(&asked_seconds, machine_seconds());
    while (!atomic_compare_exchange_weak(&asked, &before, (before & ~opposite) | bit(kind))) {
    }
}

void requests_attend(bool at_once) { atomic_fetch_or(&asked, at_once ? ATTEND_AT_ONCE : ATTEND); }

bool requests_stopping(void) { return atomic_load(&asked) & bit(LEVEE_REQUEST_STOP); }

bool requests_urgent(bool can_shrink) {
    unsigned urgent = bit(LEVEE_REQUEST_STOP) | ATTEND_AT_ONCE;
    if (can_shrink) urgent |= bit(LEVEE_REQUEST_SHRINK);
    return atomic_load(&asked) & urgent;
}

requests requests_take(void) {
    unsigned taken = atomic_fetch_and(&asked, bit(LEVEE_REQUEST_STOP));
    return (requests){.asked_seconds = atomic_load(&asked_seconds),
                      .shrink = taken & bit(LEVEE_REQUEST_SHRINK),
                      .grow = taken & bit(LEVEE_REQUEST_GROW),
                      .stop = taken & bit(LEVEE_REQUEST_STOP),
                      .attend = taken & (ATTEND | ATTEND_AT_ONCE)};
}

void requests_clear(void) { atomic_store(&asked, 0); }

/* What is asked of a training: see requests.h. Also levee_request. */
#include "train/requests.h"

#include <stdatomic.h>

#include "platform/machine.h"

/* One bit a kind: lock-free, so that a signal handler may set it. */
static atomic_uint asked;

/* When the first of them was asked, but for an attend, which is timed by who answers it. Two that come at the same
 * moment may both set it, which is no matter. */
static _Atomic double asked_seconds;

#define BIT(kind) (1u << (kind))

enum {
    ATTEND = 1u << 8,
    ATTEND_AT_ONCE = 1u << 9,
    AT_SAFE_POINTS = BIT(LEVEE_REQUEST_SHRINK) | BIT(LEVEE_REQUEST_GROW) | BIT(LEVEE_REQUEST_STOP),
    BETWEEN_STEPS = BIT(LEVEE_REQUEST_PAUSE) | BIT(LEVEE_REQUEST_CHECKPOINT)
};

/* What a request takes back. */
static unsigned opposite_of(levee_request_kind kind) {
    switch (kind) {
    case LEVEE_REQUEST_SHRINK:
        return BIT(LEVEE_REQUEST_GROW);
    case LEVEE_REQUEST_GROW:
        return BIT(LEVEE_REQUEST_SHRINK);
    case LEVEE_REQUEST_RESUME:
        return BIT(LEVEE_REQUEST_PAUSE);
    default:
        return 0;
    }
}

/* Of shrink and grow the one that was asked last counts. A resume is the end of a pause, and nothing else. */
void levee_request(levee_request_kind kind) {
    if ((unsigned)kind > LEVEE_REQUEST_CHECKPOINT) return;
    unsigned opposite = opposite_of(kind), wanted = kind == LEVEE_REQUEST_RESUME ? 0 : BIT(kind);
    unsigned before = atomic_load(&asked);
    /* One that takes the place of its opposite is timed by itself. */
    if ((wanted & AT_SAFE_POINTS) && !(before & AT_SAFE_POINTS & ~opposite))
        atomic_store(&asked_seconds, machine_seconds());
    while (!atomic_compare_exchange_weak(&asked, &before, (before & ~opposite) | wanted)) {
    }
}

void requests_attend(bool at_once) { atomic_fetch_or(&asked, at_once ? ATTEND_AT_ONCE : ATTEND); }

bool requests_stopping(void) { return atomic_load(&asked) & BIT(LEVEE_REQUEST_STOP); }

bool requests_urgent(bool can_shrink) {
    unsigned urgent = BIT(LEVEE_REQUEST_STOP) | ATTEND_AT_ONCE;
    if (can_shrink) urgent |= BIT(LEVEE_REQUEST_SHRINK);
    return atomic_load(&asked) & urgent;
}

bool requests_pausing(void) { return atomic_load(&asked) & BIT(LEVEE_REQUEST_PAUSE); }

bool requests_take_checkpoint(void) {
    unsigned checkpoint = BIT(LEVEE_REQUEST_CHECKPOINT);
    return atomic_fetch_and(&asked, ~checkpoint) & checkpoint;
}

requests requests_take(void) {
    unsigned stays = BIT(LEVEE_REQUEST_STOP) | BETWEEN_STEPS;
    unsigned taken = atomic_fetch_and(&asked, stays);
    return (requests){.asked_seconds = atomic_load(&asked_seconds),
                      .shrink = taken & BIT(LEVEE_REQUEST_SHRINK),
                      .grow = taken & BIT(LEVEE_REQUEST_GROW),
                      .stop = taken & BIT(LEVEE_REQUEST_STOP),
                      .attend = taken & (ATTEND | ATTEND_AT_ONCE)};
}

void requests_clear(void) { atomic_store(&asked, 0); }

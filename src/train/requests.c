/* What is asked of a training: see requests.h. Also levee_request. */
#include "train/requests.h"

#include <stdatomic.h>

/* One bit a kind: lock-free, so that a signal handler may set it. */
static atomic_uint asked;

static unsigned bit(levee_request_kind kind) { return 1u << kind; }

/* Of shrink and grow the one that was asked last counts. */
void levee_request(levee_request_kind kind) {
    if ((unsigned)kind > LEVEE_REQUEST_STOP) return;
    unsigned opposite = kind == LEVEE_REQUEST_SHRINK ? bit(LEVEE_REQUEST_GROW)
                        : kind == LEVEE_REQUEST_GROW ? bit(LEVEE_REQUEST_SHRINK)
                                                     : 0;
    unsigned before = atomic_load(&asked);
    while (!atomic_compare_exchange_weak(&asked, &before, (before & ~opposite) | bit(kind))) {
    }
}

bool requests_urgent(void) { return atomic_load(&asked) & (bit(LEVEE_REQUEST_SHRINK) | bit(LEVEE_REQUEST_STOP)); }

requests requests_take(void) {
    unsigned taken = atomic_fetch_and(&asked, bit(LEVEE_REQUEST_STOP));
    return (requests){.shrink = taken & bit(LEVEE_REQUEST_SHRINK),
                      .grow = taken & bit(LEVEE_REQUEST_GROW),
                      .stop = taken & bit(LEVEE_REQUEST_STOP)};
}

void requests_clear(void) { atomic_store(&asked, 0); }

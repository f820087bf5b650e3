/* A seal on the ledger: see seal.h. */
#include "memory/seal.h"

#include "memory/ledger.h"

void seal_take(seal *s) {
    for (levee_category c = 0; c < LEVEE_CATEGORY_COUNT; c++) s->booked_bytes[c] = ledger_booked(c);
}

levee_category seal_broken(const seal *s, uint64_t *grown_bytes) {
    for (levee_category c = 0; c < LEVEE_CATEGORY_COUNT; c++) {
        uint64_t now = ledger_booked(c);
        if (now <= s->booked_bytes[c]) continue;
        *grown_bytes = now - s->booked_bytes[c];
        return c;
    }
    return LEVEE_CATEGORY_COUNT;
}

/* Where generation blocks lie: see jinja_generated.h. */
#include "text/jinja_generated.h"

#include <string.h>

void jinja_note_generated(jinja_run *run, uint64_t offset, uint64_t bytes) {
    jinja_ranges *ranges = run->generated;
    if (ranges->count == ranges->capacity) {
        uint64_t larger = ranges->capacity ? ranges->capacity * 2 : 16;
        text_piece *grown = jinja_take(run, larger, sizeof *grown);
        if (!grown) return;
        if (ranges->count) memcpy(grown, ranges->pieces, ranges->count * sizeof *grown);
        ranges->pieces = grown;
        ranges->capacity = larger;
    }
    ranges->pieces[ranges->count++] = (text_piece){.offset = offset, .bytes = bytes};
}

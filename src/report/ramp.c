/* A ramp as a table: see ramp.h. */
#include "report/ramp.h"

#include <math.h>
#include <stdio.h>

#include "base/bytes.h"

static void growth(char text[4 * BYTES_TEXT], const ramp_row *row) {
    char middle[SIGNED_BYTES_TEXT], low[SIGNED_BYTES_TEXT], high[SIGNED_BYTES_TEXT];
    if (isnan(row->growth))
        snprintf(text, 4 * BYTES_TEXT, "too few steps");
    else
        snprintf(text, 4 * BYTES_TEXT, "%s (%s to %s)", bytes_format_signed(middle, row->growth),
                 bytes_format_signed(low, row->growth_low), bytes_format_signed(high, row->growth_high));
}

void ramp_heading(char text[RAMP_LINE_BYTES]) {
    snprintf(text, RAMP_LINE_BYTES, "%5s %7s %10s %10s %10s  %-30s %9s %10s\n%5s %7s %10s %10s %10s  %-30s %9s %10s",
             "micro", "tokens", "", "peak", "peak", "growth a step", "tokens", "can be had", "batch", "a pass",
             "recomputed", "predicted", "measured", "(95 % interval)", "a second", "beside it");
}

void ramp_line(char text[RAMP_LINE_BYTES], const ramp_row *row) {
    char recomputed[32], predicted[BYTES_TEXT], measured[BYTES_TEXT], headroom[BYTES_TEXT], grows[4 * BYTES_TEXT];
    snprintf(recomputed, sizeof recomputed, "%u of %u", row->recomputed, row->candidates);
    growth(grows, row);
    snprintf(text, RAMP_LINE_BYTES, "%5u %7u %10s %10s %10s  %-30s %9.*f %10s%s", row->sequences, row->tokens,
             recomputed, bytes_format(predicted, row->predicted_bytes), bytes_format(measured, row->peak_bytes),
             grows, row->tokens_second < 100 ? 1 : 0, row->tokens_second, bytes_format(headroom, row->headroom_bytes),
             row->safe ? "" : "  ended early");
}

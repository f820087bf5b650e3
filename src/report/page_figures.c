/* The figures of a run, for its own section and for comparisons: see page.h. */
#include <math.h>

#include "base/duration.h"
#include "report/page.h"

static void at_step(formatter *f, double number, uint64_t step) {
    page_number(f, number, 6);
    if (isfinite(number)) format_add(f, " at step %llu", (unsigned long long)step);
}

static void steps(formatter *f, const history *h) {
    format_add(f, "%llu", (unsigned long long)h->steps);
    if (h->steps && h->last_step - h->first_step + 1 != h->steps)
        format_add(f, " (%llu to %llu)", (unsigned long long)h->first_step, (unsigned long long)h->last_step);
}

static void first_loss(formatter *f, const history *h) { page_number(f, h->first_loss, 6); }
static void last_loss(formatter *f, const history *h) { page_number(f, h->last_loss, 6); }
static void recent_loss(formatter *f, const history *h) { page_number(f, history_recent_loss(h), 6); }
static void least_loss(formatter *f, const history *h) { at_step(f, h->least_loss, h->least_loss_step); }
static void validation(formatter *f, const history *h) { at_step(f, h->last_validation, h->last_validation_step); }
static void best(formatter *f, const history *h) { at_step(f, h->least_validation, h->least_validation_step); }
static void speed(formatter *f, const history *h) { page_number(f, h->seconds > 0 ? h->tokens_per_second : NAN, 6); }
static void tokens(formatter *f, const history *h) { page_count(f, h->by_samples ? NAN : h->tokens); }
static void peak(formatter *f, const history *h) { page_bytes(f, h->peak_bytes); }
static void predicted(formatter *f, const history *h) { page_bytes(f, h->predicted_bytes); }
static void budget(formatter *f, const history *h) { page_bytes(f, h->budget_bytes); }

static void held(formatter *f, const history *h) {
    if (isnan(h->peak_bytes) || isnan(h->budget_bytes))
        format_add(f, "–");
    else
        format_add(f, "%s", h->peak_bytes <= h->budget_bytes ? "held" : "<span class=\"bad\">NOT HELD</span>");
}

static void took(formatter *f, const history *h) {
    char text[DURATION_TEXT];
    format_add(f, "%s", h->seconds > 0 ? duration_format(text, h->seconds, 1) : "–");
}

static void decisions(formatter *f, const history *h) {
    if (!h->events.there)
        format_add(f, "–");
    else
        format_add(f, "%llu", (unsigned long long)h->decision_count);
}

const page_figure page_figures[] = {
    {"steps", steps},
    {"loss at first", first_loss},
    {"loss at last", last_loss},
    {"loss, mean of the last 32 steps", recent_loss},
    {"loss, least", least_loss},
    {"validation loss, last", validation},
    {"validation loss, least", best},
    {"tokens a second", speed},
    {"tokens", tokens},
    {"time of the steps", took},
    {"peak memory, predicted", predicted},
    {"peak memory, measured", peak},
    {"memory budget", budget},
    {"budget", held},
    {"decisions of the guard", decisions},
    {NULL, NULL},
};
_Static_assert(HISTORY_RECENT == 32, "the name of a figure says so");

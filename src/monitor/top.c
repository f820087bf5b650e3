/* levee_top: a running job, or one that has ended, from its directory. See top_frame.h for what is shown. */
#include "base/error.h"
#include "memory/ledger.h"
#include "monitor/top_frame.h"

struct levee_top {
    run_view view;
    sampler meters;
    int sampled; /* the process that the sampler looks at; 0: none, only the machine */
    bool samples;
    guard_sample now;
    char text[FRAME_BYTES];
};

/* The sampler looks at the run's process, and begins anew when that is another one. */
static void sample(levee_top *t) {
    int pid = t->view.goes_on ? t->view.pid : 0;
    if (!t->samples || pid != t->sampled) {
        sampler_options options = sampler_options_default();
        if (t->samples) sampler_close(&t->meters);
        options.pid = pid;
        options.with_device = true;
        sampler_open(&t->meters, &options);
        t->samples = true;
        t->sampled = pid;
    }
    sampler_take(&t->meters, &t->now);
    if (pid) return;
    /* Our own memory is not the run's. */
    for (guard_meter m = METER_PROCESS_ANONYMOUS; m <= METER_BOOKED; m++) t->now.meters[m].known = false;
    t->now.meters[METER_DEVICE_PROCESS].known = false;
}

levee_status levee_top_open(levee_top **top, const char *directory, levee_error *error) {
    *top = ledger_alloc(LEVEE_RUNTIME, sizeof **top);
    if (!*top) return error_out_of_memory(error, "the view of a run", sizeof **top);
    levee_status status = run_view_open(&(*top)->view, directory, error);
    if (status == LEVEE_OK) return LEVEE_OK;
    levee_top_close(*top);
    *top = NULL;
    return status;
}

void levee_top_close(levee_top *top) {
    if (top && top->samples) sampler_close(&top->meters);
    ledger_free(top);
}

levee_status levee_top_frame(levee_top *top, const levee_top_look *look, levee_print *print, void *context,
                             unsigned *older, levee_error *error) {
    const frame_look shown = {.columns = look->columns,
                              .rows = look->rows,
                              .colour = look->colour,
                              .unicode = look->unicode,
                              .older = look->older_events};
    levee_status status = run_view_look(&top->view, error);
    if (status != LEVEE_OK) return status;
    sample(top);
    unsigned hidden = top_frame(top->text, &top->view, &top->now, &shown);
    if (older) *older = hidden;
    if (print) print(context, top->text);
    return LEVEE_OK;
}

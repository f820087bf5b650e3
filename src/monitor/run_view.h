/* A run as its directory shows it: what a reader who is not the run itself can know of it (run_directory.h says what
 * lies there). Reading never disturbs the run, and a file that is not there yet, or holds a line that is only half
 * written, is no failure: what is not known stays so.
 *
 * The view is the caller's, plain data of some 200 KiB: book it. Looking again reads what came since; of
 * metrics.jsonl only that. What JSON takes is booked, and given back before a call returns. */
#ifndef LEVEE_MONITOR_RUN_VIEW_H
#define LEVEE_MONITOR_RUN_VIEW_H

#include "guard/sample.h"
#include "monitor/run_directory.h"

enum { VIEW_BUCKETS = 512, VIEW_EVENTS = 32, VIEW_WORD_BYTES = 24, VIEW_TEXT_BYTES = 160, VIEW_LOG_LINES = 4 };
enum { VIEW_TAIL_BYTES = 128 * 1024, VIEW_LINE_BYTES = 4096 };

/* The last step. Bytes that are not known are LEVEE_UNKNOWN_BYTES, numbers NaN. */
typedef struct view_step {
    bool known;
    uint64_t step, passes, plan_level, tokens;
    double time, loss, validation_loss /* the last there was */, learning_rate, gradient_norm, tokens_per_second,
        seconds;
    uint64_t held_bytes, peak_bytes, predicted_bytes, budget_bytes;
    uint64_t planned_bytes[LEVEE_CATEGORY_COUNT], booked_bytes[LEVEE_CATEGORY_COUNT];
} view_step;

/* Losses of all steps so far, in order: each bucket the mean of `width` of them, which doubles when there are too
 * many buckets. Steps without a finite loss are left out. */
typedef struct view_curve {
    double sums[VIEW_BUCKETS];
    uint32_t counts[VIEW_BUCKETS];
    uint32_t used, width;
} view_curve;

/* The last sample of the guard. */
typedef struct view_sample {
    bool known;
    double time, share;
    uint64_t step, held_bytes;
    char level[VIEW_WORD_BYTES], held_level[VIEW_WORD_BYTES], source[VIEW_WORD_BYTES], leak[VIEW_WORD_BYTES],
        breaker[VIEW_WORD_BYTES];
    reading meters[METER_COUNT];
} view_sample;

typedef struct view_event {
    double time;
    uint64_t step;
    bool carried_out;
    char action[VIEW_WORD_BYTES], level[VIEW_WORD_BYTES], breaker[VIEW_WORD_BYTES];
    char rule[VIEW_TEXT_BYTES];
} view_event;

typedef struct run_view {
    char directory[FILE_PATH_BYTES];
    bool goes_on;
    int pid; /* of the run that goes on; 0: not known */
    view_step last;
    view_curve losses;
    uint64_t metrics_bytes;          /* of metrics.jsonl, read so far */
    char last_line[VIEW_LINE_BYTES]; /* of them: when it is no longer there, the file was cut back meanwhile */
    bool planned;                    /* plan.json could be read: */
    uint64_t plan_steps, plan_predicted_bytes, plan_budget_bytes, plan_bytes[LEVEE_CATEGORY_COUNT];
    view_sample sample;
    view_event events[VIEW_EVENTS];            /* number n at n % VIEW_EVENTS */
    uint64_t event_count;                      /* that were found; the last of them are there */
    char log[VIEW_LOG_LINES][VIEW_TEXT_BYTES]; /* the last lines, the oldest first; empty where there are fewer */
    char tail[VIEW_TAIL_BYTES + 1];            /* scratch */
} run_view;

/* Begins to look at a directory; LEVEE_MISSING_INPUT when no run was ever in it. */
levee_status run_view_open(run_view *v, const char *directory, levee_error *error);

/* Reads what is there now. Fails only when the directory is gone, or memory is refused. */
levee_status run_view_look(run_view *v, levee_error *error);

#endif

/* The board: what a run has told so far, in memory of one fixed size, for faces that are asked now and then: a page,
 * a scraper of metrics.
 *
 * Words. The facts say what the run is, and change seldom. A point of the history stands for `stride` steps that
 * follow each other; when there is no room for another, each two become one and the stride doubles, so a run of any
 * length fits, and its beginning is kept as well as its end. Least and largest values stay those of the steps
 * themselves. The version grows with each change, so a face knows whether there is anything new.
 *
 * The board is some 400 KiB, taken when it is opened; nothing is allocated afterwards. Every function is thread-safe:
 * the stream writes, faces copy out. Nobody holds the lock for longer than a copy of some KiB. */
#ifndef LEVEE_MONITOR_BOARD_H
#define LEVEE_MONITOR_BOARD_H

#include <pthread.h>

#include "monitor/sink.h"

enum { BOARD_POINTS = 1024, BOARD_EVENTS = 64, BOARD_NAME_BYTES = 256, BOARD_WORD_BYTES = 32, BOARD_ACTIONS = 7 };

typedef enum board_state {
    BOARD_STARTING,
    BOARD_RUNNING,
    BOARD_PAUSING, /* somebody asked for it; the step that runs is finished first */
    BOARD_PAUSED,
    BOARD_WAITING, /* paused by the guard, until there is room again */
    BOARD_STOPPING,
    BOARD_ENDED,
    BOARD_STATE_COUNT
} board_state;

/* "starting", "running", ... */
const char *board_state_name(board_state state);

/* What the run is. Texts are cut where they are too long. */
typedef struct board_facts {
    char verb[BOARD_WORD_BYTES]; /* "train", "watch" */
    char model[BOARD_NAME_BYTES], data[BOARD_NAME_BYTES], result[BOARD_NAME_BYTES];
    char type[BOARD_WORD_BYTES], products[BOARD_WORD_BYTES]; /* "lora"; "bf16"; empty: not known */
    uint64_t steps;                                          /* of the whole run; 0: not known */
    uint64_t budget_bytes, predicted_bytes;                  /* UINT64_MAX: not known, or no budget */
    uint64_t planned_bytes[LEVEE_CATEGORY_COUNT];
    uint64_t pid;
    double began;      /* since 1970 */
    bool takes_orders; /* pause, resume, checkpoint and stop reach it */
} board_facts;

/* Least, mean and largest of those steps of a point that have a finite value; `count` of them. */
typedef struct board_range {
    double least, mean, largest;
    uint64_t count;
} board_range;

typedef enum board_series {
    SERIES_LOSS,
    SERIES_VALIDATION_LOSS,
    SERIES_LEARNING_RATE,
    SERIES_GRADIENT_NORM,
    SERIES_TOKENS_PER_SECOND,
    SERIES_HELD_BYTES,
    SERIES_AVAILABLE_BYTES, /* of the machine */
    SERIES_DEVICE_BYTES,    /* used, of the GPU */
    SERIES_COUNT
} board_series;

/* "loss", "val_loss", ...: as in metrics.jsonl where it is there. */
const char *board_series_name(board_series series);

typedef struct board_point {
    uint64_t first, last; /* steps */
    double time;          /* of the last */
    board_range ranges[SERIES_COUNT];
    uint64_t booked_bytes[LEVEE_CATEGORY_COUNT]; /* the most, each by itself */
} board_point;

/* What is newest, copied in one go, so that it belongs together. */
typedef struct board_view {
    uint64_t version;
    board_state state;
    board_facts facts;
    bool has_step, has_sample;
    step_report step;
    sample_report sample; /* of the guard's last look, an event included */
    double validation_loss;
    uint64_t validation_step; /* 0: there was none */
    uint64_t stride, points;
    uint64_t events;                   /* so far; the last BOARD_EVENTS are kept */
    uint64_t by_action[BOARD_ACTIONS]; /* of them, by guard_action */
    uint64_t skipped_steps;            /* not applied */
} board_view;

typedef struct board {
    pthread_mutex_t lock;
    board_view now;
    board_point points[BOARD_POINTS];
    event_report kept[BOARD_EVENTS]; /* number n is at n % BOARD_EVENTS */
} board;

/* Books and takes it. board_close accepts NULL. */
levee_status board_open(board **b, levee_error *error);
void board_close(board *b);

void board_set_facts(board *b, const board_facts *facts);
void board_set_state(board *b, board_state state);

/* The same, if it is in the state `from`. */
void board_change_state(board *b, board_state from, board_state to);

/* Puts it among the sinks of a stream. */
sink board_sink(board *b);

void board_view_copy(board *b, board_view *view);

/* The version alone: cheap. */
uint64_t board_version(board *b);

/* Copies the first point whose last step is beyond `step`; false when there is none. Asked again with what it says is
 * its last step, it goes through the history, whatever is merged meanwhile. */
bool board_next_point(board *b, uint64_t step, board_point *point);

/* Copies event number `number`, from 0; the oldest that is kept when that is gone already. *number becomes the one
 * that was copied; false when there is none so far. */
bool board_event(board *b, uint64_t *number, event_report *event);

#endif

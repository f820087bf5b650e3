/* What a run has told so far: see board.h. */
#include "monitor/board.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"

_Static_assert(BOARD_ACTIONS == GUARD_STOP + 1, "each action is counted");

const char *board_state_name(board_state state) {
    static const char *const names[BOARD_STATE_COUNT] = {"starting", "running",  "pausing", "paused",
                                                         "waiting",  "stopping", "ended"};
    return (unsigned)state < BOARD_STATE_COUNT ? names[state] : "unknown";
}

const char *board_series_name(board_series series) {
    static const char *const names[SERIES_COUNT] = {
        "loss",       "val_loss",        "learning_rate",    "grad_norm", "tokens_per_second",
        "held_bytes", "available_bytes", "device_used_bytes"};
    return (unsigned)series < SERIES_COUNT ? names[series] : "unknown";
}

levee_status board_open(board **opened, levee_error *error) {
    *opened = NULL;
    board *b = ledger_alloc(LEVEE_RUNTIME, sizeof *b);
    if (!b) return error_out_of_memory(error, "the board of the page", sizeof *b);
    /* Each page is touched now, so that a plan that is made later finds it held. */
    for (size_t i = 0; i < sizeof *b; i += 4096) ((volatile char *)b)[i] = 0;
    pthread_mutex_init(&b->lock, NULL);
    b->now.validation_loss = NAN;
    b->now.stride = 1;
    b->now.version = 1;
    *opened = b;
    return LEVEE_OK;
}

void board_close(board *b) {
    if (!b) return;
    pthread_mutex_destroy(&b->lock);
    ledger_free(b);
}

static void lock(board *b) { pthread_mutex_lock(&b->lock); }

static void unlock_changed(board *b) {
    b->now.version++;
    pthread_mutex_unlock(&b->lock);
}

void board_set_facts(board *b, const board_facts *facts) {
    lock(b);
    b->now.facts = *facts;
    unlock_changed(b);
}

void board_set_state(board *b, board_state state) {
    lock(b);
    b->now.state = state;
    unlock_changed(b);
}

void board_change_state(board *b, board_state from, board_state to) {
    lock(b);
    if (b->now.state == from) b->now.state = to;
    unlock_changed(b);
}

static void range_add(board_range *range, const board_range *other) {
    if (!other->count) return;
    if (!range->count) {
        *range = *other;
        return;
    }
    double counts = (double)range->count + (double)other->count;
    range->mean += (other->mean - range->mean) * ((double)other->count / counts);
    range->least = fmin(range->least, other->least);
    range->largest = fmax(range->largest, other->largest);
    range->count += other->count;
}

static void point_add(board_point *to, const board_point *later) {
    to->last = later->last;
    to->time = later->time;
    for (unsigned s = 0; s < SERIES_COUNT; s++) range_add(&to->ranges[s], &later->ranges[s]);
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++)
        if (later->booked_bytes[c] > to->booked_bytes[c]) to->booked_bytes[c] = later->booked_bytes[c];
}

static board_range one(double value) {
    return isfinite(value) ? (board_range){value, value, value, 1} : (board_range){0};
}

static double meter(const board_view *now, guard_meter which) {
    const reading *r = &now->sample.sample.meters[which];
    return now->has_sample && r->known ? (double)r->value : NAN;
}

static board_point point_of(const board_view *now, const step_report *r) {
    board_point p = {.first = r->step, .last = r->step, .time = r->time};
    const double values[SERIES_COUNT] = {
        [SERIES_LOSS] = r->loss,
        [SERIES_VALIDATION_LOSS] = r->validation_loss,
        [SERIES_LEARNING_RATE] = r->learning_rate,
        [SERIES_GRADIENT_NORM] = r->gradient_norm,
        [SERIES_TOKENS_PER_SECOND] = r->tokens_per_second,
        [SERIES_HELD_BYTES] = r->held_bytes == LEVEE_UNKNOWN_BYTES ? NAN : (double)r->held_bytes,
        [SERIES_AVAILABLE_BYTES] = meter(now, METER_MACHINE_AVAILABLE),
        [SERIES_DEVICE_BYTES] = meter(now, METER_DEVICE_USED),
    };
    for (unsigned s = 0; s < SERIES_COUNT; s++) p.ranges[s] = one(values[s]);
    memcpy(p.booked_bytes, r->booked_bytes, sizeof p.booked_bytes);
    return p;
}

/* Each two points become one. */
static void halve(board *b) {
    for (unsigned i = 0; i < BOARD_POINTS / 2; i++) {
        b->points[i] = b->points[2 * i];
        point_add(&b->points[i], &b->points[2 * i + 1]);
    }
    b->now.points = BOARD_POINTS / 2;
    b->now.stride *= 2;
}

static void remember(board *b, const board_point *p) {
    board_point *last = b->now.points ? &b->points[b->now.points - 1] : NULL;
    /* A step that comes again, or an earlier one, belongs to no point any more: what is shown goes on. */
    if (last && p->first <= last->last) return;
    if (last && last->last - last->first + 1 < b->now.stride && p->last - last->first < b->now.stride) {
        point_add(last, p);
        return;
    }
    if (b->now.points == BOARD_POINTS) halve(b);
    b->points[b->now.points++] = *p;
}

static levee_status take_step(void *self, const step_report *report, levee_error *error) {
    board *b = self;
    (void)error;
    lock(b);
    board_view *now = &b->now;
    board_point p = point_of(now, report);
    remember(b, &p);
    now->step = *report;
    now->has_step = true;
    now->skipped_steps += !report->applied;
    if (isfinite(report->validation_loss)) {
        now->validation_loss = report->validation_loss;
        now->validation_step = report->step;
    }
    if (now->state == BOARD_STARTING) now->state = BOARD_RUNNING;
    unlock_changed(b);
    return LEVEE_OK;
}

/* Of a program that is watched there are no steps, but samples at some. */
static void remember_sample(board *b, const sample_report *seen) {
    reading held = sample_held(&seen->sample);
    step_report r = {.step = seen->step,
                     .time = seen->time,
                     .loss = NAN,
                     .validation_loss = NAN,
                     .learning_rate = NAN,
                     .gradient_norm = NAN,
                     .tokens_per_second = NAN,
                     .held_bytes = held.known ? held.value : LEVEE_UNKNOWN_BYTES};
    board_point p = point_of(&b->now, &r);
    remember(b, &p);
    if (b->now.state == BOARD_STARTING) b->now.state = BOARD_RUNNING;
}

static levee_status take_sample(void *self, const sample_report *seen, levee_error *error) {
    board *b = self;
    (void)error;
    lock(b);
    b->now.sample = *seen;
    b->now.has_sample = true;
    if (!b->now.has_step) remember_sample(b, seen);
    unlock_changed(b);
    return LEVEE_OK;
}

static void follow_event(board_view *now, const event_report *event) {
    const guard_decision *d = &event->decision;
    now->sample.time = event->time;
    now->sample.step = event->step;
    now->sample.seen = *d;
    now->sample.sample = event->sample;
    now->has_sample = true;
    if ((unsigned)d->action < BOARD_ACTIONS) now->by_action[d->action]++;
    if (!event->carried_out) return;
    if (d->action == GUARD_PAUSE) now->state = BOARD_WAITING;
    if (d->action == GUARD_RESUME) now->state = BOARD_RUNNING;
    if (d->action == GUARD_STOP) now->state = BOARD_STOPPING;
}

static levee_status take_event(void *self, const event_report *event, levee_error *error) {
    board *b = self;
    (void)error;
    lock(b);
    b->kept[b->now.events++ % BOARD_EVENTS] = *event;
    follow_event(&b->now, event);
    unlock_changed(b);
    return LEVEE_OK;
}

sink board_sink(board *b) {
    return (sink){.name = "board", .self = b, .step = take_step, .event = take_event, .sample = take_sample};
}

void board_view_copy(board *b, board_view *view) {
    lock(b);
    *view = b->now;
    pthread_mutex_unlock(&b->lock);
}

uint64_t board_version(board *b) {
    lock(b);
    uint64_t version = b->now.version;
    pthread_mutex_unlock(&b->lock);
    return version;
}

bool board_next_point(board *b, uint64_t step, board_point *point) {
    lock(b);
    uint64_t low = 0, high = b->now.points;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (b->points[middle].last > step)
            high = middle;
        else
            low = middle + 1;
    }
    bool found = low < b->now.points;
    if (found) *point = b->points[low];
    pthread_mutex_unlock(&b->lock);
    return found;
}

bool board_event(board *b, uint64_t *number, event_report *event) {
    lock(b);
    uint64_t count = b->now.events;
    if (count > BOARD_EVENTS && *number < count - BOARD_EVENTS) *number = count - BOARD_EVENTS;
    bool found = *number < count;
    if (found) *event = b->kept[*number % BOARD_EVENTS];
    pthread_mutex_unlock(&b->lock);
    return found;
}

/* The frame of `levee top`: see top_frame.h. Lines are built in full and cut to the width as they are added, so that
 * nothing wraps; colours and characters of several bytes count as what they take on the screen. */
#include "monitor/top_frame.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/duration.h"

typedef struct frame {
    char *text;
    size_t length;
    unsigned columns, rows, used; /* rows 0: no limit */
    const frame_look *look;
} frame;

enum { LINE_BYTES = 4 * FRAME_MOST_COLUMNS, NUMBER_TEXT = 32 };

/* The bytes at `text` that are one thing on the screen, and the columns that it takes: a colour takes none. */
static size_t next_thing(const char *text, unsigned *columns) {
    size_t bytes = 1;
    *columns = *text != '\033';
    if (*text == '\033') return 1 + strcspn(text, "m") - (strchr(text, 'm') ? 0 : 1);
    while (((unsigned char)text[bytes] & 0xC0) == 0x80) bytes++;
    return bytes;
}

static bool is_full(const frame *f) { return f->rows && f->used >= f->rows; }

/* Adds a line, as much of it as fits. */
static void add(frame *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(frame *f, const char *format, ...) {
    char line[LINE_BYTES];
    va_list arguments;
    unsigned used = 0, columns;
    if (is_full(f)) return;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (f->used++ && f->length + 1 < FRAME_BYTES) f->text[f->length++] = '\n';
    for (const char *at = line; *at;) {
        size_t bytes = next_thing(at, &columns);
        if (used + columns <= f->columns && f->length + bytes + 1 < FRAME_BYTES) {
            memcpy(f->text + f->length, at, bytes);
            f->length += bytes;
        }
        used += columns;
        at += bytes;
    }
    f->text[f->length] = 0;
}

/* What belongs together, one behind the other on a line, or on the next where it does not fit. */
typedef struct flow {
    char line[LINE_BYTES];
    unsigned used;
} flow;

static void flow_end(frame *f, flow *w) {
    if (*w->line) add(f, "%s", w->line);
    *w->line = 0;
    w->used = 0;
}

static unsigned width_of(const char *text) {
    unsigned sum = 0, columns;
    for (; *text; sum += columns) text += next_thing(text, &columns);
    return sum;
}

static void flow_add(frame *f, flow *w, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void flow_add(frame *f, flow *w, const char *format, ...) {
    char item[LINE_BYTES / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(item, sizeof item, format, arguments);
    va_end(arguments);
    unsigned columns = width_of(item);
    if (w->used && w->used + 2 + columns > f->columns) flow_end(f, w);
    size_t length = strlen(w->line);
    snprintf(w->line + length, sizeof w->line - length, "%s%s", w->used ? "  " : "", item);
    w->used += columns + (w->used ? 2 : 0);
}

static const char *colour(const frame *f, const char *code) { return f->look->colour ? code : ""; }

#define PLAIN  "\033[0m"
#define BOLD   "\033[1m"
#define DIM    "\033[2m"
#define RED    "\033[31m"
#define GREEN  "\033[32m"
#define YELLOW "\033[33m"
#define BLUE   "\033[34m"

static const char *level_colour(const frame *f, const char *level) {
    if (!strcmp(level, "green")) return colour(f, GREEN);
    return colour(f, !strcmp(level, "yellow") ? YELLOW : RED);
}

static const char *amount(char text[BYTES_TEXT], uint64_t bytes) {
    if (bytes == LEVEE_UNKNOWN_BYTES) return "unknown";
    return bytes_format(text, bytes);
}

static const char *plain(char text[NUMBER_TEXT], const char *format, double number) {
    if (isnan(number)) return "unknown";
    snprintf(text, NUMBER_TEXT, *format == 'f' ? "%.4f" : *format == 'g' ? "%.3g" : "%.0f", number);
    return text;
}

static const char *duration(char text[DURATION_TEXT], double seconds) {
    return seconds >= 0 ? duration_format(text, seconds, 0) : "unknown";
}

/* "12:33:11" of a time since 1970, in UTC. */
static const char *clock_time(char text[NUMBER_TEXT], double time) {
    if (!(time >= 0 && time < 1e12)) return "--:--:--";
    unsigned in_day = (unsigned)((uint64_t)time % 86400);
    snprintf(text, NUMBER_TEXT, "%02u:%02u:%02u", in_day / 3600, in_day / 60 % 60, in_day % 60);
    return text;
}

/* A bar of `columns` columns, filled for a share, with a mark at another (negative: none). */
static const char *bar(char text[LINE_BYTES], const frame *f, unsigned columns, double share, double mark) {
    const char *full = f->look->unicode ? "█" : "#", *empty = f->look->unicode ? "░" : "-",
               *border = f->look->unicode ? "│" : "|";
    unsigned filled = share > 0 ? (unsigned)fmin(round(share * columns), columns) : 0;
    unsigned at = mark >= 0 ? (unsigned)fmin(mark * columns, columns - 1.0) : columns;
    size_t length = 0;
    for (unsigned i = 0; i < columns; i++)
        length += (size_t)snprintf(text + length, LINE_BYTES - length, "%s",
                                   i == at      ? border
                                   : i < filled ? full
                                                : empty);
    text[length] = 0;
    return text;
}

/* The curve of losses in one row: each column the mean of the buckets that it covers. */
static const char *sparkline(char text[LINE_BYTES], const frame *f, const view_curve *c, unsigned columns) {
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const letters[] = {"_", ".", "-", "=", "+", "*", "%", "#"};
    double means[FRAME_MOST_COLUMNS], least = INFINITY, most = -INFINITY;
    unsigned shown = c->used < columns ? c->used : columns;
    size_t length = 0;
    for (unsigned i = 0; i < shown; i++) {
        double sum = 0, count = 0;
        for (unsigned b = i * c->used / shown; b < (i + 1) * c->used / shown; b++) {
            sum += c->sums[b];
            count += c->counts[b];
        }
        means[i] = sum / count;
        least = fmin(least, means[i]);
        most = fmax(most, means[i]);
    }
    for (unsigned i = 0; i < shown; i++) {
        double share = most > least ? (means[i] - least) / (most - least) : 0;
        unsigned height = (unsigned)fmin(floor(8 * share), 7);
        length += (size_t)snprintf(text + length, LINE_BYTES - length, "%s",
                                   f->look->unicode ? blocks[height] : letters[height]);
    }
    text[length] = 0;
    return text;
}

static void head(frame *f, const run_view *v) {
    char state[64];
    if (v->goes_on && v->pid)
        snprintf(state, sizeof state, "runs, process %d", v->pid);
    else
        snprintf(state, sizeof state, "%s", v->goes_on ? "runs" : "has ended");
    add(f, "%slevee top%s  %s%s%s  %.*s", colour(f, BOLD), colour(f, PLAIN), colour(f, v->goes_on ? GREEN : DIM),
        state, colour(f, PLAIN), FRAME_MOST_COLUMNS, v->directory);
}

/* Of a program that is watched nobody tells of losses. */
static void steps(frame *f, const run_view *v) {
    const view_step *s = &v->last;
    char line[LINE_BYTES], left[NUMBER_TEXT], loss[NUMBER_TEXT], validation[NUMBER_TEXT], rate[NUMBER_TEXT],
        norm[NUMBER_TEXT], speed[NUMBER_TEXT];
    flow w = {.used = 0};
    bool bounded = v->planned && v->plan_steps != LEVEE_UNKNOWN_BYTES && v->plan_steps > 0;
    if (!s->known) {
        if (v->sample.known)
            add(f, "step %llu", (unsigned long long)v->sample.step);
        else
            add(f, "no step is finished yet");
        return;
    }
    if (bounded) {
        double done = (double)s->step / (double)v->plan_steps;
        flow_add(f, &w, "step %llu/%llu", (unsigned long long)s->step, (unsigned long long)v->plan_steps);
        flow_add(f, &w, "%.0f %%", 100 * done);
        flow_add(f, &w, "left %s", duration(left, s->seconds * ((double)v->plan_steps - (double)s->step)));
        flow_end(f, &w);
        add(f, "%s%s%s", colour(f, BLUE), bar(line, f, f->columns, done, -1), colour(f, PLAIN));
    } else {
        add(f, "step %llu", (unsigned long long)s->step);
    }
    flow_add(f, &w, "loss %s", plain(loss, "f", s->loss));
    if (!isnan(s->validation_loss)) flow_add(f, &w, "validation %s", plain(validation, "f", s->validation_loss));
    flow_add(f, &w, "%s tokens/s", plain(speed, "0", s->tokens_per_second));
    flow_add(f, &w, "rate %s", plain(rate, "g", s->learning_rate));
    flow_add(f, &w, "gradient norm %s", plain(norm, "g", s->gradient_norm));
    flow_add(f, &w, "passes %llu", (unsigned long long)s->passes);
    flow_add(f, &w, "plan %llu", (unsigned long long)s->plan_level);
    flow_end(f, &w);
    if (v->losses.used > 1)
        add(f, "%s%s%s", colour(f, BLUE), sparkline(line, f, &v->losses, f->columns), colour(f, PLAIN));
}

static double share_of(uint64_t bytes, uint64_t all) {
    return bytes == LEVEE_UNKNOWN_BYTES || all == LEVEE_UNKNOWN_BYTES || !all ? 0 : (double)bytes / (double)all;
}

/* One category: what is booked, what is planned, and both as a bar whose length is the largest of all. */
static void category(frame *f, const char *name, uint64_t booked, uint64_t planned, uint64_t largest) {
    char a[BYTES_TEXT], b[BYTES_TEXT], line[LINE_BYTES];
    if ((booked == LEVEE_UNKNOWN_BYTES || !booked) && (planned == LEVEE_UNKNOWN_BYTES || !planned)) return;
    unsigned room = f->columns > 46 ? f->columns - 38 : 0;
    add(f, "%-12s%12s%12s  %s", name, amount(a, booked), amount(b, planned),
        room ? bar(line, f, room, share_of(booked, largest), -1) : "");
}

static void memory(frame *f, const run_view *v, const guard_sample *now) {
    const view_step *s = &v->last;
    flow w = {.used = 0};
    const uint64_t *planned = s->known ? s->planned_bytes : v->plan_bytes;
    uint64_t largest = 0, budget = s->known ? s->budget_bytes : v->plan_budget_bytes,
             predicted = s->known ? s->predicted_bytes : v->plan_predicted_bytes,
             held = s->known          ? s->held_bytes
                    : v->sample.known ? v->sample.held_bytes
                                      : LEVEE_UNKNOWN_BYTES;
    char a[BYTES_TEXT], b[BYTES_TEXT], c[BYTES_TEXT], line[LINE_BYTES];
    reading current = now ? sample_held(now) : (reading){.known = false};
    if (s->known || v->planned) {
        add(f, "%s%-12s%12s%12s%s", colour(f, DIM), "memory", "booked", "planned", colour(f, PLAIN));
        for (unsigned i = 0; i < LEVEE_CATEGORY_COUNT; i++)
            if (planned[i] != LEVEE_UNKNOWN_BYTES && planned[i] > largest) largest = planned[i];
        for (unsigned i = 0; i < LEVEE_CATEGORY_COUNT; i++)
            category(f, levee_category_name((levee_category)i), s->known ? s->booked_bytes[i] : LEVEE_UNKNOWN_BYTES,
                     planned[i], largest);
        flow_add(f, &w, "held %s of %s", amount(a, held), amount(b, budget));
        flow_add(f, &w, "planned %s", amount(c, predicted));
        if (s->known) flow_add(f, &w, "peak %s", amount(a, s->peak_bytes));
        if (v->goes_on && current.known) flow_add(f, &w, "now %s", amount(a, current.value));
        flow_end(f, &w);
        add(f, "%s", bar(line, f, f->columns, share_of(held, budget), share_of(predicted, budget)));
    } else {
        add(f, "held %s", amount(a, held));
    }
}

/* A meter of now, or of the last sample where nobody asked. */
static reading meter(const run_view *v, const guard_sample *now, guard_meter which) {
    if (now && now->meters[which].known) return now->meters[which];
    return v->sample.known ? v->sample.meters[which] : (reading){.known = false};
}

static void machine(frame *f, const run_view *v, const guard_sample *now) {
    char a[BYTES_TEXT], b[BYTES_TEXT], c[BYTES_TEXT], line[LINE_BYTES];
    reading total = meter(v, now, METER_MACHINE_TOTAL), available = meter(v, now, METER_MACHINE_AVAILABLE);
    reading device = meter(v, now, METER_DEVICE_TOTAL), used = meter(v, now, METER_DEVICE_USED),
            own = meter(v, now, METER_DEVICE_PROCESS);
    unsigned room = f->columns > 60 ? f->columns - 50 : 0;
    if (total.known && available.known && total.value >= available.value) {
        uint64_t taken = total.value - available.value;
        add(f, "machine %s of %s used  %s", amount(a, taken), amount(b, total.value),
            room ? bar(line, f, room, share_of(taken, total.value), -1) : "");
    }
    if (device.known && used.known)
        add(f, "GPU %s of %s used, by this run %s", amount(a, used.value), amount(b, device.value),
            amount(c, own.known ? own.value : LEVEE_UNKNOWN_BYTES));
}

static void guard(frame *f, const run_view *v) {
    const view_sample *s = &v->sample;
    if (!s->known) {
        add(f, "guard: nothing seen yet");
        return;
    }
    flow w = {.used = 0};
    flow_add(f, &w, "guard %s%s%s (%s at %.0f %%)", level_colour(f, s->level), s->level, colour(f, PLAIN), s->source,
             100 * s->share);
    flow_add(f, &w, "breaker %s", s->breaker);
    flow_add(f, &w, "leak %s", s->leak);
    flow_end(f, &w);
}

static unsigned events(frame *f, const run_view *v) {
    char time[NUMBER_TEXT];
    uint64_t there = v->event_count < VIEW_EVENTS ? v->event_count : VIEW_EVENTS;
    uint64_t older = f->look->older < there ? f->look->older : there ? there - 1 : 0;
    uint64_t most = f->rows ? (f->rows > f->used + 1 ? f->rows - f->used - 1 : 0) : there;
    uint64_t shown = there - older < most ? there - older : most;
    if (!v->event_count) {
        add(f, "no decisions of the guard");
        return 0;
    }
    add(f, "%s%llu decision%s%s", colour(f, DIM), (unsigned long long)v->event_count, v->event_count == 1 ? "" : "s",
        colour(f, PLAIN));
    for (uint64_t i = 0; i < shown; i++) {
        const view_event *e = &v->events[(v->event_count - older - 1 - i) % VIEW_EVENTS];
        add(f, "%s step %llu %s%s%s%s: %s", clock_time(time, e->time), (unsigned long long)e->step,
            level_colour(f, e->level), e->action, colour(f, PLAIN), e->carried_out ? "" : " (only told)", e->rule);
    }
    return (unsigned)(there - older - shown);
}

/* What the run printed last, where there is room. */
static void log_lines(frame *f, const run_view *v) {
    for (unsigned i = 0; i < VIEW_LOG_LINES; i++)
        if (*v->log[i]) add(f, "%s%s%s", colour(f, DIM), v->log[i], colour(f, PLAIN));
}

unsigned top_frame(char text[FRAME_BYTES], const run_view *v, const guard_sample *now, const frame_look *look) {
    frame f = {.text = text, .rows = look->rows, .look = look};
    f.columns = look->columns < FRAME_LEAST_COLUMNS  ? FRAME_LEAST_COLUMNS
                : look->columns > FRAME_MOST_COLUMNS ? FRAME_MOST_COLUMNS
                                                     : look->columns;
    *text = 0;
    head(&f, v);
    steps(&f, v);
    memory(&f, v, now);
    machine(&f, v, now);
    guard(&f, v);
    unsigned older = events(&f, v);
    log_lines(&f, v);
    return older;
}

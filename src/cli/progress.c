/* The line of progress: see progress.h. */
#include "cli/progress.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/terminal.h"

enum { LINE_BYTES = 1024, PART_BYTES = 320, MOST_BAR = 24, LEAST_BAR = 6 };

static const double redraw_seconds = 0.1; /* steps may be shorter, and nobody reads faster */

static terminal screen;
static atomic_bool shown;
static char line[LINE_BYTES]; /* as it was drawn last */
static double drawn;          /* when */

bool progress_is_shown(void) { return atomic_load(&shown); }

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* "23.2 MiB" */
static void amount(char text[32], uint64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double number = (double)bytes;
    unsigned unit = 0;
    if (bytes == LEVEE_UNKNOWN_BYTES) {
        snprintf(text, 32, "unknown");
        return;
    }
    for (; number >= 1024 && unit < 4; unit++) number /= 1024;
    snprintf(text, 32, unit ? "%.1f %s" : "%.0f %s", number, units[unit]);
}

static void duration(char text[32], double seconds) {
    if (!(seconds >= 0))
        snprintf(text, 32, "?");
    else if (seconds < 120)
        snprintf(text, 32, "%.0f s", seconds);
    else if (seconds < 7200)
        snprintf(text, 32, "%.0f min", seconds / 60);
    else
        snprintf(text, 32, "%.1f h", seconds / 3600);
}

static const char *guard_colour(const char *state) {
    if (!screen.colour) return "";
    if (!strcmp(state, "green")) return "\033[32m";
    return strcmp(state, "yellow") != 0 ? "\033[31m" : "\033[33m";
}

/* What is held of the budget, with a mark where the plan ends. */
static void memory_bar(char text[PART_BYTES], const levee_progress *p, unsigned columns) {
    double budget = p->budget_bytes ? (double)p->budget_bytes : 1;
    double held = p->held_bytes == LEVEE_UNKNOWN_BYTES ? 0 : (double)p->held_bytes / budget;
    unsigned filled = (unsigned)fmin(round(held * columns), columns);
    unsigned mark = (unsigned)fmin((double)p->planned_bytes / budget * columns, columns - 1.0);
    size_t length = (size_t)snprintf(text, PART_BYTES, "[");
    for (unsigned i = 0; i < columns; i++)
        length += (size_t)snprintf(text + length, PART_BYTES - length, "%s",
                                   i == mark    ? (screen.unicode ? "│" : "|")
                                   : i < filled ? (screen.unicode ? "█" : "#")
                                                : (screen.unicode ? "░" : "-"));
    snprintf(text + length, PART_BYTES - length, "]");
}

/* The parts in the order in which they stand; those with the highest number are left out first where a line is too
 * short. */
typedef struct part {
    char text[PART_BYTES];
    unsigned columns, order;
} part;

enum { STEP, LOSS, SPEED, LEFT, BAR, MEMORY, GUARD, PARTS };

static unsigned total_columns(const part *parts, unsigned kept) {
    unsigned sum = 0;
    for (unsigned i = 0; i < PARTS; i++)
        if (parts[i].order < kept && parts[i].columns) sum += parts[i].columns + (sum ? 2 : 0);
    return sum;
}

static void compose(const levee_progress *p, unsigned columns) {
    static part parts[PARTS];
    static const unsigned orders[PARTS] = {
        [STEP] = 0, [LOSS] = 1, [SPEED] = 5, [LEFT] = 3, [BAR] = 6, [MEMORY] = 4, [GUARD] = 2};
    char held[32], budget[32], left[32];
    amount(held, p->held_bytes);
    amount(budget, p->budget_bytes);
    duration(left, p->seconds_left);
    snprintf(parts[STEP].text, PART_BYTES, "step %llu/%llu", (unsigned long long)p->step,
             (unsigned long long)p->steps);
    snprintf(parts[LOSS].text, PART_BYTES, "loss %.4f", p->loss);
    snprintf(parts[SPEED].text, PART_BYTES, "%.0f tokens/s", p->tokens_per_second);
    snprintf(parts[LEFT].text, PART_BYTES, "left %s", left);
    snprintf(parts[MEMORY].text, PART_BYTES, "%s of %s", held, budget);
    *parts[BAR].text = 0;
    for (unsigned i = 0; i < PARTS; i++) {
        parts[i].order = orders[i];
        parts[i].columns = (unsigned)strlen(parts[i].text); /* all of ASCII so far */
    }
    parts[GUARD].columns = (unsigned)strlen(p->guard);
    snprintf(parts[GUARD].text, PART_BYTES, "%s%.64s%s", guard_colour(p->guard), p->guard,
             screen.colour ? "\033[0m" : "");
    unsigned kept = PARTS;
    while (kept > 1 && total_columns(parts, kept) > columns) kept--;
    if (kept == 1 && parts[STEP].columns > columns)
        parts[STEP].text[columns] = 0; /* a line that wraps cannot be redrawn */
    unsigned used = total_columns(parts, kept), room = columns > used + 4 ? columns - used - 4 : 0;
    if (kept == PARTS && room >= LEAST_BAR) {
        unsigned wide = room < MOST_BAR ? room : MOST_BAR;
        memory_bar(parts[BAR].text, p, wide);
        parts[BAR].columns = wide + 2;
    }
    size_t length = 0;
    *line = 0;
    for (unsigned i = 0; i < PARTS; i++)
        if (parts[i].order < kept && parts[i].columns)
            length += (size_t)snprintf(line + length, LINE_BYTES - length, "%s%s", length ? "  " : "", parts[i].text);
}

/* In one write, so that nothing comes between. */
static void write_all(const char *before, const char *text, const char *after) {
    fprintf(stdout, "%s%s%s", before, text, after);
    fflush(stdout);
}

static void show(void *context, const levee_progress *p) {
    unsigned columns, rows;
    double now = seconds_now();
    (void)context;
    if (progress_is_shown() && p->step < p->steps && now - drawn < redraw_seconds) return;
    terminal_size(STDOUT_FILENO, &columns, &rows);
    compose(p, columns > 1 ? columns - 1 : 1); /* in the last column a terminal may go to the next line */
    drawn = now;
    atomic_store(&shown, true);
    write_all(PROGRESS_CLEAR, line, "");
}

void progress_begin(levee_options *options) {
    screen = terminal_look(STDOUT_FILENO);
    if (!screen.moves) return;
    static char buffer[16384];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    levee_options_show_progress(options, show, NULL);
}

void progress_print(void *context, const char *text) {
    (void)context;
    if (!progress_is_shown()) {
        write_all("", text, "\n");
        return;
    }
    fputs(PROGRESS_CLEAR, stdout);
    fputs(text, stdout);
    write_all("\n", line, "");
}

void progress_end(void) {
    if (!progress_is_shown()) return;
    atomic_store(&shown, false);
    write_all("\n", "", "");
}

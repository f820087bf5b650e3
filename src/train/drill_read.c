/* Reading the text of a drill: see drill.h. */
#include <ctype.h>
#include <string.h>

#include "base/bytes.h"
#include "train/drill.h"

/* A piece "name=value". */
typedef struct piece {
    const char *name, *value;
    size_t name_bytes, value_bytes;
} piece;

static bool take_piece(const char **rest, piece *p) {
    *rest += strspn(*rest, ", \t\n");
    size_t bytes = strcspn(*rest, ", \t\n");
    const char *equals = memchr(*rest, '=', bytes);
    if (!bytes) return false;
    *p = (piece){.name = *rest, .name_bytes = equals ? (size_t)(equals - *rest) : bytes};
    p->value = equals ? equals + 1 : *rest + bytes;
    p->value_bytes = bytes - (size_t)(p->value - *rest);
    *rest += bytes;
    return true;
}

static bool is(const char *text, size_t bytes, const char *word) {
    return strlen(word) == bytes && !memcmp(text, word, bytes);
}

static bool read_count(const char *text, size_t bytes, uint64_t *count) {
    uint64_t number = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (!isdigit((unsigned char)text[i]) || number > 1000000000) return false;
        number = 10 * number + (uint64_t)(text[i] - '0');
    }
    *count = number;
    return bytes && number;
}

static bool read_bytes(const char *text, size_t bytes, uint64_t *size) {
    char copy[BYTES_TEXT];
    if (bytes >= sizeof copy) return false;
    memcpy(copy, text, bytes);
    copy[bytes] = 0;
    return bytes_parse(copy, size) && *size && *size < UINT64_MAX / 2;
}

static bool read_level(const char *text, size_t bytes, pressure_level *level) {
    for (*level = PRESSURE_YELLOW; *level <= PRESSURE_RED; (*level)++)
        if (is(text, bytes, pressure_level_name(*level))) return true;
    return false;
}

static bool read_category(const char *text, size_t bytes, levee_category *category) {
    for (*category = 0; *category < LEVEE_CATEGORY_COUNT; (*category)++)
        if (is(text, bytes, levee_category_name(*category))) return true;
    return false;
}

/* "WHAT@STEP". */
static bool split_at_step(const piece *p, size_t *bytes, uint64_t *step) {
    const char *at = memchr(p->value, '@', p->value_bytes);
    if (!at) return false;
    *bytes = (size_t)(at - p->value);
    return read_count(at + 1, p->value_bytes - *bytes - 1, step);
}

static bool read_leak(const piece *p, exercise *e) {
    static const char unit[] = "/step";
    size_t length = sizeof unit - 1;
    bool whole = p->value_bytes > length && is(p->value + p->value_bytes - length, length, unit);
    e->category = LEVEE_CATEGORY_COUNT;
    e->step = 1;
    return whole && read_bytes(p->value, p->value_bytes - length, &e->amount);
}

static bool read_hog(const piece *p, exercise *e) {
    size_t bytes;
    e->lasts = 10;
    return split_at_step(p, &bytes, &e->step) && read_bytes(p->value, bytes, &e->amount);
}

static bool read_pressure(const piece *p, exercise *e) {
    size_t bytes;
    e->lasts = 10;
    return split_at_step(p, &bytes, &e->step) && read_level(p->value, bytes, &e->level);
}

static bool read_number(const piece *p, exercise *e) { return read_count(p->value, p->value_bytes, &e->amount); }

static const struct {
    const char *name;
    bool (*read)(const piece *p, exercise *e);
    const char *wanted;
} kinds[EXERCISE_KINDS] = {
    [EXERCISE_LEAK] = {"leak", read_leak, "leak=SIZE/step[,category=NAME][,from=STEP], as leak=1MB/step"},
    [EXERCISE_HOG] = {"hog", read_hog, "hog=SIZE@STEP[,for=SECONDS], as hog=2GiB@50"},
    [EXERCISE_PRESSURE] =
        {"pressure", read_pressure,
         "pressure=LEVEL@STEP[,for=SECONDS], as pressure=orange@20; there are yellow, orange and red"},
    [EXERCISE_REFUSE_MEMORY] = {"alloc-fail", read_number, "alloc-fail=N"},
    [EXERCISE_FAIL_FILE] = {"io-error", read_number, "io-error=N"},
    [EXERCISE_SLOW_DISK] = {"slow-disk", read_number, "slow-disk=MILLISECONDS"},
};

/* What stands behind an exercise and belongs to it. */
static bool read_detail(const piece *p, exercise *e) {
    if (is(p->name, p->name_bytes, "category") && e->kind == EXERCISE_LEAK)
        return read_category(p->value, p->value_bytes, &e->category);
    if (is(p->name, p->name_bytes, "from") && e->kind == EXERCISE_LEAK)
        return read_count(p->value, p->value_bytes, &e->step);
    if (is(p->name, p->name_bytes, "for") && (e->kind == EXERCISE_HOG || e->kind == EXERCISE_PRESSURE))
        return read_count(p->value, p->value_bytes, &e->lasts);
    return false;
}

const char *drill_read(const char *text, exercise *list, unsigned *count, const char **at) {
    piece p;
    *count = 0;
    while (take_piece(&text, &p)) {
        exercise_kind k = 0;
        while (k < EXERCISE_KINDS && !is(p.name, p.name_bytes, kinds[k].name)) k++;
        *at = p.name;
        if (k == EXERCISE_KINDS) {
            if (!*count) return "leak=, hog=, pressure=, alloc-fail=, io-error= or slow-disk=";
            if (!read_detail(&p, &list[*count - 1])) return kinds[list[*count - 1].kind].wanted;
            continue;
        }
        if (*count == DRILL_MOST) return "at most 8 exercises";
        list[*count] = (exercise){.kind = k};
        if (!kinds[k].read(&p, &list[(*count)++])) return kinds[k].wanted;
    }
    return NULL;
}

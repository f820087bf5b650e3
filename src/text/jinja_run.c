/* What parsing and rendering share: see jinja_run.h. */
#include "text/jinja_run.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

/* Lines and columns, in characters, from 1. */
static void find_place(const jinja_source *source, uint64_t offset, unsigned *line, unsigned *column) {
    *line = *column = 1;
    for (uint64_t i = 0; i < offset && i < source->bytes; i++) {
        if (source->text[i] == '\n') {
            (*line)++;
            *column = 1;
        } else if (((unsigned char)source->text[i] & 0xc0) != 0x80) {
            (*column)++;
        }
    }
}

void jinja_fail(jinja_run *run, const char *format, ...) {
    if (jinja_failed(run)) return;
    char problem[LEVEE_ERROR_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem, sizeof problem, format, arguments);
    va_end(arguments);
    unsigned line, column;
    find_place(run->source, run->place, &line, &column);
    run->status =
        error_set(run->error, LEVEE_BAD_DATA, "%s: line %u, column %u: %s", run->source->name, line, column, problem);
}

bool jinja_step(jinja_run *run, uint64_t steps) {
    if (jinja_failed(run)) return false;
    run->steps += steps;
    if (run->steps > run->limits->steps)
        jinja_fail(run, "the template takes more than its limit of %llu steps; does it end?",
                   (unsigned long long)run->limits->steps);
    return !jinja_failed(run);
}

bool jinja_enter(jinja_run *run) {
    if (!jinja_step(run, 1)) return false;
    if (run->depth >= run->limits->depth) {
        jinja_fail(run, "nested more deeply than the limit of %u", run->limits->depth);
        return false;
    }
    run->depth++;
    return true;
}

void jinja_leave(jinja_run *run) { run->depth--; }

static void refuse(jinja_run *run, uint64_t bytes) {
    if (jinja_failed(run)) return;
    if (run->arena->refusal == ARENA_MEMORY)
        run->status = error_out_of_memory(run->error, run->source->name, bytes);
    else
        jinja_fail(run, "the template takes more than its limit of %llu bytes of memory",
                   (unsigned long long)run->limits->memory_bytes);
}

void *jinja_take(jinja_run *run, uint64_t count, uint64_t size) {
    uint64_t bytes;
    if (jinja_failed(run)) return NULL;
    if (__builtin_mul_overflow(count, size, &bytes)) bytes = UINT64_MAX;
    void *block = jinja_arena_take(run->arena, bytes);
    if (!block) refuse(run, bytes);
    return block && jinja_step(run, bytes / 64) ? block : NULL;
}

static bool make_room(jinja_run *run, jinja_builder *b, uint64_t bytes) {
    enum { FIRST_BYTES = 128 };
    if (b->capacity - b->bytes >= bytes) return true;
    uint64_t wanted = b->bytes + bytes > b->capacity * 2 ? b->bytes + bytes : b->capacity * 2;
    if (wanted < FIRST_BYTES) wanted = FIRST_BYTES;
    if (wanted > run->limits->output_bytes) wanted = run->limits->output_bytes; /* bytes fit: see jinja_put */
    if (b->data && jinja_arena_extend(run->arena, b->data, b->capacity, wanted)) {
        b->capacity = wanted;
        return true;
    }
    char *larger = jinja_take(run, wanted, 1);
    if (!larger) return false;
    if (b->data) memcpy(larger, b->data, b->bytes);
    b->data = larger;
    b->capacity = wanted;
    return true;
}

void jinja_put(jinja_run *run, jinja_builder *b, const char *text, uint64_t bytes) {
    if (!bytes || !jinja_step(run, bytes / 64)) return;
    if (b->bytes + bytes > run->limits->output_bytes) {
        jinja_fail(run, "the text is longer than its limit of %llu bytes",
                   (unsigned long long)run->limits->output_bytes);
        return;
    }
    if (!make_room(run, b, bytes)) return;
    memcpy(b->data + b->bytes, text, bytes);
    b->bytes += bytes;
}

void jinja_put_literal(jinja_run *run, jinja_builder *b, const char *text) { jinja_put(run, b, text, strlen(text)); }

void jinja_put_character(jinja_run *run, jinja_builder *b, uint32_t code_point) {
    char text[4];
    jinja_put(run, b, text, utf8_write(code_point, text));
}

/* The checkpoints of a run: see checkpoint_directory.h. */
#include "train/checkpoint_directory.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"

/* Left free beside the checkpoints, for metrics and whatever else lives on the disk. */
static const uint64_t margin_bytes = 64ull * 1024 * 1024;

static bool path_of_step(char path[FILE_PATH_BYTES], const checkpoint_directory *d, uint64_t step) {
    char name[CHECKPOINT_FILE_NAME_BYTES];
    checkpoint_file_name(name, step);
    return file_join(path, d->path, name);
}

/* Puts a step in its place; when there is no room, the oldest is no longer known, and stays on the disk. */
static void add_step(checkpoint_directory *d, uint64_t step) {
    uint32_t place = d->count;
    while (place && d->known[place - 1].step > step) place--;
    if (place && d->known[place - 1].step == step) {
        d->known[place - 1].damaged = false;
        return;
    }
    if (d->count == CHECKPOINTS_KNOWN) {
        if (!place) return;
        memmove(d->known, d->known + 1, --d->count * sizeof *d->known);
        place--;
    }
    memmove(d->known + place + 1, d->known + place, (d->count++ - place) * sizeof *d->known);
    d->known[place] = (known_checkpoint){.step = step};
}

/* Is it the name that a file_writer gives to a checkpoint until it is whole? */
static bool is_leftover(const char *name) {
    static const char ending[] = ".partial";
    char stem[CHECKPOINT_FILE_NAME_BYTES];
    size_t length = strlen(name), ending_length = sizeof ending - 1;
    uint64_t step;
    if (length < ending_length || length - ending_length >= sizeof stem) return false;
    if (strcmp(name + length - ending_length, ending) != 0) return false;
    memcpy(stem, name, length - ending_length);
    stem[length - ending_length] = 0;
    return checkpoint_parse_name(stem, &step);
}

static levee_status read_name(void *context, const char *name, levee_error *error) {
    checkpoint_directory *d = context;
    char path[FILE_PATH_BYTES];
    uint64_t step;
    if (checkpoint_parse_name(name, &step)) add_step(d, step);
    if (!is_leftover(name) || !file_join(path, d->path, name)) return LEVEE_OK;
    levee_status status = file_remove(path, error);
    return status == LEVEE_OK ? status : error_context(error, "a killed run left something");
}

/* The name of a directory that is new lasts once its parent has reached the disk. */
static void sync_parent(const char *path) {
    char parent[FILE_PATH_BYTES];
    /* It may be out of our reach, and is no less usable for that. */
    if (file_join(parent, path, "..")) file_sync_directory(parent, NULL);
}

levee_status checkpoints_open(checkpoint_directory *d, const char *path, uint32_t keep_last, levee_error *error) {
    memset(d, 0, sizeof *d);
    if (!keep_last || (keep_last > CHECKPOINTS_KEEP_MOST && keep_last != CHECKPOINTS_KEEP_ALL))
        return error_set(error, LEVEE_USAGE, "from 1 to %d checkpoints can be kept, not %u", CHECKPOINTS_KEEP_MOST,
                         (unsigned)keep_last);
    d->keep_last = keep_last;
    levee_status status = file_make_directory(path, error);
    if (status != LEVEE_OK) return status;
    snprintf(d->path, sizeof d->path, "%s", path);
    sync_parent(path);
    return file_list(path, read_name, d, error);
}

bool checkpoints_newest(const checkpoint_directory *d, uint64_t *step) {
    if (d->count) *step = d->known[d->count - 1].step;
    return d->count > 0;
}

bool checkpoints_peek(const checkpoint_directory *d, checkpoint_state *state) {
    for (uint32_t i = d->count; i--;) {
        char path[FILE_PATH_BYTES];
        if (path_of_step(path, d, d->known[i].step) && checkpoint_peek(path, state, NULL) == LEVEE_OK) return true;
    }
    return false;
}

levee_status checkpoint_check_disk(const char *directory, uint64_t bytes, uint64_t files, uint64_t beside_bytes,
                                   levee_error *error) {
    uint64_t needed, available, beside = beside_bytes + margin_bytes;
    levee_status status = file_free_bytes(directory, &available, error);
    if (status != LEVEE_OK) return status;
    if (__builtin_mul_overflow(bytes, files, &needed) || __builtin_add_overflow(needed, beside, &needed))
        needed = UINT64_MAX;
    if (!files || needed <= available) return LEVEE_OK;
    char need[BYTES_TEXT], one[BYTES_TEXT], margin[BYTES_TEXT], left[BYTES_TEXT];
    return error_set(error, LEVEE_IO_ERROR,
                     "%s: %llu files of %s and %s beside them need %s, and %s is free; free some, or keep fewer "
                     "checkpoints",
                     directory, (unsigned long long)files, bytes_format(one, bytes), bytes_format(margin, beside),
                     bytes_format(need, needed), bytes_format(left, available));
}

uint64_t checkpoints_at_once(uint32_t keep_last, uint64_t saves) {
    /* A new file is whole before the oldest goes. */
    uint64_t files = (uint64_t)keep_last + 1;
    return keep_last == CHECKPOINTS_KEEP_ALL || saves < files ? saves : files;
}

levee_status checkpoints_check_room(const checkpoint_directory *d, uint64_t bytes, uint64_t saves,
                                    uint64_t beside_bytes, levee_error *error) {
    uint64_t at_once = checkpoints_at_once(d->keep_last, UINT64_MAX);
    uint64_t files = at_once > d->count + 1 ? at_once - d->count : 1;
    return checkpoint_check_disk(d->path, bytes, saves < files ? saves : files, beside_bytes, error);
}

/* Tells of a checkpoint that is passed over. */
static void report(const levee_error *reason, levee_print *print, void *context) {
    char line[LEVEE_ERROR_BYTES + 64];
    snprintf(line, sizeof line, "not used: %s", reason->message);
    if (print) print(context, line);
}

levee_status checkpoints_load(checkpoint_directory *d, checkpoint_state *state, const checkpoint_section *sections,
                              unsigned count, levee_print *print, void *context, levee_error *error) {
    if (!d->count) return error_set(error, LEVEE_MISSING_INPUT, "%s: holds no checkpoint to resume from", d->path);
    levee_status failure = LEVEE_BAD_DATA;
    for (uint32_t i = d->count; i--;) {
        char path[FILE_PATH_BYTES];
        levee_error reason;
        levee_status status = path_of_step(path, d, d->known[i].step)
                                  ? checkpoint_read(path, state, sections, count, &reason)
                                  : error_set(&reason, LEVEE_USAGE, "%.200s...: the path is too long", d->path);
        if (status == LEVEE_OK) return LEVEE_OK;
        if (status == LEVEE_USAGE || status == LEVEE_INTERNAL) {
            if (error) *error = reason;
            return status;
        }
        /* What cannot be read now may be readable later, so only what is known to be damaged is given up. */
        d->known[i].damaged = status == LEVEE_BAD_DATA;
        if (status != LEVEE_BAD_DATA) failure = LEVEE_IO_ERROR;
        report(&reason, print, context);
    }
    return error_set(error, failure,
                     "%s: none of its checkpoints can be used; start anew with another --adapter-path", d->path);
}

/* Forgets a checkpoint and removes its file. */
static levee_status remove_step(checkpoint_directory *d, uint32_t place, levee_error *error) {
    char path[FILE_PATH_BYTES];
    if (!path_of_step(path, d, d->known[place].step))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", d->path);
    levee_status status = file_remove(path, error);
    if (status != LEVEE_OK) return error_context(error, "a checkpoint that is no longer needed");
    memmove(d->known + place, d->known + place + 1, (--d->count - place) * sizeof *d->known);
    return LEVEE_OK;
}

static levee_status prune(checkpoint_directory *d, uint64_t newest, levee_error *error) {
    levee_status status = LEVEE_OK;
    uint32_t kept = 0;
    for (uint32_t i = d->count; i-- && status == LEVEE_OK;) {
        const known_checkpoint *c = &d->known[i];
        if (!c->damaged && (c->step > newest || kept++ < d->keep_last)) continue;
        status = remove_step(d, i, error);
    }
    return status;
}

levee_status checkpoints_save(checkpoint_directory *d, const checkpoint_state *state,
                              const checkpoint_section *sections, unsigned count, levee_error *error) {
    levee_status status = checkpoint_write(d->path, state, sections, count, error);
    if (status != LEVEE_OK) return status;
    add_step(d, state->step);
    return prune(d, state->step, error);
}

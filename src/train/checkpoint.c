/* The file of a checkpoint: see checkpoint.h. */
#include "train/checkpoint.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_STATIC_LINKING_ONLY /* to hold a hash's state on the stack */
#include <xxhash.h>

#include "base/error.h"

enum {
    CHECKPOINT_VERSION = 1,
    HEADER_MOST_BYTES = 4096, /* of any version */
    PREFIX_BYTES = offsetof(checkpoint_header, file_bytes),
    WRITE_BYTES = 256 * 1024, /* hashed and then written, while a processor's cache still holds it */
    READ_BYTES = 32 * 1024,
};

_Static_assert(sizeof(checkpoint_header) <= HEADER_MOST_BYTES, "the reader's buffer holds it");

static const uint64_t checkpoint_magic = UINT64_C(0x504b43454556454c); /* "LEVEECKP" on a little-endian machine */

static const char *section_name(uint64_t kind) {
    static const char *const names[CHECKPOINT_KINDS_END] = {
        [CHECKPOINT_PARAMETERS] = "parameters",
        [CHECKPOINT_FIRST_MOMENTS] = "first moments",
        [CHECKPOINT_SECOND_MOMENTS] = "second moments",
    };
    return kind && kind < CHECKPOINT_KINDS_END ? names[kind] : "a section of unknown kind";
}

/* The place of a name, or CHECKPOINT_IDENTITIES. */
static unsigned find_identity(const checkpoint_state *state, const char *name) {
    unsigned i = 0;
    while (i < CHECKPOINT_IDENTITIES && strncmp(state->identities[i].name, name, CHECKPOINT_NAME_BYTES) != 0) i++;
    return i;
}

/* What has no room makes the last place unusable, which checkpoint_write notices: callers need not check. */
void checkpoint_identify(checkpoint_state *state, const char *name, const void *bytes, uint64_t count) {
    unsigned place = find_identity(state, name);
    if (place == CHECKPOINT_IDENTITIES) place = find_identity(state, "");
    if (place == CHECKPOINT_IDENTITIES || strlen(name) >= CHECKPOINT_NAME_BYTES) {
        memset(&state->identities[CHECKPOINT_IDENTITIES - 1], 0xff, sizeof(checkpoint_identity));
        return;
    }
    checkpoint_identity *identity = &state->identities[place];
    memcpy(identity->name, name, strlen(name));
    identity->hash = XXH64(bytes, count, identity->hash);
}

static bool identities_are_sound(const checkpoint_state *state) {
    for (unsigned i = 0; i < CHECKPOINT_IDENTITIES; i++)
        if (state->identities[i].name[CHECKPOINT_NAME_BYTES - 1]) return false;
    return true;
}

void checkpoint_file_name(char name[CHECKPOINT_FILE_NAME_BYTES], uint64_t step) {
    snprintf(name, CHECKPOINT_FILE_NAME_BYTES, "step-%08llu.checkpoint", (unsigned long long)step);
}

/* Reads a number leniently, and compares the name with how we would spell it. */
bool checkpoint_parse_name(const char *name, uint64_t *step) {
    char spelled[CHECKPOINT_FILE_NAME_BYTES];
    if (strncmp(name, "step-", 5) != 0) return false;
    *step = strtoull(name + 5, NULL, 10);
    checkpoint_file_name(spelled, *step);
    return !strcmp(name, spelled);
}

uint64_t checkpoint_bytes(const checkpoint_section *sections, unsigned count) {
    uint64_t bytes = sizeof(checkpoint_header) + sizeof(checkpoint_trailer);
    for (unsigned i = 0; i < count; i++)
        if (__builtin_add_overflow(bytes, sections[i].bytes, &bytes)) return UINT64_MAX;
    return bytes;
}

static uint64_t hash_of_header(const checkpoint_header *header) {
    return XXH64(header, offsetof(checkpoint_header, header_hash), checkpoint_magic);
}

static uint64_t hash_of_trailer(const checkpoint_trailer *trailer, const checkpoint_header *header) {
    return XXH64(trailer, offsetof(checkpoint_trailer, trailer_hash), header->header_hash);
}

static levee_status write_section(file_writer *w, const checkpoint_section *section, uint64_t *hash,
                                  levee_error *error) {
    XXH64_state_t running;
    XXH64_reset(&running, 0);
    levee_status status = LEVEE_OK;
    for (uint64_t done = 0; done < section->bytes && status == LEVEE_OK;) {
        uint64_t left = section->bytes - done, piece = left < WRITE_BYTES ? left : WRITE_BYTES;
        const unsigned char *next = (const unsigned char *)section->data + done;
        XXH64_update(&running, next, piece);
        status = file_writer_write(w, next, piece, error);
        done += piece;
    }
    *hash = XXH64_digest(&running);
    return status;
}

static levee_status write_all(file_writer *w, const checkpoint_header *header, const checkpoint_section *sections,
                              levee_error *error) {
    checkpoint_trailer trailer = {0};
    file_writer_promise(w, header->file_bytes);
    levee_status status = file_writer_write(w, header, sizeof *header, error);
    for (unsigned i = 0; i < header->section_count && status == LEVEE_OK; i++) {
        trailer.entries[i] =
            (checkpoint_entry){.kind = sections[i].kind, .offset = w->written_bytes, .bytes = sections[i].bytes};
        status = write_section(w, &sections[i], &trailer.entries[i].hash, error);
    }
    trailer.trailer_hash = hash_of_trailer(&trailer, header);
    if (status == LEVEE_OK) status = file_writer_write(w, &trailer, sizeof trailer, error);
    return status == LEVEE_OK ? file_writer_commit(w, error) : status;
}

levee_status checkpoint_write(const char *directory, const checkpoint_state *state,
                              const checkpoint_section *sections, unsigned count, levee_error *error) {
    char name[CHECKPOINT_FILE_NAME_BYTES], path[FILE_PATH_BYTES];
    checkpoint_file_name(name, state->step);
    if (!file_join(path, directory, name))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    if (count > CHECKPOINT_SECTIONS || !identities_are_sound(state))
        return error_set(error, LEVEE_INTERNAL, "%s: more sections or identities than a checkpoint has room for",
                         path);
    checkpoint_header header = {
        .magic = checkpoint_magic,
        .version = CHECKPOINT_VERSION,
        .header_bytes = sizeof header,
        .file_bytes = checkpoint_bytes(sections, count),
        .section_count = count,
        .state = *state,
    };
    header.header_hash = hash_of_header(&header);
    file_writer writer;
    levee_status status = file_writer_open(&writer, path, error);
    if (status == LEVEE_OK) status = write_all(&writer, &header, sections, error);
    file_writer_abandon(&writer);
    return status;
}

/* A checkpoint that is being read. */
typedef struct source {
    const char *path;
    int descriptor;
    uint64_t bytes;
    checkpoint_header header;
    checkpoint_trailer trailer;
} source;

static levee_status refuse(const source *s, const char *what, levee_error *error) {
    return error_set(error, LEVEE_BAD_DATA, "%s: %s: the file is damaged; resume from an older checkpoint", s->path,
                     what);
}

static levee_status read_at(const source *s, void *to, uint64_t bytes, uint64_t offset, levee_error *error) {
    uint64_t got;
    levee_status status = file_read_at(s->descriptor, s->path, to, bytes, offset, &got, error);
    if (status != LEVEE_OK || got == bytes) return status;
    return error_set(error, LEVEE_IO_ERROR, "%s: became shorter while it was read", s->path);
}

/* The hash comes before the version, so that a damaged version is not taken for another one. */
static levee_status read_header(source *s, levee_error *error) {
    unsigned char start[HEADER_MOST_BYTES] = {0};
    uint64_t got = s->bytes < sizeof start ? s->bytes : sizeof start, hash;
    checkpoint_header *h = &s->header;
    if (got < PREFIX_BYTES + sizeof hash) return refuse(s, "it is too short", error);
    levee_status status = read_at(s, start, got, 0, error);
    if (status != LEVEE_OK) return status;
    memcpy(h, start, PREFIX_BYTES);
    if (h->magic != checkpoint_magic)
        return error_set(error, LEVEE_BAD_DATA, "%s: is no checkpoint made on a machine like this one, or damaged",
                         s->path);
    if (h->header_bytes < PREFIX_BYTES + sizeof hash || h->header_bytes > got)
        return refuse(s, "its header is cut short", error);
    memcpy(&hash, start + h->header_bytes - sizeof hash, sizeof hash);
    if (hash != XXH64(start, h->header_bytes - sizeof hash, checkpoint_magic))
        return refuse(s, "its header does not match its hash", error);
    if (h->version != CHECKPOINT_VERSION)
        return error_set(
            error, LEVEE_USAGE,
            "%s: has format version %u where this program reads %d; resume with the program that wrote it", s->path,
            (unsigned)h->version, CHECKPOINT_VERSION);
    if (h->header_bytes != sizeof *h) return refuse(s, "its header has another size", error);
    memcpy(h, start, sizeof *h);
    return identities_are_sound(&h->state) ? LEVEE_OK : refuse(s, "an identity has no name", error);
}

/* The sections fill the file between header and trailer without a gap. */
static bool table_is_sound(const source *s) {
    uint64_t end = sizeof s->header, limit = s->bytes - sizeof s->trailer;
    if (s->header.section_count > CHECKPOINT_SECTIONS) return false;
    for (unsigned i = 0; i < s->header.section_count; i++) {
        const checkpoint_entry *entry = &s->trailer.entries[i];
        if (entry->offset != end || entry->bytes > limit - end) return false;
        end += entry->bytes;
    }
    return end == limit;
}

static levee_status read_trailer(source *s, levee_error *error) {
    if (s->bytes != s->header.file_bytes || s->bytes < sizeof s->header + sizeof s->trailer)
        return error_set(error, LEVEE_BAD_DATA,
                         "%s: has %llu bytes where its header says %llu: the file is damaged; resume from an older "
                         "checkpoint",
                         s->path, (unsigned long long)s->bytes, (unsigned long long)s->header.file_bytes);
    levee_status status = read_at(s, &s->trailer, sizeof s->trailer, s->bytes - sizeof s->trailer, error);
    if (status != LEVEE_OK) return status;
    if (s->trailer.trailer_hash != hash_of_trailer(&s->trailer, &s->header))
        return refuse(s, "its table of sections does not match its hash", error);
    return table_is_sound(s) ? LEVEE_OK : refuse(s, "its sections do not fill it", error);
}

/* Under the name of another step it would be taken for newer or older than it is. */
static levee_status check_name(const source *s, levee_error *error) {
    const char *slash = strrchr(s->path, '/');
    uint64_t step;
    if (!checkpoint_parse_name(slash ? slash + 1 : s->path, &step) || step == s->header.state.step) return LEVEE_OK;
    return error_set(error, LEVEE_USAGE, "%s: holds step %llu; give it the name of its step back", s->path,
                     (unsigned long long)s->header.state.step);
}

/* Adds to a list of names those in `of` that `other` has not, or with another hash. */
static void name_differences(char *names, size_t room, const checkpoint_state *of, const checkpoint_state *other,
                             bool missing_only) {
    for (unsigned i = 0; i < CHECKPOINT_IDENTITIES; i++) {
        const checkpoint_identity *identity = &of->identities[i];
        if (!identity->name[0]) continue;
        unsigned place = find_identity(other, identity->name);
        bool missing = place == CHECKPOINT_IDENTITIES;
        if (missing || (!missing_only && other->identities[place].hash != identity->hash))
            snprintf(names + strlen(names), room - strlen(names), "%s%s", *names ? ", " : "", identity->name);
    }
}

static levee_status check_identities(const source *s, const checkpoint_state *expected, levee_error *error) {
    char names[2 * CHECKPOINT_IDENTITIES * (CHECKPOINT_NAME_BYTES + 2)] = "";
    name_differences(names, sizeof names, expected, &s->header.state, false);
    name_differences(names, sizeof names, &s->header.state, expected, true);
    if (!*names) return LEVEE_OK;
    return error_set(error, LEVEE_USAGE,
                     "%s: was made with another %s; resume with what it was made with, or start anew with another "
                     "--adapter-path",
                     s->path, names);
}

static const checkpoint_entry *find_entry(const source *s, uint64_t kind) {
    for (unsigned i = 0; i < s->header.section_count; i++)
        if (s->trailer.entries[i].kind == kind) return &s->trailer.entries[i];
    return NULL;
}

static levee_status check_sections(const source *s, const checkpoint_section *sections, unsigned count,
                                   levee_error *error) {
    for (unsigned i = 0; i < count; i++) {
        const checkpoint_entry *entry = find_entry(s, sections[i].kind);
        if (!entry || entry->bytes != sections[i].bytes)
            return error_set(
                error, LEVEE_USAGE,
                "%s: holds %llu bytes of %s where this run has %llu; resume with the options that it was made with",
                s->path, entry ? (unsigned long long)entry->bytes : 0ull, section_name(sections[i].kind),
                (unsigned long long)sections[i].bytes);
    }
    if (s->header.section_count == count) return LEVEE_OK;
    return error_set(error, LEVEE_USAGE,
                     "%s: has %llu sections where this run has %u; resume with the options that it was made with",
                     s->path, (unsigned long long)s->header.section_count, count);
}

/* Reads a section into its place, or with `to` NULL through a buffer, and compares its hash. */
static levee_status read_section(const source *s, const checkpoint_entry *entry, unsigned char *to,
                                 levee_error *error) {
    unsigned char buffer[READ_BYTES];
    XXH64_state_t running;
    XXH64_reset(&running, 0);
    for (uint64_t done = 0; done < entry->bytes;) {
        uint64_t left = entry->bytes - done, piece = left < sizeof buffer ? left : sizeof buffer;
        unsigned char *next = to ? to + done : buffer;
        levee_status status = read_at(s, next, piece, entry->offset + done, error);
        if (status != LEVEE_OK) return status;
        XXH64_update(&running, next, piece);
        done += piece;
    }
    if (XXH64_digest(&running) == entry->hash) return LEVEE_OK;
    if (to) return error_set(error, LEVEE_IO_ERROR, "%s: changed while it was read", s->path);
    char what[80];
    snprintf(what, sizeof what, "its section '%s' does not match its hash", section_name(entry->kind));
    return refuse(s, what, error);
}

static levee_status verify(source *s, const checkpoint_state *expected, const checkpoint_section *sections,
                           unsigned count, levee_error *error) {
    levee_status status = read_header(s, error);
    if (status == LEVEE_OK) status = read_trailer(s, error);
    if (status == LEVEE_OK) status = check_name(s, error);
    if (status == LEVEE_OK) status = check_identities(s, expected, error);
    if (status == LEVEE_OK) status = check_sections(s, sections, count, error);
    for (unsigned i = 0; i < count && status == LEVEE_OK; i++)
        status = read_section(s, &s->trailer.entries[i], NULL, error);
    return status;
}

levee_status checkpoint_peek(const char *path, checkpoint_state *state, levee_error *error) {
    source s = {.path = path};
    levee_status status = file_open(path, &s.descriptor, &s.bytes, error);
    if (status != LEVEE_OK) return status;
    status = read_header(&s, error);
    if (status == LEVEE_OK) *state = s.header.state;
    file_close(s.descriptor);
    return status;
}

levee_status checkpoint_read(const char *path, checkpoint_state *state, const checkpoint_section *sections,
                             unsigned count, levee_error *error) {
    source s = {.path = path};
    levee_status status = file_open(path, &s.descriptor, &s.bytes, error);
    if (status != LEVEE_OK) return status;
    status = verify(&s, state, sections, count, error);
    for (unsigned i = 0; i < count && status == LEVEE_OK; i++)
        status = read_section(&s, find_entry(&s, sections[i].kind), sections[i].data, error);
    if (status == LEVEE_OK) *state = s.header.state;
    file_drop_cache(s.descriptor);
    file_close(s.descriptor);
    return status;
}

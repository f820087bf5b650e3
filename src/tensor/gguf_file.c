/* Reading GGUF's header: see gguf_file.h. A cursor goes through the mapped file; what does not fit the file stops it
 * for good, and the place of that is told. */
#include "tensor/gguf_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"

enum { OLDEST_VERSION = 2, NEWEST_VERSION = 3, USUAL_ALIGNMENT = 32, MOST_ALIGNMENT = 1 << 20, TEXT = 8, LIST = 9 };

/* By the format's numbers; 0: has no width of its own. */
static const uint8_t value_bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

typedef struct stored_type {
    const char *name; /* NULL: there is none of that number */
    uint32_t block_elements, block_bytes;
} stored_type;

static const stored_type stored_types[] = {
    [0] = {"f32", 1, 4},       [1] = {"f16", 1, 2},       [2] = {"q4_0", 32, 18},    [3] = {"q4_1", 32, 20},
    [6] = {"q5_0", 32, 22},    [7] = {"q5_1", 32, 24},    [8] = {"q8_0", 32, 34},    [9] = {"q8_1", 32, 36},
    [10] = {"q2_k", 256, 84},  [11] = {"q3_k", 256, 110}, [12] = {"q4_k", 256, 144}, [13] = {"q5_k", 256, 176},
    [14] = {"q6_k", 256, 210}, [15] = {"q8_k", 256, 292}, [20] = {"iq4_nl", 32, 18}, [23] = {"iq4_xs", 256, 136},
    [24] = {"i8", 1, 1},       [25] = {"i16", 1, 2},      [26] = {"i32", 1, 4},      [27] = {"i64", 1, 8},
    [28] = {"f64", 1, 8},      [30] = {"bf16", 1, 2}};

struct gguf_file {
    file_mapping mapping;
    uint64_t metadata, entries; /* where it begins, and how much there is */
    gguf_view *tensors;
    uint32_t count;
};

typedef struct cursor {
    const unsigned char *data;
    uint64_t bytes, at;
    const char *problem; /* the first; the cursor stands where it was found */
} cursor;

typedef struct entry {
    const char *key;
    uint64_t key_bytes, length; /* of a list: elements */
    uint32_t type;
    const unsigned char *value; /* of a text: its bytes, `length` of them */
} entry;

static void fail(cursor *c, const char *problem) {
    if (!c->problem) c->problem = problem;
}

/* The next so many bytes; NULL when there are fewer. */
static const unsigned char *take(cursor *c, uint64_t bytes) {
    if (c->problem || bytes > c->bytes - c->at) {
        fail(c, "the file is cut off");
        return NULL;
    }
    c->at += bytes;
    return c->data + (c->at - bytes);
}

static uint64_t take_number(cursor *c, unsigned bytes) {
    const unsigned char *from = take(c, bytes);
    uint64_t number = 0;
    for (unsigned i = bytes; from && i-- > 0;) number = number << 8 | from[i];
    return number;
}

static const char *take_text(cursor *c, uint64_t *bytes) {
    *bytes = take_number(c, 8);
    return (const char *)take(c, *bytes);
}

static void skip_list(cursor *c, entry *e) {
    uint64_t ignored;
    uint32_t type = (uint32_t)take_number(c, 4);
    e->length = take_number(c, 8);
    if (type == TEXT) {
        for (uint64_t i = 0; i < e->length && !c->problem; i++) take_text(c, &ignored);
        return;
    }
    if (type >= sizeof value_bytes || !value_bytes[type]) {
        fail(c, "a list of an unknown type");
        return;
    }
    if (e->length > UINT64_MAX / value_bytes[type])
        fail(c, "the file is cut off");
    else
        take(c, e->length * value_bytes[type]);
}

static void take_entry(cursor *c, entry *e) {
    *e = (entry){0};
    e->key = take_text(c, &e->key_bytes);
    e->type = (uint32_t)take_number(c, 4);
    if (c->problem) return;
    if (e->type == TEXT)
        e->value = (const unsigned char *)take_text(c, &e->length);
    else if (e->type == LIST)
        skip_list(c, e);
    else if (e->type < sizeof value_bytes)
        e->value = take(c, value_bytes[e->type]);
    else
        fail(c, "metadata of an unknown type");
}

/* Finds the entry of a key; only in a file whose metadata have been gone through. */
static bool find_entry(const gguf_file *g, const char *key, entry *e) {
    cursor c = {.data = g->mapping.data, .bytes = g->mapping.bytes, .at = g->metadata};
    for (uint64_t i = 0; i < g->entries; i++) {
        take_entry(&c, e);
        if (c.problem) return false;
        if (e->key_bytes == strlen(key) && !memcmp(e->key, key, e->key_bytes)) return true;
    }
    return false;
}

/* A shape is stored with its innermost size first, whose rows are made of whole blocks. */
static void take_shape(cursor *c, gguf_view *t) {
    uint64_t product = 1; /* of all sizes but 0, so that no order of them overflows */
    t->rank = (uint32_t)take_number(c, 4);
    t->elements = 1;
    if (t->rank > GGUF_DIMENSIONS) fail(c, "more than 4 dimensions");
    for (uint32_t d = 0; d < t->rank && !c->problem; d++) {
        uint64_t *size = &t->shape[t->rank - 1 - d];
        *size = take_number(c, 8);
        if (__builtin_mul_overflow(product, *size ? *size : 1, &product) || product > UINT64_MAX >> 10)
            fail(c, "a shape overflows");
        else
            t->elements *= *size;
    }
}

static void take_tensor(cursor *c, gguf_view *t) {
    uint64_t length;
    const char *name = take_text(c, &length);
    if (c->problem) return;
    if (length >= GGUF_NAME_BYTES) fail(c, "a name of more than 63 bytes");
    for (uint64_t i = 0; i < length && !c->problem; i++)
        if (name[i] <= ' ' || name[i] > '~') fail(c, "a name that is not printable ASCII");
    if (c->problem) return;
    *t = (gguf_view){0};
    memcpy(t->name, name, length);
    take_shape(c, t);
    uint64_t type = take_number(c, 4);
    t->offset = take_number(c, 8);
    if (c->problem) return;
    if (type >= sizeof stored_types / sizeof *stored_types || !stored_types[type].name) {
        fail(c, "a tensor of an unknown type");
        return;
    }
    const stored_type *stored = &stored_types[type];
    t->type = stored->name;
    if (t->rank && t->shape[t->rank - 1] % stored->block_elements) fail(c, "a row that is no whole blocks");
    if (!t->rank && stored->block_elements > 1) fail(c, "a row that is no whole blocks");
    t->bytes = t->elements / stored->block_elements * stored->block_bytes;
}

static int compare_names(const void *left, const void *right) {
    return strcmp(((const gguf_view *)left)->name, ((const gguf_view *)right)->name);
}

static int compare_places(const void *left, const void *right) {
    const gguf_view *a = left, *b = right;
    if (a->offset != b->offset) return a->offset < b->offset ? -1 : 1;
    return a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

/* `room`: how many bytes the file has for data. */
static const char *check_tensors(gguf_file *g, uint64_t room, uint64_t alignment, const char **name) {
    gguf_view *t = g->tensors;
    qsort(t, g->count, sizeof *t, compare_names);
    for (uint32_t i = 1; i < g->count; i++) {
        *name = t[i].name;
        if (!strcmp(t[i - 1].name, t[i].name)) return "is there twice";
    }
    qsort(t, g->count, sizeof *t, compare_places);
    for (uint32_t i = 0; i < g->count; i++) {
        *name = t[i].name;
        if (t[i].offset % alignment) return "its data are not aligned";
        if (t[i].offset > room || t[i].bytes > room - t[i].offset) return "its data lie past the end of the file";
        if (i && t[i - 1].offset + t[i - 1].bytes > t[i].offset) return "its data overlap another tensor's";
    }
    return NULL;
}

static levee_status refuse(const char *path, const cursor *c, levee_error *error) {
    return error_set(error, LEVEE_BAD_DATA, "%s: byte %llu: %s; fetch or export it again", path,
                     (unsigned long long)c->at, c->problem);
}

static levee_status read_tensors(gguf_file *g, cursor *c, uint64_t count, const char *path, levee_error *error) {
    enum { LEAST_ENTRY_BYTES = 24 };
    const char *name = "", *problem;
    uint64_t alignment = USUAL_ALIGNMENT;
    if (!c->problem && count > (c->bytes - c->at) / LEAST_ENTRY_BYTES) fail(c, "the file is cut off");
    if (c->problem) return refuse(path, c, error);
    g->tensors = ledger_alloc_array(LEVEE_RUNTIME, count + 1, sizeof *g->tensors);
    if (!g->tensors) return error_out_of_memory(error, path, (count + 1) * sizeof *g->tensors);
    for (g->count = 0; g->count < count && !c->problem; g->count += !c->problem)
        take_tensor(c, &g->tensors[g->count]);
    if (c->problem) return refuse(path, c, error);
    gguf_file_number(g, "general.alignment", &alignment);
    if (!alignment || alignment > MOST_ALIGNMENT || alignment & (alignment - 1))
        return error_set(error, LEVEE_BAD_DATA, "%s: general.alignment: %llu is no power of two", path,
                         (unsigned long long)alignment);
    uint64_t start = (c->at + alignment - 1) / alignment * alignment;
    problem = check_tensors(g, start < c->bytes ? c->bytes - start : 0, alignment, &name);
    return problem
               ? error_set(error, LEVEE_BAD_DATA, "%s: tensor %s: %s; fetch or export it again", path, name, problem)
               : LEVEE_OK;
}

static levee_status read_header(gguf_file *g, const char *path, levee_error *error) {
    cursor c = {.data = g->mapping.data, .bytes = g->mapping.bytes};
    const unsigned char *magic = take(&c, 4);
    if (!magic || memcmp(magic, "GGUF", 4)) return error_set(error, LEVEE_BAD_DATA, "%s: is no GGUF file", path);
    uint64_t version = take_number(&c, 4);
    if (!c.problem && (version < OLDEST_VERSION || version > NEWEST_VERSION))
        return error_set(error, LEVEE_BAD_DATA, "%s: version %llu of GGUF is not read; 2 and 3 are", path,
                         (unsigned long long)version);
    uint64_t count = take_number(&c, 8), entries = take_number(&c, 8);
    entry ignored;
    g->metadata = c.at;
    for (uint64_t i = 0; i < entries && !c.problem; i++) take_entry(&c, &ignored);
    g->entries = c.problem ? 0 : entries;
    return read_tensors(g, &c, count, path, error);
}

levee_status gguf_file_open(gguf_file **result, const char *path, levee_error *error) {
    *result = NULL;
    gguf_file *g = ledger_alloc(LEVEE_RUNTIME, sizeof *g);
    if (!g) return error_out_of_memory(error, path, sizeof *g);
    levee_status status = file_map(&g->mapping, path, error);
    if (status == LEVEE_OK) status = read_header(g, path, error);
    if (status == LEVEE_OK)
        *result = g;
    else
        gguf_file_close(g);
    return status;
}

void gguf_file_close(gguf_file *g) {
    if (!g) return;
    file_unmap(&g->mapping);
    ledger_free(g->tensors);
    ledger_free(g);
}

uint32_t gguf_file_count(const gguf_file *g) { return g->count; }
const gguf_view *gguf_file_at(const gguf_file *g, uint32_t index) { return &g->tensors[index]; }

const char *gguf_file_text(const gguf_file *g, const char *key, uint64_t *bytes) {
    entry e;
    if (!find_entry(g, key, &e) || e.type != TEXT) return NULL;
    *bytes = e.length;
    return (const char *)e.value;
}

bool gguf_file_number(const gguf_file *g, const char *key, uint64_t *number) {
    /* u8, i8, u16, i16, u32, i32, u64, i64: the even ones below 10 and 10 have no sign. */
    entry e;
    if (!find_entry(g, key, &e) || (e.type > 5 && e.type != 10 && e.type != 11)) return false;
    unsigned bytes = value_bytes[e.type]; /* never 0 for these */
    uint64_t value = 0;
    for (unsigned i = bytes; i-- > 0;) value = value << 8 | e.value[i];
    if (!bytes || (e.type % 2 && e.value[bytes - 1] >= 128)) return false; /* negative */
    *number = value;
    return true;
}

uint64_t gguf_file_length(const gguf_file *g, const char *key) {
    entry e;
    return find_entry(g, key, &e) && e.type == LIST ? e.length : 0;
}

/* TensorBoard's event files: see tensorboard.h. */
#include "report/tensorboard.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "tensorboard.pb-c.h"

enum { MOST_VALUES = 32, EVENT_BYTES = 4096, TAG_BYTES = 40, FRAME_BYTES = 16, TYPE_TEXT = 7, SESSION_START = 1 };

/* An event in the making; nothing of it is on the heap. */
typedef struct draft {
    Tensorboard__Event event;
    Tensorboard__Summary summary;
    Tensorboard__Value values[MOST_VALUES], *list[MOST_VALUES];
    char tags[MOST_VALUES][TAG_BYTES];
} draft;

static void put(unsigned char *to, uint64_t number, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++) to[i] = (unsigned char)(number >> 8 * i);
}

/* Checksums are turned and shifted, because the sum of data that holds its own sum says little. */
static uint32_t masked_sum(const unsigned char *data, uint64_t bytes) {
    uint32_t sum = crc32c(data, bytes);
    return (sum >> 15 | sum << 17) + 0xa282ead8u;
}

static levee_status append(tensorboard *t, const Tensorboard__Event *event, levee_error *error) {
    unsigned char record[FRAME_BYTES + EVENT_BYTES];
    size_t bytes = protobuf_c_message_get_packed_size(&event->base);
    if (bytes > EVENT_BYTES) return error_set(error, LEVEE_INTERNAL, "%s: an event of %zu bytes", t->path, bytes);
    put(record, bytes, 8);
    put(record + 8, masked_sum(record, 8), 4);
    protobuf_c_message_pack(&event->base, record + 12);
    put(record + 12 + bytes, masked_sum(record + 12, bytes), 4);
    levee_status status = file_append(t->descriptor, t->path, record, FRAME_BYTES + bytes, t->bytes, error);
    if (status == LEVEE_OK) t->bytes += FRAME_BYTES + bytes;
    return status;
}

static Tensorboard__Event event_at(double time, uint64_t step) {
    Tensorboard__Event event = TENSORBOARD__EVENT__INIT;
    event.has_wall_time = event.has_step = true;
    event.wall_time = time;
    event.step = (int64_t)step;
    return event;
}

static void draft_begin(draft *d, double time, uint64_t step) {
    d->event = event_at(time, step);
    d->summary = (Tensorboard__Summary)TENSORBOARD__SUMMARY__INIT;
    d->summary.value = d->list;
    d->event.summary = &d->summary;
}

static Tensorboard__Value *add(draft *d, const char *group, const char *name) {
    size_t at = d->summary.n_value;
    if (at == MOST_VALUES) return &d->values[at - 1]; /* there are fewer kinds */
    d->values[at] = (Tensorboard__Value)TENSORBOARD__VALUE__INIT;
    snprintf(d->tags[at], TAG_BYTES, "%s/%s", group, name);
    d->values[at].tag = d->tags[at];
    d->list[at] = &d->values[at];
    d->summary.n_value++;
    return d->list[at];
}

static void add_number(draft *d, const char *group, const char *name, double number) {
    Tensorboard__Value *value = add(d, group, name);
    value->has_simple_value = true;
    value->simple_value = (float)number;
}

/* In MiB, because the axis has no unit; a byte count is as exact in these as f32 is. */
static void add_bytes(draft *d, const char *group, const char *name, uint64_t bytes) {
    if (bytes != LEVEE_UNKNOWN_BYTES) add_number(d, group, name, (double)bytes / 0x1p20);
}

/* The host belongs into the name, for directories that many share. */
static void name_host(char host[64]) {
    if (gethostname(host, 63) || !*host) snprintf(host, 64, "unknown");
    host[63] = 0;
    for (char *c = host; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '-' && *c != '.') *c = '_';
}

/* A name that nobody has, behind all that are there. */
static bool choose_path(tensorboard *t, const char *directory) {
    char host[64], name[160];
    name_host(host);
    for (unsigned number = 0;; number++) {
        snprintf(name, sizeof name, "events.out.tfevents.%010.0f.%s.%d.%u", floor(report_time()), host, (int)getpid(),
                 number);
        if (!file_join(t->path, directory, name)) return false;
        if (!file_exists(t->path)) return true;
    }
}

static levee_status begin_file(tensorboard *t, uint64_t next_step, levee_error *error) {
    char version[] = "brain.Event:2";
    Tensorboard__Event first = TENSORBOARD__EVENT__INIT, start = event_at(report_time(), next_step);
    Tensorboard__SessionLog log = TENSORBOARD__SESSION_LOG__INIT;
    first.has_wall_time = true;
    first.wall_time = start.wall_time;
    first.file_version = version;
    log.has_status = true;
    log.status = SESSION_START;
    start.session_log = &log;
    levee_status status = append(t, &first, error);
    return status == LEVEE_OK ? append(t, &start, error) : status;
}

levee_status tensorboard_open(tensorboard *t, const char *directory, uint64_t next_step, levee_error *error) {
    *t = (tensorboard){.descriptor = -1, .stride = 1};
    levee_status status = file_make_directory(directory, error);
    if (status != LEVEE_OK) return status;
    if (!choose_path(t, directory))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    status = file_append_open(&t->descriptor, t->path, 0, &t->bytes, error);
    t->open = status == LEVEE_OK;
    if (status == LEVEE_OK) status = begin_file(t, next_step, error);
    if (status != LEVEE_OK) tensorboard_close(t);
    return status;
}

void tensorboard_close(tensorboard *t) {
    if (t->open) file_close(t->descriptor);
    t->open = false;
    t->descriptor = -1;
}

/* Counts a step, and says whether it is one of those that are written. */
static bool is_due(tensorboard *t) {
    t->due = ++t->seen % t->stride == 0;
    if (t->due && ++t->written == TENSORBOARD_EVERY) {
        t->written = 0;
        t->stride *= 2;
    }
    return t->due;
}

static void add_memory(draft *d, const step_report *r) {
    uint64_t planned = 0;
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) {
        planned += r->planned_bytes[c];
        if (r->planned_bytes[c] || r->booked_bytes[c])
            add_bytes(d, "memory_booked_MiB", levee_category_name((levee_category)c), r->booked_bytes[c]);
    }
    add_bytes(d, "memory_MiB", "held", r->held_bytes);
    add_bytes(d, "memory_MiB", "peak", r->peak_bytes);
    add_bytes(d, "memory_MiB", "planned", planned);
    add_bytes(d, "memory_MiB", "budget", r->budget_bytes);
}

static void add_step(draft *d, const step_report *r) {
    add_number(d, "loss", "train", r->loss);
    add_number(d, "training", "learning_rate", r->learning_rate);
    add_number(d, "training", "gradient_norm", r->gradient_norm);
    add_number(d, "speed", "tokens_per_second", r->tokens_per_second);
    add_number(d, "speed", "seconds_per_step", r->seconds);
    add_number(d, "training", "plan_level", r->plan_level);
    add_memory(d, r);
}

levee_status tensorboard_step(void *self, const step_report *r, levee_error *error) {
    tensorboard *t = self;
    draft d;
    draft_begin(&d, r->time, r->step);
    if (is_due(t)) add_step(&d, r);
    if (!isnan(r->validation_loss)) add_number(&d, "loss", "validation", r->validation_loss);
    return d.summary.n_value ? append(t, &d.event, error) : LEVEE_OK;
}

levee_status tensorboard_event(void *self, const event_report *e, levee_error *error) {
    char line[GUARD_LINE_BYTES], plugin[] = "text";
    ProtobufCBinaryData text = {.data = (uint8_t *)line};
    Tensorboard__Tensor tensor = TENSORBOARD__TENSOR__INIT;
    Tensorboard__Metadata metadata = TENSORBOARD__METADATA__INIT;
    Tensorboard__PluginData shown = TENSORBOARD__PLUGIN_DATA__INIT;
    draft d;
    guard_decision_line(line, &e->decision);
    text.len = strlen(line);
    tensor.has_type = true;
    tensor.type = TYPE_TEXT;
    tensor.n_string_val = 1;
    tensor.string_val = &text;
    shown.plugin_name = plugin;
    metadata.plugin_data = &shown;
    draft_begin(&d, e->time, e->step);
    Tensorboard__Value *value = add(&d, "guard", e->carried_out ? "done" : "warned");
    value->tensor = &tensor;
    value->metadata = &metadata;
    return append(self, &d.event, error);
}

static void add_sample(draft *d, const sample_report *seen) {
    reading held = sample_held(&seen->sample), available = seen->sample.meters[METER_MACHINE_AVAILABLE];
    if (held.known) add_bytes(d, "memory_MiB", "held", held.value);
    if (available.known) add_bytes(d, "machine_MiB", "available", available.value);
    add_number(d, "guard", "pressure_share", seen->seen.found.share);
}

levee_status tensorboard_sample(void *self, const sample_report *seen, levee_error *error) {
    tensorboard *t = self;
    draft d;
    if (t->by_samples) is_due(t);
    if (!t->due) return LEVEE_OK;
    draft_begin(&d, seen->time, seen->step);
    if (t->by_samples) add_sample(&d, seen);
    if (seen->leak_known) add_number(&d, "guard", "growth_bytes_per_step", seen->leak.bytes);
    return d.summary.n_value ? append(t, &d.event, error) : LEVEE_OK;
}

levee_status tensorboard_sync(void *self, levee_error *error) {
    const tensorboard *t = self;
    return file_sync(t->descriptor, t->path, error);
}

/* The table of watch's options: see options.h. */
#include "watch/options.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "memory/ledger.h"
#include "platform/headroom.h"

typedef enum option_kind { SIZE, SIZE_OR_AUTO, SECONDS, WHOLE, TEXT, WARN_OR_ACT, FLAG } option_kind;

typedef struct watch_option {
    const char *key;
    option_kind kind;
    size_t at;
    double least, most; /* of seconds and whole numbers */
    const char *help;
} watch_option;

#define AT(field) offsetof(levee_watch_options, field)

static const watch_option table[] = {
    {"memory", SIZE, AT(budget_bytes), 0, 0,
     "most the command and its processes may hold, as 12GiB; default: no limit"},
    {"reserve", SIZE, AT(reserve_bytes), 0, 0,
     "memory of the machine left free for others; default: 1/8, at least 1 GiB and at most 1/4"},
    {"device-memory", SIZE, AT(device_bytes), 0, 0,
     "most they may have on the GPU; default: no limit, but leaks there are told"},
    {"device", WHOLE, AT(device), 0, 255, "number of the NVIDIA GPU that is watched, as nvidia-smi counts them (0)"},
    {"step-pattern", TEXT, AT(step_pattern), 0, 0,
     "regular expression; each line of output that matches is a step, or its first group is the step's number"},
    {"sample-every", SECONDS, AT(sample_seconds), 0.01, 3600, "seconds that count as a step where none is told (1)"},
    {"log", TEXT, AT(log), 0, 0, "file that each sample and each decision is appended to, as JSON lines"},
    {"run-dir", TEXT, AT(run_directory), 0, 0,
     "directory for events.jsonl, samples.jsonl and log.txt, which levee top and others show"},
    {"tensorboard", FLAG, AT(tensorboard), 0, 0, "write TensorBoard's event files into tensorboard below --run-dir"},
    {"web", TEXT, AT(web), 0, 0,
     "show the command's memory on a page, and its metrics to Prometheus, at ADDRESS:PORT; auto: 127.0.0.1:8642, or "
     "a free port"},
    {"guard", WARN_OR_ACT, AT(only_warns), 0, 0, "act: stop the command when nothing else helps; warn: only tell"},
    {"hook", TEXT, AT(hook), 0, 0, "shell command that is run before the command is stopped, while it is frozen"},
    {"ask-signal", FLAG, AT(asks_by_signal), 0, 0,
     "send SIGUSR1 before SIGTERM; only for a program that handles it, others it ends"},
    {"grace", SECONDS, AT(grace_seconds), 0, 86400, "seconds to answer the hook, a wish or SIGTERM each (10)"},
    {"cool-down", SECONDS, AT(cool_down_seconds), 0, 3600, "seconds of calm before a paused program may go on (60)"},
    {"cgroup", SIZE_OR_AUTO, AT(group_bytes), 0, 0,
     "run the command in a memory control group of its own, of this size"},
    {"no-volunteer", FLAG, AT(leaves_victim), 0, 0, "leave the command's oom_score_adj as it is; default: 1000"},
    {"quiet", FLAG, AT(quiet), 0, 0, "tell of leaks and actions only"},
};

enum { COUNT = sizeof table / sizeof *table };

static void set_defaults(levee_watch_options *o) {
    memset(o, 0, sizeof *o);
    o->budget_bytes = UINT64_MAX;
    o->device_bytes = UINT64_MAX;
    o->reserve_bytes = HEADROOM_USUAL_RESERVE;
    o->sample_seconds = 1;
    o->grace_seconds = 10;
    o->cool_down_seconds = 60;
}

levee_watch_options *levee_watch_options_create(void) {
    levee_watch_options *o = ledger_alloc(LEVEE_RUNTIME, sizeof *o);
    if (o) set_defaults(o);
    return o;
}

void levee_watch_options_free(levee_watch_options *options) { ledger_free(options); }

unsigned levee_watch_option_count(void) { return COUNT; }

const char *levee_watch_option_key(unsigned index) { return index < COUNT ? table[index].key : NULL; }

const char *levee_watch_option_help(unsigned index) { return index < COUNT ? table[index].help : NULL; }

bool levee_watch_option_is_flag(const char *key) {
    for (unsigned i = 0; i < COUNT; i++)
        if (!strcmp(key, table[i].key)) return table[i].kind == FLAG;
    return false;
}

static bool set_size(uint64_t *field, const char *value, bool may_be_auto) {
    if (may_be_auto && !strcmp(value, "auto")) {
        *field = UINT64_MAX;
        return true;
    }
    return bytes_parse(value, field) && (!may_be_auto || *field > 0);
}

static bool set_seconds(double *field, const watch_option *o, const char *value) {
    char *end;
    double seconds = strtod(value, &end);
    if (end == value || *end || !(seconds >= o->least && seconds <= o->most)) return false;
    *field = seconds;
    return true;
}

static bool set_whole(unsigned *field, const watch_option *o, const char *value) {
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end || !(number >= o->least && number <= o->most) || number != floor(number)) return false;
    *field = (unsigned)number;
    return true;
}

static bool set_text(char *field, const char *value) {
    size_t length = strlen(value);
    if (!length || length >= WATCH_TEXT_BYTES) return false;
    memcpy(field, value, length + 1);
    return true;
}

static bool set_mode(bool *only_warns, const char *value) {
    *only_warns = !strcmp(value, "warn");
    return *only_warns || !strcmp(value, "act");
}

static bool set(levee_watch_options *options, const watch_option *o, const char *value) {
    void *field = (char *)options + o->at;
    switch (o->kind) {
    case SIZE:
    case SIZE_OR_AUTO:
        return set_size(field, value, o->kind == SIZE_OR_AUTO);
    case SECONDS:
        return set_seconds(field, o, value);
    case WHOLE:
        return set_whole(field, o, value);
    case TEXT:
        return set_text(field, value);
    case WARN_OR_ACT:
        return set_mode(field, value);
    default:
        *(bool *)field = true;
        return !*value;
    }
}

static levee_status refuse_value(const watch_option *o, const char *value, levee_error *error) {
    switch (o->kind) {
    case SIZE:
        return error_set(error, LEVEE_USAGE, "--%s '%.80s': a size is needed, as 600MiB or 12GiB", o->key, value);
    case SIZE_OR_AUTO:
        return error_set(error, LEVEE_USAGE, "--%s '%.80s': a size is needed, as 12GiB, or auto", o->key, value);
    case SECONDS:
        return error_set(error, LEVEE_USAGE, "--%s '%.80s': seconds from %g to %g are needed", o->key, value,
                         o->least, o->most);
    case WHOLE:
        return error_set(error, LEVEE_USAGE, "--%s '%.80s': a whole number from %g to %g is needed", o->key, value,
                         o->least, o->most);
    case TEXT:
        return error_set(error, LEVEE_USAGE, "--%s: a text of 1 to %d bytes is needed", o->key, WATCH_TEXT_BYTES - 1);
    case WARN_OR_ACT:
        return error_set(error, LEVEE_USAGE, "--%s '%.80s': warn or act is needed", o->key, value);
    default:
        return error_set(error, LEVEE_USAGE, "--%s takes no value", o->key);
    }
}

levee_status levee_watch_options_set(levee_watch_options *options, const char *key, const char *value,
                                     levee_error *error) {
    for (unsigned i = 0; i < COUNT; i++) {
        if (strcmp(key, table[i].key)) continue;
        return set(options, &table[i], value) ? LEVEE_OK : refuse_value(&table[i], value, error);
    }
    return error_set(error, LEVEE_USAGE, "--%.80s is no option of watch; see levee watch --help", key);
}

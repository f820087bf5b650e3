/* All meters at one moment: see sample.h. */
#include "guard/sample.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "memory/ledger.h"
#include "platform/machine.h"

const char *guard_meter_name(guard_meter meter) {
    static const char *const names[METER_COUNT] = {
        "process_anonymous_bytes",
        "process_shared_bytes",
        "process_file_bytes",
        "process_swapped_bytes",
        "booked_bytes",
        "machine_total_bytes",
        "machine_available_bytes",
        "swap_total_bytes",
        "swap_free_bytes",
        "stall_some_microseconds",
        "stall_full_microseconds",
        "file_refaults",
        "major_faults",
        "group_limit_bytes",
        "group_headroom_bytes",
        "group_limit_hits",
        "group_high_hits",
        "group_kills",
        "device_total_bytes",
        "device_used_bytes",
        "device_process_bytes",
    };
    return (unsigned)meter < METER_COUNT ? names[meter] : "unknown";
}

static reading sum(reading a, reading b) {
    return (reading){.known = a.known && b.known, .value = a.known && b.known ? a.value + b.value : 0};
}

reading sample_held(const guard_sample *s) {
    return sum(s->meters[METER_PROCESS_ANONYMOUS], s->meters[METER_PROCESS_SHARED]);
}

reading sample_taken(const guard_sample *s) { return sum(sample_held(s), s->meters[METER_PROCESS_SWAPPED]); }

bool sample_unaccounted(const guard_sample *s, int64_t *bytes) {
    reading taken = sample_taken(s), booked = s->meters[METER_BOOKED];
    *bytes = (int64_t)taken.value - (int64_t)booked.value;
    return taken.known && booked.known;
}

static double machine_clock(void *context) {
    (void)context;
    return machine_seconds();
}

sampler_options sampler_options_default(void) {
    return (sampler_options){.roots = kernel_roots_default, .clock = machine_clock};
}

void sampler_open(sampler *s, const sampler_options *options) {
    memset(s, 0, sizeof *s);
    s->options = *options;
    if (!options->tree) process_meter_open(&s->process, options->roots, options->pid);
    machine_meter_open(&s->machine, options->roots);
    control_groups_open(&s->groups, options->roots, options->pid);
    if (options->with_device) gpu_meter_open(&s->device, options->device_library, options->device);
}

void sampler_close(sampler *s) {
    process_meter_close(&s->process);
    machine_meter_close(&s->machine);
    control_groups_close(&s->groups);
    gpu_meter_close(&s->device);
}

/* A process that a member of a tree starts is seen after this long, or later where the machine has so many processes
 * that looking would take more than this share of the time. */
static const double tree_oldest_seconds = 0.25, tree_most_share = 1.0 / 200;

static void read_processes(const sampler *s, process_readings *now) {
    if (!s->options.tree) {
        process_meter_read(&s->process, now);
        return;
    }
    process_tree_look_again(s->options.tree, tree_oldest_seconds, tree_most_share);
    process_tree_read(s->options.tree, now);
}

static void take_process(const sampler *s, reading *meters) {
    process_readings now;
    read_processes(s, &now);
    meters[METER_PROCESS_ANONYMOUS] = now.anonymous;
    meters[METER_PROCESS_SHARED] = now.shared;
    meters[METER_PROCESS_FILE] = now.file;
    meters[METER_PROCESS_SWAPPED] = now.swapped;
    if (!s->options.pid && !s->options.tree)
        meters[METER_BOOKED] = (reading){.known = true, .value = ledger_booked(LEVEE_CATEGORY_COUNT)};
}

static void take_machine(const sampler *s, reading *meters) {
    machine_readings now;
    machine_meter_read(&s->machine, &now);
    meters[METER_MACHINE_TOTAL] = now.total;
    meters[METER_MACHINE_AVAILABLE] = now.available;
    meters[METER_SWAP_TOTAL] = now.swap_total;
    meters[METER_SWAP_FREE] = now.swap_free;
    meters[METER_STALL_SOME] = now.stall_some;
    meters[METER_STALL_FULL] = now.stall_full;
    meters[METER_REFAULTS] = now.refaults;
    meters[METER_MAJOR_FAULTS] = now.major_faults;
}

static void take_groups(sampler *s, guard_sample *sample) {
    group_readings now;
    control_groups_read(&s->groups, &now);
    sample->groups = now.groups;
    sample->groups_unreadable = now.unreadable;
    sample->meters[METER_GROUP_LIMIT] = now.limit;
    sample->meters[METER_GROUP_HEADROOM] = now.headroom;
    sample->meters[METER_GROUP_LIMIT_HITS] = now.limit_hits;
    sample->meters[METER_GROUP_HIGH_HITS] = now.high_hits;
    sample->meters[METER_GROUP_KILLS] = now.kills;
}

static bool is_sampled(void *context, unsigned pid) {
    const sampler *s = context;
    if (s->options.tree) return process_tree_has(s->options.tree, (int)pid);
    return (int)pid == (s->options.pid ? s->options.pid : getpid());
}

static void take_device(sampler *s, reading *meters) {
    gpu_readings now;
    gpu_meter_read(&s->device, is_sampled, s, &now);
    meters[METER_DEVICE_TOTAL] = now.total;
    meters[METER_DEVICE_USED] = now.used;
    meters[METER_DEVICE_PROCESS] = now.processes;
}

void sampler_take(sampler *s, guard_sample *sample) {
    memset(sample, 0, sizeof *sample);
    sample->seconds = s->options.clock(s->options.clock_context);
    take_process(s, sample->meters);
    take_machine(s, sample->meters);
    take_groups(s, sample);
    take_device(s, sample->meters);
    if (s->options.bend) s->options.bend(s->options.bend_context, sample);
}

/* What a machine may be without. */
static bool optional(guard_meter meter) { return meter == METER_BOOKED || meter >= METER_DEVICE_TOTAL; }

unsigned sample_lacks(const guard_sample *sample, char text[SAMPLE_LACKS_BYTES]) {
    unsigned lacks = 0, length = 0;
    text[0] = 0;
    for (guard_meter m = 0; m < METER_COUNT; m++) {
        if (sample->meters[m].known || optional(m)) continue;
        int wrote =
            snprintf(text + length, SAMPLE_LACKS_BYTES - length, "%s%s", lacks ? ", " : "", guard_meter_name(m));
        length += (unsigned)wrote;
        lacks++;
    }
    if (sample->groups_unreadable)
        snprintf(text + length, SAMPLE_LACKS_BYTES - length, "%s%u of %u control groups", lacks ? ", " : "",
                 sample->groups_unreadable, sample->groups);
    return lacks + sample->groups_unreadable;
}

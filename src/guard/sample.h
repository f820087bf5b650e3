/* A sample: what all meters say at one moment, and the sampler that takes it.
 *
 * Words. Held is what counts against a budget: anonymous and shared memory of the process. Taken is held and swapped
 * out: what a leak adds to, wherever the kernel puts it. Unaccounted is taken less what the ledger booked. A meter
 * that cannot be read is unknown, with its name; it is never taken for 0. A degraded sampler says what it lacks.
 *
 * What is sampled is this process, another one, or a whole tree of processes: its members' memory together, on a
 * device too, and the control groups of process `pid`.
 *
 * The caller owns sampler and samples, plain data. Opening keeps descriptors; taking a sample allocates nothing,
 * makes no process and, for a single one, opens no file unless it was moved to another control group. One sampler
 * belongs to one thread. */
#ifndef LEVEE_GUARD_SAMPLE_H
#define LEVEE_GUARD_SAMPLE_H

#include "platform/control_groups.h"
#include "platform/gpu_memory.h"
#include "platform/machine_memory.h"
#include "platform/process_meter.h"
#include "platform/process_tree.h"

typedef enum guard_meter {
    METER_PROCESS_ANONYMOUS,
    METER_PROCESS_SHARED,
    METER_PROCESS_FILE, /* mapped files: the kernel may drop them */
    METER_PROCESS_SWAPPED,
    METER_BOOKED, /* by the ledger; unknown for others than this process */
    METER_MACHINE_TOTAL,
    METER_MACHINE_AVAILABLE,
    METER_SWAP_TOTAL,
    METER_SWAP_FREE,
    METER_STALL_SOME, /* microseconds so far that some task waited for memory */
    METER_STALL_FULL, /* that all did */
    METER_REFAULTS,   /* file pages dropped and read again so far */
    METER_MAJOR_FAULTS,
    METER_GROUP_LIMIT, /* of the control group that leaves least; UINT64_MAX: none */
    METER_GROUP_HEADROOM,
    METER_GROUP_LIMIT_HITS, /* so far */
    METER_GROUP_HIGH_HITS,
    METER_GROUP_KILLS,
    METER_DEVICE_TOTAL,
    METER_DEVICE_USED,
    METER_DEVICE_PROCESS,
    METER_COUNT
} guard_meter;

/* The name of a meter as logs have it: "machine_available_bytes". */
const char *guard_meter_name(guard_meter meter);

typedef struct guard_sample {
    double seconds; /* by the sampler's clock */
    reading meters[METER_COUNT];
    unsigned groups, groups_unreadable; /* control groups above the process, and those of them not wholly readable */
} guard_sample;

/* Unknown when a part of it is. */
reading sample_held(const guard_sample *s);
reading sample_taken(const guard_sample *s);

/* Taken less booked; false when unknown. May be below 0: booked memory need not have been touched. */
bool sample_unaccounted(const guard_sample *s, int64_t *bytes);

typedef struct sampler_options {
    kernel_roots roots;
    int pid;            /* 0: this process, whose ledger is read too */
    process_tree *tree; /* NULL, or what is sampled instead of one process; it must stay open */
    double (*clock)(void *context);
    void *clock_context;
    bool with_device; /* look for a GPU */
    unsigned device;
    const char *device_library; /* NULL: the driver's */
    /* For a fire drill: may change a sample before anybody sees it. NULL: nobody does. */
    void (*bend)(void *context, guard_sample *sample);
    void *bend_context;
} sampler_options;

/* This process, the machine's own files, its clock, no GPU. */
sampler_options sampler_options_default(void);

typedef struct sampler {
    sampler_options options;
    process_meter process;
    machine_meter machine;
    control_groups groups;
    gpu_meter device;
} sampler;

/* Opens every meter that is there. Never fails: what cannot be read is unknown in each sample. */
void sampler_open(sampler *s, const sampler_options *options);
void sampler_close(sampler *s);

void sampler_take(sampler *s, guard_sample *sample);

/* Writes "machine_available_bytes, stall_some_microseconds" into `text`: what the sample lacks of what every machine
 * has (no GPU is no lack); returns the number of meters named. */
enum { SAMPLE_LACKS_BYTES = 1024 };
unsigned sample_lacks(const guard_sample *sample, char text[SAMPLE_LACKS_BYTES]);

#endif

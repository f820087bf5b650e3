/* What the doctor looks at: everything that the readers of platform/ tell, as plain data, read once.
 *
 * Facts and what is said of them (findings.h) are apart, so that a test can make a machine that is not there. */
#ifndef LEVEE_DOCTOR_FACTS_H
#define LEVEE_DOCTOR_FACTS_H

#include "platform/control_groups.h"
#include "platform/disk.h"
#include "platform/gpu_memory.h"
#include "platform/machine.h"
#include "platform/machine_memory.h"
#include "platform/memory_policy.h"
#include "platform/process_limits.h"
#include "platform/process_list.h"
#include "platform/processor.h"

typedef struct doctor_facts {
    machine_readings memory;
    uint64_t reserve_bytes; /* stays free for others; 0 when the machine's memory is unknown */
    memory_policy policy;
    bool groups_known; /* the control groups of this process */
    bool group_version_1, group_version_2;
    group_readings groups;
    process_list processes;
    process_limits limits;
    processor chip;
    instruction_set instructions; /* of our own vector code */
    unsigned processors, threads; /* that this process may run on; that a run would start */
    bool gpu_there;
    char gpu_name[GPU_NAME_BYTES], gpu_driver[GPU_NAME_BYTES]; /* empty: not told */
    gpu_readings gpu;
    disk_trial disk;
} doctor_facts;

typedef struct doctor_options {
    kernel_roots roots;
    const char *directory;   /* where runs would go; need not be there */
    uint64_t reserve_bytes;  /* HEADROOM_USUAL_RESERVE: the usual one */
    unsigned threads;        /* of a run */
    const char *gpu_library; /* NULL: the driver's */
} doctor_options;

/* Reads all facts; writes and removes a file of a MiB in the directory. Never fails: what cannot be read is unknown.
 */
void doctor_look(doctor_facts *facts, const doctor_options *options);

#endif

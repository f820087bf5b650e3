/* Reading what there is: see facts.h. */
#include "doctor/facts.h"

#include <string.h>
#include <unistd.h>

#include "platform/headroom.h"

static void look_at_memory(doctor_facts *f, const doctor_options *o) {
    machine_meter meter;
    machine_meter_open(&meter, o->roots);
    machine_meter_read(&meter, &f->memory);
    machine_meter_close(&meter);
    f->reserve_bytes = o->reserve_bytes;
    if (o->reserve_bytes == HEADROOM_USUAL_RESERVE)
        f->reserve_bytes = f->memory.total.known ? headroom_usual_reserve(true, f->memory.total.value) : 0;
}

static void look_at_groups(doctor_facts *f, const doctor_options *o) {
    control_groups groups;
    f->groups_known = control_groups_open(&groups, o->roots, 0);
    control_groups_read(&groups, &f->groups);
    for (unsigned i = 0; i < groups.count; i++)
        *(groups.groups[i].version_2 ? &f->group_version_2 : &f->group_version_1) = true;
    control_groups_close(&groups);
}

static void look_at_gpu(doctor_facts *f, const doctor_options *o) {
    gpu_meter meter;
    unsigned own = (unsigned)getpid();
    f->gpu_there = gpu_meter_open(&meter, o->gpu_library, 0);
    gpu_meter_describe(&meter, f->gpu_name, f->gpu_driver);
    gpu_meter_read(&meter, gpu_process_is, &own, &f->gpu);
    gpu_meter_close(&meter);
}

void doctor_look(doctor_facts *facts, const doctor_options *options) {
    memset(facts, 0, sizeof *facts);
    look_at_memory(facts, options);
    look_at_groups(facts, options);
    memory_policy_read(&facts->policy, options->roots);
    process_list_read(&facts->processes, options->roots);
    process_limits_read(&facts->limits, options->roots);
    processor_read(&facts->chip, options->roots);
    facts->instructions = machine_instruction_set();
    facts->processors = machine_processors();
    facts->threads = options->threads;
    look_at_gpu(facts, options);
    disk_try(&facts->disk, options->directory);
}

/* The memory of a process on macOS: see process_meter.h. Not tested: there was no such machine.
 *
 * The footprint is what the kernel itself holds against a process (jetsam, Activity Monitor): dirty memory of all
 * kinds, what was compressed or swapped out included. It cannot be told apart, so all of it counts as anonymous. */
#include <libproc.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "platform/process_meter.h"

static bool read_usage(int pid, struct rusage_info_v4 *usage) {
    return proc_pid_rusage(pid, RUSAGE_INFO_V4, (rusage_info_t *)usage) == 0;
}

void process_meter_open(process_meter *meter, kernel_roots roots, int pid) {
    struct rusage_info_v4 usage;
    (void)roots; /* there are no files */
    memset(meter, 0, sizeof *meter);
    if (!pid) pid = getpid();
    if (!read_usage(pid, &usage)) return;
    meter->pid = pid;
    meter->started = usage.ri_proc_start_abstime;
}

void process_meter_close(process_meter *meter) { memset(meter, 0, sizeof *meter); }

void process_meter_read(const process_meter *meter, process_readings *now) {
    struct rusage_info_v4 usage;
    memset(now, 0, sizeof *now);
    if (!meter->pid || !read_usage(meter->pid, &usage) || usage.ri_proc_start_abstime != meter->started) return;
    /* What is resident and not in the footprint is clean: mapped files. Compressed memory is in the footprint alone,
     * so under pressure this is too little, never too much. */
    uint64_t clean =
        usage.ri_resident_size > usage.ri_phys_footprint ? usage.ri_resident_size - usage.ri_phys_footprint : 0;
    now->anonymous = (reading){.known = true, .value = usage.ri_phys_footprint};
    now->shared = now->swapped = (reading){.known = true};
    now->file = (reading){.known = true, .value = clean};
}

/* The machine's memory as the kernel counts it, read again and again: what is there, what can be had, and whether
 * those who want it wait for it.
 *
 * The caller owns the meter; its descriptors are kept open and reading allocates nothing. MemTotal is read each time:
 * memory can be added to and taken from a virtual machine. */
#ifndef LEVEE_PLATFORM_MACHINE_MEMORY_H
#define LEVEE_PLATFORM_MACHINE_MEMORY_H

#include "platform/kernel_text.h"

typedef struct machine_meter {
    kernel_file meminfo, pressure, vmstat;
} machine_meter;

typedef struct machine_readings {
    reading total, available; /* bytes */
    reading swap_total, swap_free;
    reading stall_some, stall_full; /* microseconds so far that some task, or all, waited for memory */
    reading refaults;               /* pages of files that were dropped and had to be read again, so far */
    reading major_faults;           /* faults that had to wait for a disk, so far */
} machine_readings;

/* Opens what there is; what is not there reads as unknown. machine_meter_close accepts a zeroed meter. */
void machine_meter_open(machine_meter *meter, kernel_roots roots);
void machine_meter_close(machine_meter *meter);

void machine_meter_read(const machine_meter *meter, machine_readings *now);

#endif

/* The memory of NVIDIA GPUs, by NVML when the driver has brought it: loaded at run time, so nothing needs it.
 *
 * NVML, not CUDA, because asking CUDA makes a context of some hundred MiB on the device that is asked about. What
 * NVML allocates while it starts and reads is its own affair. The caller owns the meter. Not thread-safe. */
#ifndef LEVEE_PLATFORM_GPU_MEMORY_H
#define LEVEE_PLATFORM_GPU_MEMORY_H

#include "platform/kernel_text.h"

enum { GPU_MOST_PROCESSES = 64 };

/* NVML's own layout of what a process uses. */
typedef struct gpu_process {
    unsigned pid;
    unsigned long long bytes; /* all bits set: not told */
    unsigned instance, compute_instance;
} gpu_process;

typedef struct gpu_meter {
    void *library, *device; /* NULL: there is none */
    int (*memory_info)(void *device, unsigned long long memory[3]);
    int (*compute_processes)(void *device, unsigned *count, gpu_process *processes);
    int (*shut_down)(void);
    bool own_numbers; /* we are in the initial process name space, whose numbers NVML tells */
    gpu_process processes[GPU_MOST_PROCESSES];
} gpu_meter;

typedef struct gpu_readings {
    reading total, used; /* bytes of the device; unified memory has none of its own and says so: unknown */
    reading processes;   /* of these what the processes asked for use; in a container that numbers processes itself,
                            unknown while none of them is found */
} gpu_readings;

/* Opens device number `index`. False, with all readings unknown from then on, when NVML or the device is not there.
 * `library` NULL is the driver's own. gpu_meter_close accepts a zeroed meter. */
bool gpu_meter_open(gpu_meter *meter, const char *library, unsigned index);
void gpu_meter_close(gpu_meter *meter);

/* What the device is called and which driver it has; empty where NVML does not tell. */
enum { GPU_NAME_BYTES = 96 }; /* NVML's own most is 96 for a device, 80 for a driver */
void gpu_meter_describe(const gpu_meter *meter, char name[GPU_NAME_BYTES], char driver[GPU_NAME_BYTES]);

/* Is this one of the processes that are asked for? */
typedef bool gpu_process_filter(void *context, unsigned pid);

void gpu_meter_read(gpu_meter *meter, gpu_process_filter *is_asked_for, void *context, gpu_readings *now);

/* The filter for one process, of which the context is the number: an unsigned. */
bool gpu_process_is(void *pid, unsigned other);

#endif

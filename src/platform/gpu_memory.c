/* NVML, loaded at run time: see gpu_memory.h. */
#include "platform/gpu_memory.h"

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

/* A function of the library; POSIX has dlsym give an object pointer, which C does not turn into a function. */
static bool find(void *library, const char *name, void *function) {
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

/* The kernel gives the initial name space of processes this number on every machine. */
static bool in_initial_name_space(void) {
    static const char initial[] = "pid:[4026531836]";
    char name[sizeof initial] = "";
    ssize_t length = readlink("/proc/self/ns/pid", name, sizeof name);
    return length == sizeof initial - 1 && !memcmp(name, initial, sizeof initial - 1);
}

bool gpu_meter_open(gpu_meter *meter, const char *library, unsigned index) {
    memset(meter, 0, sizeof *meter);
    int (*start)(void);
    int (*device)(unsigned, void **);
    meter->own_numbers = in_initial_name_space();
    void *nvml = meter->library = dlopen(library ? library : "libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    bool found = nvml && find(nvml, "nvmlInit_v2", &start) && find(nvml, "nvmlDeviceGetHandleByIndex_v2", &device) &&
                 find(nvml, "nvmlDeviceGetMemoryInfo", &meter->memory_info) &&
                 find(nvml, "nvmlDeviceGetComputeRunningProcesses_v3", &meter->compute_processes) &&
                 find(nvml, "nvmlShutdown", &meter->shut_down);
    bool started = found && start() == 0;
    if (started && device(index, &meter->device) == 0 && meter->device) return true;
    if (!started) meter->shut_down = NULL;
    gpu_meter_close(meter);
    return false;
}

void gpu_meter_close(gpu_meter *meter) {
    if (meter->shut_down) meter->shut_down();
    if (meter->library) dlclose(meter->library);
    memset(meter, 0, sizeof *meter);
}

void gpu_meter_describe(const gpu_meter *meter, char name[GPU_NAME_BYTES], char driver[GPU_NAME_BYTES]) {
    int (*device_name)(void *device, char *text, unsigned bytes);
    int (*driver_version)(char *text, unsigned bytes);
    name[0] = driver[0] = 0;
    if (!meter->device) return;
    if (find(meter->library, "nvmlDeviceGetName", &device_name) && device_name(meter->device, name, GPU_NAME_BYTES))
        name[0] = 0;
    if (find(meter->library, "nvmlSystemGetDriverVersion", &driver_version) && driver_version(driver, GPU_NAME_BYTES))
        driver[0] = 0;
    name[GPU_NAME_BYTES - 1] = driver[GPU_NAME_BYTES - 1] = 0;
}

static void read_device(const gpu_meter *meter, gpu_readings *now) {
    unsigned long long memory[3] = {0}; /* total, free, used */
    if (meter->memory_info(meter->device, memory) || !memory[0]) return;
    now->total = (reading){.known = true, .value = memory[0]};
    now->used = (reading){.known = true, .value = memory[2]};
}

bool gpu_process_is(void *pid, unsigned other) { return *(const unsigned *)pid == other; }

static void read_processes(gpu_meter *meter, gpu_process_filter *is_asked_for, void *context, gpu_readings *now) {
    unsigned count = GPU_MOST_PROCESSES;
    if (meter->compute_processes(meter->device, &count, meter->processes) || count > GPU_MOST_PROCESSES) return;
    bool found = false, told = true;
    for (unsigned i = 0; i < count; i++) {
        const gpu_process *p = &meter->processes[i];
        if (!is_asked_for(context, p->pid)) continue;
        found = true;
        told = told && p->bytes != UINT64_MAX;
        now->processes.value += p->bytes;
    }
    now->processes.known = told && (found || meter->own_numbers);
}

void gpu_meter_read(gpu_meter *meter, gpu_process_filter *is_asked_for, void *context, gpu_readings *now) {
    memset(now, 0, sizeof *now);
    if (!meter->device) return;
    read_device(meter, now);
    read_processes(meter, is_asked_for, context, now);
}

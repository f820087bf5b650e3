/* A libnvidia-ml.so for the tests, with the layout of the real one: one device, whose answers the test sets; or,
 * where the test is another process, a file that $FAKE_NVML names: "TOTAL USED PID BYTES", what a device has, and one
 * process of it. There it also leaves a thread behind, as the real one may. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct process_info {
    unsigned pid;
    unsigned long long used;
    unsigned instance, compute_instance;
} process_info;

#pragma GCC visibility push(default)

/* What the calls answer: status of each, memory, and the processes on the device. */
struct fake_nvml {
    int init, handle, memory, processes, started;
    unsigned long long total, free, used;
    unsigned process_count;
    process_info process[3];
} fake_nvml;

enum { INSUFFICIENT_SIZE = 7 };

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device);
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long memory[3]);
int nvmlDeviceGetName(void *device, char *text, unsigned bytes);
int nvmlSystemGetDriverVersion(char *text, unsigned bytes);
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process_info *processes);

static void read_file(void) {
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return;
    fake_nvml.process_count = 1;
    if (fscanf(file, "%llu %llu %u %llu", &fake_nvml.total, &fake_nvml.used, &fake_nvml.process[0].pid,
               &fake_nvml.process[0].used) != 4)
        fake_nvml.process_count = 0;
    fclose(file);
}

static void *stay(void *nothing) {
    for (;;) pause();
    return nothing;
}

static void leave_thread(void) {
    static bool left;
    pthread_t thread;
    Dl_info own;
    if (left || !getenv("FAKE_NVML") || !dladdr(&fake_nvml, &own)) return;
    left = dlopen(own.dli_fname, RTLD_NOW | RTLD_NODELETE) && !pthread_create(&thread, NULL, stay, NULL);
}

int nvmlInit_v2(void) {
    leave_thread();
    fake_nvml.started += !fake_nvml.init;
    return fake_nvml.init;
}

int nvmlShutdown(void) {
    fake_nvml.started--;
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = index ? NULL : &fake_nvml;
    return index ? 2 : fake_nvml.handle;
}

int nvmlDeviceGetMemoryInfo(void *device, unsigned long long memory[3]) {
    if (device != &fake_nvml) return 2;
    read_file();
    if (!fake_nvml.memory) memcpy(memory, &fake_nvml.total, 3 * sizeof *memory);
    return fake_nvml.memory;
}

int nvmlDeviceGetName(void *device, char *text, unsigned bytes) {
    if (device != &fake_nvml || bytes < sizeof "Made GPU") return INSUFFICIENT_SIZE;
    strcpy(text, "Made GPU");
    return 0;
}

int nvmlSystemGetDriverVersion(char *text, unsigned bytes) {
    if (bytes < sizeof "1.2.3") return INSUFFICIENT_SIZE;
    strcpy(text, "1.2.3");
    return 0;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process_info *processes) {
    if (device != &fake_nvml) return 2;
    if (fake_nvml.processes) return fake_nvml.processes;
    if (*count < fake_nvml.process_count) return *count = fake_nvml.process_count, INSUFFICIENT_SIZE;
    *count = fake_nvml.process_count;
    memcpy(processes, fake_nvml.process, *count * sizeof *processes);
    return 0;
}

#pragma GCC visibility pop

/* The machine's memory: see machine_memory.h. */
#include "platform/machine_memory.h"

#include <stdio.h>
#include <string.h>

static void open_below(kernel_file *file, const char *root, const char *name) {
    char path[KERNEL_PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", root, name);
    kernel_file_open(file, path);
}

void machine_meter_open(machine_meter *meter, kernel_roots roots) {
    open_below(&meter->meminfo, roots.proc, "meminfo");
    open_below(&meter->pressure, roots.proc, "pressure/memory");
    open_below(&meter->vmstat, roots.proc, "vmstat");
}

void machine_meter_close(machine_meter *meter) {
    kernel_file_close(&meter->meminfo);
    kernel_file_close(&meter->pressure);
    kernel_file_close(&meter->vmstat);
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234": the averages lag by seconds, the total does not. */
static reading stall_total(const char *text, const char *kind) {
    const char *line = kernel_text_line(text, kind);
    const char *total = line ? strstr(line, "total=") : NULL;
    if (!total || total > strchr(line, '\n')) return (reading){0};
    return kernel_text_field(total, "total=");
}

void machine_meter_read(const machine_meter *meter, machine_readings *now) {
    char text[KERNEL_TEXT_BYTES];
    kernel_file_read(&meter->meminfo, text);
    now->total = kernel_text_field(text, "MemTotal:");
    now->available = kernel_text_field(text, "MemAvailable:");
    now->swap_total = kernel_text_field(text, "SwapTotal:");
    now->swap_free = kernel_text_field(text, "SwapFree:");
    kernel_file_read(&meter->pressure, text);
    now->stall_some = stall_total(text, "some ");
    now->stall_full = stall_total(text, "full ");
    kernel_file_read(&meter->vmstat, text);
    now->refaults = kernel_text_field(text, "workingset_refault_file ");
    if (!now->refaults.known) now->refaults = kernel_text_field(text, "workingset_refault "); /* before Linux 5.9 */
    now->major_faults = kernel_text_field(text, "pgmajfault ");
}

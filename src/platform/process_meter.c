/* The memory of a process, by Linux's status file: see process_meter.h. */
#include "platform/process_meter.h"

#include <stdio.h>

void process_meter_open(process_meter *meter, kernel_roots roots, int pid) {
    char path[KERNEL_PATH_BYTES], process[32] = "self";
    if (pid) snprintf(process, sizeof process, "%d", pid);
    snprintf(path, sizeof path, "%s/%s/status", roots.proc, process);
    kernel_file_open(&meter->status, path);
}

void process_meter_close(process_meter *meter) { kernel_file_close(&meter->status); }

void process_readings_parse(const char *status, process_readings *now) {
    now->anonymous = kernel_text_field(status, "RssAnon:");
    now->shared = kernel_text_field(status, "RssShmem:");
    now->file = kernel_text_field(status, "RssFile:");
    now->swapped = kernel_text_field(status, "VmSwap:");
}

void process_meter_read(const process_meter *meter, process_readings *now) {
    char text[KERNEL_TEXT_BYTES];
    kernel_file_read(&meter->status, text);
    process_readings_parse(text, now);
}

/* What the kernel counts against this process: see process.h. */
#include "platform/process.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "platform/memory_policy.h"
#include "platform/process_meter.h"

bool process_memory_read(process_memory *memory) {
    process_meter meter;
    process_readings now;
    process_meter_open(&meter, kernel_roots_default, 0);
    process_meter_read(&meter, &now);
    process_meter_close(&meter);
    if (!now.anonymous.known || !now.shared.known || !now.file.known) return false;
    *memory = (process_memory){.held_bytes = now.anonymous.value + now.shared.value, .file_bytes = now.file.value};
    return true;
}

/* One field of our own status. */
static reading status_field(const char *name) {
    char text[KERNEL_TEXT_BYTES];
    process_meter meter;
    process_meter_open(&meter, kernel_roots_default, 0);
    kernel_file_read(&meter.status, text);
    process_meter_close(&meter);
    return kernel_text_field(text, name);
}

bool process_rise_begin(uint64_t *resident_bytes) {
    /* 5: the highest resident size becomes the present one. */
    bool reset = file_write_text("/proc/self/clear_refs", "5", NULL) == LEVEE_OK;
    reading resident = status_field("VmRSS:");
    *resident_bytes = resident.value;
    return reset && resident.known;
}

bool process_rise_end(uint64_t resident_bytes, uint64_t *rise_bytes) {
    reading highest = status_field("VmHWM:");
    *rise_bytes = highest.value > resident_bytes ? highest.value - resident_bytes : 0;
    return highest.known;
}

/* A huge page behind one touched byte is 2 MiB that no plan knows of: none but those that are asked for
 * (memory/region.h). Linux knows that difference since 6.18; before, all are refused where the system gives them
 * unasked. */
static void refuse_huge_pages(void) {
    enum { EXCEPT_ADVISED = 2 };
    memory_policy policy;
    if (!prctl(PR_SET_THP_DISABLE, 1, EXCEPT_ADVISED, 0, 0)) return;
    memory_policy_read(&policy, kernel_roots_default);
    if (policy.huge_pages != HUGE_PAGES_MADVISE) prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

void process_prepare(void) {
    /* With a fixed threshold glibc stops raising it after the first large free, so large blocks always go back. */
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    mallopt(M_TOP_PAD, 64 * 1024);
    mallopt(M_ARENA_MAX, 1);
    refuse_huge_pages();
}

static const char victim_path[] = "/proc/self/oom_score_adj";
enum { FIRST_VICTIM = 1000 };

static levee_status read_victim_score(long *score, levee_error *error) {
    char text[32];
    levee_status status = file_read_text(victim_path, text, sizeof text, error);
    *score = status == LEVEE_OK ? strtol(text, NULL, 10) : 0;
    return status;
}

levee_status process_volunteer(levee_error *error) {
    char wanted[32];
    long now;
    levee_status status = read_victim_score(&now, error);
    if (status != LEVEE_OK || now < 0 || now >= FIRST_VICTIM) return status;
    snprintf(wanted, sizeof wanted, "%d", FIRST_VICTIM);
    return file_write_text(victim_path, wanted, error);
}

bool process_volunteers(void) {
    long now;
    return read_victim_score(&now, NULL) == LEVEE_OK && now >= FIRST_VICTIM;
}

void process_become_companion(const char *name, int pipe) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    prctl(PR_SET_NAME, name);
    dup2(pipe, STDIN_FILENO);
    close_range(STDIN_FILENO + 1, ~0u, 0);
}

levee_status process_limit_data(uint64_t slack_bytes, levee_error *error) {
    struct rlimit limit;
    reading now = status_field("VmData:");
    if (!now.known || getrlimit(RLIMIT_DATA, &limit))
        return error_set(error, LEVEE_USAGE, "limit_data: how much data this process has cannot be read");
    uint64_t wanted = now.value + slack_bytes;
    if (wanted < limit.rlim_cur) limit.rlim_cur = wanted;
    if (!setrlimit(RLIMIT_DATA, &limit)) return LEVEE_OK;
    return error_set(error, LEVEE_USAGE, "limit_data: %s", strerror(errno));
}

void process_trim(void) { malloc_trim(0); }

/* The machine's memory on macOS: see machine_memory.h. Not tested: there was no such machine.
 *
 * What can be had is the kernel's own estimate, a percentage (kern.memorystatus_level). The kernel does not tell how
 * long tasks waited for memory, but when it is short of it: the time since then, of which the critical part is told
 * apart, stands for the time that some, and that all, tasks waited. A source of libdispatch says when that changes.
 */
#include "platform/machine_memory.h"

#include <dispatch/dispatch.h>
#include <mach/mach.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/sysctl.h>
#include <time.h>

enum { NORMAL, SHORT, CRITICAL };

/* Of the machine, not of a meter: one source serves them all, from the first that is opened. */
static struct watched_pressure {
    dispatch_once_t once;
    dispatch_source_t source;
    _Atomic int level;
    _Atomic uint64_t since, before_short, before_critical; /* microseconds */
} watched;

static uint64_t microseconds(void) { return clock_gettime_nsec_np(CLOCK_MONOTONIC) / 1000; }

/* Runs on a queue of its own, one at a time. */
static void level_changed(void *context) {
    (void)context;
    unsigned long told = dispatch_source_get_data(watched.source);
    uint64_t now = microseconds(), lasted = now - atomic_load(&watched.since);
    int level = atomic_load(&watched.level);
    if (level >= SHORT) atomic_fetch_add(&watched.before_short, lasted);
    if (level == CRITICAL) atomic_fetch_add(&watched.before_critical, lasted);
    atomic_store(&watched.since, now);
    atomic_store(&watched.level, told & DISPATCH_MEMORYPRESSURE_CRITICAL ? CRITICAL
                                 : told & DISPATCH_MEMORYPRESSURE_WARN   ? SHORT
                                                                         : NORMAL);
}

static void watch_pressure(void *context) {
    (void)context;
    dispatch_queue_t queue = dispatch_queue_create("levee.memory", DISPATCH_QUEUE_SERIAL);
    unsigned long all =
        DISPATCH_MEMORYPRESSURE_NORMAL | DISPATCH_MEMORYPRESSURE_WARN | DISPATCH_MEMORYPRESSURE_CRITICAL;
    watched.source = dispatch_source_create(DISPATCH_SOURCE_TYPE_MEMORYPRESSURE, 0, all, queue);
    if (!watched.source) return;
    dispatch_source_set_event_handler_f(watched.source, level_changed);
    dispatch_activate(watched.source);
}

void machine_meter_open(machine_meter *meter, kernel_roots roots) {
    (void)roots; /* there are no files */
    memset(meter, 0, sizeof *meter);
    dispatch_once_f(&watched.once, NULL, watch_pressure);
}

void machine_meter_close(machine_meter *meter) { memset(meter, 0, sizeof *meter); }

static bool read_control(const char *name, void *value, size_t bytes) {
    size_t told = bytes;
    return sysctlbyname(name, value, &told, NULL, 0) == 0 && told == bytes;
}

static void read_memory(machine_readings *now) {
    uint64_t total;
    int percent;
    if (!read_control("hw.memsize", &total, sizeof total)) return;
    now->total = (reading){.known = true, .value = total};
    if (read_control("kern.memorystatus_level", &percent, sizeof percent) && percent >= 0 && percent <= 100)
        now->available = (reading){.known = true, .value = total / 100 * (uint64_t)percent};
}

static void read_swap(machine_readings *now) {
    struct xsw_usage swap;
    if (!read_control("vm.swapusage", &swap, sizeof swap)) return;
    now->swap_total = (reading){.known = true, .value = swap.xsu_total};
    now->swap_free = (reading){.known = true, .value = swap.xsu_avail};
}

static void read_faults(machine_readings *now) {
    vm_statistics64_data_t counts;
    mach_msg_type_number_t words = HOST_VM_INFO64_COUNT;
    mach_port_t host = mach_host_self();
    if (host_statistics64(host, HOST_VM_INFO64, (host_info64_t)&counts, &words) == KERN_SUCCESS)
        now->major_faults = (reading){.known = true, .value = counts.pageins};
    mach_port_deallocate(mach_task_self(), host);
}

static void read_pressure(machine_readings *now) {
    if (!watched.source) return;
    int level = atomic_load(&watched.level);
    uint64_t lasts = microseconds() - atomic_load(&watched.since);
    now->stall_some.known = now->stall_full.known = true;
    now->stall_some.value = atomic_load(&watched.before_short) + (level >= SHORT ? lasts : 0);
    now->stall_full.value = atomic_load(&watched.before_critical) + (level == CRITICAL ? lasts : 0);
}

/* Pages that were dropped and read again are not counted there. */
void machine_meter_read(const machine_meter *meter, machine_readings *now) {
    (void)meter;
    memset(now, 0, sizeof *now);
    read_memory(now);
    read_swap(now);
    read_faults(now);
    read_pressure(now);
}

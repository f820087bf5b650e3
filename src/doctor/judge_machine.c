/* Processor, threads, GPU and disk: see findings.h. */
#include <stdio.h>

#include "base/bytes.h"
#include "doctor/findings.h"

void judge_processor(finding *found, const doctor_facts *f) {
    static const char *const own[] = {"portable code", "AVX2", "AVX-512"};
    const processor *p = &f->chip;
    find_figure(found, "%s:%s%s%s%s%s; own kernels in %s", *p->name ? p->name : "unknown model",
                p->features_known ? "" : " features not told", p->avx2 ? " AVX2" : "", p->avx512 ? " AVX-512" : "",
                p->avx512_bf16 ? " AVX-512-bf16" : "", p->amx_bf16 ? " AMX-bf16" : "", own[f->instructions]);
    if (f->instructions == INSTRUCTIONS_PORTABLE)
        find_fault(found, VERDICT_LOOK,
                   "without AVX2 everything is slow; use a processor, or a virtual machine's model "
                   "of one, that has it (qemu -cpu host)");
}

void judge_threads(finding *found, const doctor_facts *f) {
    const reading load = f->chip.load;
    char text[64] = "load not told";
    if (load.known)
        snprintf(text, sizeof text, "load %llu.%02llu", (unsigned long long)load.value / 100,
                 (unsigned long long)load.value % 100);
    find_figure(found, "%u, on %u processors; %s", f->threads, f->processors, text);
    if (f->threads > f->processors)
        find_fault(found, VERDICT_LOOK, "more threads than processors wait for each other; --threads %u",
                   f->processors);
    else if (!load.known)
        find_fault(found, VERDICT_LOOK, "/proc/loadavg cannot be read; mount /proc");
    else if (load.value > 100ull * f->processors)
        find_fault(found, VERDICT_LOOK,
                   "others keep the processors busy: a run is slower, and so are they; fewer "
                   "--threads, or nice");
}

void judge_gpu(finding *found, const doctor_facts *f) {
    char total[BYTES_TEXT], used[BYTES_TEXT];
    if (!f->gpu_there) {
        find_figure(found, "none that NVML tells of; runs are on the processor");
        return;
    }
    find_figure(found, "%s, driver %s, memory %s, of which %s used; runs are on the processor all the same",
                *f->gpu_name ? f->gpu_name : "unnamed", *f->gpu_driver ? f->gpu_driver : "unknown",
                f->gpu.total.known ? bytes_format(total, f->gpu.total.value) : "unknown",
                f->gpu.used.known ? bytes_format(used, f->gpu.used.value) : "unknown");
}

static void judge_space(finding *found, const disk_trial *d) {
    static const uint64_t least_bytes = 64ull << 20, little_bytes = 1ull << 30;
    if (!d->free_bytes.known)
        find_fault(found, VERDICT_LOOK, "how much is free there cannot be read");
    else if (d->free_bytes.value < least_bytes)
        find_fault(found, VERDICT_BAD, "no room for a checkpoint; free some, or give another --adapter-path");
    else if (d->free_bytes.value < little_bytes)
        find_fault(found, VERDICT_LOOK,
                   "little room; levee plan says what checkpoints take, --keep-last how many stay");
}

void judge_disk(finding *found, const doctor_facts *f) {
    const disk_trial *d = &f->disk;
    char space[BYTES_TEXT];
    const char *left = d->free_bytes.known ? bytes_format(space, d->free_bytes.value) : "unknown";
    if (!d->written) {
        find_figure(found, "%.150s: free %s; cannot be written", d->directory, left);
        find_fault(found, VERDICT_BAD, "%.200s; give another --adapter-path", d->why);
        return;
    }
    find_figure(found, "%.150s: free %s; a MiB lasts after %.1f ms%s", d->directory, left, 1e3 * d->sync_seconds,
                d->in_memory ? "; it is memory (tmpfs)" : "");
    judge_space(found, d);
    if (d->in_memory)
        find_fault(found, VERDICT_LOOK,
                   "what is stored there takes memory, and is gone when the machine stops; give an "
                   "--adapter-path on a disk");
    if (d->sync_seconds > 0.25)
        find_fault(found, VERDICT_LOOK,
                   "storing takes long there; store less often (--save-every), or give an "
                   "--adapter-path on a faster disk");
}

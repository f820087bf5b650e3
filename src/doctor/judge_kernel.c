/* The kernel's ways with memory, and who is ended when it runs out: see findings.h. */
#include <stdio.h>

#include "base/bytes.h"
#include "doctor/findings.h"

void judge_pressure(finding *found, const doctor_facts *f) {
    reading some = f->policy.stall_some10, full = f->policy.stall_full10;
    if (!some.known || !full.known) {
        find_figure(found, "not told");
        find_fault(found, VERDICT_LOOK,
                   "the guard sees waiting for memory only by pressure-stall information; boot with psi=1, or use a "
                   "kernel with CONFIG_PSI");
        return;
    }
    find_figure(found, "in the last 10 s some waited for memory %llu.%02llu %% of the time, all %llu.%02llu %%",
                (unsigned long long)some.value / 100, (unsigned long long)some.value % 100,
                (unsigned long long)full.value / 100, (unsigned long long)full.value % 100);
    /* A tenth of the time is what the guard calls pressure too (docs/guard.md). */
    if (some.value >= 1000)
        find_fault(found, VERDICT_LOOK, "memory is short already; find who takes it (ps --sort=-rss -eo rss,comm)");
}

void judge_huge_pages(finding *found, const doctor_facts *f) {
    static const char *const names[] = {"unknown", "always", "madvise", "never"};
    reading own = f->policy.own_huge_pages;
    bool off = own.known && !own.value;
    find_figure(found, "%s; for this process %s", names[f->policy.huge_pages],
                off         ? "none unasked"
                : own.known ? "on"
                            : "unknown");
    if (off || f->policy.huge_pages == HUGE_PAGES_NEVER || f->policy.huge_pages == HUGE_PAGES_MADVISE) return;
    find_fault(found, VERDICT_LOOK,
               "a touched byte may take 2 MiB that no plan knows of; echo madvise > "
               "/sys/kernel/mm/transparent_hugepage/enabled, or call levee_prepare first");
}

void judge_overcommit(finding *found, const doctor_facts *f) {
    char limit[BYTES_TEXT], left[BYTES_TEXT];
    const memory_policy *p = &f->policy;
    static const uint64_t least_bytes = 64ull << 20;
    if (!p->overcommit.known || p->overcommit.value > 2) {
        find_figure(found, "not told");
        find_fault(found, VERDICT_LOOK, "/proc/sys/vm/overcommit_memory cannot be read; mount /proc");
    } else if (p->overcommit.value < 2) {
        find_figure(found, p->overcommit.value ? "1: everything is promised" : "0: promised by guess");
        if (p->overcommit.value)
            find_fault(
                found, VERDICT_LOOK,
                "nobody is refused memory, somebody is ended when it is touched; sysctl vm.overcommit_memory=0");
    } else if (!p->commit_limit.known || !p->committed.known) {
        find_figure(found, "2: no more than a limit is promised, which is not told");
        find_fault(found, VERDICT_LOOK, "/proc/meminfo does not tell CommitLimit and Committed_AS; mount /proc");
    } else {
        uint64_t can_be_had =
            p->commit_limit.value > p->committed.value ? p->commit_limit.value - p->committed.value : 0;
        find_figure(found, "2: at most %s are promised, %s are left", bytes_format(limit, p->commit_limit.value),
                    bytes_format(left, can_be_had));
        find_fault(found, can_be_had < least_bytes ? VERDICT_BAD : VERDICT_LOOK,
                   "a run is refused what is not left, however much is free; sysctl vm.overcommit_memory=0, or raise "
                   "vm.overcommit_ratio");
    }
}

/* Adds a process to a figure that is a list. */
static void list(finding *found, const char *before, const oom_process *p) {
    char sofar[FINDING_FIGURE_BYTES];
    snprintf(sofar, sizeof sofar, "%s", found->figure);
    find_figure(found, "%.200s%s%s (process %u)", sofar, before, p->name, p->pid);
}

/* Processes that this one cannot see may be anything. */
static void say_hidden(finding *found, const process_list *p) {
    if (!p->known || !p->first_seen)
        find_fault(found, VERDICT_LOOK,
                   "not all processes can be seen here; look as root, or remount /proc without "
                   "hidepid");
}

void judge_killers(finding *found, const doctor_facts *f) {
    const process_list *p = &f->processes;
    if (p->killer_count) {
        for (unsigned i = 0; i < p->killer_count; i++) list(found, i ? ", " : "", &p->killers[i]);
        find_fault(
            found, VERDICT_LOOK,
            "it ends processes before the kernel must (earlyoom: below a tenth of memory and of swap), this one "
            "first, since it volunteers; leave --reserve at an eighth or more");
    } else {
        find_figure(found, p->known ? "none among the %u processes seen" : "unknown", p->seen);
        say_hidden(found, p);
    }
}

void judge_victim(finding *found, const doctor_facts *f) {
    const process_list *p = &f->processes;
    if (!p->own_score.known || !p->own_adjustment_known) {
        find_figure(found, "own score unknown");
        find_fault(found, VERDICT_LOOK, "/proc/self/oom_score and oom_score_adj cannot be read; mount /proc");
        return;
    }
    find_figure(found, "this process, with %llu (oom_score_adj %d)%s", (unsigned long long)p->own_score.value,
                p->own_adjustment, p->before_count ? "; before it " : "");
    for (unsigned i = 0; i < p->before_count; i++) list(found, i ? ", " : "", &p->before[i]);
    if (p->own_adjustment < 1000)
        find_fault(
            found, VERDICT_LOOK,
            "when memory runs out a neighbour may be ended for this run; call levee_volunteer, or choom -n 1000");
    else if (p->before_count)
        find_fault(found, VERDICT_LOOK,
                   "when memory runs out these are ended before this run; choom -n 0 -p PROCESS "
                   "what must not be");
    else if (p->scored < p->seen)
        find_fault(found, VERDICT_LOOK, "the score of %u processes cannot be read; look as root",
                   p->seen - p->scored);
    say_hidden(found, p);
}

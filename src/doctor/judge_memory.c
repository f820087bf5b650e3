/* Memory, and the limits on it: see findings.h. */

#include "base/bytes.h"
#include "doctor/findings.h"
#include "platform/headroom.h"

/* Opening the smallest job takes some 20 MiB; with less than this nothing can be trained. */
static const uint64_t least_bytes = 64ull << 20;
/* LoRA of a model of 135 million parameters takes 77 MiB at least, of one of eight billion some GiB. */
static const uint64_t little_bytes = 1ull << 30;

/* "2.0 GiB", "unlimited" or "unknown". */
static const char *text_of(char text[BYTES_TEXT], reading r) {
    if (!r.known) return "unknown";
    return r.value == UINT64_MAX ? "unlimited" : bytes_format(text, r.value);
}

static uint64_t less(uint64_t whole, uint64_t part) { return whole > part ? whole - part : 0; }

void judge_memory(finding *found, const doctor_facts *f) {
    char total[BYTES_TEXT], available[BYTES_TEXT], reserve[BYTES_TEXT], left[BYTES_TEXT];
    const machine_readings *m = &f->memory;
    if (!m->total.known || !m->available.known) {
        find_figure(found, "total %s, available %s", text_of(total, m->total), text_of(available, m->available));
        find_fault(found, VERDICT_BAD,
                   "/proc/meminfo cannot be read whole, so every training is refused; mount /proc");
        return;
    }
    uint64_t can_be_had = less(m->available.value, f->reserve_bytes);
    bytes_format(left, can_be_had);
    find_figure(found, "%s, available %s; beside a reserve of %s for others %s can be had",
                bytes_format(total, m->total.value), bytes_format(available, m->available.value),
                bytes_format(reserve, f->reserve_bytes), left);
    if (can_be_had < least_bytes)
        find_fault(found, VERDICT_BAD, "a training would be refused; end other programs, or lower --reserve");
    else if (can_be_had < little_bytes || can_be_had < m->total.value / 10)
        find_fault(found, VERDICT_LOOK, "little is left beside what runs here; end other programs for larger jobs");
}

void judge_swap(finding *found, const doctor_facts *f) {
    char total[BYTES_TEXT], unused[BYTES_TEXT];
    reading all = f->memory.swap_total, spare = f->memory.swap_free;
    if (!all.known || !spare.known) {
        find_figure(found, "total %s, free %s", text_of(total, all), text_of(unused, spare));
        find_fault(found, VERDICT_LOOK, "/proc/meminfo does not tell; mount /proc");
    } else if (!all.value) {
        find_figure(found, "none");
        find_fault(found, VERDICT_LOOK,
                   "when memory runs out somebody is ended with little warning; keep --reserve large, or add swap "
                   "(mkswap, swapon)");
    } else {
        find_figure(found, "%s, free %s", bytes_format(total, all.value), bytes_format(unused, spare.value));
        if (spare.value < all.value / 10)
            find_fault(found, VERDICT_LOOK,
                       "nearly full: memory has been short; find what was swapped out (VmSwap in "
                       "/proc/PID/status)");
    }
}

static const char *versions(const doctor_facts *f) {
    if (f->group_version_1 && f->group_version_2) return "versions 1 and 2";
    return f->group_version_1 ? "version 1" : f->group_version_2 ? "version 2" : "none seen";
}

static void judge_group_limit(finding *found, const doctor_facts *f) {
    char limit[BYTES_TEXT], left[BYTES_TEXT];
    const group_readings *g = &f->groups;
    uint64_t can_be_had = less(g->headroom.value, headroom_usual_reserve(false, g->limit.value));
    find_figure(found, "%s; limit %s, of which %s can be had beside the reserve", versions(f),
                bytes_format(limit, g->limit.value), bytes_format(left, can_be_had));
    if (can_be_had < least_bytes)
        find_fault(found, VERDICT_BAD,
                   "a training would be refused; raise the limit (memory.max; docker run --memory), or end what "
                   "else runs under it");
    else if (can_be_had < little_bytes)
        find_fault(found, VERDICT_LOOK,
                   "small for a model; ask levee plan, or raise the limit (memory.max; docker "
                   "run --memory)");
}

void judge_groups(finding *found, const doctor_facts *f) {
    const group_readings *g = &f->groups;
    if (!f->groups_known || g->unreadable || !g->limit.known || !g->headroom.known) {
        find_figure(found, "%s; of %u groups %u cannot be read", versions(f), g->groups, g->unreadable);
        find_fault(found, VERDICT_BAD,
                   "a limit that cannot be read is unknown, so a training may be refused; mount /sys/fs/cgroup, and "
                   "let it be read");
        return;
    }
    if (g->limit.value == UINT64_MAX)
        find_figure(found, "%s; no limit", versions(f));
    else
        judge_group_limit(found, f);
    if (g->kills.known && g->kills.value)
        find_fault(found, VERDICT_LOOK,
                   "%llu processes were ended in this group for want of memory since it was made",
                   (unsigned long long)g->kills.value);
}

static void judge_limit(finding *found, reading limit, const char *option, const char *what) {
    if (!limit.known)
        find_fault(found, VERDICT_LOOK, "/proc/self/limits does not tell all of them; mount /proc");
    else if (limit.value < least_bytes)
        find_fault(found, VERDICT_BAD, "ulimit -%s: %s; raise it: ulimit -%s unlimited", option, what, option);
    else if (limit.value != UINT64_MAX)
        find_fault(found, VERDICT_LOOK,
                   "ulimit -%s: %s; if a run is refused memory that is there, raise it: ulimit -%s "
                   "unlimited",
                   option, what, option);
}

void judge_limits(finding *found, const doctor_facts *f) {
    char addresses[BYTES_TEXT], data[BYTES_TEXT], locked[BYTES_TEXT];
    const process_limits *l = &f->limits;
    find_figure(found, "addresses (-v) %s, data (-d) %s, locked (-l) %s: nothing is locked",
                text_of(addresses, l->addresses), text_of(data, l->data), text_of(locked, l->locked));
    judge_limit(found, l->addresses, "v", "the mapped model counts, and the addresses of the largest plan");
    judge_limit(found, l->data, "d", "what a run holds counts");
    if (!l->locked.known) find_fault(found, VERDICT_LOOK, "/proc/self/limits does not tell all of them; mount /proc");
}

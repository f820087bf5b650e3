/* Descendants and their memory: see process_tree.h. */
#include "platform/process_tree.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/call.h"
#include "base/error.h"
#include "platform/machine.h"

/* Of the time that passes, what may go into reading how memory is shared. */
static const double shares_share = 1.0 / 200;

bool process_tree_adopt(void) { return !prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

levee_status process_tree_open(process_tree *t, kernel_roots roots, int root, levee_error *error) {
    memset(t, 0, sizeof *t);
    t->roots = roots;
    t->root = root;
    t->incomplete = true;
    t->processes = call_opendir(roots.proc);
    if (t->processes) return LEVEE_OK;
    return error_set(error, LEVEE_MISSING_INPUT, "%s: processes cannot be listed: %s", roots.proc, strerror(errno));
}

void process_tree_close(process_tree *t) {
    for (unsigned i = 0; i < t->count; i++) process_meter_close(&t->members[i].meter);
    if (t->processes) closedir(t->processes);
    memset(t, 0, sizeof *t);
}

void process_tree_exclude(process_tree *t, unsigned place, int pid) {
    if (place < PROCESS_TREE_MOST_EXCLUDED) t->excluded[place] = pid;
}

/* "12 (name) S 1 ...": the name may hold anything; the start is the 22nd field. */
static bool parse_stat(const char *text, listed_process *p) {
    enum { STATE_FIELD = 3, START_FIELD = 22 };
    const char *at = strrchr(text, ')');
    if (!at || !strchr(at, '\n') || sscanf(at, ") %c %d", &p->state, &p->parent) != 2) return false;
    for (unsigned field = STATE_FIELD; field <= START_FIELD && at; field++) at = strchr(at + 1, ' ');
    char *end = NULL;
    p->started = at ? strtoull(at + 1, &end, 10) : 0;
    return at && end > at + 1 && (*end == ' ' || *end == '\n');
}

typedef enum found { FOUND, GONE, UNREADABLE } found;

static found read_stat(kernel_roots roots, int pid, listed_process *p) {
    char path[KERNEL_PATH_BYTES], text[KERNEL_TEXT_BYTES];
    kernel_file file;
    snprintf(path, sizeof path, "%s/%d/stat", roots.proc, pid);
    *p = (listed_process){.pid = pid};
    int failure = kernel_file_open(&file, path);
    /* Forbidden (a /proc that hides others' processes): then it is somebody else's. */
    if (failure) return failure == EMFILE || failure == ENFILE || failure == ENOMEM ? UNREADABLE : GONE;
    size_t length = kernel_file_read(&file, text);
    failure = length ? 0 : errno;
    kernel_file_close(&file);
    if (length) return parse_stat(text, p) ? FOUND : UNREADABLE;
    return failure == ESRCH ? GONE : UNREADABLE;
}

bool process_identify(kernel_roots roots, int pid, process_identity *identity) {
    listed_process p;
    if (read_stat(roots, pid, &p) != FOUND) return false;
    *identity = (process_identity){.pid = pid, .started = p.started};
    return true;
}

bool process_lives(kernel_roots roots, const process_identity *process) {
    listed_process p;
    return read_stat(roots, process->pid, &p) == FOUND && p.started == process->started && p.state != 'Z';
}

/* The kernel lists processes by number; should it not, they are put in order. */
static void add_listed(process_tree *t, const listed_process *p) {
    unsigned at = t->listed_count++;
    for (; at > 0 && t->listed[at - 1].pid > p->pid; at--) t->listed[at] = t->listed[at - 1];
    t->listed[at] = *p;
}

static void list(process_tree *t) {
    t->listed_count = 0;
    t->incomplete = false;
    rewinddir(t->processes);
    for (const struct dirent *entry; (errno = 0, entry = call_readdir(t->processes));) {
        listed_process p;
        if (!isdigit((unsigned char)entry->d_name[0])) continue;
        found one = read_stat(t->roots, atoi(entry->d_name), &p);
        if (one == UNREADABLE || t->listed_count == PROCESS_TREE_MOST_LISTED)
            t->incomplete = true;
        else if (one == FOUND)
            add_listed(t, &p);
    }
    if (errno) t->incomplete = true;
}

static listed_process *find_listed(process_tree *t, int pid) {
    unsigned low = 0, high = t->listed_count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (t->listed[middle].pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->listed_count && t->listed[low].pid == pid ? &t->listed[low] : NULL;
}

static bool is_excluded(const process_tree *t, int pid) {
    for (unsigned i = 0; i < PROCESS_TREE_MOST_EXCLUDED; i++)
        if (pid == t->excluded[i]) return true;
    return false;
}

/* From the root downwards; a child usually has a larger number than its parent, so two rounds do. */
static void mark_descendants(process_tree *t) {
    for (bool marked = true; marked;) {
        marked = false;
        for (unsigned i = 0; i < t->listed_count; i++) {
            listed_process *p = &t->listed[i];
            if (p->below || p->pid == t->root || is_excluded(t, p->pid)) continue;
            const listed_process *parent = p->parent == t->root ? NULL : find_listed(t, p->parent);
            p->below = p->parent == t->root || (parent && parent->below);
            marked = marked || p->below;
        }
    }
}

static void drop_member(process_tree *t, unsigned index) {
    process_meter_close(&t->members[index].meter);
    t->members[index] = t->members[--t->count];
    t->shares_stale = true;
}

static void add_member(process_tree *t, const listed_process *p) {
    if (t->count == PROCESS_TREE_MOST) {
        t->incomplete = true;
        return;
    }
    tree_member *m = &t->members[t->count++];
    *m = (tree_member){.identity = {.pid = p->pid, .started = p->started}, .state = p->state};
    process_meter_open(&m->meter, t->roots, p->pid);
    t->shares_stale = true;
}

/* Keeps the members that are still there, and takes the new ones. */
static void update_members(process_tree *t) {
    for (unsigned i = t->count; i-- > 0;) {
        listed_process *p = find_listed(t, t->members[i].identity.pid);
        if (p && p->below && p->started == t->members[i].identity.started) {
            t->members[i].state = p->state;
            p->below = false; /* it is one already */
        } else {
            drop_member(t, i);
        }
    }
    for (unsigned i = 0; i < t->listed_count; i++)
        if (t->listed[i].below) add_member(t, &t->listed[i]);
}

void process_tree_look(process_tree *t) {
    double began = machine_seconds();
    list(t);
    mark_descendants(t);
    update_members(t);
    t->looked_at = machine_seconds();
    t->look_cost = t->looked_at - began;
}

void process_tree_look_again(process_tree *t, double oldest_seconds, double most_share) {
    double cheap_after = t->look_cost / most_share;
    double wait = cheap_after > oldest_seconds ? cheap_after : oldest_seconds;
    if (machine_seconds() - t->looked_at >= wait) process_tree_look(t);
}

bool process_tree_has(const process_tree *t, int pid) {
    for (unsigned i = 0; i < t->count; i++)
        if (t->members[i].identity.pid == pid) return true;
    return false;
}

unsigned process_tree_living(const process_tree *t) {
    unsigned living = 0;
    for (unsigned i = 0; i < t->count; i++) living += t->members[i].state != 'Z' && t->members[i].state != 'X';
    return living;
}

typedef enum member_memory { MEMORY_READ, MEMORY_NONE, MEMORY_UNKNOWN } member_memory;

/* A whole status without VmRSS is of a process that has no memory any more: it is ending. */
static member_memory read_member(const process_tree *t, const tree_member *m, process_readings *now) {
    char text[KERNEL_TEXT_BYTES];
    process_identity again;
    memset(now, 0, sizeof *now);
    if (!kernel_file_read(&m->meter.status, text)) {
        bool there = process_identify(t->roots, m->identity.pid, &again) && again.started == m->identity.started;
        return there ? MEMORY_UNKNOWN : MEMORY_NONE;
    }
    bool whole = kernel_text_line(text, "nonvoluntary_ctxt_switches:") != NULL;
    if (whole && !kernel_text_line(text, "VmRSS:")) return MEMORY_NONE;
    process_readings_parse(text, now);
    return MEMORY_READ;
}

/* What of a counter is others'. One that cannot be read, or is not there, takes nothing off. */
static uint64_t others_part(reading own, const char *rollup, const char *name) {
    reading proportional = kernel_text_field(rollup, name);
    bool shared = own.known && proportional.known && proportional.value < own.value;
    return shared ? own.value - proportional.value : 0;
}

static void read_shares(process_tree *t) {
    double began = machine_seconds();
    for (unsigned i = 0; i < t->count; i++) {
        char name[32], text[KERNEL_TEXT_BYTES];
        process_readings own;
        tree_member *m = &t->members[i];
        m->others_anonymous = m->others_shared = m->others_swapped = 0;
        snprintf(name, sizeof name, "%d/smaps_rollup", m->identity.pid);
        if (t->count < 2 || !kernel_text_read(text, t->roots.proc, name)) continue;
        if (read_member(t, m, &own) != MEMORY_READ) continue;
        m->others_anonymous = others_part(own.anonymous, text, "Pss_Anon:");
        m->others_shared = others_part(own.shared, text, "Pss_Shmem:");
        m->others_swapped = others_part(own.swapped, text, "SwapPss:");
    }
    t->shares_read_at = machine_seconds();
    t->shares_cost = t->shares_read_at - began;
    t->shares_stale = false;
}

/* At once where a member came or went, because what it shared is counted otherwise now; else as the cost allows. */
static bool shares_due(const process_tree *t) {
    return t->shares_stale || machine_seconds() - t->shares_read_at >= t->shares_cost / shares_share;
}

static void add(reading *sum, reading one, uint64_t others) {
    sum->known = sum->known && one.known;
    sum->value += one.value > others ? one.value - others : 0;
}

void process_tree_read(process_tree *t, process_readings *now) {
    const reading none = {.known = !t->incomplete};
    *now = (process_readings){.anonymous = none, .shared = none, .file = none, .swapped = none};
    if (shares_due(t)) read_shares(t);
    for (unsigned i = 0; i < t->count; i++) {
        const tree_member *m = &t->members[i];
        process_readings one;
        if (read_member(t, m, &one) == MEMORY_NONE) continue;
        add(&now->anonymous, one.anonymous, m->others_anonymous);
        add(&now->shared, one.shared, m->others_shared);
        add(&now->file, one.file, 0);
        add(&now->swapped, one.swapped, m->others_swapped);
    }
}

/* A process tree: all descendants of a process, their memory by kind, and signals that reach nobody else.
 *
 * Words. The root is the process whose descendants are the members; it is none itself. When it is a subreaper
 * (process_tree_adopt), a descendant whose parent ended becomes its child, so that orphans stay members. A process is
 * known by its number and the moment it started: numbers are given out again, the pair is not.
 *
 * Memory. Each process's own counters count a page once for each process that has it: memory that was there before a
 * fork, and shared memory, would be counted several times. So with more than one member each one's proportional
 * counters (smaps_rollup) say how much of its memory is really others', and that is taken off. Reading those walks
 * page tables, so it is done at most for a two hundredth of the time; in between what was found is kept. A page that
 * is shared with somebody outside of the tree counts in part. Where they cannot be read, each process's own counters
 * stand, and the sum is an upper bound. File pages are the plain sum.
 *
 * What cannot be read is unknown, never 0; a member that has ended, or has no memory any more, holds none.
 *
 * The caller owns the tree, plain data of 220 KiB that keeps descriptors. After process_tree_open nothing is
 * allocated. Not thread-safe. */
#ifndef LEVEE_PLATFORM_PROCESS_TREE_H
#define LEVEE_PLATFORM_PROCESS_TREE_H

#include <dirent.h>
#include <sys/types.h>

#include "platform/process_meter.h"

#include "levee.h"

enum { PROCESS_TREE_MOST = 512, PROCESS_TREE_MOST_LISTED = 8192, PROCESS_TREE_MOST_EXCLUDED = 4 };

typedef struct process_identity {
    int pid;
    uint64_t started; /* in the kernel's ticks since it booted */
} process_identity;

typedef struct tree_member {
    process_identity identity;
    char state; /* the kernel's letter: R, S, D, T (stopped), Z (ended, not yet waited for) */
    process_meter meter;
    uint64_t others_anonymous, others_shared, others_swapped; /* bytes of its counters that are not its alone */
} tree_member;

/* One line of /proc: a process of the machine. */
typedef struct listed_process {
    int pid, parent;
    uint64_t started;
    char state;
    bool below; /* the root */
} listed_process;

typedef struct process_tree {
    kernel_roots roots;
    int root;
    int excluded[PROCESS_TREE_MOST_EXCLUDED]; /* children of the root that, with theirs, are no members; 0: none */
    DIR *processes;
    listed_process listed[PROCESS_TREE_MOST_LISTED]; /* by number */
    unsigned listed_count;
    tree_member members[PROCESS_TREE_MOST];
    unsigned count;
    bool incomplete;             /* not all members could be found at the last look: memory is unknown */
    double looked_at, look_cost; /* machine_seconds, and seconds */
    double shares_read_at, shares_cost;
    bool shares_stale; /* the members changed since */
} process_tree;

/* Makes this process the one that orphans of its descendants fall to. False when the kernel does not know how. */
bool process_tree_adopt(void);

/* Opens the tree below process `root`, without members. LEVEE_MISSING_INPUT when processes cannot be listed.
 * process_tree_close accepts a zeroed tree. */
levee_status process_tree_open(process_tree *t, kernel_roots roots, int root, levee_error *error);
void process_tree_close(process_tree *t);

/* Leaves out a child of the root with all below it; of an excluded one that ended the place is free again by 0. */
void process_tree_exclude(process_tree *t, unsigned place, int pid);

/* Finds the members anew: reads one line of every process of the machine. */
void process_tree_look(process_tree *t);

/* As process_tree_look when the last one is `oldest_seconds` ago, or more where looking is dear: at the pace of the
 * last one it never takes more than `most_share` of the time. */
void process_tree_look_again(process_tree *t, double oldest_seconds, double most_share);

/* Is this process a member, as found last? */
bool process_tree_has(const process_tree *t, int pid);

/* How many members had not ended when they were looked at last; of the others somebody has not heard yet. */
unsigned process_tree_living(const process_tree *t);

/* The memory of all members by kind. */
void process_tree_read(process_tree *t, process_readings *now);

/* Sends a signal to one process, unless its number belongs to another one by now. Uses a descriptor of the process
 * (pidfd); before Linux 5.3, where there is none, it reaches only own children that were not waited for. */
bool process_signal(kernel_roots roots, const process_identity *process, int number);

/* The same to all members, as found last; returns how many it was sent to. */
unsigned process_tree_signal(const process_tree *t, int number);

/* Reads what the kernel tells of one process; false when it is not there. */
bool process_identify(kernel_roots roots, int pid, process_identity *identity);

/* Is that very process there, and has it not ended? One that nobody has waited for yet has. */
bool process_lives(kernel_roots roots, const process_identity *process);

#endif

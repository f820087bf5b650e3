/* The other processes of this machine, as far as they bear on who is ended when memory runs out.
 *
 * Words. The out-of-memory score of a process says how soon the kernel ends it: the highest goes first. It is the
 * process's share of memory, moved by its adjustment, -1000 (never) to 1000 (first). A killer is a program that ends
 * others before the kernel has to.
 *
 * Only what this process may see is told: in a container its own part, and with /proc mounted hidepid only this
 * user's. The caller owns the struct; nothing is allocated, beside what the C library takes to read a directory. */
#ifndef LEVEE_PLATFORM_PROCESS_LIST_H
#define LEVEE_PLATFORM_PROCESS_LIST_H

#include "platform/kernel_text.h"

enum { LISTED_KILLERS = 4, LISTED_BEFORE = 3, LISTED_NAME_BYTES = 16 };

typedef struct oom_process {
    unsigned pid;
    char name[LISTED_NAME_BYTES]; /* as the kernel has it, cut to 15 bytes; what is no plain character is '?' */
    uint64_t score;
} oom_process;

typedef struct process_list {
    bool known;            /* the directory of processes could be listed */
    bool first_seen;       /* process 1 was among them; where it is not, others are hidden */
    unsigned seen, scored; /* others seen, and those of them whose score could be read */
    reading own_score;     /* of this process */
    bool own_adjustment_known;
    int own_adjustment;
    oom_process killers[LISTED_KILLERS];
    unsigned killer_count;
    oom_process before[LISTED_BEFORE]; /* those with the highest scores above ours, the highest first */
    unsigned before_count;
} process_list;

/* What cannot be read is unknown; a process that ends meanwhile is left out. */
void process_list_read(process_list *list, kernel_roots roots);

#endif

/* Stand-ins: small processes that the kernel ends in place of a neighbour, while our own memory is on its way back.
 *
 * When a control group, or the machine, is full in spite of everything, the kernel ends the process whose
 * oom_score_adj volunteers it, and takes it off its list as soon as its threads are gone, which is before its memory
 * is. Whoever needs memory in that moment makes it choose again, among those that are left. Each stand-in is such a
 * choice: it has our oom_score_adj and next to no memory, and while it ends nobody else is chosen. The kernel ends
 * what is left of them when this process has ended.
 *
 * The caller owns the struct, plain data. Linux only; elsewhere nothing is started. */
#ifndef LEVEE_PLATFORM_STAND_IN_H
#define LEVEE_PLATFORM_STAND_IN_H

enum { STAND_INS = 4 };

typedef struct stand_ins {
    int processes[STAND_INS]; /* 0: none */
    int pipe;                 /* our end */
} stand_ins;

/* Starts them if this process volunteers. What of their memory is not
 * shared with this process is a few pages each, provided that this process holds little yet. Without one it can be
 * gone on. */
void stand_ins_start(stand_ins *s);

/* Ends them, and waits until they are gone. A zeroed one is fine. */
void stand_ins_stop(stand_ins *s);

#endif

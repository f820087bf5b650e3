/* The control groups above a process: what their limits still allow, in version 1, version 2 and both at once.
 *
 * Words. The headroom of a group is its limit less what it holds that cannot be dropped: its usage without the file
 * pages that are clean. It is to a group what MemAvailable is to the machine. The least over all groups from the
 * process's own to the root of the hierarchy counts, since any of them may refuse.
 *
 * The caller owns the struct, plain data; opening keeps descriptors, reading allocates nothing. Not thread-safe. A
 * process that is moved to another group is followed with the next reading. */
#ifndef LEVEE_PLATFORM_CONTROL_GROUPS_H
#define LEVEE_PLATFORM_CONTROL_GROUPS_H

#include "platform/kernel_text.h"

enum { CONTROL_GROUPS_MOST = 24, CONTROL_GROUP_TEXT_BYTES = 2048 };

/* One directory; a file that a version or a root lacks stays closed. */
typedef struct control_group {
    bool version_2;
    bool unreadable;           /* a file that is there cannot be opened */
    kernel_file limit, high;   /* memory.max and memory.high; memory.limit_in_bytes */
    kernel_file usage, stat;   /* memory.current; memory.usage_in_bytes */
    kernel_file events, kills; /* memory.events; memory.failcnt and memory.oom_control */
} control_group;

typedef struct control_groups {
    kernel_roots roots;
    kernel_file membership;
    char member_of[CONTROL_GROUP_TEXT_BYTES]; /* what it said when the groups were opened */
    control_group groups[CONTROL_GROUPS_MOST];
    unsigned count;
    bool too_deep; /* there are more */
    bool garbled;  /* the membership cannot be understood */
} control_groups;

/* Counters only ever grow; over all groups, so that one that grew says that some group was at its limit. */
typedef struct group_readings {
    reading headroom, limit;     /* of the group with the least headroom; UINT64_MAX when no group sets a limit */
    reading limit_hits;          /* times that a limit was met and pages had to be found */
    reading high_hits;           /* times that a soft limit (memory.high) was passed */
    reading kills;               /* processes that were killed because nothing was found */
    reading total;               /* the least limit of all groups, UINT64_MAX as above */
    unsigned groups, unreadable; /* groups found, and those of them of which something was not to be read */
} group_readings;

/* Opens the groups of process `pid`, or of this one (0). False when its membership cannot be read: then all readings
 * are unknown. control_groups_close accepts a zeroed struct. */
bool control_groups_open(control_groups *g, kernel_roots roots, int pid);
void control_groups_close(control_groups *g);

void control_groups_read(control_groups *g, group_readings *now);

#endif

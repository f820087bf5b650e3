/* A memory control group of one's own: made, given a limit, entered, left, removed; version 1 or 2.
 *
 * It is made below the group of this process, or where that is not allowed (version 2 forbids it to a group that has
 * processes) at the top of the hierarchy that can be seen from here. Both need a privilege or a delegated group. Its
 * name has the number of this process; those that processes left behind which are gone are removed first.
 *
 * The caller owns the struct, plain data; nothing is allocated. Not thread-safe. */
#ifndef LEVEE_PLATFORM_OWN_GROUP_H
#define LEVEE_PLATFORM_OWN_GROUP_H

#include "platform/kernel_text.h"

#include "levee.h"

typedef struct own_group {
    bool made;
    char path[KERNEL_PATH_BYTES];
    char home[KERNEL_PATH_BYTES]; /* the group that this process was in; empty: not known */
} own_group;

/* Makes a group that may hold so many bytes. LEVEE_IO_ERROR, with the place and the reason, where none can be made.
 */
levee_status own_group_make(own_group *g, kernel_roots roots, uint64_t limit_bytes, levee_error *error);

/* Puts the calling process into it; its children will be there too. */
levee_status own_group_enter(const own_group *g, levee_error *error);

/* Takes the calling process back to where it was. */
levee_status own_group_leave(const own_group *g, levee_error *error);

/* Removes it; false while there are processes in it. One that was not made is fine. */
bool own_group_remove(own_group *g);

#endif

/* Where the control groups of a hierarchy can be seen: its mount, from mountinfo.
 *
 * Nothing here allocates. Thread-safe. */
#ifndef LEVEE_PLATFORM_GROUP_MOUNT_H
#define LEVEE_PLATFORM_GROUP_MOUNT_H

#include "platform/kernel_text.h"

typedef struct group_mount {
    bool found;
    char point[KERNEL_PATH_BYTES]; /* the directory */
    char root[KERNEL_PATH_BYTES];  /* the group that lies there: "/", or a container's own */
} group_mount;

/* Finds the first mount of version 2, or of version 1 with memory control, in a file like /proc/self/mountinfo. False
 * when that cannot be read. */
bool group_mount_find(group_mount *mount, const char *mountinfo, bool version_2);

/* What of a group's path lies below the mount. A container sees only its own part of the hierarchy, and of a group
 * outside of that nothing: then it is "", the mount alone. */
const char *group_mount_below(const group_mount *mount, const char *group);

/* Is the word among those of a list separated by commas? */
bool group_list_has(const char *words, const char *word);

#endif

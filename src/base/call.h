/* The system's calls on files, made here and nowhere else, so that a test can make any of them fail (fault.h).
 *
 * They are the calls of the same name, errno included, with two differences: one that a signal interrupts is made
 * again, and a read or write may move fewer bytes than were asked for more often than it usually does. base/file.h is
 * what other rooms use. */
#ifndef LEVEE_BASE_CALL_H
#define LEVEE_BASE_CALL_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/vfs.h>

/* The descriptor, closed on exec; a new file gets mode 0666. */
int call_open(const char *path, int flags);

int call_stat(const char *path, struct stat *status);
int call_fstat(int file, struct stat *status);

ssize_t call_read(int file, void *to, size_t bytes);
ssize_t call_pread(int file, void *to, size_t bytes, uint64_t offset);
ssize_t call_write(int file, const void *from, size_t bytes);

/* A private mapping that is only read; NULL on failure. */
void *call_map(int file, size_t bytes);

int call_fsync(int file);
int call_fdatasync(int file);
int call_ftruncate(int file, uint64_t bytes);
int call_rename(const char *from, const char *to);
int call_unlink(const char *path);
int call_rmdir(const char *path);
int call_mkdir(const char *path);
char *call_mkdtemp(char *path);
DIR *call_opendir(const char *path);
struct dirent *call_readdir(DIR *directory);
int call_statvfs(const char *path, struct statvfs *disk);
int call_statfs(const char *path, struct statfs *system);

/* An exclusive lock, or a shared one, without waiting. */
int call_flock(int file);
int call_flock_shared(int file);

#endif

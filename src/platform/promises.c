/* Promises of memory between runs: see promises.h. */
#include "platform/promises.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/call.h"
#include "base/error.h"
#include "platform/machine.h"
#include "platform/process_tree.h"

typedef struct promise {
    int pid;
    unsigned long long started, bytes; /* with its start a process is told from a later one of its number */
} promise;

/* Is the process that was promised something still at work? */
static bool is_kept(const promise *p) {
    return process_lives(kernel_roots_default, &(process_identity){.pid = p->pid, .started = p->started});
}

static uint64_t held_by(int pid) {
    process_meter meter;
    process_readings now;
    process_meter_open(&meter, kernel_roots_default, pid);
    process_meter_read(&meter, &now);
    process_meter_close(&meter);
    return (now.anonymous.known ? now.anonymous.value : 0) + (now.shared.known ? now.shared.value : 0);
}

static levee_status open_file(promises *p, levee_error *error) {
    char name[64];
    const char *directory = getenv("XDG_RUNTIME_DIR");
    struct stat status;
    snprintf(name, sizeof name, "levee-promises-%u", (unsigned)geteuid());
    if (!directory || !file_is_directory(directory)) directory = "/tmp";
    if (!file_join(p->path, directory, name))
        return error_set(error, LEVEE_IO_ERROR, "%.200s...: XDG_RUNTIME_DIR is too long", directory);
    p->file = call_open(p->path, O_RDWR | O_CREAT | O_NOFOLLOW);
    if (p->file < 0) return error_set(error, LEVEE_IO_ERROR, "%s: %s", p->path, strerror(errno));
    if (!call_fstat(p->file, &status) && S_ISREG(status.st_mode) && status.st_uid == geteuid()) return LEVEE_OK;
    return error_set(error, LEVEE_IO_ERROR, "%s: is not ours; remove it", p->path);
}

/* It is held for moments only, so whoever finds it locked tries again. */
static levee_status lock(const promises *p, levee_error *error) {
    enum { TRIES = 300 };
    static const double wait_seconds = 0.01;
    for (unsigned i = 0; i < TRIES; i++) {
        if (!call_flock(p->file)) return LEVEE_OK;
        if (errno != EWOULDBLOCK) return error_set(error, LEVEE_IO_ERROR, "%s: %s", p->path, strerror(errno));
        machine_sleep(wait_seconds);
    }
    return error_set(error, LEVEE_IO_ERROR, "%s: somebody keeps it locked", p->path);
}

/* Keeps the lines of others that live, and sums what they have still to take. */
static void sort_out(promises *p, char *text) {
    size_t kept = 0;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        promise next;
        if (sscanf(line, "%d %llu %llu", &next.pid, &next.started, &next.bytes) != 3) continue;
        if (next.pid == getpid() || next.pid <= 0 || !is_kept(&next)) continue;
        uint64_t held = held_by(next.pid);
        p->outstanding_bytes += next.bytes > held ? next.bytes - held : 0;
        int length =
            snprintf(p->others + kept, sizeof p->others - kept, "%d %llu %llu\n", next.pid, next.started, next.bytes);
        if ((size_t)length < sizeof p->others - kept) kept += (size_t)length;
        p->others[kept] = 0;
    }
}

levee_status promises_read(promises *p, levee_error *error) {
    char text[PROMISES_BYTES];
    uint64_t got = 0;
    memset(p, 0, sizeof *p);
    p->file = -1;
    levee_status status = open_file(p, error);
    if (status == LEVEE_OK) status = lock(p, error);
    if (status == LEVEE_OK) status = file_read_at(p->file, p->path, text, sizeof text - 1, 0, &got, error);
    if (status != LEVEE_OK) {
        promises_leave(p);
        return status;
    }
    text[got] = 0;
    sort_out(p, text);
    return LEVEE_OK;
}

static levee_status write_lines(const promises *p, const char *own, levee_error *error) {
    char text[PROMISES_BYTES + 96];
    int length = snprintf(text, sizeof text, "%s%s", p->others, own);
    if (call_ftruncate(p->file, 0)) return error_set(error, LEVEE_IO_ERROR, "%s: %s", p->path, strerror(errno));
    return length ? file_append(p->file, p->path, text, (uint64_t)length, 0, error) : LEVEE_OK;
}

levee_status promises_make(promises *p, uint64_t bytes, levee_error *error) {
    char own[96];
    process_identity us = {0};
    process_identify(kernel_roots_default, getpid(), &us);
    snprintf(own, sizeof own, "%d %llu %llu\n", (int)getpid(), (unsigned long long)us.started,
             (unsigned long long)bytes);
    levee_status status = write_lines(p, own, error);
    promises_leave(p);
    return status;
}

void promises_leave(promises *p) {
    if (p->file > 0) file_close(p->file); /* that unlocks it */
    memset(p, 0, sizeof *p);
    p->file = -1;
}

void promises_withdraw(void) {
    promises p;
    if (promises_read(&p, NULL) != LEVEE_OK) return;
    write_lines(&p, "", NULL);
    promises_leave(&p);
}

/* program MEMORY BYTES STEPS MILLISECONDS: a program that is watched. Each step takes so long and says "step N of
 * STEPS"; its MEMORY is
 *
 *   leaks      BYTES more each step
 *   stays      BYTES
 *   saws       from one to two times BYTES and back, in 25 steps
 *   forks      BYTES, and three children that have them from before they were made
 *   shares     BYTES that three children share with it
 *
 * "leaks-without-saying" prints nothing. Exits with 0. */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHILDREN = 3, TEETH = 25 };

static void *take(size_t bytes, int kind) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) exit(69);
    return memset(memory, 1, bytes);
}

static pid_t children[CHILDREN];

/* A shared page is counted when it was seen. */
static void live_as_child(const volatile uint8_t *memory, size_t bytes) {
    unsigned sum = 0;
    for (size_t at = 0; at < bytes; at += 4096) sum += memory[at];
    for (unsigned seconds = 0; sum && seconds < 60; seconds++) sleep(1);
    _exit(0);
}

static void fork_children(const uint8_t *memory, size_t bytes) {
    for (unsigned i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (!children[i]) live_as_child(memory, bytes);
    }
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    const char *kind = arguments[1];
    size_t bytes = strtoull(arguments[2], NULL, 10);
    unsigned long steps = strtoul(arguments[3], NULL, 10), milliseconds = strtoul(arguments[4], NULL, 10);
    bool leaks = !strncmp(kind, "leaks", 5), speaks = strcmp(kind, "leaks-without-saying") != 0;
    uint8_t *memory = leaks ? NULL : take(bytes, !strcmp(kind, "shares") ? MAP_SHARED : MAP_PRIVATE);
    if (!strcmp(kind, "forks") || !strcmp(kind, "shares")) fork_children(memory, bytes);
    uint8_t *teeth[TEETH] = {0};
    for (unsigned long step = 1; step <= steps; step++) {
        unsigned long tooth = step % TEETH;
        if (leaks) take(bytes, MAP_PRIVATE);
        if (!strcmp(kind, "saws")) {
            teeth[tooth] = take(bytes / TEETH, MAP_PRIVATE);
            for (unsigned i = 0; !tooth && i < TEETH; i++) {
                if (teeth[i]) munmap(teeth[i], bytes / TEETH);
                teeth[i] = NULL;
            }
        }
        if (speaks) printf("step %lu of %lu\n", step, steps);
        fflush(stdout);
        nanosleep(&(struct timespec){.tv_sec = (time_t)(milliseconds / 1000),
                                     .tv_nsec = (long)(milliseconds % 1000) * 1000000},
                  NULL);
    }
    for (unsigned i = 0; i < CHILDREN; i++)
        if (children[i] > 0 && !kill(children[i], SIGKILL)) waitpid(children[i], NULL, 0);
    return 0;
}

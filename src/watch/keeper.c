/* The process that outlives watch by a moment: see keeper.h. */
#include "watch/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/call.h"
#include "base/error.h"
#include "platform/machine.h"
#include "platform/process.h"

typedef enum keeper_word { WILL_FREEZE, THAWED, FORGET_SIGNALS } keeper_word;

typedef struct keeper_message {
    keeper_word word;
    process_identity process;
} keeper_message;

static void forget_signals(void) {
    sigset_t all;
    const struct timespec now = {0};
    sigfillset(&all);
    while (sigtimedwait(&all, NULL, &now) > 0) continue;
}

/* The keeper's life. */
static void keep(int pipe, kernel_roots roots) {
    process_identity frozen[PROCESS_TREE_MOST];
    unsigned count = 0;
    keeper_message message;
    while (call_read(pipe, &message, sizeof message) == sizeof message) {
        if (message.word == WILL_FREEZE && count < PROCESS_TREE_MOST) frozen[count++] = message.process;
        if (message.word == THAWED) count = 0;
        if (message.word == FORGET_SIGNALS) forget_signals();
    }
    for (unsigned i = 0; i < count; i++) process_signal(roots, &frozen[i], SIGCONT);
}

levee_status keeper_start(keeper *k, kernel_roots roots, levee_error *error) {
    int ends[2];
    *k = (keeper){.roots = roots};
    if (pipe2(ends, O_CLOEXEC)) return error_set(error, LEVEE_INTERNAL, "a pipe: %s", strerror(errno));
    k->pid = fork();
    if (!k->pid) {
        process_become_companion("levee-keeper", ends[0]);
        keep(STDIN_FILENO, roots);
        _exit(0);
    }
    close(ends[0]);
    k->pipe = ends[1];
    if (k->pid > 0) return LEVEE_OK;
    k->pid = 0;
    close(ends[1]);
    return error_set(error, LEVEE_INTERNAL, "a process beside the command: %s", strerror(errno));
}

void keeper_stop(keeper *k) {
    if (!k->pid) return;
    close(k->pipe);
    while (waitpid(k->pid, NULL, 0) < 0 && errno == EINTR) continue;
    k->pid = 0;
}

void keeper_lost(keeper *k) {
    close(k->pipe);
    k->pid = 0;
}

/* If it is gone there is nobody to tell; SIGPIPE is blocked. */
static void tell(const keeper *k, keeper_message message) {
    if (k->pid && call_write(k->pipe, &message, sizeof message) < 0) return;
}

void keeper_will_freeze(const keeper *k, const process_identity *process) {
    tell(k, (keeper_message){.word = WILL_FREEZE, .process = *process});
}

void keeper_thawed(const keeper *k) { tell(k, (keeper_message){.word = THAWED}); }

/* "ShdPnd:\t0000000000004000": signals pending for the process. */
static bool is_pending(const keeper *k, int number) {
    char name[32], text[KERNEL_TEXT_BYTES];
    snprintf(name, sizeof name, "%d/status", k->pid);
    kernel_text_read(text, k->roots.proc, name);
    const char *pending = kernel_text_line(text, "ShdPnd:");
    return pending && (strtoull(pending, NULL, 16) >> (number - 1) & 1);
}

bool keeper_got(const keeper *k, int number) {
    /* The kernel gives a group's signal to one member after the other: we may be before the keeper. */
    static const double moment_seconds = 0.002;
    if (!k->pid) return false;
    bool got = is_pending(k, number);
    if (!got) {
        machine_sleep(moment_seconds);
        got = is_pending(k, number);
    }
    tell(k, (keeper_message){.word = FORGET_SIGNALS});
    return got;
}

/* fork and exec: see command.h. */
#include "watch/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/call.h"
#include "base/error.h"
#include "platform/process.h"

/* In the child; what fails is told through `report`, which closes when the command runs. */
static void become(const command_setup *s, const int output[2], int report) {
    if (s->volunteers) process_volunteer(NULL); /* where that is not allowed it is worth running all the same */
    bool entered = !s->group || own_group_enter(s->group, NULL) == LEVEE_OK;
    if (entered && (!s->channel || !setenv("LEVEE_WATCH", s->channel, 1))) {
        if (s->reads_output) {
            dup2(output[0], STDOUT_FILENO);
            dup2(output[1], STDERR_FILENO);
        }
        sigaction(SIGCHLD, s->child_action, NULL);
        sigprocmask(SIG_SETMASK, s->signals, NULL);
        execvp(s->arguments[0], s->arguments);
    }
    int failure = errno;
    if (call_write(report, &failure, sizeof failure) < 0) failure = 0;
    _exit(COMMAND_NOT_FOUND);
}

static levee_status refuse(const char *name, int failure, int *exit_code, levee_error *error) {
    bool missing = failure == ENOENT || failure == ENOTDIR;
    *exit_code = missing ? COMMAND_NOT_FOUND : COMMAND_NOT_RUN;
    return error_set(error, LEVEE_MISSING_INPUT, "%s: %s", name,
                     missing ? "command not found; give a path, or a name that is found in PATH" : strerror(failure));
}

static levee_status wait_for_start(command *c, const command_setup *s, int report, int *exit_code,
                                   levee_error *error) {
    int failure;
    if (call_read(report, &failure, sizeof failure) != sizeof failure) return LEVEE_OK; /* closed by exec */
    waitpid(c->identity.pid, NULL, 0);
    return refuse(s->arguments[0], failure, exit_code, error);
}

static void close_output(command *c) {
    for (unsigned i = 0; i < 2; i++) {
        if (c->output[i] >= 0) close(c->output[i]);
        c->output[i] = -1;
    }
}

levee_status command_start(command *c, kernel_roots roots, const command_setup *s, int *exit_code,
                           levee_error *error) {
    int ends[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
    bool piped = !pipe2(ends[0], O_CLOEXEC);
    for (unsigned i = 1; i < 3 && s->reads_output; i++) piped = piped && !pipe2(ends[i], O_CLOEXEC);
    *c = (command){.output = {ends[1][0], ends[2][0]}};
    int pid = piped ? fork() : -1, failure = errno;
    if (!pid) become(s, (const int[]){ends[1][1], ends[2][1]}, ends[0][1]);
    for (unsigned i = 0; i < 3; i++)
        if (ends[i][1] >= 0) close(ends[i][1]);
    levee_status status = LEVEE_OK;
    if (pid < 0)
        status =
            error_set(error, LEVEE_INTERNAL, "%s: no process can be made: %s", s->arguments[0], strerror(failure));
    /* Until it is waited for, its number is its own. */
    c->identity.pid = pid;
    if (pid > 0 && !process_identify(roots, pid, &c->identity)) c->identity.started = 0;
    if (pid > 0) status = wait_for_start(c, s, ends[0][0], exit_code, error);
    if (ends[0][0] >= 0) close(ends[0][0]);
    if (status != LEVEE_OK) close_output(c);
    return status;
}

int command_exit_code(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

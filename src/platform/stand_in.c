/* Processes that wait to be ended: see stand_in.h. */
#include "platform/stand_in.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/process.h"

/* The life of one: it calls nothing that a child of a program with threads may not, and keeps no file open that
 * somebody waits to see closed. */
static void wait_for_the_end(int parent) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL); /* what is sent to our whole group is not for it */
    prctl(PR_SET_NAME, "levee-stand-in");
    close_range(0, ~0u, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    for (;;) pause();
}

void stand_ins_start(stand_ins *s) {
    int parent = getpid();
    memset(s, 0, sizeof *s);
    if (!process_volunteers()) return;
    for (unsigned i = 0; i < STAND_INS; i++) {
        int process = fork();
        if (!process) wait_for_the_end(parent);
        if (process < 0) return;
        s->processes[i] = process;
    }
}

void stand_ins_stop(stand_ins *s) {
    for (unsigned i = 0; i < STAND_INS; i++)
        if (s->processes[i]) kill(s->processes[i], SIGKILL);
    for (unsigned i = 0; i < STAND_INS; i++)
        while (s->processes[i] && waitpid(s->processes[i], NULL, 0) < 0 && errno == EINTR) continue;
    memset(s, 0, sizeof *s);
}

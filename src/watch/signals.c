/* signalfd, and who gets what: see signals.h. */
#include "watch/signals.h"

#include <errno.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/call.h"
#include "base/error.h"

static const int passed_on[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,
                                SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGWINCH};

enum { PASSED_ON = sizeof passed_on / sizeof *passed_on };

static void awaited(sigset_t *set) {
    sigemptyset(set);
    for (unsigned i = 0; i < PASSED_ON; i++) sigaddset(set, passed_on[i]);
    sigaddset(set, SIGCHLD);
}

void signals_block(signals *s) {
    const struct sigaction usual = {.sa_handler = SIG_DFL};
    sigset_t set;
    awaited(&set);
    sigaddset(&set, SIGPIPE); /* a write says so itself */
    *s = (signals){.descriptor = -1, .blocked = true};
    sigprocmask(SIG_BLOCK, &set, &s->before);
    sigaction(SIGCHLD, &usual,
              &s->child_before); /* ignored, as some parents leave it, children would not be told of */
}

levee_status signals_open(signals *s, levee_error *error) {
    sigset_t set;
    awaited(&set);
    s->descriptor = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (s->descriptor >= 0) return LEVEE_OK;
    return error_set(error, LEVEE_INTERNAL, "signals cannot be awaited: %s", strerror(errno));
}

void signals_close(signals *s) {
    if (!s->blocked) return;
    if (s->descriptor >= 0) close(s->descriptor);
    sigaction(SIGCHLD, &s->child_before, NULL);
    sigprocmask(SIG_SETMASK, &s->before, NULL);
    *s = (signals){.descriptor = -1};
}

/* SI_KERNEL: from a terminal, to the whole group. */
static bool is_for_command_alone(const struct signalfd_siginfo *signal, const keeper *k) {
    bool to_group = keeper_got(k, (int)signal->ssi_signo);
    return signal->ssi_code != SI_KERNEL && !to_group;
}

void signals_serve(const signals *s, const keeper *k, kernel_roots roots, const process_identity *command) {
    struct signalfd_siginfo signal;
    while (call_read(s->descriptor, &signal, sizeof signal) == sizeof signal)
        if (signal.ssi_signo != SIGCHLD && is_for_command_alone(&signal, k) && (int)signal.ssi_pid != command->pid)
            process_signal(roots, command, (int)signal.ssi_signo);
}

bool signals_end(const signals *s) {
    struct signalfd_siginfo signal;
    bool end = false;
    while (call_read(s->descriptor, &signal, sizeof signal) == sizeof signal) {
        int number = (int)signal.ssi_signo;
        end = end || number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGQUIT;
    }
    return end;
}

/* Signals that reach no stranger: see process_tree.h. */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/process_tree.h"

/* Is it our own child that was not waited for? Its number cannot have been given to another. */
static bool is_own_child(int pid) {
    siginfo_t state = {0};
    return !waitid(P_PID, (id_t)pid, &state, WEXITED | WNOHANG | WNOWAIT);
}

bool process_signal(kernel_roots roots, const process_identity *process, int number) {
    process_identity now;
    int descriptor = (int)syscall(SYS_pidfd_open, process->pid, 0);
    if (descriptor < 0) /* not there, or forbidden by a container's filter of system calls */
        return (errno == ENOSYS || errno == EPERM) && is_own_child(process->pid) && !kill(process->pid, number);
    /* The descriptor is of whoever had the number when it was opened: of the one that is meant, if it has it still.
     */
    bool same = process_identify(roots, process->pid, &now) && now.started == process->started;
    bool sent = same && !syscall(SYS_pidfd_send_signal, descriptor, number, NULL, 0);
    close(descriptor);
    return sent;
}

unsigned process_tree_signal(const process_tree *t, int number) {
    unsigned reached = 0;
    for (unsigned i = 0; i < t->count; i++) reached += process_signal(t->roots, &t->members[i].identity, number);
    return reached;
}

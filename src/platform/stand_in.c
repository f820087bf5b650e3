/* Processes that wait to be ended: see stand_in.h. */
#include "platform/stand_in.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/call.h"
#include "platform/kernel_text.h"
#include "platform/process.h"

/* Where the kernel finds the command line of this process and, shared until it is written to, of its children. */
typedef struct title {
    char *text;
    size_t bytes; /* 0: not known */
} title;

static title find_title(void) {
    enum { BEGIN_FIELD = 48, AFTER_NAME = 3 };
    char text[KERNEL_TEXT_BYTES];
    kernel_text_read(text, kernel_roots_default.proc, "self/stat");
    const char *field = strrchr(text, ')');
    for (unsigned i = AFTER_NAME - 1; field && i < BEGIN_FIELD; i++) field = strchr(field + 1, ' ');
    if (!field) return (title){0};
    char *next;
    uintptr_t begin = strtoull(field, &next, 10), end = strtoull(next, NULL, 10);
    return (title){.text = (char *)begin, .bytes = begin && end > begin ? end - begin : 0};
}

/* The life of one. Who looks for our command line finds us alone. */
static void wait_for_the_end(int pipe, title t) {
    static const char name[] = "levee-stand-in";
    char word;
    process_become_companion(name, pipe);
    if (t.bytes) {
        memset(t.text, 0, t.bytes);
        memcpy(t.text, name, t.bytes < sizeof name ? t.bytes - 1 : sizeof name);
    }
    while (call_read(STDIN_FILENO, &word, 1) > 0) continue;
    _exit(0);
}

void stand_ins_start(stand_ins *s) {
    int ends[2];
    memset(s, 0, sizeof *s);
    if (!process_volunteers() || pipe2(ends, O_CLOEXEC)) return;
    title t = find_title();
    s->pipe = ends[1];
    for (unsigned i = 0; i < STAND_INS; i++) {
        int process = fork();
        if (!process) wait_for_the_end(ends[0], t);
        s->processes[i] = process > 0 ? process : 0;
    }
    close(ends[0]);
}

void stand_ins_stop(stand_ins *s) {
    if (s->pipe) close(s->pipe);
    /* Another child of this program may have the pipe too, and keep it for long. */
    for (unsigned i = 0; i < STAND_INS; i++)
        if (s->processes[i]) kill(s->processes[i], SIGKILL);
    for (unsigned i = 0; i < STAND_INS; i++)
        while (s->processes[i] && waitpid(s->processes[i], NULL, 0) < 0 && errno == EINTR) continue;
    memset(s, 0, sizeof *s);
}

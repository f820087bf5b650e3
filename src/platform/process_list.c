/* Other processes: see process_list.h. */
#include "platform/process_list.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

/* By the names that the kernel has for them. */
static const char *const killers[] = {"earlyoom", "systemd-oomd", "nohang", "oomd", "bustd", NULL};

typedef struct walk {
    process_list *list;
    kernel_roots roots;
    reading own_pid;
} walk;

static bool is_killer(const char *name) {
    for (unsigned i = 0; killers[i]; i++)
        if (!strcmp(name, killers[i])) return true;
    return false;
}

/* A process names itself as it likes, control characters included. */
static void copy_name(char name[LISTED_NAME_BYTES], const char *text) {
    unsigned length = 0;
    for (; text[length] && text[length] != '\n' && length < LISTED_NAME_BYTES - 1; length++) {
        bool plain = text[length] > ' ' && text[length] < 0x7f;
        name[length] = text[length] == ' ' || plain ? text[length] : '?';
    }
    name[length] = 0;
}

/* Puts a process among the first to go, in their order. */
static void keep_before(process_list *list, const oom_process *p) {
    unsigned place = list->before_count;
    while (place && list->before[place - 1].score < p->score) place--;
    if (place == LISTED_BEFORE) return;
    if (list->before_count < LISTED_BEFORE) list->before_count++;
    for (unsigned i = list->before_count - 1; i > place; i--) list->before[i] = list->before[i - 1];
    list->before[place] = *p;
}

static void read_process(walk *w, unsigned pid) {
    char text[KERNEL_TEXT_BYTES], file[64];
    oom_process p = {.pid = pid};
    process_list *list = w->list;
    snprintf(file, sizeof file, "%u/comm", pid);
    if (!kernel_text_read(text, w->roots.proc, file)) return;
    copy_name(p.name, text);
    list->seen++;
    if (is_killer(p.name) && list->killer_count < LISTED_KILLERS) list->killers[list->killer_count++] = p;
    snprintf(file, sizeof file, "%u/oom_score", pid);
    kernel_text_read(text, w->roots.proc, file);
    reading score = kernel_text_number(text);
    if (!score.known) return;
    list->scored++;
    p.score = score.value;
    if (list->own_score.known && p.score > list->own_score.value) keep_before(list, &p);
}

static levee_status visit(void *context, const char *name, levee_error *error) {
    walk *w = context;
    unsigned pid;
    char rest;
    (void)error;
    if (*name < '1' || *name > '9' || sscanf(name, "%9u%c", &pid, &rest) != 1) return LEVEE_OK;
    if (pid == 1) w->list->first_seen = true;
    if (!w->own_pid.known || w->own_pid.value != pid) read_process(w, pid);
    return LEVEE_OK;
}

void process_list_read(process_list *list, kernel_roots roots) {
    char text[KERNEL_TEXT_BYTES];
    walk w = {.list = list, .roots = roots};
    memset(list, 0, sizeof *list);
    kernel_text_read(text, roots.proc, "self/status");
    w.own_pid = kernel_text_field(text, "Pid:");
    kernel_text_read(text, roots.proc, "self/oom_score");
    list->own_score = kernel_text_number(text);
    kernel_text_read(text, roots.proc, "self/oom_score_adj");
    list->own_adjustment_known = sscanf(text, "%5d", &list->own_adjustment) == 1;
    list->known = file_list(roots.proc, visit, &w, NULL) == LEVEE_OK;
}

/* Who else holds much memory: see consumers.h. */
#include "platform/consumers.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

typedef struct walk {
    consumers *found;
    kernel_roots roots;
    reading own_pid;
} walk;

static void copy_name(char name[CONSUMER_NAME_BYTES], const char *text) {
    unsigned length = 0;
    for (; text[length] && text[length] != '\n' && length < CONSUMER_NAME_BYTES - 1; length++)
        name[length] = text[length] >= ' ' && text[length] < 0x7f ? text[length] : '?';
    name[length] = 0;
}

static void keep(consumers *found, const consumer *c) {
    unsigned place = found->count;
    while (place && found->largest[place - 1].held_bytes < c->held_bytes) place--;
    if (place == CONSUMERS_MOST) return;
    if (found->count < CONSUMERS_MOST) found->count++;
    for (unsigned i = found->count - 1; i > place; i--) found->largest[i] = found->largest[i - 1];
    found->largest[place] = *c;
}

static levee_status visit(void *context, const char *name, levee_error *error) {
    walk *w = context;
    char text[KERNEL_TEXT_BYTES], file[64], rest;
    consumer c = {0};
    (void)error;
    if (*name < '1' || *name > '9' || sscanf(name, "%9u%c", &c.pid, &rest) != 1) return LEVEE_OK;
    if (w->own_pid.known && w->own_pid.value == c.pid) return LEVEE_OK;
    snprintf(file, sizeof file, "%u/status", c.pid);
    if (!kernel_text_read(text, w->roots.proc, file)) return LEVEE_OK;
    /* A thread of the kernel has neither. */
    reading anonymous = kernel_text_field(text, "RssAnon:"), shared = kernel_text_field(text, "RssShmem:");
    const char *called = kernel_text_line(text, "Name:");
    if (!anonymous.known || !shared.known || !called) return LEVEE_OK;
    c.held_bytes = anonymous.value + shared.value;
    copy_name(c.name, called + strspn(called, "\t "));
    keep(w->found, &c);
    return LEVEE_OK;
}

void consumers_read(consumers *found, kernel_roots roots) {
    char text[KERNEL_TEXT_BYTES];
    walk w = {.found = found, .roots = roots};
    memset(found, 0, sizeof *found);
    kernel_text_read(text, roots.proc, "self/status");
    w.own_pid = kernel_text_field(text, "Pid:");
    found->known = file_list(roots.proc, visit, &w, NULL) == LEVEE_OK;
}

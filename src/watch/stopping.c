/* The end of a command that nothing else helps: frozen, asked, thawed, terminated, killed. See watching.h.
 *
 * Frozen, it takes no more memory while the hook runs, and all of its processes get SIGTERM before any of them can
 * see another one go. Without a hook that is a matter of milliseconds. */
#include "platform/machine.h"
#include "watch/watching.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/call.h"

/* What SIGKILL does not end within this hangs in the kernel, and is left there. */
static const double kill_seconds = 10;

static bool is_frozen(const stopping *s, const process_identity *p) {
    for (unsigned i = 0; i < s->frozen_count; i++)
        if (s->frozen[i].pid == p->pid && s->frozen[i].started == p->started) return true;
    return false;
}

/* Those that somebody else has stopped stay so, whatever becomes of ours. */
static void freeze_members(watching *w) {
    stopping *s = &w->stop;
    for (unsigned i = 0; i < w->tree.count; i++) {
        const tree_member *m = &w->tree.members[i];
        if (strchr("TtZX", m->state) || is_frozen(s, &m->identity) || s->frozen_count == PROCESS_TREE_MOST) continue;
        keeper_will_freeze(&w->beside, &m->identity);
        if (process_signal(w->roots, &m->identity, SIGSTOP)) s->frozen[s->frozen_count++] = m->identity;
    }
}

static const char *plural(unsigned count) { return count == 1 ? "" : "es"; }

/* Until a look finds none that was started meanwhile. */
static void freeze(watching *w) {
    enum { MOST_ROUNDS = 16 };
    unsigned before = 0;
    w->stop.frozen_at = machine_seconds();
    for (unsigned round = 0; round < MOST_ROUNDS; round++) {
        process_tree_look(&w->tree);
        freeze_members(w);
        if (round && w->stop.frozen_count == before) break;
        before = w->stop.frozen_count;
    }
}

static void thaw(watching *w) {
    stopping *s = &w->stop;
    for (unsigned i = 0; i < s->frozen_count; i++) process_signal(w->roots, &s->frozen[i], SIGCONT);
    keeper_thawed(&w->beside);
    if (s->frozen_count)
        tell(w, "%u process%s frozen for %.3f s", s->frozen_count, plural(s->frozen_count),
             machine_seconds() - s->frozen_at);
    s->frozen_count = 0;
}

static void enter(watching *w, stop_phase phase, double seconds) {
    w->stop.phase = phase;
    w->stop.until = machine_seconds() + seconds;
}

/* In the child. Its output goes where messages go: the command's own output is the command's. */
static void become_hook(const watching *w) {
    char number[32];
    int nothing = call_open("/dev/null", O_RDONLY);
    reading held = sample_held(&w->watch.sample);
    setpgid(0, 0);
    if (nothing >= 0) dup2(nothing, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    snprintf(number, sizeof number, "%d", w->command.identity.pid);
    setenv("LEVEE_WATCH_PID", number, 1);
    snprintf(number, sizeof number, "%llu", (unsigned long long)held.value);
    if (held.known) setenv("LEVEE_WATCH_HELD_BYTES", number, 1);
    setenv("LEVEE_WATCH_REASON", guard_rule_name(w->stop.rule), 1);
    sigprocmask(SIG_SETMASK, &w->awaited.before, NULL);
    execl("/bin/sh", "sh", "-c", w->options->hook, (char *)NULL);
    _exit(COMMAND_NOT_FOUND);
}

static bool start_hook(watching *w) {
    int pid = fork();
    if (!pid) become_hook(w);
    if (pid < 0) {
        tell(w, "the hook cannot be run: %s", strerror(errno));
        return false;
    }
    setpgid(pid, pid); /* whoever is first, so that it can be ended with its children */
    process_tree_exclude(&w->tree, EXCLUDED_HOOK, pid);
    w->stop.hook = pid;
    return true;
}

static void terminate(watching *w) {
    process_tree_look(&w->tree);
    tell(w, "SIGTERM to %u process%s; SIGKILL after %g s", w->tree.count, plural(w->tree.count),
         w->options->grace_seconds);
    w->stop.bytes_at_term = sample_held(&w->watch.sample).value;
    process_tree_signal(&w->tree, SIGTERM);
    process_tree_signal(&w->tree, SIGCONT); /* stopped by whomever, they cannot answer */
    enter(w, STOP_TERMINATING, w->options->grace_seconds);
}

/* Whoever takes part, or is known to handle the signal, may end by itself; others get SIGTERM while they are frozen.
 */
static void ask_to_end(watching *w) {
    unsigned asked = channel_wish(&w->talk, GUARD_STOP);
    if (w->options->asks_by_signal) asked += process_signal(w->roots, &w->command.identity, SIGUSR1);
    if (asked) {
        tell(w, "asked to end by itself; SIGTERM after %g s", w->options->grace_seconds);
        enter(w, STOP_ASKED, w->options->grace_seconds);
    } else {
        terminate(w);
    }
    thaw(w);
}

static void after_hook(watching *w) {
    guard_decision now = look_only(w);
    if (w->stop.rule != RULE_LEAK_STOP && now.found.level < PRESSURE_ORANGE) {
        tell(w, "memory is to be had again after the hook: the command goes on");
        thaw(w);
        w->stop.phase = STOP_NOT;
    } else {
        ask_to_end(w);
    }
}

void stopping_begin(watching *w, const guard_decision *d) {
    w->stop.rule = d->rule;
    tell_decision(w, d, true);
    freeze(w);
    if (*w->options->hook && start_hook(w))
        enter(w, STOP_FROZEN, w->options->grace_seconds);
    else
        ask_to_end(w);
}

void stopping_child_ended(watching *w, int pid) {
    if (pid == w->stop.hook) {
        w->stop.hook = 0;
        process_tree_exclude(&w->tree, EXCLUDED_HOOK, 0);
    }
}

/* The number of a hook that was not waited for is its own. */
static void end_hook(watching *w) {
    tell(w, "the hook did not end within %g s", w->options->grace_seconds);
    kill(-w->stop.hook, SIGKILL);
}

/* The grace is for saving, not for taking more: who is past the budget and goes on growing has none. */
static bool grows_past_budget(const watching *w) {
    reading held = sample_held(&w->watch.sample);
    uint64_t budget = w->options->budget_bytes, more = budget / 32;
    return held.known && held.value > budget && held.value > w->stop.bytes_at_term + more;
}

static void kill_all(watching *w) {
    process_tree_look(&w->tree);
    unsigned reached = process_tree_signal(&w->tree, SIGKILL);
    tell(w, "SIGKILL to %u process%s", reached, plural(reached));
    enter(w, STOP_KILLING, kill_seconds);
}

void stopping_advance(watching *w) {
    stopping *s = &w->stop;
    bool late = machine_seconds() >= s->until;
    if (s->phase == STOP_FROZEN && (late || !s->hook)) {
        if (s->hook) end_hook(w);
        after_hook(w);
    } else if (s->phase == STOP_ASKED && late) {
        terminate(w);
    } else if (s->phase == STOP_TERMINATING && (late || grows_past_budget(w))) {
        kill_all(w);
    } else if (s->phase == STOP_KILLING) {
        process_tree_look(&w->tree);
        process_tree_signal(&w->tree, SIGKILL);
    }
}

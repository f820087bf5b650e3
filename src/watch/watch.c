/* levee_watch: opens everything, runs the command, and closes everything. See watching.h. */
#include "platform/machine.h"
#include "watch/watching.h"

#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/error.h"
#include "memory/ledger.h"
#include "platform/headroom.h"

static guard_limits limits_of(const levee_watch_options *o, uint64_t reserve_bytes) {
    guard_limits limits = guard_limits_default();
    limits.pressure.budget_bytes = o->budget_bytes;
    limits.pressure.device_budget_bytes = o->device_bytes;
    limits.pressure.machine_reserve_bytes = reserve_bytes;
    limits.breaker.first_seconds = o->cool_down_seconds;
    limits.can_pause = false;
    return limits;
}

/* What a group of its own may hold: a little more than the budget, so that the guard comes before the kernel. */
static uint64_t group_bytes(const levee_watch_options *o, levee_error *error) {
    headroom room;
    if (o->group_bytes != UINT64_MAX) return o->group_bytes;
    if (o->budget_bytes != UINT64_MAX) return o->budget_bytes + o->budget_bytes / 16;
    return headroom_read(&room, o->reserve_bytes, error) == LEVEE_OK ? room.bytes : 0;
}

/* Where none can be made, that is said, and the command runs in ours. */
static void make_group(watching *w) {
    levee_error why = {0};
    char size[BYTES_TEXT];
    if (!w->options->group_bytes) return;
    uint64_t bytes = group_bytes(w->options, &why);
    if (bytes && own_group_make(&w->group, w->roots, bytes, &why) == LEVEE_OK) {
        if (!w->options->quiet) tell(w, "control group %s of %s", w->group.path, bytes_format(size, bytes));
    } else {
        tell(w, "no control group of its own (%s); the command runs in the one that watch is in", why.message);
    }
}

/* A limit that nothing could keep is refused before the command starts. */
static levee_status check_device(const levee_watch_options *o, levee_error *error) {
    gpu_meter meter;
    if (o->device_bytes == UINT64_MAX && !o->device) return LEVEE_OK;
    bool found = gpu_meter_open(&meter, NULL, o->device);
    gpu_meter_close(&meter);
    if (found) return LEVEE_OK;
    return error_set(error, LEVEE_USAGE,
                     "--device%s: NVML finds no NVIDIA GPU of number %u here; nvidia-smi lists them",
                     o->device_bytes == UINT64_MAX ? "" : "-memory", o->device);
}

static levee_status open_all(watching *w, levee_error *error) {
    const levee_watch_options *o = w->options;
    levee_status status = LEVEE_OK;
    if (*o->step_pattern) status = step_pattern_open(&w->pattern, o->step_pattern, error);
    if (status == LEVEE_OK) status = headroom_machine_reserve(o->reserve_bytes, &w->reserve_bytes, error);
    if (status == LEVEE_OK) status = process_tree_open(&w->tree, w->roots, getpid(), error);
    signals_block(&w->awaited); /* before a library makes threads, which would take them */
    if (status == LEVEE_OK) status = check_device(o, error);
    if (status == LEVEE_OK) status = keeper_start(&w->beside, w->roots, error);
    if (status == LEVEE_OK) status = faces_open(w, error);
    if (status == LEVEE_OK) status = signals_open(&w->awaited, error);
    if (status == LEVEE_OK) status = channel_open(&w->talk, error);
    process_tree_exclude(&w->tree, EXCLUDED_KEEPER, w->beside.pid);
    return status;
}

static levee_status start(watching *w, char *const *arguments, int *exit_code, levee_error *error) {
    if (!process_tree_adopt()) tell(w, "processes whose parent ends are not watched: this kernel has no subreapers");
    make_group(w);
    const command_setup setup = {.arguments = arguments,
                                 .group = w->group.made ? &w->group : NULL,
                                 .channel = w->talk.name,
                                 .volunteers = !w->options->leaves_victim,
                                 .reads_output = w->pattern != NULL,
                                 .signals = &w->awaited.before,
                                 .child_action = &w->awaited.child_before};
    levee_status status = command_start(&w->command, w->roots, &setup, exit_code, error);
    for (unsigned i = 0; i < 2; i++) {
        stream_open(&w->output[i], w->command.output[i], i ? STDERR_FILENO : STDOUT_FILENO);
        w->command.output[i] = -1;
    }
    w->started = w->last_step = machine_seconds();
    return status;
}

/* The command runs: from here on nothing may fail. */
static void begin_guard(watching *w) {
    const guard_limits limits = limits_of(w->options, w->reserve_bytes);
    sampler_options meters = sampler_options_default();
    meters.roots = w->roots;
    meters.pid = w->command.identity.pid; /* its control groups */
    meters.tree = &w->tree;
    meters.with_device = true; /* where there is one */
    meters.device = w->options->device;
    process_tree_look(&w->tree);
    guard_open(&w->watch, &limits, &meters);
    w->steps_told = w->pattern != NULL;
}

/* A command that is stopped takes us with it, so that a shell sees a job that is stopped. */
static void stop_too(const watching *w) {
    if (w->stop.phase == STOP_NOT) kill(getpid(), SIGSTOP);
}

static void command_changed(watching *w, int status) {
    if (WIFSTOPPED(status)) {
        stop_too(w);
        return;
    }
    w->command.ended = true;
    w->command.exit_code = command_exit_code(status);
}

static void reap(watching *w) {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0;) {
        if (pid == w->command.identity.pid)
            command_changed(w, status);
        else if (!WIFSTOPPED(status) && pid == w->beside.pid)
            keeper_lost(&w->beside);
        else if (!WIFSTOPPED(status))
            stopping_child_ended(w, pid);
    }
}

enum { WAIT_SIGNALS, WAIT_OUTPUT, WAIT_CHANNEL = WAIT_OUTPUT + 2, WAITS = WAIT_CHANNEL + CHANNEL_MOST_PEERS + 1 };

/* Until something happens, or it is time to look. */
static void serve(watching *w) {
    struct pollfd waits[WAITS];
    uint64_t lines = 0;
    double left = fmax(w->next_look - machine_seconds(), 0);
    waits[WAIT_SIGNALS] = (struct pollfd){.fd = w->awaited.descriptor, .events = POLLIN};
    for (unsigned i = 0; i < 2; i++) waits[WAIT_OUTPUT + i] = stream_poll(&w->output[i]);
    channel_poll(&w->talk, waits + WAIT_CHANNEL);
    if (poll(waits, WAITS, (int)ceil(1e3 * left)) <= 0) return;
    for (unsigned i = 0; i < 2; i++) lines += stream_serve(&w->output[i], w->pattern, waits[WAIT_OUTPUT + i].revents);
    channel_serve(&w->talk, waits + WAIT_CHANNEL);
    if (w->talk.steps) /* the program knows better than its output */
        look_at_steps(w, w->talk.steps);
    else if (lines)
        look_at_steps(w, w->steps + lines);
    if (waits[WAIT_SIGNALS].revents) signals_serve(&w->awaited, &w->beside, w->roots, &w->command.identity);
}

static bool has_living_members(watching *w) {
    process_tree_look(&w->tree);
    return process_tree_living(&w->tree) > 0;
}

/* A command that is stopped is over with all its processes; otherwise what it leaves behind is its own affair. */
static bool is_over(watching *w) {
    if (w->stop.phase == STOP_NOT) return w->command.ended;
    bool given_up = w->stop.phase == STOP_KILLING && machine_seconds() >= w->stop.until;
    return given_up || (w->command.ended && !has_living_members(w));
}

static bool gives_up(void *context) { return signals_end(context); }

static int run(watching *w) {
    while (!is_over(w)) {
        if (machine_seconds() >= w->next_look) look(w);
        serve(w);
        reap(w); /* whether or not we were told: a thread that a library left behind may take our signals */
        stopping_advance(w);
    }
    reap(w); /* orphans that fell to us, so that no trace of the command is left */
    for (unsigned i = 0; i < 2; i++)
        stream_drain(&w->output[i], w->pattern, w->awaited.descriptor, gives_up, &w->awaited);
    return w->stop.phase == STOP_NOT ? w->command.exit_code : LEVEE_STOPPED;
}

static void close_all(watching *w) {
    for (unsigned i = 0; i < 2; i++) stream_close(&w->output[i]);
    guard_close(&w->watch);
    process_tree_close(&w->tree);
    channel_close(&w->talk);
    keeper_stop(&w->beside);
    signals_close(&w->awaited);
    faces_close(w);
    step_pattern_close(w->pattern);
    own_group_remove(&w->group);
    ledger_free(w);
}

/* Nothing is open yet. */
static watching *create(const levee_watch_options *options, levee_print *print, void *context) {
    watching *w = ledger_alloc(LEVEE_RUNTIME, sizeof *w);
    if (!w) return NULL;
    w->options = options;
    w->print = print;
    w->context = context;
    w->roots = kernel_roots_default;
    w->talk.listener = w->awaited.descriptor = -1;
    for (unsigned i = 0; i < CHANNEL_MOST_PEERS; i++) w->talk.peers[i].socket = -1;
    for (unsigned i = 0; i < 2; i++) stream_open(&w->output[i], -1, -1);
    return w;
}

levee_status levee_watch(const levee_watch_options *options, char *const *arguments, levee_print *print,
                         void *context, int *exit_code, levee_error *error) {
    if (!arguments || !arguments[0])
        return error_set(error, LEVEE_USAGE, "watch needs a command: levee watch [options] -- COMMAND [arguments]");
    watching *w = create(options, print, context);
    if (!w) return error_out_of_memory(error, "watch", sizeof *w);
    *exit_code = LEVEE_INTERNAL;
    w->command_name = arguments[0];
    levee_status status = open_all(w, error);
    if (status == LEVEE_OK) status = start(w, arguments, exit_code, error);
    if (status == LEVEE_OK) {
        begin_guard(w);
        *exit_code = run(w);
        tell_end(w, *exit_code);
    }
    close_all(w);
    return status;
}

/* Everything that watch knows while a command runs.
 *
 * Words. A look is a sample and a decision of the guard; it happens ten times a second, and more often when memory is
 * getting short. A step is what the leak estimator gets one sample of: told by the program's output or by the program
 * itself, else a period of the clock.
 *
 * One struct, owned by levee_watch and booked under runtime, taken before the command starts; from then on nothing is
 * allocated. One thread, and where something is written one more, which waits for the disk (monitor/stream.h). */
#ifndef LEVEE_WATCH_WATCHING_H
#define LEVEE_WATCH_WATCHING_H

#include "guard/guard.h"
#include "monitor/run_files.h"
#include "monitor/stream.h"
#include "report/tensorboard.h"
#include "watch/channel.h"
#include "watch/command.h"
#include "watch/keeper.h"
#include "watch/moments.h"
#include "watch/options.h"
#include "watch/signals.h"
#include "watch/stream.h"
#include "web/web.h"

/* How far stopping the command has come. */
typedef enum stop_phase {
    STOP_NOT,
    STOP_FROZEN,      /* the hook runs */
    STOP_ASKED,       /* the program was asked to end by itself */
    STOP_TERMINATING, /* SIGTERM was sent */
    STOP_KILLING
} stop_phase;

typedef struct stopping {
    stop_phase phase;
    double until; /* machine_seconds: the end of the phase */
    guard_rule rule;
    int hook; /* its process; 0: none runs */
    process_identity frozen[PROCESS_TREE_MOST];
    unsigned frozen_count;
    double frozen_at;
    uint64_t bytes_at_term; /* held when SIGTERM was sent */
} stopping;

/* Places of process_tree.excluded. */
enum { EXCLUDED_KEEPER, EXCLUDED_HOOK };

/* A file of samples and decisions, in the order in which they came; as long as they make it. */
typedef struct log_file {
    rotating_file file;
    event_evidence before;
} log_file;

typedef struct watching {
    const levee_watch_options *options;
    levee_print *print;
    void *context;
    kernel_roots roots;
    signals awaited;
    keeper beside;
    own_group group;
    uint64_t reserve_bytes; /* of the machine, for others */
    command command;
    const char *command_name;
    stream output[2];
    step_pattern *pattern;
    channel talk;
    process_tree tree;
    guard watch;
    run_stream told;          /* what watch tells, where it is to be written; else not open */
    log_file log;             /* --log */
    directory_lock directory; /* --run-dir: ours, and */
    run_files files;          /* what lies in it */
    tensorboard event_files;  /* --tensorboard: there too */
    board *shown;             /* --web: on the */
    web *page;
    moments when; /* the samples were taken */
    stopping stop;
    uint64_t steps;                                    /* finished so far, by whoever tells */
    uint64_t taken;                                    /* of these the last that a sample was taken of */
    bool steps_told;                                   /* else the clock counts */
    double started, next_look, last_step, last_sample; /* machine_seconds */
    guard_decision last;
    pressure_level told_level;
    leak_verdict told_leak;
    unsigned unknown_samples; /* in a row, of held memory */
    guard_action told_action;
    guard_rule told_rule;
    uint32_t shrinks; /* that the program carried out: its plan's number */
    bool shrinks_refused;
    uint64_t peak_bytes, device_peak_bytes; /* held, in any sample */
} watching;

/* Stopping (stopping.c). Begins to stop the command because of a decision. */
void stopping_begin(watching *w, const guard_decision *d);

/* Goes on with it as time passes and children end; call after each event. */
void stopping_advance(watching *w);

/* A child that is not the command has ended. */
void stopping_child_ended(watching *w, int pid);

/* Telling (telling.c). Prints a line, with printf's words. */
void tell(watching *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Tells of what a look found: levels that changed, leaks, and the log's lines. */
void tell_look(watching *w, const guard_decision *d, bool new_sample);

/* Logs and prints a decision, unless it is the one before again. */
void tell_decision(watching *w, const guard_decision *d, bool carried_out);

/* The end: what was held, and what is left behind. */
void tell_end(watching *w, int exit_code);

/* Faces (faces.c): opens what --log, --run-dir and --web ask for; nothing is open, or all that was asked for. */
levee_status faces_open(watching *w, levee_error *error);

/* Waits until all that was told is written, and tells of what was not. */
void faces_flush(watching *w);
void faces_close(watching *w);

/* Looking (looking.c). Is it time, or did a step end? Then samples, decides and acts. */
void look(watching *w);

/* A decision without acting on it. */
guard_decision look_only(watching *w);

/* The program has finished so many steps in all, by its own count or by its lines. */
void look_at_steps(watching *w, uint64_t steps);

#endif

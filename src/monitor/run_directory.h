/* The directory of a run: the names of what lies in it, and whether the run goes on.
 *
 *   metrics.jsonl   one object a step; on resume cut back to the step of the checkpoint
 *   events.jsonl    one object a decision of the guard, with its evidence
 *   samples.jsonl   one object a sample: what the guard sees at each step
 *   plan.json       the plan, as levee plan --json says it
 *   config.yaml     the options in force
 *   log.txt         every line that the run prints
 *   tensorboard/    event files, with --tensorboard
 *   checkpoints/    what it is gone on with from
 *   lock            held as long as it goes on (base/lock.h); says who holds it
 *
 * Events, samples and log are rotated: NAME.1 is the older part. Who writes them: run_files.h; who reads: run_view.h.
 */
#ifndef LEVEE_MONITOR_RUN_DIRECTORY_H
#define LEVEE_MONITOR_RUN_DIRECTORY_H

#include "base/file.h"
#include "base/lock.h"

typedef enum run_file {
    RUN_METRICS,
    RUN_EVENTS,
    RUN_SAMPLES,
    RUN_PLAN,
    RUN_CONFIG,
    RUN_LOG,
    RUN_TENSORBOARD,
    RUN_CHECKPOINTS,
    RUN_FILES
} run_file;

/* "metrics.jsonl" */
const char *run_file_name(run_file file);

/* Its path below the directory; LEVEE_USAGE when that is too long. */
levee_status run_file_path(char path[FILE_PATH_BYTES], const char *directory, run_file file, levee_error *error);

/* Says in the lock of a directory, which we hold, who we are. Not before it is sure that the run begins: one that is
 * refused leaves all files as they were. */
void run_directory_sign(const directory_lock *lock);

/* Is there a run in it that goes on, and which process is it? *pid is 0 where it is not known. LEVEE_MISSING_INPUT
 * where there is no directory, or no run was ever in it. */
levee_status run_directory_look(const char *directory, bool *goes_on, int *pid, levee_error *error);

#endif

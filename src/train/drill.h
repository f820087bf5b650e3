/* A fire drill: trouble made on purpose, so that people see what a run does about it before they need to know.
 *
 *   leak=SIZE/step[,category=NAME][,from=STEP]  takes SIZE more after each step, and keeps it; booked nowhere, or
 *                                               under a category, where it must be noticed at once
 *   hog=SIZE@STEP[,for=SECONDS]                 another process takes SIZE and keeps it so long (10)
 *   pressure=LEVEL@STEP[,for=SECONDS]           the guard's samples say so long (10) that the machine is yellow,
 * orange or red alloc-fail=N                                the N-th time that memory is asked for it is refused
 *   io-error=N                                  the N-th call on a file fails
 *   slow-disk=MILLISECONDS                      each write, and each wait for the disk, takes so much longer
 *
 * Everything happens but for the pressure, which only stands in the samples. Several are separated by spaces or
 * commas. Calls are counted from the moment that the model is open. */
#ifndef LEVEE_TRAIN_DRILL_H
#define LEVEE_TRAIN_DRILL_H

#include <stdatomic.h>
#include <sys/types.h>

#include "guard/pressure.h"
#include "memory/region.h"
#include "train/run.h"

typedef enum exercise_kind {
    EXERCISE_LEAK,
    EXERCISE_HOG,
    EXERCISE_PRESSURE,
    EXERCISE_REFUSE_MEMORY,
    EXERCISE_FAIL_FILE,
    EXERCISE_SLOW_DISK,
    EXERCISE_KINDS
} exercise_kind;

typedef struct exercise {
    exercise_kind kind;
    uint64_t amount;         /* bytes, milliseconds, or the number of the call */
    uint64_t step;           /* from which, or after which */
    uint64_t lasts;          /* seconds */
    levee_category category; /* of a leak; LEVEE_CATEGORY_COUNT: booked nowhere */
    pressure_level level;
} exercise;

enum { DRILL_MOST = 8 };

/* Reads a drill as above into list[DRILL_MOST]; returns NULL, or what is wrong and what would do, with `at` the
 * place. An empty text has no exercises. */
const char *drill_read(const char *text, exercise *list, unsigned *count, const char **at);

typedef struct drill {
    const run *common;
    exercise list[DRILL_MOST];
    unsigned count;
    uint64_t leaked_bytes;
    region leaked;     /* the newest of those that are booked nowhere; each keeps the one before */
    void *leaked_heap; /* and of those that are booked */
    pid_t neighbour;   /* 0: none */
    _Atomic double bent_until[DRILL_MOST];        /* machine_seconds(), of each pressure */
    atomic_ullong asked_for_memory, called_files; /* so often */
    bool told_refusal, told_failure;
} drill;

/* Begins what a drill says, and tells; `common` is open. An empty text does nothing. drill_close undoes everything,
 * and accepts a zeroed drill. */
levee_status drill_open(drill *d, const char *text, const run *common, levee_error *error);
void drill_close(drill *d);

/* A step is finished: makes what comes after it. */
levee_status drill_step(drill *d, uint64_t finished, levee_error *error);

/* Bends a sample to the pressure that the drill says, for a training that is expected to hold `planned_bytes`. May be
 * called from another thread. */
void drill_bend(drill *d, const pressure_limits *limits, uint64_t planned_bytes, guard_sample *sample);

#endif

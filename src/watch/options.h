/* The options of watch: one table drives the command line and the help. */
#ifndef LEVEE_WATCH_OPTIONS_H
#define LEVEE_WATCH_OPTIONS_H

#include "base/file.h"
#include "levee.h"

enum { WATCH_TEXT_BYTES = 4096 };

struct levee_watch_options {
    uint64_t budget_bytes;  /* UINT64_MAX: none */
    uint64_t reserve_bytes; /* HEADROOM_USUAL_RESERVE */
    uint64_t device_bytes;  /* UINT64_MAX: none */
    unsigned device;        /* the number of the GPU that is watched, by NVML's count */
    uint64_t group_bytes;   /* of the own control group; 0: none is made; UINT64_MAX: auto */
    double sample_seconds;  /* a step, where nobody tells of steps */
    double grace_seconds;
    double cool_down_seconds;
    bool only_warns, asks_by_signal, leaves_victim, quiet, tensorboard;
    char step_pattern[WATCH_TEXT_BYTES], hook[WATCH_TEXT_BYTES], log[FILE_PATH_BYTES], run_directory[FILE_PATH_BYTES],
        web[WATCH_TEXT_BYTES]; /* empty: none */
};

#endif

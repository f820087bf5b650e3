/* The options of a run: those of mlx_lm.lora, by the same names, and ours. One table drives the command line, YAML
 * files and the help. */
#ifndef LEVEE_TRAIN_OPTIONS_H
#define LEVEE_TRAIN_OPTIONS_H

#include "backend/backend.h"
#include "base/file.h"
#include "graph/search.h"
#include "model/builder.h"
#include "train/optimizer.h"
#include "train/schedule.h"

typedef enum optimizer_choice { OPTIMIZER_ADAMW, OPTIMIZER_ADAM, OPTIMIZER_COUNT } optimizer_choice;

struct levee_options {
    char model[FILE_PATH_BYTES], data[FILE_PATH_BYTES], adapter_path[FILE_PATH_BYTES];
    char resume_adapter_file[FILE_PATH_BYTES], prompt[FILE_PATH_BYTES];
    bool adapter_path_given;
    fine_tune_type type;
    int64_t num_layers; /* -1: all */
    uint32_t batch_size, iterations, accumulation, max_sequence_tokens;
    uint32_t validation_batches, test_batches; /* UINT32_MAX: all */
    uint32_t steps_per_report, steps_per_evaluation, save_every, threads, max_new_tokens;
    double learning_rate;
    schedule rate; /* used when has_schedule */
    bool has_schedule;
    optimizer_choice optimizer;
    optimizer_settings optimizers[OPTIMIZER_COUNT]; /* optimizer_config has a section for each */
    double max_gradient_norm;
    uint32_t rank;
    double scale, dropout;
    bool projections[PROJECTION_COUNT];
    recompute_choice recompute;
    compute_type compute;
    uint64_t seed, budget_bytes, max_row_bytes;
    bool budget_given;
};

/* mlx_lm.lora's defaults where it has the option. */
void options_defaults(levee_options *o);

/* Sets one option by its key, in YAML spelling (num_layers) or the command line's (num-layers); parts of maps are
 * dotted (lora_parameters.rank). A key that is not known names the nearest that is; a value that does not do says
 * what would. */
levee_status options_set(levee_options *o, const char *key, const char *value, levee_error *error);

/* Reads a YAML file of options. */
levee_status options_read(levee_options *o, const char *path, levee_error *error);

/* Refuses options that do only one by one: a schedule without its name or with wrong arguments, a batch that cannot
 * be counted. Call when all are set. */
levee_status options_check(const levee_options *o, levee_error *error);

/* The chosen optimizer's settings, clipping included; adam's weight decay is 0. */
optimizer_settings options_optimizer(const levee_options *o);

/* Writes all options in force as YAML, which options_read reads. */
levee_status options_write(const levee_options *o, const char *path, levee_error *error);

#endif

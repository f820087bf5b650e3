/* The options of a run: those of mlx_lm.lora, by the same names, and ours. One table drives the command line, YAML
 * files and the help. */
#ifndef LEVEE_TRAIN_OPTIONS_H
#define LEVEE_TRAIN_OPTIONS_H

#include "backend/backend.h"
#include "base/file.h"
#include "graph/search.h"
#include "guard/controller.h"
#include "model/builder.h"
#include "train/optimizer.h"
#include "train/schedule.h"

/* What the guard may do: nothing, tell, or act. */
typedef enum guard_mode { GUARD_OFF, GUARD_WARN, GUARD_ACT } guard_mode;

typedef enum optimizer_choice { OPTIMIZER_ADAMW, OPTIMIZER_ADAM, OPTIMIZER_COUNT } optimizer_choice;

/* Who alone has an option: plan, doctor and inspect answer, and so have options that no run has. */
typedef enum option_owner {
    OWNER_RUNS, /* every verb takes it, and it is stored with a run */
    OWNER_PLAN,
    OWNER_DOCTOR,
    OWNER_PLAN_DOCTOR_AND_INSPECT,
    OWNER_PROBE,
    OWNER_TOKENIZE,
    OWNER_EXPORT,
    OWNER_GENERATE,
    OWNER_TRAIN,
    OWNER_COUNT
} option_owner;

/* Options of those that answer: what to tell beside the answer, and how. */
typedef struct analysis_options {
    bool table, explain, json, calibrate;
    char curve[FILE_PATH_BYTES];
} analysis_options;

/* Options of probe alone. */
typedef struct probe_options {
    char file[FILE_PATH_BYTES]; /* where the options that were found go */
    uint32_t steps;             /* at each size */
} probe_options;

/* Options of tokenize alone. */
enum { FIELD_NAME_BYTES = 64 };
typedef struct tokenize_options {
    bool no_special_tokens, add_generation_prompt, colour;
    char bos_token[FIELD_NAME_BYTES], eos_token[FIELD_NAME_BYTES]; /* empty: the model's */
} tokenize_options;

/* Options of generate alone. */
typedef struct generate_options {
    double temperature, top_p, min_p, repetition_penalty;
    uint32_t top_k, repetition_context;
    bool chat;
    char system_prompt[FILE_PATH_BYTES];
} generate_options;

/* Options of export alone. */
typedef enum export_format { EXPORT_HF, EXPORT_GGUF, EXPORT_MLX } export_format;
typedef enum export_outtype {
    OUTTYPE_DEFAULT, /* f16 */
    OUTTYPE_F16,
    OUTTYPE_BF16,
    OUTTYPE_F32,
    OUTTYPE_Q8_0,
    OUTTYPE_Q4_0
} export_outtype;
typedef struct export_options {
    export_format format;
    export_outtype outtype;
    bool adapter_only;
    char save_path[FILE_PATH_BYTES];
} export_options;

/* Where a value came from: a number of a line in config_path, or one of these. */
enum { PLACE_DEFAULT = 0, PLACE_EARLIER_FILE = UINT32_MAX - 1, PLACE_COMMAND_LINE = UINT32_MAX };

enum { OPTIONS_MOST = 160 };

struct levee_options {
    char model[FILE_PATH_BYTES], data[FILE_PATH_BYTES], adapter_path[FILE_PATH_BYTES];
    char resume_adapter_file[FILE_PATH_BYTES], prompt[FILE_PATH_BYTES];
    char inject[FILE_PATH_BYTES]; /* a fire drill (drill.h) */
    char web[FILE_PATH_BYTES]; /* where the page listens (web/address.h); "auto": the usual place; empty: no page */
    char resume[FILE_PATH_BYTES]; /* a checkpoint; "auto": the newest, if there is one; empty: a new run */
    char text_feature[FIELD_NAME_BYTES], prompt_feature[FIELD_NAME_BYTES], completion_feature[FIELD_NAME_BYTES],
        chat_feature[FIELD_NAME_BYTES];
    bool mask_prompt;
    bool adapter_path_given;
    char model_name[128]; /* of the hub, when that was given for a copy on this machine; else empty */
    bool train;           /* false: levee_train trains nothing, and only `test` is done */
    bool test;            /* after training */
    bool print_config;    /* say what is in force, and nothing else */
    bool quiet;           /* print nothing; the run's log has it all the same */
    bool tensorboard;     /* write event files */
    fine_tune_type type;
    int64_t num_layers; /* -1: all */
    bool batch_size_given;
    uint32_t micro_batch_size; /* of the longest sequences that a pass holds; 0: whatever is fastest */
    uint32_t batch_size, iterations, accumulation, max_sequence_tokens;
    uint32_t validation_batches, test_batches; /* UINT32_MAX: all */
    uint32_t steps_per_report, steps_per_evaluation, save_every, keep_last, threads, max_new_tokens;
    uint32_t most_not_finite_steps; /* in a row, before the run stops */
    bool deterministic;
    guard_mode guard;
    guard_response on_pressure;
    double yellow_at, orange_at, red_at; /* shares of a limit */
    bool profile;                        /* say where the time of steps went */
    bool limit_data;                     /* by RLIMIT_DATA, once all is taken */
    uint64_t group_bytes;                /* of a control group of its own; UINT64_MAX: none */
    double cool_down_seconds;            /* of calm, before memory that was given back is taken again */
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
    uint64_t seed, budget_bytes, others_bytes, max_row_bytes;
    bool budget_given;
    analysis_options analysis;
    probe_options probe;
    tokenize_options tokenize;
    generate_options generate;
    export_options export;
    levee_ask *ask; /* where turns of a conversation come from; NULL: nowhere */
    void *ask_context;
    levee_show *show; /* how far a training is; NULL: it prints lines */
    void *show_context;
    char config_path[FILE_PATH_BYTES];              /* the file of options that was read last */
    uint32_t line;                                  /* of it that is being read; 0: none is */
    uint32_t places[OPTIMIZER_COUNT][OPTIONS_MOST]; /* by number in the table; of what no optimizer has, the first */
    const char *owned_keys[OWNER_COUNT];            /* the last option that was set of each owner; NULL: none */
};

/* mlx_lm.lora's defaults where it has the option. */
void options_defaults(levee_options *o);

/* Sets one option by its key, in YAML spelling (num_layers) or the command line's (num-layers); parts of maps are
 * dotted (lora_parameters.rank). A key that is not known names the nearest that is; a value that does not do says
 * what would. */
levee_status options_set(levee_options *o, const char *key, const char *value, levee_error *error);

/* Whether the value of that key may be a list, in YAML; true for a key that options_set refuses itself. */
bool options_may_be_list(const char *key);

/* From here on, lines are those of this file. */
void options_name_file(levee_options *o, const char *path);

/* Reads a YAML file of options. */
levee_status options_read(levee_options *o, const char *path, levee_error *error);

/* Refuses options that do only one by one: a schedule without its name or with wrong arguments, a batch that cannot
 * be counted. Call when all are set. */
levee_status options_check(const levee_options *o, levee_error *error);

/* Refuses options that name no model, or one of the hub that is not on this machine. */
levee_status options_check_model(const levee_options *o, levee_error *error);

/* Refuses an option that belongs to another verb. */
levee_status options_check_verb(const levee_options *o, const char *verb, levee_error *error);

/* The chosen optimizer's settings, clipping included; adam's weight decay is 0. */
optimizer_settings options_optimizer(const levee_options *o);

/* Writes all options in force as YAML, which options_read reads, below `heading`: lines of comments, or "". */
levee_status options_write(const levee_options *o, const char *path, const char *heading, levee_error *error);

/* Prints the same, with where each value came from behind it. */
void options_print(const levee_options *o, levee_print *print, void *context);

#endif

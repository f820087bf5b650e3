/* The table of options, which setting, writing and the help share. */
#ifndef LEVEE_TRAIN_OPTIONS_TABLE_H
#define LEVEE_TRAIN_OPTIONS_TABLE_H

#include "train/options.h"

typedef enum option_kind {
    OPTION_PATH,
    OPTION_PATH_OR_AUTO, /* the same; a flag that is on is "auto", one that is off is empty */
    OPTION_FIELD,        /* a short name: of a field of the data's rows, of a token */
    OPTION_DRILL,        /* text of a fire drill; given again, it is added */
    OPTION_WHOLE,        /* uint32 within [least, most] */
    OPTION_BATCHES,      /* the same, or -1 for all, kept as UINT32_MAX */
    OPTION_LAYERS,       /* int64, -1 for all */
    OPTION_NUMBER,       /* double within [least, most] */
    OPTION_BYTES,        /* uint64, at least `least`; UINT64_MAX: not given */
    OPTION_SEED,
    OPTION_CHOICE, /* an enum (option_choice), by the words of `words` */
    OPTION_FLAG,   /* bool */
    OPTION_KEYS,   /* list of projections */
    OPTION_BETAS,
    OPTION_SCHEDULE,
    OPTION_ARGUMENTS,
    OPTION_MAP,     /* only its parts are options; null is as if it were absent */
    OPTION_IGNORED, /* mlx_lm has it; it changes nothing here */
    OPTION_REFUSED, /* mlx_lm has it; not supported unless it is off */
} option_kind;

/* What any enum that is chosen by a word is kept as. */
typedef unsigned option_choice;
_Static_assert(sizeof(option_choice) == sizeof(fine_tune_type) && sizeof(option_choice) == sizeof(recompute_choice) &&
                   sizeof(option_choice) == sizeof(compute_type) && sizeof(option_choice) == sizeof(guard_mode) &&
                   sizeof(option_choice) == sizeof(guard_response) &&
                   sizeof(option_choice) == sizeof(optimizer_choice),
               "a choice is copied into its field");

typedef struct option {
    const char *key; /* YAML spelling */
    option_kind kind;
    size_t offset;
    double least, most;
    const char *words; /* of a choice, in the order of its enum, separated by |; of one that is refused: why */
    const char *help;
} option;

#define AT(field) offsetof(levee_options, field)

/* Ends with an entry whose key is NULL. */
extern const option options_table[];

/* Has each optimizer its own? */
bool option_is_optimizers(const option *d);

option_owner option_owned_by(const option *d);

/* "plan, doctor and inspect"; NULL for OWNER_RUNS. */
const char *option_owner_verbs(option_owner owner);

#endif

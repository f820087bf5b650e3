/* The table of options, which setting, writing and the help share. */
#ifndef LEVEE_TRAIN_OPTIONS_TABLE_H
#define LEVEE_TRAIN_OPTIONS_TABLE_H

#include "train/options.h"

typedef enum option_kind {
    OPTION_PATH,
    OPTION_WHOLE,   /* uint32 within [least, most] */
    OPTION_BATCHES, /* the same, or -1 for all, kept as UINT32_MAX */
    OPTION_LAYERS,  /* int64, -1 for all */
    OPTION_NUMBER,  /* double within [least, most] */
    OPTION_BYTES,
    OPTION_SEED,
    OPTION_CHOICE, /* enum by the words of `words` */
    OPTION_FLAG,   /* bool */
    OPTION_KEYS,   /* list of projections */
    OPTION_BETAS,
    OPTION_SCHEDULE,
    OPTION_ARGUMENTS,
    OPTION_MAP,     /* only its parts are options; null is as if it were absent */
    OPTION_IGNORED, /* mlx_lm has it; it changes nothing here */
    OPTION_REFUSED, /* mlx_lm has it; not supported unless it is off */
} option_kind;

typedef struct option {
    const char *key; /* YAML spelling */
    option_kind kind;
    size_t offset;
    double least, most;
    const char *words; /* of a choice, in the order of its enum, separated by | */
    const char *help;
} option;

#define AT(field) offsetof(levee_options, field)

/* Ends with an entry whose key is NULL. */
extern const option options_table[];

#endif

/* What `levee plan` has found out, as plain data; and as text for people, or as JSON.
 *
 * Bytes are bytes; a budget, a total and a peak count what is not planned (libraries, tokenizer, the plans
 * themselves) under LEVEE_RUNTIME, as in a training. Texts belong to the caller. */
#ifndef LEVEE_REPORT_PLAN_REPORT_H
#define LEVEE_REPORT_PLAN_REPORT_H

#include "levee.h"
#include "text/buffer.h"

enum { REPORT_BUFFERS = 10, REPORT_CHANGES = 8, REPORT_ASSUMPTIONS = 4, REPORT_ROWS = 6, REPORT_COLUMNS = 5 };
enum { PLAN_COLUMNS = 80 }; /* of the text; a path may be longer */
enum { REPORT_NAME_BYTES = 96, REPORT_TEXT_BYTES = 160 };

/* A buffer that is live at the peak. */
typedef struct report_buffer {
    char name[REPORT_NAME_BYTES];
    char made_by[REPORT_NAME_BYTES]; /* "swiglu, forward" */
    int32_t layer;                   /* negative: outside the layers */
    levee_category category;
    uint64_t bytes;
} report_buffer;

/* What another setting would do: planned, not estimated. */
typedef struct report_change {
    char option[REPORT_NAME_BYTES]; /* "--max-seq-length 1024" */
    bool fits;                      /* the budget */
    uint64_t peak_bytes;            /* of the plan that it would get; of the smallest when it does not fit */
    uint64_t least_bytes;           /* with everything recomputed and one sequence a pass */
} report_change;

typedef enum report_fit { FIT_NOT, FIT_RECOMPUTED, FIT_AS_IT_IS } report_fit;

typedef struct report_cell {
    report_fit fit;
    uint64_t peak_bytes; /* of the plan; of the smallest when it does not fit */
} report_cell;

typedef struct plan_report {
    /* The model and the job. */
    const char *model, *family, *stored_type, *fine_tune_type, *compute;
    char assumptions[REPORT_ASSUMPTIONS][REPORT_TEXT_BYTES];
    uint32_t assumption_count;
    uint32_t layers, trained_layers, rank; /* rank 0: no LoRA */
    uint64_t parameters, trained_parameters, weights_bytes;
    uint32_t longest_tokens; /* rows of the longest sequence */
    uint32_t examples_step;
    uint64_t steps;

    /* The plan; when the job does not fit, the smallest one. */
    bool fits;
    uint64_t budget_bytes;
    bool budget_given;
    uint64_t planned_bytes[LEVEE_CATEGORY_COUNT];
    double seconds_step; /* estimated from a calibration, for tokens_step; 0: there is none */
    double tokens_step;  /* rows of a step on average; without data, those of the longest sequences */
    uint32_t capacity_tokens, passes_step, recomputed, candidates;
    uint32_t head_chunk_tokens;       /* rows of logits at a time; 0: none are stored */
    uint64_t arena_bytes, live_bytes; /* of a pass that trains: as packed, and the most that is live at once */
    bool limits_known;          /* by trials, which only an analysis makes: the largest pass and the budgets below */
    uint32_t largest_sequences; /* of the longest, in one pass that fits the budget; 0 when none does */
    char peak[REPORT_NAME_BYTES];
    uint64_t least_budget_bytes;
    uint64_t unrecomputed_bytes, unrecomputed_step_bytes; /* budgets: nothing recomputed, with one sequence a pass;
                                                             with the whole step in one */
    char limit[REPORT_TEXT_BYTES];                        /* which limit leaves the machine's headroom */
    uint64_t available_bytes, reserve_bytes; /* under that limit; what may be taken is their difference */
    uint64_t checkpoint_bytes, checkpoints, result_bytes;

    /* What was asked for beside. */
    bool explained;
    report_buffer buffers[REPORT_BUFFERS];
    uint32_t buffer_count;
    uint64_t least_bytes; /* what a change's least_bytes is to be compared with */
    report_change changes[REPORT_CHANGES];
    uint32_t change_count;
    report_change nearest[REPORT_CHANGES]; /* when it does not fit: settings that do */
    uint32_t nearest_count;
    char tried[REPORT_TEXT_BYTES]; /* when it does not fit: which changes were tried */
    uint32_t row_sequences[REPORT_ROWS], column_tokens[REPORT_COLUMNS]; /* of the table */
    uint32_t row_count, column_count;
    report_cell cells[REPORT_ROWS][REPORT_COLUMNS];
} plan_report;

uint64_t plan_report_total(const plan_report *r);

/* Appends the report: no line is wider than PLAN_COLUMNS, unless a name is; the text has no newline at its end. */
levee_status plan_report_text(text_buffer *text, const plan_report *r, levee_error *error);
/* What is not known is null: in the plan.json of a run that is what takes trials. */
levee_status plan_report_json(text_buffer *text, const plan_report *r, levee_error *error);

#endif

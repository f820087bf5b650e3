/* A run of levee_train: what it has open, and the loop over its steps. */
#ifndef LEVEE_TRAIN_TRAINER_H
#define LEVEE_TRAIN_TRAINER_H

#include "data/cursor.h"
#include "monitor/run_files.h"
#include "report/tensorboard.h"
#include "train/drill.h"
#include "train/planning.h"
#include "train/resume.h"

typedef struct trainer {
    run common;
    trainable_set trained;
    planning_data data;
    training engine;
    run_files files;         /* of its directory */
    tensorboard event_files; /* there too, with --tensorboard */
    struct board *shown;     /* on the page; NULL: there is none */
    struct web *page;
    cursor order;
    guarding protection;
    drill exercises;
    bool grew;        /* memory of a category did, which no plan allows */
    resumption place; /* where the run stands, and what it left on the disk */
    uint64_t result_bytes;
    uint64_t peak_bytes, predicted_bytes;
    uint64_t planned[LEVEE_CATEGORY_COUNT];
    double validation_loss; /* the last; NaN: none */
    uint32_t steps;         /* of the whole run */
    double began;           /* since 1970 */
    double step_seconds;    /* that the steps of this process took */
} trainer;

/* Runs the steps that are left, with their validations and saves. LEVEE_STOPPED when it was stopped and can be gone
 * on with. */
levee_status trainer_run_steps(trainer *t, levee_error *error);

/* Stores where the run stands, behind its last whole step, unless that is stored already. */
levee_status trainer_store_place(trainer *t, levee_error *error);

/* Writes the result after a step: the adapter, or the whole model, and a card about it. */
levee_status trainer_save_result(trainer *t, const step_report *report, levee_error *error);

/* Writes README.md beside the result: what it is, how it was made, and with what figures. One that somebody else
 * wrote stays. */
levee_status trainer_write_card(const trainer *t, const step_report *report, levee_error *error);

/* Held memory now, or LEVEE_UNKNOWN_BYTES; also raises the peak. */
uint64_t trainer_sample_memory(trainer *t);

#endif

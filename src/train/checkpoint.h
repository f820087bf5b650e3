/* A checkpoint: all that a run needs to go on from a step as if it had never stopped, in one file a step.
 *
 * The file is a header, the sections one behind the other, and a trailer with the table of sections: so it is written
 * in one pass. Header, trailer and each section carry an xxHash64, the trailer's is seeded with the header's, and
 * nothing lies outside of them: a byte that changed anywhere is noticed. A checkpoint is made between steps, when
 * gradients are zero, so they are not stored. Numbers are in the machine's own byte order; on another machine the
 * magic number does not match.
 *
 * Identities say what a run must have in common with the one that made the checkpoint: a name ("data", "model",
 * "batch") and a hash of whatever it stands for, so that a refusal can say what differs.
 *
 * Writing takes no memory but the stack and may be done in the step loop. Nothing here keeps a pointer. */
#ifndef LEVEE_TRAIN_CHECKPOINT_H
#define LEVEE_TRAIN_CHECKPOINT_H

#include "train/training.h"

typedef enum checkpoint_kind { /* on disk: keep the numbers */
                               CHECKPOINT_PARAMETERS = 1,
                               CHECKPOINT_FIRST_MOMENTS = 2,
                               CHECKPOINT_SECOND_MOMENTS = 3,
                               CHECKPOINT_KINDS_END,
} checkpoint_kind;

enum { CHECKPOINT_SECTIONS = 8, CHECKPOINT_IDENTITIES = 8, CHECKPOINT_NAME_BYTES = 24 };

typedef struct checkpoint_identity {
    char name[CHECKPOINT_NAME_BYTES]; /* ended by a zero, and zero behind it; empty: none */
    uint64_t hash;
} checkpoint_identity;

/* Where a run stands. Written as it is: zero-initialise it. */
typedef struct checkpoint_state {
    uint64_t step;    /* done so far; names the file */
    uint64_t updates; /* of the optimizer */
    uint64_t seed;
    uint64_t rows;     /* of the data */
    uint64_t position; /* of the data cursor: examples used so far */
    uint64_t trained_tokens;
    uint64_t metrics_bytes; /* length of metrics.jsonl */
    plan_sequence plans;    /* so that sums are rounded as they would have been */
    uint32_t compute;       /* compute_type of the products */
    uint32_t threads;
    uint32_t not_finite_steps; /* the last steps in a row that were not applied */
    checkpoint_identity identities[CHECKPOINT_IDENTITIES];
} checkpoint_state;

typedef struct checkpoint_header {
    uint64_t magic;
    uint32_t version;
    uint32_t header_bytes; /* in every version these three come first, and the hash is the last 8 of these bytes */
    uint64_t file_bytes;
    uint64_t section_count;
    checkpoint_state state;
    uint64_t header_hash; /* of the header up to here */
} checkpoint_header;

typedef struct checkpoint_entry {
    uint64_t kind;
    uint64_t offset, bytes; /* in the file */
    uint64_t hash;          /* of the content */
} checkpoint_entry;

typedef struct checkpoint_trailer {
    checkpoint_entry entries[CHECKPOINT_SECTIONS]; /* those not used are zero */
    uint64_t trailer_hash;                         /* of the trailer up to here, seeded with the header's */
} checkpoint_trailer;

_Static_assert(sizeof(checkpoint_identity) == 32, "written to disk");
_Static_assert(sizeof(plan_sequence) == 4 + 8 * PLAN_LEVELS, "written to disk");
_Static_assert(sizeof(checkpoint_state) == 72 + sizeof(plan_sequence) - 4 + 32 * CHECKPOINT_IDENTITIES,
               "written to disk");
_Static_assert(sizeof(checkpoint_header) == 40 + sizeof(checkpoint_state), "written to disk");
_Static_assert(sizeof(checkpoint_entry) == 32, "written to disk");
_Static_assert(sizeof(checkpoint_trailer) == 8 + 32 * CHECKPOINT_SECTIONS, "written to disk");

/* A block of memory that is written from, or read into. */
typedef struct checkpoint_section {
    checkpoint_kind kind; /* each at most once */
    void *data;
    uint64_t bytes;
} checkpoint_section;

/* Adds an identity, or folds more bytes into the one that has this name already. What is hashed must not have holes
 * between its members. More identities than there is room for, or a longer name, is a mistake that checkpoint_write
 * reports as LEVEE_INTERNAL. */
void checkpoint_identify(checkpoint_state *state, const char *name, const void *bytes, uint64_t count);

/* "step-00000120.checkpoint", and back; any other spelling is no name of a checkpoint. */
enum { CHECKPOINT_FILE_NAME_BYTES = 64 };
void checkpoint_file_name(char name[CHECKPOINT_FILE_NAME_BYTES], uint64_t step);
bool checkpoint_parse_name(const char *name, uint64_t *step);

/* What a checkpoint of these sections takes on disk. */
uint64_t checkpoint_bytes(const checkpoint_section *sections, unsigned count);

/* Writes the file of state->step into the directory, and replaces one of this name only when the new one has reached
 * the disk. On failure nothing but what file_writer_commit says has changed. */
levee_status checkpoint_write(const char *directory, const checkpoint_state *state,
                              const checkpoint_section *sections, unsigned count, levee_error *error);

/* Reads where the run stood and how it was run, without its sections, which are not looked at. */
levee_status checkpoint_peek(const char *path, checkpoint_state *state, levee_error *error);

/* Reads a checkpoint of exactly these sections, made by a run with exactly the identities that *state holds on entry;
 * on success *state is what was written. The whole file is verified before the first byte of a destination changes:
 *
 *   LEVEE_BAD_DATA       damaged; names the file and the section
 *   LEVEE_USAGE          whole, but of another run, whose differences are named, of other sections, of another
 *                        version, or under the name of another step
 *   LEVEE_MISSING_INPUT  not there
 *   LEVEE_IO_ERROR       reading failed; only then may destinations hold a part of it */
levee_status checkpoint_read(const char *path, checkpoint_state *state, const checkpoint_section *sections,
                             unsigned count, levee_error *error);

#endif

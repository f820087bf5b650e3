/* A session: a model opened inside a memory budget, with the memory that its plans use.
 *
 * The order keeps the budget: first everything that is not planned is opened and warmed up (files, tokenizer,
 * compiled primitives, threads) and measured; the plans get what is left; then the memory is taken once, and the
 * session is sealed.
 *
 *   budget >= runtime (measured, held before the plan's memory) + reserve for what grows later + lasting + arena */
#ifndef LEVEE_TRAIN_SESSION_H
#define LEVEE_TRAIN_SESSION_H

#include "backend/backend.h"
#include "graph/executor.h"
#include "graph/search.h"
#include "memory/region.h"
#include "model/builder.h"
#include "text/tokenizer.h"

typedef struct session_options {
    const char *model_directory;
    uint64_t budget_bytes;
    uint64_t others_bytes; /* left free for others, or HEADROOM_USUAL_RESERVE (platform/headroom.h) */
    backend_options device;
    bool analysis; /* nothing will run: weights and tokenizer.json may be missing */
} session_options;

typedef struct session {
    model_config config;
    safetensors *tensors; /* NULL, only where nothing will run: there are no weights */
    model_source source;
    tokenizer *tokens; /* NULL when the model has no tokenizer.json and none was asked for */
    const backend *device;
    struct backend_state *state;
    uint64_t budget_bytes, others_bytes;
    uint64_t runtime_bytes;  /* all that the plans do not place: held when session_measure was last called, and what
                                libraries take inside a call */
    uint64_t unbooked_bytes; /* what the kernel counted then, and the ledger did not */
    uint64_t reserve_bytes;  /* kept free for what the libraries still take while running */
    uint64_t promised_bytes; /* of it, what is booked already (session_promise) */
    layout lasting;
    region memory; /* lasting values and arena, in host memory */
    uint64_t booked_bytes[LEVEE_CATEGORY_COUNT];
} session;

/* Opens model files, backend and (with_tokenizer) tokenizer, within the budget and what can be had now.
 * session_close frees, and accepts a zeroed session. */
levee_status session_open(session *s, const session_options *options, bool with_tokenizer, levee_error *error);
void session_close(session *s);

/* The session that is open, for levee_trim; NULL when none is. */
session *session_current(void);

/* Has the backend prepare all operators of a graph, so that what that takes is measured and not guessed. */
levee_status session_warm_up(session *s, const graph *g, uint32_t capacity_tokens, levee_error *error);

/* Gives back everything that plans took, so that the session can be planned for and take memory anew. */
levee_status session_restart(session *s, levee_error *error);

/* Measures what is held now; call when all that is not planned is open. */
levee_status session_measure(session *s, levee_error *error);

/* So many bytes are booked, and will be touched later, if at all: plans leave them free. Before session_measure. */
void session_promise(session *s, uint64_t bytes);

/* What the budget covers besides the plans: runtime and reserve. */
uint64_t session_unplanned_bytes(const session *s);

/* The most that was held up to the last session_measure, before the plans' memory: opening and planning a small job
 * takes more than the job. */
uint64_t session_opening_bytes(const session *s);

/* What the plans may take: the rest; 0 when nothing is left. */
uint64_t session_plan_budget(const session *s);

/* Reserves addresses for s->lasting and an arena of at most `most_arena_bytes`, and takes memory for one of
 * `arena_bytes` (session_resize_memory). From here on the ledger refuses what would pass the budget. */
levee_status session_take_memory(session *s, uint64_t most_arena_bytes, uint64_t arena_bytes,
                                 const uint64_t arena_categories[LEVEE_CATEGORY_COUNT], levee_error *error);

/* Gives back the end of the arena, or takes it again with care (region_take), every page touched; books it by
 * category. When it cannot be had, LEVEE_DOES_NOT_FIT, and the arena is as it was. */
levee_status session_resize_memory(session *s, uint64_t arena_bytes,
                                   const uint64_t arena_categories[LEVEE_CATEGORY_COUNT], levee_error *error);

/* Gives back all memory of lasting values and arena; session_resize_memory takes it again, with zeros in it. */
levee_status session_release_memory(session *s, levee_error *error);

/* Binds a plan to the session's memory and weights, in a list of `most_operators`. */
levee_status session_bind(session *s, executor *e, const plan *planned, uint32_t most_operators, levee_error *error);

/* How fast this machine is at products and at moving bytes, measured in a few milliseconds with the backend's
 * kernels. */
levee_status session_rates(session *s, machine_rates *rates, levee_error *error);

/* Says why the job does not fit, the smallest budget that would do, and what to change. */
levee_status session_refuse(const session *s, uint64_t smallest_budget_bytes, uint32_t longest_tokens,
                            levee_error *error);

#endif

/* Safe points: a pass that is cut short before any of its operators and done again, by the same plan or by a smaller
 * one, adds the very gradients of a pass that was left alone; and a training goes on through changes of plan. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "memory/ledger.h"
#include "scratch.h"
#include "train/requests.h"
#include "train/training.h"

enum { SEQUENCES = 4, SEQUENCE_TOKENS = 24 };

static levee_error error;

static void succeed(levee_status status) {
    if (status != LEVEE_OK) fail_msg("%s", error.message);
}

/* A model of our own, opened; closed by the caller. */
static void open_model(session *model, const char *directory) {
    char path[FILE_PATH_BYTES];
    const levee_shape shape = {.hidden_size = 64, .intermediate_size = 96, .layers = 3, .heads = 4, .kv_heads = 2};
    assert_true(file_join(path, directory, "model"));
    if (!file_exists(path)) succeed(levee_init(path, &shape, 9, &error));
    const session_options options = {
        .model_directory = path, .budget_bytes = 1ull << 31, .device = {.threads = 1, .compute = COMPUTE_F32}};
    succeed(session_open(model, &options, false, &error));
}

/* With plans of its own choice, or (capacity_tokens not 0) passes of so many rows at most. */
static void open_training_of(training *t, session *model, trainable_set trained, uint32_t sequences,
                             uint32_t capacity_tokens) {
    const training_settings settings = {.trained = trained,
                                        .optimizer = {.beta1 = 0.9,
                                                      .beta2 = 0.999,
                                                      .epsilon = 1e-8,
                                                      .weight_decay = 0.01,
                                                      .bias_correction = true,
                                                      .max_gradient_norm = INFINITY},
                                        .longest_tokens = SEQUENCE_TOKENS - 1,
                                        .step_tokens = sequences * (SEQUENCE_TOKENS - 1),
                                        .wanted.shapes[0].capacity_tokens = capacity_tokens,
                                        .seed = 5};
    requests_clear();
    succeed(training_plan(t, model, &settings, &error));
    succeed(training_start(t, &error));
    if (!fine_tune_is_adapter(trained.type)) return;
    /* B starts at zero, and then A's gradient is zero whatever is done to it. */
    for (uint64_t i = 0; i < t->updates.count; i++) t->updates.parameters[i] += 1e-3f * (float)(i % 7) - 3e-3f;
}

static void open_training(training *t, session *model, trainable_set trained) {
    open_training_of(t, model, trained, SEQUENCES, 0);
}

/* Examples from `begin` on, as many as fit; returns where it ends. */
static uint32_t fill(training *t, uint32_t begin) {
    batch *b = training_batch(t);
    batch_clear(b);
    uint32_t example = begin;
    for (; example < SEQUENCES; example++) {
        uint32_t ids[SEQUENCE_TOKENS], count = SEQUENCE_TOKENS - example;
        for (uint32_t i = 0; i < count; i++) ids[i] = (7 * i + 31 * example) % 250;
        if (!batch_add(b, ids, NULL, count, example)) break;
    }
    assert_true(example > begin);
    return example;
}

static void begin(training *t) {
    uint64_t targets = 0;
    for (uint32_t e = 0; e < SEQUENCES; e++) targets += SEQUENCE_TOKENS - e - 1;
    memset(t->updates.gradients, 0, t->updates.count * sizeof(float));
    training_begin_step(t, 2, targets);
}

/* All examples from the given progress on, in as many passes as the plan takes. */
static double run(training *t, gradient_progress progress) {
    double loss = 0;
    for (uint32_t next = 0; next < SEQUENCES;) {
        next = fill(t, next);
        gradient_progress given = progress;
        succeed(training_pass(t, &given, &loss, &error));
        assert_int_equal(given, progress);
    }
    return loss;
}

/* An interrupt where question number `at` is asked: before an operator, or within a long one, by any of its threads.
 */
typedef struct alarm {
    uint32_t at;
    atomic_uint seen;
} alarm;

static bool rings(void *context) {
    alarm *a = context;
    return atomic_fetch_add(&a->seen, 1) == a->at;
}

/* One pass over all examples, cut short at question number `at`; false when it has no so many. */
static bool cut_short(training *t, uint32_t at, gradient_progress *progress) {
    alarm a = {.at = at};
    double loss = 0;
    *progress = 0;
    assert_int_equal(fill(t, 0), SEQUENCES);
    t->train_pass.interrupt = rings;
    t->train_pass.interrupt_context = &a;
    levee_status status = training_pass(t, progress, &loss, &error);
    training_allow_interrupts(t, true);
    t->train_pass.interrupt_context = t;
    if (status != LEVEE_STOPPED) succeed(status);
    if (status == LEVEE_STOPPED) assert_true(loss == 0);
    return status == LEVEE_STOPPED;
}

static double relative_difference(const float *a, const float *b, uint64_t count) {
    double difference = 0, norm = 0;
    for (uint64_t i = 0; i < count; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(difference / norm);
}

static void move_to(training *t, uint32_t level) {
    while (t->level != level) {
        levee_request(t->level < level ? LEVEE_REQUEST_SHRINK : LEVEE_REQUEST_GROW);
        succeed(training_safe_point(t, &error));
    }
}

static void cut_everywhere(const char *directory, trainable_set trained) {
    session model;
    training t;
    open_model(&model, directory);
    open_training(&t, &model, trained);
    uint64_t bytes = t.updates.count * sizeof(float);
    float *whole = malloc(bytes);
    assert_non_null(whole);
    begin(&t);
    double loss = run(&t, 0);
    memcpy(whole, t.updates.gradients, bytes);
    assert_true(t.level_count >= 2);
    uint32_t smallest = t.level_count - 1;
    assert_true(t.levels[smallest].arena_bytes < t.levels[0].arena_bytes);
    gradient_progress progress, most = 0;
    for (uint32_t at = 0; begin(&t), cut_short(&t, at, &progress); at++) {
        assert_true(progress >= most);
        most = progress;
        double again = run(&t, progress);
        assert_true(again == loss);
        assert_memory_equal(t.updates.gradients, whole, bytes);
        begin(&t);
        assert_true(cut_short(&t, at, &progress));
        move_to(&t, smallest);
        again = run(&t, progress);
        move_to(&t, 0);
        if (!(fabs(again - loss) <= 1e-6 * loss) ||
            !(relative_difference(t.updates.gradients, whole, t.updates.count) <= 1e-6))
            fail_msg("cut at question %u and done again by the smallest plan: loss %.9g instead of %.9g, "
                     "gradients off by %g",
                     at, again, loss, relative_difference(t.updates.gradients, whole, t.updates.count));
    }
    assert_true(most > 0);
    free(whole);
    training_close(&t);
    session_close(&model);
}

static void a_pass_can_be_cut_anywhere(void **state) {
    trainable_set lora = {.type = FINE_TUNE_LORA, .last_layers = 2, .rank = 4, .scale = 2, .dropout = 0.25f};
    for (unsigned p = 0; p < PROJECTION_COUNT; p++) lora.projections[p] = true;
    cut_everywhere(*state, lora);
    lora.type = FINE_TUNE_DORA;
    lora.last_layers = 1;
    for (unsigned p = 0; p < PROJECTION_COUNT; p++) lora.projections[p] = p == PROJECTION_Q || p == PROJECTION_DOWN;
    cut_everywhere(*state, lora);
    cut_everywhere(*state, (trainable_set){.type = FINE_TUNE_FULL, .last_layers = UINT32_MAX});
    cut_everywhere(*state, (trainable_set){.type = FINE_TUNE_FULL, .last_layers = 1});
}

typedef struct witness {
    level_change last;
    unsigned changes;
} witness;

static void see(void *context, const level_change *change) {
    witness *w = context;
    w->last = *change;
    w->changes++;
}

/* A shrink gives the kernel what it promised, a growth takes it; what lasts is untouched; nothing happens at the
 * ends. */
static void plans_change_hands(void **state) {
    session model;
    training t;
    witness w = {0};
    open_model(&model, *state);
    open_training(&t, &model, (trainable_set){.type = FINE_TUNE_FULL, .last_layers = UINT32_MAX});
    t.on_change = see;
    t.change_context = &w;
    uint64_t bytes = t.updates.count * sizeof(float), booked = ledger_booked(LEVEE_CATEGORY_COUNT);
    float *before = malloc(bytes);
    assert_non_null(before);
    memcpy(before, t.updates.parameters, bytes);
    for (unsigned round = 0; round < 20; round++) {
        uint32_t from = t.level;
        move_to(&t, round % 2 ? 0 : t.level_count - 1);
        assert_true(w.last.to == t.level && t.level != from && !w.last.refused);
        uint64_t change = w.last.promised_bytes;
        if (w.last.moved_bytes < change * 95 / 100 - 8192)
            fail_msg("%llu of %llu bytes moved", (unsigned long long)w.last.moved_bytes, (unsigned long long)change);
        if (t.level == 0) assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), booked);
    }
    assert_memory_equal(before, t.updates.parameters, bytes);
    unsigned changes = w.changes;
    levee_request(LEVEE_REQUEST_GROW);
    succeed(training_safe_point(&t, &error));
    assert_int_equal(w.changes, changes);
    move_to(&t, t.level_count - 1);
    changes = w.changes;
    levee_request(LEVEE_REQUEST_SHRINK);
    succeed(training_safe_point(&t, &error));
    assert_int_equal(w.changes, changes);
    levee_request(LEVEE_REQUEST_STOP);
    scratch_expect("stop", LEVEE_STOPPED, "stopped", training_safe_point(&t, &error), &error);
    free(before);
    training_close(&t);
    session_close(&model);
    requests_clear();
}

enum { SPLIT_SEQUENCES = 8, SPLIT_STEPS = 20 };

/* Losses of a training whose passes hold `together` sequences each. */
static void train_in_splits(const char *directory, trainable_set trained, uint32_t together,
                            double losses[SPLIT_STEPS]) {
    session model;
    training t;
    open_model(&model, directory);
    open_training_of(&t, &model, trained, SPLIT_SEQUENCES, together * (SEQUENCE_TOKENS - 1));
    for (uint32_t step = 0; step < SPLIT_STEPS; step++) {
        double norm;
        bool applied;
        unsigned passes = 0;
        losses[step] = 0;
        training_begin_step(&t, step, SPLIT_SEQUENCES * (SEQUENCE_TOKENS - 1));
        for (uint32_t next = 0; next < SPLIT_SEQUENCES; passes++) {
            batch *b = training_batch(&t);
            batch_clear(b);
            for (bool fits = true; fits && next < SPLIT_SEQUENCES; next += fits) {
                uint32_t ids[SEQUENCE_TOKENS];
                for (uint32_t i = 0; i < SEQUENCE_TOKENS; i++) ids[i] = (7 * i + 31 * next + 3 * step) % 250;
                fits = batch_add(b, ids, NULL, SEQUENCE_TOKENS, next);
            }
            succeed(training_pass(&t, &(gradient_progress){0}, &losses[step], &error));
        }
        assert_int_equal(passes, SPLIT_SEQUENCES / together);
        succeed(optimizer_update(&t.updates, 1e-3, losses[step], &norm, &applied, &error));
        assert_true(applied);
    }
    training_close(&t);
    session_close(&model);
}

/* 1 x 8, 2 x 4, 4 x 2 and 8 x 1 sequences: to 1e-6 at the first step, and 1e-4 over 20. */
static void splits_change_rounding_only(void **state) {
    trainable_set lora = {.type = FINE_TUNE_LORA, .last_layers = 3, .rank = 4, .scale = 2, .dropout = 0.25f};
    for (unsigned p = 0; p < PROJECTION_COUNT; p++) lora.projections[p] = true;
    const trainable_set sets[] = {lora, {.type = FINE_TUNE_FULL, .last_layers = UINT32_MAX}};
    for (unsigned s = 0; s < 2; s++) {
        double whole[SPLIT_STEPS], split[SPLIT_STEPS];
        train_in_splits(*state, sets[s], SPLIT_SEQUENCES, whole);
        assert_true(whole[SPLIT_STEPS - 1] != whole[0]);
        for (uint32_t together = SPLIT_SEQUENCES / 2; together; together /= 2) {
            train_in_splits(*state, sets[s], together, split);
            for (unsigned step = 0; step < SPLIT_STEPS; step++)
                if (!(fabs(split[step] - whole[step]) <= (step ? 1e-4 : 1e-6) * whole[step]))
                    fail_msg("%u together: step %u: loss %.9g instead of %.9g", together, step + 1, split[step],
                             whole[step]);
        }
    }
}

int main(void) {
    levee_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pass_can_be_cut_anywhere, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(splits_change_rounding_only, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(plans_change_hands, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

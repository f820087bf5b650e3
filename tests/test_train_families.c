/* Each family, on models that levee init makes: gradients of every tensor against finite differences, packed rows
 * against generation, and DoRA against the whole model that it stands for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scratch.h"
#include "train/generate.h"
#include "train/training.h"

/* Longer than the windows, and than the chunk by which a prompt goes in. */
enum { SEQUENCES = 3, LONGEST_TOKENS = 90, WINDOW = 7 };
static const uint32_t lengths[SEQUENCES] = {20, LONGEST_TOKENS, 5};

static const levee_shape shapes[] = {
    {.family = "llama", .hidden_size = 32, .intermediate_size = 48, .layers = 2, .heads = 4, .kv_heads = 2},
    {.family = "mistral",
     .hidden_size = 32,
     .intermediate_size = 48,
     .layers = 2,
     .heads = 4,
     .kv_heads = 1,
     .head_dim = 12,
     .window = WINDOW},
    {.family = "qwen2",
     .hidden_size = 32,
     .intermediate_size = 48,
     .layers = 2,
     .heads = 4,
     .kv_heads = 4,
     .window = WINDOW},
    {.family = "qwen3",
     .hidden_size = 32,
     .intermediate_size = 48,
     .layers = 2,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 16,
     .window = WINDOW},
};
enum { FAMILIES = sizeof shapes / sizeof *shapes };

static levee_error error;

static void succeed(levee_status status) {
    if (status != LEVEE_OK) fail_msg("%s", error.message);
}

static void open_model(session *model, const char *directory, const levee_shape *shape) {
    char path[FILE_PATH_BYTES];
    assert_true(file_join(path, directory, shape->family));
    if (!file_exists(path)) succeed(levee_init(path, shape, 9, &error));
    const session_options options = {
        .model_directory = path, .budget_bytes = 1ull << 31, .device = {.threads = 1, .compute = COMPUTE_F32}};
    succeed(session_open(model, &options, false, &error));
}

static void open_training(training *t, session *model, trainable_set trained, recompute_choice recompute) {
    const training_settings settings = {.trained = trained,
                                        .recompute = recompute,
                                        .longest_tokens = LONGEST_TOKENS - 1,
                                        .step_tokens = SEQUENCES * LONGEST_TOKENS,
                                        .seed = 5};
    succeed(training_plan(t, model, &settings, &error));
    succeed(training_start(t, &error));
}

static void make_sequence(uint32_t ids[LONGEST_TOKENS], uint32_t number) {
    for (uint32_t i = 0; i < lengths[number]; i++) ids[i] = (7 * i + i * i / 3 + 31 * number) % 250;
}

static uint64_t fill(batch *b) {
    batch_clear(b);
    for (uint32_t s = 0; s < SEQUENCES; s++) {
        uint32_t ids[LONGEST_TOKENS];
        make_sequence(ids, s);
        assert_true(batch_add(b, ids, NULL, lengths[s], s));
    }
    return b->targets;
}

/* Losses of all rows by the pass that evaluates, which reads the same parameters. */
static double evaluate(training *t) {
    double loss = 0;
    uint64_t targets = fill(training_evaluation_batch(t));
    succeed(training_evaluate(t, &loss, &error));
    return loss / (double)targets;
}

/* One forward and backward pass over all sequences, from gradients of zero. */
static double pass(training *t) {
    double loss = 0;
    memset(t->updates.gradients, 0, t->updates.count * sizeof(float));
    uint64_t targets = fill(training_batch(t));
    training_begin_step(t, 0, targets);
    succeed(training_pass(t, &(gradient_progress){0}, &loss, &error));
    return loss / (double)targets;
}

static float *parameter_of(const training *t, const layout_entry *entry) {
    return (float *)(void *)(t->model->memory.base + entry->offset);
}

static float *gradient_of(const training *t, const layout_entry *entry) {
    const layout *l = &t->model->lasting;
    return (float *)(void *)(t->model->memory.base + l->gradients_offset + (entry->offset - l->parameters_offset));
}

static double norm_of(const float *values, uint64_t count) {
    double squares = 0;
    for (uint64_t i = 0; i < count; i++) squares += (double)values[i] * (double)values[i];
    return sqrt(squares);
}

/* The loss rises along a tensor's own gradient by the gradient's norm. The step is large enough that f32 sees it. */
static void check_slope(training *t, const layout_entry *entry, const char *family) {
    const double step = 0.003;
    uint64_t count = entry->rows * entry->cols;
    float *values = parameter_of(t, entry);
    const float *gradient = gradient_of(t, entry);
    double norm = norm_of(gradient, count);
    assert_true(norm > 1e-6);
    float *kept = malloc(count * sizeof *kept);
    assert_non_null(kept);
    memcpy(kept, values, count * sizeof *kept);
    for (uint64_t i = 0; i < count; i++) values[i] = kept[i] + (float)(step / norm) * gradient[i];
    double above = evaluate(t);
    for (uint64_t i = 0; i < count; i++) values[i] = kept[i] - (float)(step / norm) * gradient[i];
    double slope = (above - evaluate(t)) / (2 * step);
    memcpy(values, kept, count * sizeof *kept);
    free(kept);
    /* Rounding of two losses of about 5.6, and the loss's third derivative. */
    if (!(fabs(slope - norm) <= 1e-3 * norm + 2e-5))
        fail_msg("%s, %s: the loss rises by %g, the gradient says %g", family, entry->name, slope, norm);
}

static void gradients_are_slopes(void **state) {
    for (unsigned f = 0; f < FAMILIES; f++) {
        session model;
        training t = {0};
        unsigned biases = 0, head_norms = 0;
        open_model(&model, *state, &shapes[f]);
        open_training(&t, &model, (trainable_set){.type = FINE_TUNE_FULL, .last_layers = UINT32_MAX}, RECOMPUTE_AUTO);
        double trained = pass(&t), evaluated = evaluate(&t);
        assert_true(fabs(trained - evaluated) <= 1e-6 * evaluated);
        for (uint32_t i = 0; i < model.lasting.count; i++) {
            const layout_entry *entry = &model.lasting.entries[i];
            if (entry->role != VALUE_PARAMETER) continue;
            biases += strstr(entry->name, ".bias") != NULL;
            head_norms += strstr(entry->name, "_norm.weight") != NULL;
            check_slope(&t, entry, shapes[f].family);
        }
        assert_int_equal(biases, f == 2 ? 3 * 2 : 0);
        assert_int_equal(head_norms, f == 3 ? 2 * 2 : 0);
        training_close(&t);
        session_close(&model);
    }
}

/* The loss of a row from the logits of generation's head. */
static double loss_of_logits(const float *logits, uint32_t count, uint32_t label) {
    double highest = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < count; i++) highest = fmax(highest, (double)logits[i]);
    for (uint32_t i = 0; i < count; i++) sum += exp((double)logits[i] - highest);
    return highest + log(sum) - (double)logits[label];
}

/* A sequence packed between others has, row by row, the losses that generation gives it alone: given its first part
 * at once and the rest token by token. */
static void generation_is_the_same_model(void **state) {
    enum { FIRST = 66 };
    for (unsigned f = 0; f < FAMILIES; f++) {
        session model;
        training t = {0};
        generation g = {0};
        float losses[LONGEST_TOKENS];
        uint32_t ids[LONGEST_TOKENS];
        const float *logits;
        open_model(&model, *state, &shapes[f]);
        open_training(&t, &model, (trainable_set){.type = FINE_TUNE_HEAD}, RECOMPUTE_AUTO);
        evaluate(&t);
        memcpy(losses, t.evaluate_losses + lengths[0] - 1, (LONGEST_TOKENS - 1) * sizeof *losses);
        training_close(&t);
        session_close(&model);
        open_model(&model, *state, &shapes[f]);
        const generation_settings settings = {.cache_tokens = LONGEST_TOKENS};
        succeed(generation_open(&g, &model, &settings, &error));
        make_sequence(ids, 1);
        for (uint32_t i = FIRST - 1; i + 1 < LONGEST_TOKENS; i++) {
            bool first = i == FIRST - 1;
            succeed(generation_step(&g, first ? ids : &ids[i], first ? FIRST : 1, &logits, &error));
            double loss = loss_of_logits(logits, model.config.vocabulary_size, ids[i + 1]);
            if (!(fabs(loss - (double)losses[i]) <= 1e-5 * loss))
                fail_msg("%s, row %u: %.9g by generation, %.9g in training", shapes[f].family, i, loss,
                         (double)losses[i]);
        }
        generation_close(&g);
        session_close(&model);
    }
}

/* --- DoRA --- */

enum { RANK = 3 };
static const float dora_scale = 1.5f;

static trainable_set dora_set(void) {
    trainable_set set = {.type = FINE_TUNE_DORA, .last_layers = UINT32_MAX, .rank = RANK, .scale = dora_scale};
    for (unsigned p = 0; p < PROJECTION_COUNT; p++) set.projections[p] = true;
    return set;
}

/* Parameters and gradients of a pass, kept when the training is closed; freed with free_kept. */
typedef struct kept_pass {
    layout_entry *entries;
    uint32_t count;
    float *parameters, *gradients;
    uint64_t parameters_offset;
    double loss;
} kept_pass;

static kept_pass keep(const training *t, double loss) {
    const layout *l = &t->model->lasting;
    uint64_t bytes = t->updates.count * sizeof(float);
    kept_pass k = {.count = l->count, .parameters_offset = l->parameters_offset, .loss = loss};
    k.entries = malloc(l->count * sizeof *k.entries);
    k.parameters = malloc(bytes);
    k.gradients = malloc(bytes);
    assert_true(k.entries && k.parameters && k.gradients);
    memcpy(k.entries, l->entries, l->count * sizeof *k.entries);
    memcpy(k.parameters, t->updates.parameters, bytes);
    memcpy(k.gradients, t->updates.gradients, bytes);
    return k;
}

static void free_kept(kept_pass *k) {
    free(k->entries);
    free(k->parameters);
    free(k->gradients);
}

/* A part of an adapter: its values or its gradients. */
static const float *part_of(const kept_pass *k, const model_config *config, uint32_t layer,
                            model_projection projection, adapter_part part, const float *block) {
    char name[VALUE_NAME_BYTES];
    model_adapter_name(name, config, layer, projection, part);
    for (uint32_t i = 0; i < k->count; i++)
        if (!strcmp(k->entries[i].name, name))
            return block + (k->entries[i].offset - k->parameters_offset) / sizeof(float);
    fail_msg("no %s", name);
    return NULL;
}

/* An adapter that has come some way from where it starts. */
static kept_pass train_dora(const char *directory, const levee_shape *shape, recompute_choice recompute) {
    session model;
    training t = {0};
    open_model(&model, directory, shape);
    open_training(&t, &model, dora_set(), recompute);
    for (uint64_t i = 0; i < t.updates.count; i++) t.updates.parameters[i] += 0.02f * (float)(i % 7) - 0.05f;
    double loss = pass(&t);
    if (recompute == RECOMPUTE_ALL) assert_true(t.levels[0].planned.recomputed_tensors > 0);
    kept_pass k = keep(&t, loss);
    training_close(&t);
    session_close(&model);
    return k;
}

/* One projection of `in` to `out` features: the adapter, and the weight that it makes of W, magnitude / norm * V with
 * V = W + scale B A. */
typedef struct merged {
    uint64_t in, out;
    const float *a, *b, *magnitude;
    double *v, *norm; /* [out, in], [out] */
} merged;

static merged merge(const kept_pass *k, const model_config *c, uint32_t layer, model_projection p, float *weight) {
    merged m = {.in = model_projection_width(c, p, false), .out = model_projection_width(c, p, true)};
    m.a = part_of(k, c, layer, p, ADAPTER_A, k->parameters);
    m.b = part_of(k, c, layer, p, ADAPTER_B, k->parameters);
    m.magnitude = part_of(k, c, layer, p, ADAPTER_MAGNITUDE, k->parameters);
    m.v = malloc(m.in * m.out * sizeof *m.v);
    m.norm = malloc(m.out * sizeof *m.norm);
    assert_true(m.v && m.norm);
    for (uint64_t j = 0; j < m.out; j++) {
        double squares = 0;
        for (uint64_t i = 0; i < m.in; i++) {
            double sum = 0;
            for (uint64_t r = 0; r < RANK; r++) sum += (double)m.b[j * RANK + r] * (double)m.a[r * m.in + i];
            m.v[j * m.in + i] = (double)weight[j * m.in + i] + (double)dora_scale * sum;
            squares += m.v[j * m.in + i] * m.v[j * m.in + i];
        }
        m.norm[j] = sqrt(squares);
        for (uint64_t i = 0; i < m.in; i++)
            weight[j * m.in + i] = (float)((double)m.magnitude[j] / m.norm[j] * m.v[j * m.in + i]);
    }
    return m;
}

static void check_near(const float *is, const double *should, uint64_t count, const char *what, uint32_t layer,
                       model_projection p) {
    double difference = 0, norm = 0;
    for (uint64_t i = 0; i < count; i++) {
        difference += ((double)is[i] - should[i]) * ((double)is[i] - should[i]);
        norm += should[i] * should[i];
    }
    if (!(norm > 0) || !(sqrt(difference / norm) <= 1e-5))
        fail_msg("gradient of %s, layer %u, %s: off by %g of %g", what, layer, model_projection_name(p),
                 sqrt(difference), sqrt(norm));
}

/* The chain rule from dL/dW' to magnitude, A and B, with a norm that does not move. */
static void check_gradients(const kept_pass *k, const merged *m, const model_config *c, uint32_t layer,
                            model_projection p, const float *whole) {
    double *magnitude = calloc(m->out, sizeof *magnitude), *a = calloc(RANK * m->in, sizeof *a),
           *b = calloc(m->out * RANK, sizeof *b);
    assert_true(magnitude && a && b);
    for (uint64_t j = 0; j < m->out; j++)
        for (uint64_t i = 0; i < m->in; i++) {
            double d = (double)whole[j * m->in + i], dv = d * (double)m->magnitude[j] / m->norm[j];
            magnitude[j] += d * m->v[j * m->in + i] / m->norm[j];
            for (uint64_t r = 0; r < RANK; r++) {
                a[r * m->in + i] += (double)dora_scale * (double)m->b[j * RANK + r] * dv;
                b[j * RANK + r] += (double)dora_scale * (double)m->a[r * m->in + i] * dv;
            }
        }
    check_near(part_of(k, c, layer, p, ADAPTER_MAGNITUDE, k->gradients), magnitude, m->out, "magnitude", layer, p);
    check_near(part_of(k, c, layer, p, ADAPTER_A, k->gradients), a, RANK * m->in, "A", layer, p);
    check_near(part_of(k, c, layer, p, ADAPTER_B, k->gradients), b, m->out * RANK, "B", layer, p);
    free(magnitude);
    free(a);
    free(b);
}

static void dora_is_the_model_it_stands_for(void **state) {
    for (unsigned f = 0; f < FAMILIES; f++) {
        kept_pass k = train_dora(*state, &shapes[f], RECOMPUTE_OFF),
                  again = train_dora(*state, &shapes[f], RECOMPUTE_ALL);
        session model;
        training t = {0};
        merged adapted[2 * PROJECTION_COUNT];
        char name[VALUE_NAME_BYTES];
        assert_true(again.loss == k.loss);
        assert_int_equal(again.count, k.count);
        open_model(&model, *state, &shapes[f]);
        open_training(&t, &model, (trainable_set){.type = FINE_TUNE_FULL, .last_layers = UINT32_MAX}, RECOMPUTE_OFF);
        const model_config *c = &model.config;
        assert_int_equal(c->layers, 2);
        const layout_entry *weights[2 * PROJECTION_COUNT];
        for (unsigned i = 0; i < 2 * PROJECTION_COUNT; i++) {
            snprintf(name, sizeof name, "model.layers.%u.%s.weight", i / PROJECTION_COUNT,
                     model_projection_name(i % PROJECTION_COUNT));
            weights[i] = layout_find(&model.lasting, name);
            assert_non_null(weights[i]);
            adapted[i] = merge(&k, c, i / PROJECTION_COUNT, i % PROJECTION_COUNT, parameter_of(&t, weights[i]));
        }
        double loss = pass(&t);
        if (!(fabs(loss - k.loss) <= 1e-6 * loss))
            fail_msg("%s: loss %.9g, of the whole model %.9g", shapes[f].family, k.loss, loss);
        for (unsigned i = 0; i < 2 * PROJECTION_COUNT; i++) {
            check_gradients(&k, &adapted[i], c, i / PROJECTION_COUNT, i % PROJECTION_COUNT,
                            gradient_of(&t, weights[i]));
            check_gradients(&again, &adapted[i], c, i / PROJECTION_COUNT, i % PROJECTION_COUNT,
                            gradient_of(&t, weights[i]));
            free(adapted[i].v);
            free(adapted[i].norm);
        }
        training_close(&t);
        session_close(&model);
        free_kept(&k);
        free_kept(&again);
    }
}

/* Untrained, it is the model as it was. */
static void dora_starts_as_the_model(void **state) {
    for (unsigned f = 0; f < FAMILIES; f++) {
        session model;
        double losses[2];
        for (unsigned k = 0; k < 2; k++) {
            training t = {0};
            open_model(&model, *state, &shapes[f]);
            open_training(&t, &model, k ? dora_set() : (trainable_set){.type = FINE_TUNE_HEAD}, RECOMPUTE_AUTO);
            losses[k] = evaluate(&t);
            training_close(&t);
            session_close(&model);
        }
        assert_true(fabs(losses[1] - losses[0]) <= 1e-6 * losses[0]);
    }
}

#define SCRATCH_TEST(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void) {
    levee_prepare();
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(gradients_are_slopes),
        SCRATCH_TEST(generation_is_the_same_model),
        SCRATCH_TEST(dora_is_the_model_it_stands_for),
        SCRATCH_TEST(dora_starts_as_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

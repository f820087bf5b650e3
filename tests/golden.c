/* golden DIR...: compares the engine with what PyTorch and PEFT computed on the same weights.
 *
 * Each folder is a model directory with golden.json and golden.safetensors: logits, loss, every gradient, LoRA
 * gradients and trajectories of 20 steps (full, LoRA, head only; DoRA where there is one). Prints "quantity error
 * bound" a line; exits 0 only if all hold. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "memory/ledger.h"
#include "memory/pool.h"
#include "model/parameters.h"
#include "platform/machine.h"
#include "train/training.h"

enum { STEPS = 20 };

typedef struct golden {
    char directory[1024];
    json_t *numbers;
    safetensors *tensors;
    const int32_t *ids, *labels;
    uint32_t sequences, length;
    dtype frequency_type; /* in which the oracle held its RoPE frequencies: see check_logits */
    bool failed;
} golden;

static levee_error error;

static void report(golden *g, const char *quantity, double difference, double bound) {
    bool holds = difference <= bound; /* false for NaN too */
    printf("%s%s %.3g %.3g\n", holds ? "" : "FAIL ", quantity, difference, bound);
    if (!holds) g->failed = true;
}

static void report_error(golden *g, const char *doing) {
    printf("FAIL %s: %s\n", doing, error.message);
    g->failed = true;
}

/* ||a - b|| / ||b|| */
static double relative_difference(const float *a, const float *b, uint64_t count) {
    double difference = 0, norm = 0;
    for (uint64_t i = 0; i < count; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(difference / (norm > 0 ? norm : 1));
}

static bool open_golden(golden *g, const char *directory) {
    char path[1200];
    json_error_t json_failure;
    snprintf(g->directory, sizeof g->directory, "%s", directory);
    snprintf(path, sizeof path, "%s/golden.json", directory);
    g->numbers = json_load_file(path, 0, &json_failure);
    if (!g->numbers) {
        printf("FAIL %s: %s\n", path, json_failure.text);
        return false;
    }
    snprintf(path, sizeof path, "%s/golden.safetensors", directory);
    if (safetensors_open(&g->tensors, path, &error) != LEVEE_OK) {
        report_error(g, path);
        return false;
    }
    const tensor_view *ids = safetensors_find(g->tensors, "input_ids");
    const tensor_view *labels = safetensors_find(g->tensors, "labels");
    if (!ids || !labels || ids->type != DTYPE_I32 || labels->type != DTYPE_I32 || ids->rank != 2) {
        printf("FAIL %s: no input_ids and labels\n", path);
        return false;
    }
    g->ids = ids->data, g->labels = labels->data;
    g->sequences = (uint32_t)ids->shape[0], g->length = (uint32_t)ids->shape[1];
    return true;
}

static bool open_model(golden *g, session *s) {
    session_options options = {
        .model_directory = g->directory,
        .budget_bytes = 2ull << 30,
        .device = {.threads = machine_processors(), .compute = COMPUTE_F32},
    };
    if (session_open(s, &options, false, &error) == LEVEE_OK) return true;
    report_error(g, "opening the model");
    return false;
}

/* Lays all sequences of the golden batch flat; labels are shifted here as transformers shifts them. */
static uint64_t fill_batch(const golden *g, batch *b) {
    batch_clear(b);
    for (uint32_t s = 0; s < g->sequences; s++)
        for (uint32_t t = 0; t < g->length; t++) {
            uint32_t row = b->tokens++;
            int32_t label = t + 1 < g->length ? g->labels[s * g->length + t + 1] : -1;
            b->ids[row] = g->ids[s * g->length + t];
            b->labels[row] = label < 0 ? -1 : label;
            b->positions[row] = (int32_t)t;
            b->starts[row] = (int32_t)(s * g->length);
            if (b->examples) b->examples[row] = (int32_t)s;
            b->targets += label >= 0;
        }
    b->sequences = g->sequences;
    return b->targets;
}

static void compare_gradients(golden *g, const training *t, const char *prefix, const char *suffix,
                              const char *label) {
    double worst = 0;
    char worst_name[VALUE_NAME_BYTES] = "none", name[256];
    unsigned compared = 0;
    for (uint32_t i = 0; i < t->loss.value_count; i++) {
        const value *v = &t->loss.values[i];
        if (v->role != VALUE_PARAMETER || v->gradient == NO_VALUE) continue;
        snprintf(name, sizeof name, "%s%s%s", prefix, v->name, suffix);
        const tensor_view *expected = safetensors_find(g->tensors, name);
        if (!expected) {
            printf("FAIL %s is missing\n", name);
            g->failed = true;
            continue;
        }
        const float *actual = executor_data(&t->train_pass, v->gradient);
        double difference = relative_difference(actual, expected->data, expected->bytes / sizeof(float));
        compared++;
        if (!(difference <= worst)) {
            worst = difference;
            memcpy(worst_name, v->name, sizeof worst_name);
        }
    }
    snprintf(name, sizeof name, "%s (%u, worst: %s)", label, compared, worst_name);
    report(g, name, compared ? worst : NAN, 1e-5);
}

/* Brings the frequencies to the precision that the oracle had. */
static void match_frequencies(const golden *g, const session *s) {
    const layout_entry *entry = layout_find(&s->lasting, VALUE_FREQUENCIES);
    uint32_t count = s->config.head_dim / 2;
    uint16_t rounded[2048];
    if (g->frequency_type == DTYPE_F32 || count > sizeof rounded / sizeof *rounded) return;
    float *frequencies = (float *)(void *)(s->memory.base + entry->offset);
    dtype_convert(g->frequency_type, rounded, DTYPE_F32, frequencies, count);
    dtype_convert(DTYPE_F32, frequencies, g->frequency_type, rounded, count);
}

static double number(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

static optimizer_settings read_optimizer(const json_t *trajectory) {
    const json_t *o = json_object_get(trajectory, "optimizer"), *betas = json_object_get(o, "betas");
    const json_t *clip = json_object_get(o, "clip_norm");
    return (optimizer_settings){.beta1 = json_number_value(json_array_get(betas, 0)),
                                .beta2 = json_number_value(json_array_get(betas, 1)),
                                .epsilon = number(o, "eps"),
                                .weight_decay = number(o, "weight_decay"),
                                .bias_correction = true,
                                .max_gradient_norm = json_is_number(clip) ? json_number_value(clip) : INFINITY};
}

/* Compares a trained adapter with the one the golden run ended with: ||da - db|| / ||db|| over all matrices. */
static void compare_adapter(golden *g, const training *t, const char *mode, const char *initial, const char *after) {
    char path[2400], name[TENSOR_NAME_BYTES];
    safetensors *first = NULL, *last = NULL;
    snprintf(path, sizeof path, "%s/%s/adapter_model.safetensors", g->directory, initial);
    bool opened = safetensors_open(&first, path, &error) == LEVEE_OK;
    snprintf(path, sizeof path, "%s/%s/adapter_model.safetensors", g->directory, after);
    opened = opened && safetensors_open(&last, path, &error) == LEVEE_OK;
    double difference = 0, norm = 0;
    for (uint32_t i = 0; opened && i < t->loss.value_count; i++) {
        const value *v = &t->loss.values[i];
        if (v->role != VALUE_PARAMETER) continue;
        adapter_tensor_name(name, v->name);
        const tensor_view *from = safetensors_find(first, name), *to = safetensors_find(last, name);
        if (!from || !to) {
            opened = false;
            break;
        }
        const float *own = executor_data(&t->train_pass, i), *start = from->data, *expected = to->data;
        for (uint64_t k = 0; k < to->bytes / sizeof(float); k++) {
            double moved = (double)expected[k] - start[k];
            difference += ((double)own[k] - expected[k]) * ((double)own[k] - expected[k]);
            norm += moved * moved;
        }
    }
    snprintf(path, sizeof path, "%s: adapter after 20 steps", mode);
    report(g, path, opened ? sqrt(difference / norm) : NAN, 1e-3);
    safetensors_close(first);
    safetensors_close(last);
}

/* Runs one trajectory of the golden file on its batch; compares losses, gradient norms, and for the first step each
 * gradient. */
static void run_trajectory(golden *g, const char *mode, const trainable_set *trained) {
    const json_t *expected = json_object_get(g->numbers, mode), *losses = json_object_get(expected, "losses");
    const json_t *norms = json_object_get(expected, "grad_norms");
    if (!expected) return;
    session s;
    training t = {0};
    if (!open_model(g, &s)) return;
    uint32_t rows = g->sequences * g->length;
    training_settings settings = {.trained = *trained,
                                  .optimizer = read_optimizer(expected),
                                  .recompute = RECOMPUTE_OFF,
                                  .longest_tokens = rows,
                                  .step_tokens = rows};
    levee_status status = training_plan(&t, &s, &settings, &error);
    if (status == LEVEE_OK) status = training_start(&t, &error);
    if (status == LEVEE_OK) match_frequencies(g, &s);
    if (status == LEVEE_OK && fine_tune_is_adapter(trained->type)) {
        char path[2400];
        snprintf(path, sizeof path, "%s/%s", g->directory, json_string_value(json_object_get(expected, "init")));
        status = parameters_read_adapter(&s.lasting, s.memory.base, path, &error);
    }
    double early = 0, late = 0, norm_difference = 0;
    double learning_rate = number(json_object_get(expected, "optimizer"), "lr");
    for (uint32_t step = 0; step < STEPS && status == LEVEE_OK; step++) {
        double loss = 0, norm = 0;
        bool applied;
        uint64_t targets = fill_batch(g, training_batch(&t));
        training_begin_step(&t, step, targets);
        status = training_pass(&t, &(gradient_progress){0}, &loss, &error);
        if (status == LEVEE_OK && step == 0 && !strcmp(mode, "full"))
            compare_gradients(g, &t, "grad.", "", "gradients");
        if (status == LEVEE_OK && step == 0 && fine_tune_is_adapter(trained->type)) {
            char prefix[64], label[64];
            snprintf(prefix, sizeof prefix, "%s_grad.base_model.model.", mode);
            snprintf(label, sizeof label, "%s: gradients", mode);
            compare_gradients(g, &t, prefix, ".default.weight", label);
        }
        if (status == LEVEE_OK) status = optimizer_update(&t.updates, learning_rate, loss, &norm, &applied, &error);
        double reference = json_number_value(json_array_get(losses, step));
        double difference = fabs(loss / (double)targets - reference) / fabs(reference);
        double *worst = step < 5 ? &early : &late;
        if (!(difference <= *worst)) *worst = difference;
        if (norms && step < 5) {
            double reference_norm = json_number_value(json_array_get(norms, step));
            double d = fabs(norm - reference_norm) / reference_norm;
            if (!(d <= norm_difference)) norm_difference = d;
        }
    }
    char quantity[64];
    if (status != LEVEE_OK) report_error(g, mode);
    snprintf(quantity, sizeof quantity, "%s: losses of steps 1-5", mode);
    report(g, quantity, early, 1e-5);
    snprintf(quantity, sizeof quantity, "%s: losses of steps 6-20", mode);
    report(g, quantity, late, 1e-4);
    if (norms) {
        snprintf(quantity, sizeof quantity, "%s: gradient norms of steps 1-5", mode);
        report(g, quantity, norm_difference, 1e-4);
    }
    if (status == LEVEE_OK && fine_tune_is_adapter(trained->type))
        compare_adapter(g, &t, mode, json_string_value(json_object_get(expected, "init")),
                        json_string_value(json_object_get(expected, "after")));
    training_close(&t);
    session_close(&s);
}

/* The loss of the untrained model, through the forward-only plan. */
static void check_loss(golden *g) {
    session s;
    training t = {0};
    if (!open_model(g, &s)) return;
    uint32_t rows = g->sequences * g->length;
    training_settings settings = {.trained = {.type = FINE_TUNE_HEAD},
                                  .optimizer = {.max_gradient_norm = INFINITY},
                                  .longest_tokens = rows,
                                  .step_tokens = rows};
    double loss = 0;
    uint64_t targets = 1;
    levee_status status = training_plan(&t, &s, &settings, &error);
    if (status == LEVEE_OK) status = training_start(&t, &error);
    if (status == LEVEE_OK) match_frequencies(g, &s);
    if (status == LEVEE_OK) {
        targets = fill_batch(g, training_evaluation_batch(&t));
        status = training_evaluate(&t, &loss, &error);
    }
    if (status != LEVEE_OK) report_error(g, "loss");
    double reference = number(g->numbers, "loss");
    report(g, "loss", status == LEVEE_OK ? fabs(loss / (double)targets - reference) / reference : NAN, 1e-5);
    training_close(&t);
    session_close(&s);
}

/* Logits as generation computes them: the body with its caches, then the head. */
static levee_status compute_logits(golden *g, session *s, double *difference) {
    trainable_set none = {.type = FINE_TUNE_NONE};
    graph body, head;
    plan body_plan = {0}, head_plan = {0};
    executor body_pass = {0}, head_pass = {0};
    graph_open(&body, SPACE_HOST);
    graph_open(&head, SPACE_HOST);
    levee_status status = model_build_body(&body, &s->source, &none, g->length, &error);
    if (status == LEVEE_OK) status = model_build_head(&head, &s->source, &error);
    if (status == LEVEE_OK) status = layout_make(&s->lasting, &body, false, &error);
    if (status == LEVEE_OK)
        status = plan_make(&body_plan, &body, &s->lasting, g->length, s->device->kernels, s->state, &error);
    if (status == LEVEE_OK)
        status = plan_make(&head_plan, &head, &s->lasting, g->length, s->device->kernels, s->state, &error);
    uint64_t arena = body_plan.arena_bytes[SPACE_HOST] > head_plan.arena_bytes[SPACE_HOST]
                         ? body_plan.arena_bytes[SPACE_HOST]
                         : head_plan.arena_bytes[SPACE_HOST];
    if (status == LEVEE_OK) status = session_take_memory(s, arena, arena, body_plan.category_bytes, &error);
    if (status == LEVEE_OK) status = session_bind(s, &body_pass, &body_plan, body_plan.g.node_count, &error);
    if (status == LEVEE_OK) status = session_bind(s, &head_pass, &head_plan, head_plan.g.node_count, &error);
    if (status == LEVEE_OK) status = parameters_initialise(&s->source, &s->lasting, s->memory.base, 0, &error);
    if (status == LEVEE_OK) match_frequencies(g, s);
    uint64_t hidden_bytes = (uint64_t)g->length * s->config.hidden_size * sizeof(float);
    float *hidden = ledger_alloc(LEVEE_DATA, hidden_bytes);
    const tensor_view *expected = safetensors_find(g->tensors, "logits");
    uint64_t count = (uint64_t)g->length * s->config.vocabulary_size;
    double squares = 0, reference = 0;
    for (uint32_t q = 0; q < g->sequences && status == LEVEE_OK && hidden; q++) {
        int32_t *ids = executor_data(&body_pass, plan_find(&body_plan, VALUE_IDS));
        int32_t *positions = executor_data(&body_pass, plan_find(&body_plan, VALUE_POSITIONS));
        /* Two passes, so that the second reads what the first cached. */
        uint32_t half = g->length / 2;
        for (uint32_t pass = 0, begin = 0; pass < 2 && status == LEVEE_OK; pass++, begin = half) {
            pass_scalars scalars = {.tokens = pass ? g->length - half : half};
            for (uint32_t t = 0; t < scalars.tokens; t++) {
                ids[t] = g->ids[q * g->length + begin + t];
                positions[t] = (int32_t)(begin + t);
            }
            status = executor_run(&body_pass, &scalars, &(gradient_progress){0}, &error);
            memcpy(hidden + (uint64_t)begin * s->config.hidden_size,
                   executor_data(&body_pass, plan_find(&body_plan, VALUE_HIDDEN)),
                   (uint64_t)scalars.tokens * s->config.hidden_size * sizeof(float));
        }
        pass_scalars scalars = {.tokens = g->length};
        memcpy(executor_data(&head_pass, plan_find(&head_plan, VALUE_HIDDEN)), hidden, hidden_bytes);
        if (status == LEVEE_OK) status = executor_run(&head_pass, &scalars, &(gradient_progress){0}, &error);
        const float *own = executor_data(&head_pass, plan_find(&head_plan, VALUE_LOGITS));
        const float *wanted = (const float *)expected->data + q * count;
        for (uint64_t i = 0; i < count; i++) {
            squares += ((double)own[i] - wanted[i]) * ((double)own[i] - wanted[i]);
            reference += (double)wanted[i] * wanted[i];
        }
    }
    *difference = hidden ? sqrt(squares / reference) : NAN;
    ledger_free(hidden);
    executor_close(&body_pass);
    executor_close(&head_pass);
    plan_close(&body_plan);
    plan_close(&head_plan);
    graph_close(&body);
    graph_close(&head);
    return status;
}

static double logits_difference(golden *g, dtype frequency_type, dtype *stored_type) {
    session s;
    double difference = NAN;
    g->frequency_type = frequency_type;
    if (!open_model(g, &s)) return NAN;
    *stored_type = s.config.stored_type;
    if (compute_logits(g, &s, &difference) != LEVEE_OK) {
        report_error(g, "logits");
        difference = NAN;
    }
    session_close(&s);
    return difference;
}

/* Casting a PyTorch model to bf16 and back also rounds its RoPE frequencies, which loading one in bf16 does not. Both
 * kinds of golden exist; the logits tell which this is, and everything else is then compared in that precision. */
static void check_logits(golden *g) {
    dtype stored = DTYPE_F32, ignored;
    double difference = logits_difference(g, DTYPE_F32, &stored);
    if (stored != DTYPE_F32) {
        double rounded = logits_difference(g, stored, &ignored);
        if (rounded < difference) {
            printf("note: the oracle rounded its RoPE frequencies to %s\n", dtype_describe(stored)->name);
            difference = rounded;
        } else {
            g->frequency_type = DTYPE_F32;
        }
    }
    report(g, "logits", difference, 1e-5);
}

static trainable_set adapter_of(const golden *g, const char *mode, fine_tune_type type) {
    trainable_set set = {.type = type, .last_layers = UINT32_MAX, .rank = 4, .scale = 2};
    char path[2400];
    adapter_config config;
    const char *initial = json_string_value(json_object_get(json_object_get(g->numbers, mode), "init"));
    snprintf(path, sizeof path, "%s/%s", g->directory, initial ? initial : "adapter_init");
    for (unsigned p = 0; p < PROJECTION_COUNT; p++) set.projections[p] = true;
    if (adapter_config_read(&config, path, &error) == LEVEE_OK) {
        set.rank = config.rank;
        set.scale = (float)(config.alpha / config.rank);
        for (unsigned p = 0; p < PROJECTION_COUNT; p++) set.projections[p] = config.targets[p];
    }
    return set;
}

static bool check_directory(const char *directory) {
    golden g = {0};
    printf("%s\n", directory);
    if (open_golden(&g, directory)) {
        trainable_set full = {.type = FINE_TUNE_FULL, .last_layers = UINT32_MAX}, head = {.type = FINE_TUNE_HEAD};
        trainable_set lora = adapter_of(&g, "lora", FINE_TUNE_LORA), dora = adapter_of(&g, "dora", FINE_TUNE_DORA);
        check_logits(&g);
        check_loss(&g);
        run_trajectory(&g, "full", &full);
        run_trajectory(&g, "lora", &lora);
        run_trajectory(&g, "dora", &dora);
        run_trajectory(&g, "head", &head);
    } else {
        g.failed = true;
    }
    json_decref(g.numbers);
    safetensors_close(g.tensors);
    return !g.failed;
}

int main(int count, char **arguments) {
    if (count < 2) {
        fprintf(stderr, "usage: golden DIR...\n");
        return LEVEE_USAGE;
    }
    bool all = true;
    pool_hook_json();
    for (int i = 1; i < count; i++) all = check_directory(arguments[i]) && all;
    puts(all ? "all within bounds" : "some out of bounds");
    return all ? 0 : 1;
}

/* Whole runs, by the public call: steps that are not finite change nothing and are told of; a deterministic training
 * is the same, bit by bit, whatever the budget, the split of its batches and the changes of plan. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "given_options.h"
#include "scratch.h"
#include "train/requests.h"

static levee_error error;

/* What a run had to say: all of it, or the last half when it was too much, as one that is shaken all the time says.
 */
typedef struct transcript {
    char text[65536];
    size_t length;
} transcript;

static void listen(void *context, const char *line) {
    transcript *t = context;
    size_t half = sizeof t->text / 2;
    if (t->length + strlen(line) + 2 > sizeof t->text) {
        memmove(t->text, t->text + half, t->length - half + 1);
        t->length -= half;
    }
    t->length += (size_t)snprintf(t->text + t->length, sizeof t->text - t->length, "%s\n", line);
    assert_true(t->length < sizeof t->text);
}

static const char *below(char path[FILE_PATH_BYTES], const char *directory, const char *name) {
    assert_true(file_join(path, directory, name));
    return path;
}

/* Options of a small run whose result goes to "directory/result". */
static levee_options small_run(const char *directory, const char *model, const char *data, const char *result) {
    char path[FILE_PATH_BYTES];
    levee_options o;
    options_defaults(&o);
    must_set(&o, "model", below(path, directory, model));
    must_set(&o, "data", below(path, directory, data));
    must_set(&o, "adapter_path", below(path, directory, result));
    must_set(&o, "learning_rate", "1e-3");
    must_set(&o, "memory", "2GiB");
    must_set(&o, "dtype", "f32");
    must_set(&o, "num_layers", "-1");
    return o;
}

static void make_model(const char *directory) {
    char path[FILE_PATH_BYTES];
    const levee_shape shape = {.hidden_size = 64, .intermediate_size = 96, .layers = 2, .heads = 4, .kv_heads = 2};
    below(path, directory, "model");
    if (!file_exists(path)) scratch_expect("init", LEVEE_OK, "", levee_init(path, &shape, 9, &error), &error);
}

/* Rows of different lengths; row number `marked` holds a Z, which no other does. */
static void write_data(const char *directory, unsigned rows, unsigned marked) {
    char text[16384];
    size_t length = 0;
    for (unsigned i = 0; i < rows; i++)
        length +=
            (size_t)snprintf(text + length, sizeof text - length, "{\"text\": \"row %u of the harbour %.*s%s\"}\n", i,
                             (int)(i % 11) * 3, "and the boats that lie in it at night", i == marked ? " Z" : "");
    scratch_text(directory, "data.jsonl", text);
}

static levee_status train(const levee_options *o, transcript *t) {
    *t = (transcript){0};
    return levee_train(o, listen, t, &error);
}

static void must_train(const levee_options *o, transcript *t) {
    scratch_expect(o->adapter_path, LEVEE_OK, "", train(o, t), &error);
}

static void assert_same_result(const levee_options *a, const levee_options *b) {
    char path[FILE_PATH_BYTES];
    size_t a_bytes, b_bytes;
    const char *file = a->type == FINE_TUNE_LORA ? "adapter_model.safetensors" : "model.safetensors";
    char *a_content = scratch_read(below(path, a->adapter_path, file), &a_bytes);
    char *b_content = scratch_read(below(path, b->adapter_path, file), &b_bytes);
    assert_int_equal(a_bytes, b_bytes);
    assert_memory_equal(a_content, b_content, a_bytes);
    free(a_content);
    free(b_content);
}

/* One number of each line of metrics.jsonl; NaN for null. Returns how many lines there are. */
static unsigned read_metric(const levee_options *o, const char *key, double *values, unsigned room) {
    char path[FILE_PATH_BYTES];
    size_t bytes;
    unsigned count = 0;
    char *content = scratch_read(below(path, o->adapter_path, "metrics.jsonl"), &bytes), *rest = content;
    for (char *line; (line = strsep(&rest, "\n")) && *line; count++) {
        json_t *object = json_loads(line, 0, NULL);
        assert_non_null(object);
        const json_t *given = json_object_get(object, key);
        assert_true(count < room);
        values[count] = json_is_number(given)    ? json_number_value(given)
                        : json_is_boolean(given) ? (double)json_is_true(given)
                                                 : (double)NAN;
        json_decref(object);
    }
    free(content);
    return count;
}

/* Makes the embedding of one token not a number, in a model whose head has a weight of its own. */
static void poison_embedding(const char *directory, const char *model, uint32_t token) {
    char path[FILE_PATH_BYTES];
    safetensors *tensors;
    size_t bytes;
    below(path, directory, model);
    scratch_expect(path, LEVEE_OK, "", safetensors_open_model(&tensors, path, &error), &error);
    assert_non_null(safetensors_find(tensors, "lm_head.weight"));
    const tensor_view *view = safetensors_find(tensors, "model.embed_tokens.weight");
    assert_non_null(view);
    assert_int_equal(view->type, DTYPE_F32);
    const float *row = (const float *)view->data + token * view->shape[1];
    char file[FILE_PATH_BYTES], *content = scratch_read(below(file, path, "model.safetensors"), &bytes);
    /* Where the row lies in the file: random weights occur once. */
    char *place = memmem(content, bytes, row, view->shape[1] * sizeof *row);
    assert_non_null(place);
    const float poison = NAN;
    memcpy(place, &poison, sizeof poison);
    safetensors_close(tensors);
    scratch_file(path, "model.safetensors", content, bytes);
    free(content);
}

static void a_poisoned_row_changes_nothing(void **state) {
    enum { STEPS = 12, MARKED = 7 };
    transcript t;
    make_model(*state);
    write_data(*state, 24, MARKED);
    levee_options head = small_run(*state, "model", "data.jsonl", "untied");
    must_set(&head, "fine_tune_type", "head");
    must_set(&head, "iters", "1");
    must_train(&head, &t);
    poison_embedding(*state, "untied", 'Z');
    levee_options lora = small_run(*state, "untied", "data.jsonl", "adapter");
    must_set(&lora, "iters", "12"); /* two epochs */
    must_train(&lora, &t);
    double applied[STEPS], losses[STEPS];
    assert_int_equal(read_metric(&lora, "applied", applied, STEPS), STEPS);
    assert_int_equal(read_metric(&lora, "loss", losses, STEPS), STEPS);
    unsigned refused = 0;
    for (unsigned i = 0; i < STEPS; i++) {
        refused += applied[i] == 0;
        assert_int_equal(isfinite(losses[i]) != 0, applied[i] != 0);
    }
    assert_int_equal(refused, 2);
    /* Each of them names the line. */
    unsigned named = 0;
    for (const char *line = t.text; (line = strstr(line, "the loss is not finite, so nothing was changed")); line++) {
        const char *end = strchr(line, '\n'), *lines = strstr(line, "lines ");
        char rows[512];
        snprintf(rows, sizeof rows, ", %.*s,", (int)(end - lines - 6), lines + 6);
        named += strstr(rows, ", 8,") != NULL; /* MARKED, counted from 1 */
    }
    assert_int_equal(named, 2);
    assert_null(strstr(t.text, "nan,"));
}

static void three_in_a_row_stop_the_run(void **state) {
    enum { MOST = 40 };
    transcript t;
    double applied[MOST];
    make_model(*state);
    write_data(*state, 24, 99);
    levee_options o = small_run(*state, "model", "data.jsonl", "ruined");
    must_set(&o, "learning_rate", "1000");
    must_set(&o, "scale", "1e6");
    must_set(&o, "iters", "36");
    scratch_expect("ruined", LEVEE_STOPPED, "in 3 steps in a row|--learning-rate", train(&o, &t), &error);
    unsigned done = read_metric(&o, "applied", applied, MOST);
    char last[64];
    snprintf(last, sizeof last, "--resume goes on after step %u", done);
    assert_non_null(strstr(t.text, last));
    assert_true(done > 3 && applied[0] != 0 && applied[done - 4] != 0);
    for (unsigned i = done - 3; i < done; i++) assert_true(applied[i] == 0);
    /* Going on is possible, and the count starts anew. */
    must_set(&o, "resume", "auto");
    must_set(&o, "most_not_finite_steps", "2");
    scratch_expect("again", LEVEE_STOPPED, "in 2 steps in a row", train(&o, &t), &error);
    assert_int_equal(read_metric(&o, "applied", applied, MOST), done + 2);
}

static atomic_bool shaking;

/* Asks for smaller and larger plans at any time, and cuts passes short as the guard's thread does. */
static void *shake(void *context) {
    (void)context;
    for (uint64_t i = 0; atomic_load(&shaking); i++) {
        levee_request(i * 2654435761u % 97 < 48 ? LEVEE_REQUEST_SHRINK : LEVEE_REQUEST_GROW);
        if (i % 8 == 7) requests_attend(true);
        usleep(1000 + (useconds_t)(i * 40503 % 5000));
    }
    return NULL;
}

/* An effective batch of 8, asked for in four ways; recomputed or not; left alone or shaken. */
static void deterministic_is_the_same_bit_by_bit(void **state) {
    static const char *const types[] = {"lora", "full", "head"};
    static const struct {
        const char *batch, *accumulation, *iterations, *recompute;
        bool shaken;
    } splits[] = {{"8", "1", "12", "off", false},
                  {"4", "2", "24", "all", false},
                  {"2", "4", "48", "auto", true},
                  {"1", "8", "96", "off", true}};
    enum { STEPS = 12, SPLITS = sizeof splits / sizeof *splits };
    transcript t;
    make_model(*state);
    write_data(*state, 24, 99);
    for (unsigned i = 0; i < sizeof types / sizeof *types; i++) {
        char name[32];
        double losses[SPLITS][STEPS], repeated[STEPS], level[STEPS], changes = 0;
        levee_options runs[SPLITS];
        for (unsigned k = 0; k < SPLITS; k++) {
            snprintf(name, sizeof name, "%s-%u", types[i], k);
            runs[k] = small_run(*state, "model", "data.jsonl", name);
            must_set(&runs[k], "fine_tune_type", types[i]);
            must_set(&runs[k], "deterministic", "true");
            must_set(&runs[k], "batch_size", splits[k].batch);
            must_set(&runs[k], "grad_accumulation_steps", splits[k].accumulation);
            must_set(&runs[k], "iters", splits[k].iterations);
            must_set(&runs[k], "grad_checkpoint", splits[k].recompute);
            must_set(&runs[k], "dropout", "0.2");
            pthread_t shaker;
            atomic_store(&shaking, splits[k].shaken);
            if (splits[k].shaken) assert_int_equal(pthread_create(&shaker, NULL, shake, NULL), 0);
            must_train(&runs[k], &t);
            if (atomic_exchange(&shaking, false)) pthread_join(shaker, NULL);
            assert_int_equal(read_metric(&runs[k], "loss", losses[k], STEPS), STEPS);
            assert_same_result(&runs[0], &runs[k]);
            assert_memory_equal(losses[0], losses[k], sizeof losses[0]);
            read_metric(&runs[k], "repeated_passes", repeated, STEPS);
            read_metric(&runs[k], "plan_level", level, STEPS);
            for (unsigned s = 0; s < STEPS; s++) changes += repeated[s] + level[s];
        }
        assert_true(changes > 0); /* they were shaken indeed */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_poisoned_row_changes_nothing, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(three_in_a_row_stop_the_run, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(deterministic_is_the_same_bit_by_bit, scratch_setup, scratch_teardown),
    };
    levee_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

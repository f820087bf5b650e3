/* levee_plan, by the public call: it touches no weights and writes nothing beside a model, a large model takes little
 * memory, and what it says of other settings is what it says when asked for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "failing.h"
#include "given_options.h"
#include "guard/sample.h"
#include "memory/ledger.h"
#include "memory/pool.h"
#include "model/builder.h"
#include "platform/process.h"
#include "sanitized.h"
#include "scratch.h"

static levee_error error;

static void keep_text(void *context, const char *text) {
    char **kept = context;
    assert_null(*kept); /* one answer */
    *kept = strdup(text);
}

/* Asks, and gives the answer as JSON, to be freed by json_decref. */
static json_t *ask(levee_options *o, levee_status expected) {
    char *text = NULL;
    must_set(o, "json", "true");
    scratch_expect("plan", expected, "", levee_plan(o, keep_text, &text, &error), &error);
    assert_non_null(text);
    json_error_t problem;
    json_t *answer = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
    if (!answer) fail_msg("%s: %s", problem.text, text);
    free(text);
    return answer;
}

static uint64_t number_at(const json_t *object, const char *first, const char *second) {
    const json_t *found = json_object_get(object, first);
    if (second) found = json_object_get(found, second);
    assert_true(json_is_integer(found));
    return (uint64_t)json_integer_value(found);
}

/* What the plans place: all but what is measured. */
static uint64_t placed_bytes(const json_t *answer) {
    uint64_t total = 0;
    for (unsigned c = 0; c < LEVEE_RUNTIME; c++)
        total += number_at(json_object_get(answer, "plan"), "planned_bytes", levee_category_name((levee_category)c));
    return total;
}

static uint64_t runtime_bytes(const json_t *answer) {
    return number_at(json_object_get(answer, "plan"), "planned_bytes", "runtime");
}

static void write_config(const char *directory, unsigned hidden, unsigned intermediate, unsigned layers,
                         unsigned heads, unsigned vocabulary) {
    char text[512];
    snprintf(text, sizeof text,
             "{\"model_type\": \"llama\", \"hidden_size\": %u, \"intermediate_size\": %u, \"num_hidden_layers\": %u, "
             "\"num_attention_heads\": %u, \"num_key_value_heads\": 8, \"vocab_size\": %u, \"torch_dtype\": "
             "\"bfloat16\", \"max_position_embeddings\": 8192}",
             hidden, intermediate, layers, heads, vocabulary);
    scratch_text(directory, "config.json", text);
}

static levee_options options_for(const char *directory, const char *memory) {
    levee_options o;
    options_defaults(&o);
    must_set(&o, "model", directory);
    must_set(&o, "memory", memory);
    must_set(&o, "dtype", "f32");
    return o;
}

/* A model whose weights are one hole in a file: the header is there, and no page that could be read by mistake. */
static uint64_t write_hollow_model(const char *directory, unsigned hidden) {
    model_config config;
    graph g;
    const trainable_set frozen = {.type = FINE_TUNE_NONE};
    write_config(directory, hidden, 4 * hidden, 8, 32, 32000);
    assert_int_equal(model_config_read(&config, directory, &error), LEVEE_OK);
    const model_source source = {.config = &config};
    graph_open(&g, SPACE_HOST);
    assert_int_equal(model_build_loss(&g, &source, &frozen, &error), LEVEE_OK);
    char *header = calloc(g.value_count + 1, 256);
    size_t length = 0;
    uint64_t offset = 0;
    for (value_id v = 0; v < g.value_count; v++) {
        const value *w = &g.values[v];
        uint64_t bytes = graph_value_bytes(w, 0);
        char shape[64];
        if (w->role != VALUE_WEIGHT) continue;
        if (w->rows == 1)
            snprintf(shape, sizeof shape, "%llu", (unsigned long long)w->cols);
        else
            snprintf(shape, sizeof shape, "%llu,%llu", (unsigned long long)w->rows, (unsigned long long)w->cols);
        length += (size_t)sprintf(
            header + length, "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}",
            length ? "," : "{", w->name, shape, (unsigned long long)offset, (unsigned long long)(offset + bytes));
        offset += bytes;
    }
    graph_close(&g);
    header[length++] = '}';
    while (length % 8) header[length++] = ' ';
    char *content = malloc(8 + length);
    const uint64_t header_bytes = length;
    memcpy(content, &header_bytes, 8);
    memcpy(content + 8, header, length);
    const char *path = scratch_file(directory, "model.safetensors", content, 8 + length);
    assert_int_equal(truncate(path, (off_t)(8 + length + offset)), 0);
    free(content);
    free(header);
    return 8 + length + offset;
}

/* Pages of a file that are in memory, whoever read them. */
static uint64_t resident_bytes(const char *path, uint64_t bytes) {
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), pages = (bytes + page - 1) / page;
    int descriptor = open(path, O_RDONLY);
    void *mapped = mmap(NULL, bytes, PROT_READ, MAP_SHARED, descriptor, 0);
    unsigned char *present = malloc(pages);
    uint64_t count = 0;
    assert_true(mapped != MAP_FAILED);
    assert_int_equal(mincore(mapped, bytes, present), 0);
    for (uint64_t i = 0; i < pages; i++) count += present[i] & 1;
    free(present);
    munmap(mapped, bytes);
    close(descriptor);
    return count * page;
}

static void touches_no_weights(void **state) {
    const char *directory = *state;
    const uint64_t mebibyte = 1024 * 1024, bytes = write_hollow_model(directory, 2048);
    char path[FILE_PATH_BYTES];
    assert_true(file_join(path, directory, "model.safetensors"));
    assert_true(bytes > 900 * mebibyte);
    const uint64_t cached = resident_bytes(path, bytes);
    uint64_t before, rise;
    levee_options o = options_for(directory, "8GiB");
    assert_true(process_rise_begin(&before));
    json_t *answer = ask(&o, LEVEE_OK);
    assert_true(process_rise_end(before, &rise));
    assert_int_equal(number_at(answer, "model", "weights_bytes"), bytes);
    json_decref(answer);
    /* The header, and what the kernel reads ahead of it. */
    assert_true(resident_bytes(path, bytes) <= cached + mebibyte);
    print_message("resident memory rose by %.1f MiB for a model of %.0f MiB\n", (double)rise / 0x1p20,
                  (double)bytes / 0x1p20);
    assert_true(rise < 200 * mebibyte); /* sanitizers included */
}

typedef struct growth {
    uint64_t weights_bytes;
    uint64_t peak_bytes;   /* by how much resident memory rose at most, file pages included: the kernel's own mark */
    uint64_t cached_bytes; /* by how much the model's part of the page cache grew */
    int64_t anonymous_bytes, file_bytes; /* what a sampler sees afterwards, less what it saw before */
} growth;

static growth watch_planning(const char *directory, sampler *meters, unsigned hidden) {
    char path[FILE_PATH_BYTES];
    guard_sample before, after;
    uint64_t resident;
    growth g = {.weights_bytes = write_hollow_model(directory, hidden)};
    assert_true(file_join(path, directory, "model.safetensors"));
    const uint64_t cached = resident_bytes(path, g.weights_bytes);
    levee_options o = options_for(directory, "8GiB");
    sampler_take(meters, &before);
    assert_true(process_rise_begin(&resident));
    json_t *answer = ask(&o, LEVEE_OK);
    assert_true(process_rise_end(resident, &g.peak_bytes));
    sampler_take(meters, &after);
    assert_int_equal(number_at(answer, "model", "weights_bytes"), g.weights_bytes);
    json_decref(answer);
    g.cached_bytes = resident_bytes(path, g.weights_bytes) - cached;
    for (guard_meter m = METER_PROCESS_ANONYMOUS; m <= METER_PROCESS_FILE; m++)
        assert_true(before.meters[m].known && after.meters[m].known);
    g.anonymous_bytes =
        (int64_t)(after.meters[METER_PROCESS_ANONYMOUS].value - before.meters[METER_PROCESS_ANONYMOUS].value);
    g.file_bytes = (int64_t)(after.meters[METER_PROCESS_FILE].value - before.meters[METER_PROCESS_FILE].value);
    print_message(
        "a model of %.0f MiB: resident memory rose by %.1f MiB at most, the page cache by %.2f MiB; sampled: "
        "anonymous %+.2f MiB, files %+.2f MiB\n",
        (double)g.weights_bytes / 0x1p20, (double)g.peak_bytes / 0x1p20, (double)g.cached_bytes / 0x1p20,
        (double)g.anonymous_bytes / 0x1p20, (double)g.file_bytes / 0x1p20);
    return g;
}

/* What planning takes is the same for a model of many times the size, in memory of its own, in mapped pages and in
 * the page cache. */
static void takes_no_more_for_a_larger_model(void **state) {
    enum { MEBIBYTE = 1024 * 1024 };
    const char *directory = *state;
    const sampler_options own = sampler_options_default();
    sampler meters;
    sampler_open(&meters, &own);
    watch_planning(directory, &meters, 256); /* what the first plan of a process leaves behind */
    const growth small = watch_planning(directory, &meters, 512), large = watch_planning(directory, &meters, 4096);
    sampler_close(&meters);
    assert_true(large.weights_bytes > 30 * small.weights_bytes);
    const uint64_t allowed = (SANITIZED ? 64 : 4) * (uint64_t)MEBIBYTE;
    assert_true(large.peak_bytes <= small.peak_bytes + allowed);
    assert_true(large.cached_bytes <= MEBIBYTE); /* the header, and what the kernel reads ahead of it */
    assert_true(large.anonymous_bytes <= (int64_t)allowed && large.file_bytes <= MEBIBYTE);
}

static void plans_80_layers_in_little_memory(void **state) {
    const char *directory = *state;
    const uint64_t mebibyte = 1024 * 1024;
    write_config(directory, 8192, 28672, 80, 64, 128256);
    levee_options o = options_for(directory, "64GiB");
    must_set(&o, "num_layers", "-1");
    ledger_restart_peaks();
    json_t *answer = ask(&o, LEVEE_OK);
    print_message("booked at most %.1f MiB\n", (double)ledger_peak(LEVEE_CATEGORY_COUNT) / 0x1p20);
    assert_true(ledger_peak(LEVEE_CATEGORY_COUNT) < 50 * mebibyte);
    /* 70 billion, by hand: docs/plan.md adds up the smaller one. */
    const uint64_t layer = 2ull * 8192 * 8192 + 2ull * 1024 * 8192 + 3ull * 8192 * 28672 + 2 * 8192;
    const uint64_t parameters = 80 * layer + 2ull * 128256 * 8192 + 8192;
    assert_int_equal(number_at(answer, "model", "parameters"), parameters);
    assert_int_equal(number_at(answer, "model", "weights_bytes"), 2 * parameters);
    json_decref(answer);
}

static void write_tiny(const char *directory) {
    const levee_shape shape = {.hidden_size = 64, .intermediate_size = 160, .layers = 4, .heads = 4, .kv_heads = 2};
    scratch_expect("init", LEVEE_OK, "", levee_init(directory, &shape, 3, &error), &error);
}

/* Each change that is explained, asked for by itself, gets the peak that was promised: to the byte in what the plans
 * place. */
static void keeps_what_it_says_of_changes(void **state) {
    const char *directory = *state;
    write_tiny(directory);
    levee_options o = options_for(directory, "2GiB"), asked = o;
    must_set(&asked, "max_seq_length", "512");
    must_set(&asked, "explain", "true");
    json_t *answer = ask(&asked, LEVEE_OK), *change;
    const json_t *changes = json_object_get(answer, "changes");
    size_t i, compared = 0;
    json_array_foreach(changes, i, change) {
        char option[128], *space;
        snprintf(option, sizeof option, "%s", json_string_value(json_object_get(change, "option")));
        space = strchr(option, ' ');
        *space = 0;
        levee_options other = o;
        must_set(&other, "max_seq_length", "512");
        must_set(&other, option + 2, space + 1);
        json_t *planned = ask(&other, LEVEE_OK);
        print_message("%s %s: %llu\n", option, space + 1, (unsigned long long)placed_bytes(planned));
        assert_int_equal(number_at(change, "peak_bytes", NULL) - runtime_bytes(answer), placed_bytes(planned));
        json_decref(planned);
        compared++;
    }
    assert_true(compared >= 5);
    assert_int_equal(json_array_size(json_object_get(answer, "peak_buffers")), 10);
    json_decref(answer);
}

/* What is largest at the peak is no more than the peak, and comes by size. */
static void lists_the_largest_first(void **state) {
    const char *directory = *state;
    write_tiny(directory);
    static const char *const types[] = {"lora", "full", "head", "dora"};
    for (unsigned t = 0; t < sizeof types / sizeof *types; t++) {
        levee_options o = options_for(directory, "2GiB");
        must_set(&o, "fine_tune_type", types[t]);
        must_set(&o, "explain", "true");
        json_t *answer = ask(&o, LEVEE_OK), *buffer;
        uint64_t before = UINT64_MAX, sum = 0;
        size_t i;
        json_array_foreach(json_object_get(answer, "peak_buffers"), i, buffer) {
            uint64_t bytes = number_at(buffer, "bytes", NULL);
            assert_true(bytes <= before && bytes > 0);
            before = bytes;
            sum += bytes;
        }
        assert_true(sum <= placed_bytes(answer));
        json_decref(answer);
    }
}

/* Each cell of the table is the plan of so many sequences of that length. */
static void table_is_made_of_plans(void **state) {
    const char *directory = *state;
    if (SANITIZED) skip(); /* no budget is as small as the cells */
    write_tiny(directory);
    levee_options o = options_for(directory, "60MiB");
    must_set(&o, "max_seq_length", "256");
    must_set(&o, "table", "true");
    json_t *answer = ask(&o, LEVEE_OK), *cell;
    size_t i, kinds[3] = {0};
    json_array_foreach(json_object_get(answer, "table"), i, cell) {
        const char *fits = json_string_value(json_object_get(cell, "fits"));
        kinds[!strcmp(fits, "no") ? 0 : !strcmp(fits, "recomputed") ? 1 : 2]++;
        bool within = number_at(cell, "peak_bytes", NULL) <= 60u << 20;
        assert_int_equal(within, strcmp(fits, "no") != 0);
        if (strcmp(fits, "as it is") != 0) continue;
        /* What fits as it is, is what a training with that batch gets. */
        char given[16];
        levee_options same = options_for(directory, "60MiB");
        snprintf(given, sizeof given, "%llu", (unsigned long long)number_at(cell, "sequences", NULL));
        must_set(&same, "batch_size", given);
        snprintf(given, sizeof given, "%llu", (unsigned long long)number_at(cell, "max_seq_length", NULL));
        must_set(&same, "max_seq_length", given);
        json_t *planned = ask(&same, LEVEE_OK);
        if (!number_at(planned, "plan", "recomputed_groups") && number_at(planned, "plan", "passes_step") == 1)
            assert_int_equal(number_at(cell, "peak_bytes", NULL) - runtime_bytes(answer), placed_bytes(planned));
        json_decref(planned);
    }
    assert_true(kinds[0] && kinds[1] && kinds[2]);
    json_decref(answer);
}

/* Whatever call fails, the answer is whole or there is an error that says why; nothing stays taken, and the picture
 * is the old one or the new one. */
static void calls_may_fail(void **state) {
    enum { RUNS = 40 };
    const char *directory = *state;
    static const struct {
        fault_point first, last;
        int failure;
    } kinds[] = {{FAULT_ALLOCATE, FAULT_COMMIT, ENOMEM}, {FAULT_FIRST_FILE_POINT, FAULT_POINT_COUNT - 1, EIO}};
    char path[FILE_PATH_BYTES];
    write_tiny(directory);
    assert_true(file_join(path, directory, "curve.svg"));
    levee_options o = options_for(directory, "2GiB");
    must_set(&o, "max_seq_length", "64");
    must_set(&o, "explain", "true");
    must_set(&o, "json", "true");
    must_set(&o, "curve", path);
    for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        failing counted = {.first = kinds[k].first, .last = kinds[k].last};
        char *text = NULL;
        failing_start(&counted);
        scratch_expect("counted", LEVEE_OK, "", levee_plan(&o, keep_text, &text, &error), &error);
        failing_stop();
        free(text);
        unsigned failed = 0;
        for (uint64_t run = 0; run < RUNS; run++) {
            uint64_t at = run < RUNS / 2 ? run : counted.calls * run / RUNS,
                     booked = ledger_booked(LEVEE_CATEGORY_COUNT);
            failing f = {.first = kinds[k].first, .last = kinds[k].last, .from = at, .to = at + 1};
            f.what.failure = kinds[k].failure;
            text = NULL;
            error = (levee_error){0};
            failing_start(&f);
            levee_status status = levee_plan(&o, keep_text, &text, &error);
            failing_stop();
            if (ledger_booked(LEVEE_CATEGORY_COUNT) != booked)
                fail_msg("%s number %llu: %lld bytes stayed taken", failing_name(f.point), (unsigned long long)at,
                         (long long)(ledger_booked(LEVEE_CATEGORY_COUNT) - booked));
            if (status != LEVEE_OK) {
                failed++;
                assert_int_equal(status, error.status);
                assert_true(*error.message);
            } else {
                assert_non_null(text);
            }
            free(text);
        }
        print_message("%llu calls; of %d that failed, %u were told\n", (unsigned long long)counted.calls, RUNS,
                      failed);
        assert_true(failed > RUNS / 4);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(touches_no_weights, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(takes_no_more_for_a_larger_model, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(plans_80_layers_in_little_memory, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(keeps_what_it_says_of_changes, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(lists_the_largest_first, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(table_is_made_of_plans, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(calls_may_fail, scratch_setup, scratch_teardown),
    };
    levee_prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

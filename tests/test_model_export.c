/* Results for other programs: rows merged against a sum in double precision, adapters there and back, GGUF's bytes by
 * a reader of our own, and blocks against values worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/ledger.h"
#include "model/adapter_convert.h"
#include "model/model_files.h"
#include "model/model_gguf.h"
#include "scratch.h"
#include "small_model.h"
#include "tensor/gguf.h"

enum { RANK = 3, FIRST = 2, MATRICES = 2 * (LAYERS - FIRST) * 2 };

static const adapter_config config = {.rank = RANK,
                                      .alpha = 6,
                                      .targets = {[PROJECTION_K] = true, [PROJECTION_DOWN] = true},
                                      .first_layer = FIRST,
                                      .layer_count = LAYERS - FIRST};

static float value_of(uint32_t seed, uint64_t i) { return (float)((seed * 31u + i * 17) % 41) / 64 - 0.3f; }

/* An adapter on k_proj (16 x 32) and down_proj (32 x 48) of the last two layers. */
static void write_adapter(const char *directory) {
    tensor_declaration tensors[MATRICES];
    uint32_t count = 0;
    char path[FILE_PATH_BYTES];
    file_writer writer;
    memset(tensors, 0, sizeof tensors);
    for (uint32_t i = 0; i < MATRICES; i++, count++) {
        bool is_b = i % 2, down = i / 2 % 2;
        tensors[i] = (tensor_declaration){
            .type = DTYPE_F32, .rank = 2, .shape = {is_b ? (down ? 32 : 16) : RANK, is_b ? RANK : (down ? 48 : 32)}};
        snprintf(tensors[i].name, sizeof tensors[i].name, "base_model.model.model.layers.%u.%s.lora_%c.weight",
                 FIRST + i / 4, down ? "mlp.down_proj" : "self_attn.k_proj", is_b ? 'B' : 'A');
    }
    assert_int_equal(file_make_directory(directory, NULL), LEVEE_OK);
    assert_int_equal(adapter_config_write(&config, directory, NULL), LEVEE_OK);
    assert_true(file_join(path, directory, "adapter_model.safetensors"));
    assert_int_equal(file_writer_open(&writer, path, NULL), LEVEE_OK);
    assert_int_equal(safetensors_write_header(&writer, scratch_describe, tensors, count, NULL), LEVEE_OK);
    for (uint32_t i = 0; i < count; i++)
        for (uint64_t k = 0; k < tensors[i].shape[0] * tensors[i].shape[1]; k++) {
            float number = value_of(i, k);
            assert_int_equal(file_writer_write(&writer, &number, sizeof number, NULL), LEVEE_OK);
        }
    assert_int_equal(file_writer_commit(&writer, NULL), LEVEE_OK);
}

static const char *in(const fixture *f, const char *name) {
    static char paths[4][FILE_PATH_BYTES];
    static unsigned next;
    char *path = paths[next++ % 4];
    assert_true(file_join(path, f->directory, name));
    return path;
}

static merged_model open_merged(const fixture *f, const char *adapter) {
    merged_model m;
    levee_error error;
    scratch_expect("merged", LEVEE_OK, "", merged_open(&m, &f->source, adapter, &error), &error);
    return m;
}

/* Number of the adapter's matrix A of a projection, as write_adapter numbers them. */
static uint32_t matrix_number(uint32_t layer, bool down) { return (layer - FIRST) * 4 + 2 * down; }

static double merged_value(const tensor_view *base, uint32_t layer, bool down, uint64_t row, uint64_t col) {
    uint64_t cols = down ? 48 : 32;
    double sum = (double)((const float *)base->data)[row * cols + col];
    if (layer < FIRST) return sum;
    uint32_t a = matrix_number(layer, down);
    for (uint32_t r = 0; r < RANK; r++)
        sum += 2 * (double)value_of(a + 1, row * RANK + r) * (double)value_of(a, r * cols + col);
    return sum;
}

static void merges_row_by_row(void **state) {
    const fixture *f = *state;
    float row[48];
    write_adapter(in(f, "adapter"));
    merged_model m = open_merged(f, in(f, "adapter"));
    uint64_t held = ledger_booked(LEVEE_CATEGORY_COUNT);
    for (uint32_t layer = 0; layer < LAYERS; layer++)
        for (unsigned down = 0; down < 2; down++) {
            char name[VALUE_NAME_BYTES];
            snprintf(name, sizeof name, "model.layers.%u.%s.weight", layer,
                     down ? "mlp.down_proj" : "self_attn.k_proj");
            const tensor_view *base = safetensors_find(f->tensors, name);
            assert_int_equal(merged_begin(&m, base, NULL), LEVEE_OK);
            assert_int_equal(m.adapted, layer >= FIRST);
            for (uint64_t i = 0; i < m.rows; i++) {
                merged_row(&m, i, row);
                for (uint64_t k = 0; k < m.cols; k++)
                    if (fabs((double)row[k] - merged_value(base, layer, down, i, k)) > 1e-6)
                        fail_msg("%s [%d, %d] is %g", name, (int)i, (int)k, (double)row[k]);
            }
        }
    /* Two matrices of rank 3 and their heads, however many tensors were asked for. */
    assert_true(ledger_booked(LEVEE_CATEGORY_COUNT) - held < (48 + 32) * RANK * sizeof(float) + 512);
    merged_close(&m);
}

static void writes_whole_models(void **state) {
    const fixture *f = *state;
    float row[48];
    levee_error error;
    write_adapter(in(f, "adapter"));
    merged_model m = open_merged(f, in(f, "adapter"));
    assert_int_equal(file_make_directory(in(f, "out"), NULL), LEVEE_OK);
    scratch_expect("weights", LEVEE_OK, "", model_files_write_merged(&m, in(f, "model"), in(f, "out"), &error),
                   &error);
    scratch_expect("files", LEVEE_OK, "", model_files_copy(in(f, "model"), in(f, "out"), CONFIG_SAME, &error),
                   &error);
    safetensors *written;
    scratch_expect("open", LEVEE_OK, "", safetensors_open_model(&written, in(f, "out"), &error), &error);
    assert_int_equal(safetensors_count(written), safetensors_count(f->tensors));
    for (uint32_t i = 0; i < safetensors_count(written); i++) {
        const tensor_view *view = safetensors_at(written, i);
        assert_int_equal(merged_begin(&m, safetensors_find(f->tensors, view->name), NULL), LEVEE_OK);
        for (uint64_t r = 0; r < m.rows; r++) {
            merged_row(&m, r, row);
            assert_memory_equal((const float *)view->data + r * m.cols, row, m.cols * sizeof *row);
        }
    }
    model_config again;
    assert_int_equal(model_config_read(&again, in(f, "out"), NULL), LEVEE_OK);
    assert_true(file_exists(in(f, "out/tokenizer.json")));
    safetensors_close(written);
    merged_close(&m);
}

static void spells_rope_for_mlx(void **state) {
    const fixture *f = *state;
    static const char *const written[] = {"\"rope_theta\": 500000.0", "\"rope_scaling\": {", "\"factor\": 8.0"};
    size_t bytes;
    scratch_text(f->directory, "config.json",
                 "{\"rope_parameters\": {\"rope_type\": \"llama3\", \"rope_theta\": 500000.0, \"factor\": 8.0}}");
    assert_int_equal(file_make_directory(in(f, "out"), NULL), LEVEE_OK);
    assert_int_equal(model_config_copy(f->directory, in(f, "out"), CONFIG_OLDER_ROPE, NULL), LEVEE_OK);
    char *text = scratch_read(in(f, "out/config.json"), &bytes), *after = strstr(text, "\n  }");
    for (unsigned i = 0; i < 3; i++)
        if (!after || !strstr(after, written[i])) fail_msg("%s is not written: %s", written[i], text);
    free(text);
}

static void assert_same_file(const char *a, const char *b) {
    size_t bytes, other_bytes;
    char *one = scratch_read(a, &bytes), *other = scratch_read(b, &other_bytes);
    assert_int_equal(bytes, other_bytes);
    assert_memory_equal(one, other, bytes);
    free(one);
    free(other);
}

/* Converts the adapter to the format of mlx-lm, and that to PEFT's. */
static void turn_and_back(const fixture *f, const model_config *model, const char *const places[3]) {
    static const adapter_format order[] = {ADAPTER_MLX, ADAPTER_PEFT};
    levee_error error;
    safetensors *matrices;
    adapter_config read;
    for (unsigned i = 0; i < 2; i++) {
        scratch_expect("open", LEVEE_OK, "", adapter_open(&matrices, &read, model, in(f, places[i]), &error), &error);
        assert_int_equal(read.format, i ? ADAPTER_MLX : ADAPTER_PEFT);
        assert_int_equal(file_make_directory(in(f, places[i + 1]), NULL), LEVEE_OK);
        scratch_expect("convert", LEVEE_OK, "",
                       adapter_convert(&read, matrices, model, order[i], in(f, places[i + 1]), &error), &error);
        safetensors_close(matrices);
    }
    assert_int_equal(adapter_config_read(&read, in(f, places[2]), NULL), LEVEE_OK);
    assert_memory_equal(read.targets, config.targets, sizeof read.targets);
    assert_true(read.first_layer == FIRST && read.layer_count == LAYERS - FIRST && read.alpha == config.alpha);
}

static void converts_adapters_there_and_back(void **state) {
    const fixture *f = *state;
    levee_error error;
    safetensors *matrices;
    static const char *const places[] = {"adapter", "mlx", "peft"};
    write_adapter(in(f, "adapter"));
    turn_and_back(f, &f->config, places);
    assert_same_file(in(f, "adapter/adapter_model.safetensors"), in(f, "peft/adapter_model.safetensors"));
    scratch_expect("mlx", LEVEE_OK, "", safetensors_open(&matrices, in(f, "mlx/adapters.safetensors"), &error),
                   &error);
    const tensor_view *a = safetensors_find(matrices, "model.layers.3.mlp.down_proj.lora_a");
    assert_non_null(a);
    assert_true(a->shape[0] == 48 && a->shape[1] == RANK);
    const float *values = a->data;
    assert_true(values[5 * RANK + 2] == value_of(matrix_number(3, true), 2 * 48 + 5));
    safetensors_close(matrices);
}

/* On a model that goes on behind it, an adapter has no last layers, which mlx-lm's format cannot say. */
static void converts_adapters_that_end_early(void **state) {
    const fixture *f = *state;
    model_config longer = f->config;
    static const char *const places[] = {"adapter", "mlx", "peft"};
    longer.layers = LAYERS + 2;
    write_adapter(in(f, "adapter"));
    turn_and_back(f, &longer, places);
    assert_same_file(in(f, "adapter/adapter_model.safetensors"), in(f, "peft/adapter_model.safetensors"));
}

static void refuses_what_does_not_fit(void **state) {
    const fixture *f = *state;
    levee_error error;
    merged_model m;
    scratch_expect("none", LEVEE_MISSING_INPUT, "adapter_config.json",
                   merged_open(&m, &f->source, in(f, "nowhere"), &error), &error);
    write_adapter(in(f, "adapter"));
    adapter_config wider = config;
    wider.rank = RANK + 1;
    assert_int_equal(adapter_config_write(&wider, in(f, "adapter"), NULL), LEVEE_OK);
    scratch_expect("rank", LEVEE_BAD_DATA, "lora_A|[3, 32]|[4, 32]",
                   merged_open(&m, &f->source, in(f, "adapter"), &error), &error);
}

/* A reader as small as the check needs: where each tensor's data lie. */
typedef struct gguf_cursor {
    const char *data;
    size_t at;
} gguf_cursor;

static uint64_t take(gguf_cursor *c, unsigned bytes) {
    uint64_t number = 0;
    memcpy(&number, c->data + c->at, bytes);
    c->at += bytes;
    return number;
}

static void take_text(gguf_cursor *c, char text[128]) {
    uint64_t bytes = take(c, 8);
    snprintf(text, 128, "%.*s", (int)bytes, c->data + c->at);
    c->at += bytes;
}

static void skip_value(gguf_cursor *c, uint64_t type) {
    static const unsigned sizes[] = {1, 1, 2, 2, 4, 4, 4, 1};
    char text[128];
    if (type == 8) {
        take_text(c, text);
    } else if (type == 9) {
        uint64_t item = take(c, 4), count = take(c, 8);
        while (count--) skip_value(c, item);
    } else {
        c->at += sizes[type];
    }
}

/* Finds a tensor; *offset is where its data lie in the file. */
static bool find_in_gguf(const char *file, const char *wanted, uint64_t shape[2], uint64_t *type, size_t *offset) {
    gguf_cursor c = {.data = file};
    char name[128];
    bool found = false;
    assert_memory_equal(file, "GGUF\3\0\0\0", 8);
    c.at = 8;
    uint64_t tensors = take(&c, 8), entries = take(&c, 8);
    for (uint64_t i = 0; i < entries; i++) {
        take_text(&c, name);
        skip_value(&c, take(&c, 4));
    }
    for (uint64_t i = 0; i < tensors; i++) {
        uint64_t sizes[2] = {1, 1}, this_type, this_offset;
        take_text(&c, name);
        uint64_t dimensions = take(&c, 4);
        for (uint64_t d = 0; d < dimensions; d++) sizes[d] = take(&c, 8);
        this_type = take(&c, 4), this_offset = take(&c, 8);
        if (strcmp(name, wanted)) continue;
        found = true;
        shape[0] = sizes[0], shape[1] = sizes[1];
        *type = this_type;
        *offset = this_offset;
    }
    if (found) *offset += (c.at + 31) / 32 * 32;
    return found;
}

static void writes_gguf(void **state) {
    const fixture *f = *state;
    levee_error error;
    tokenizer *tokens;
    uint64_t shape[2], type;
    size_t offset, bytes;
    write_adapter(in(f, "adapter"));
    merged_model m = open_merged(f, in(f, "adapter"));
    assert_int_equal(tokenizer_open(&tokens, in(f, "model"), NULL), LEVEE_OK);
    scratch_expect("write", LEVEE_OK, "",
                   model_gguf_write(&m, tokens, in(f, "model"), GGUF_STORE_F32, in(f, "f32.gguf"), &error), &error);
    char *file = scratch_read(in(f, "f32.gguf"), &bytes);
    assert_true(find_in_gguf(file, "blk.3.attn_k.weight", shape, &type, &offset));
    assert_true(shape[0] == 32 && shape[1] == 16 && type == GGUF_F32);
    const tensor_view *base = safetensors_find(f->tensors, "model.layers.3.self_attn.k_proj.weight");
    /* Heads of 8: rows 0, 4, 1, 5, ... of each. */
    for (uint64_t row = 0; row < 16; row++) {
        float number;
        uint64_t from = row / 8 * 8 + row % 2 * 4 + row % 8 / 2;
        memcpy(&number, file + offset + (row * 32 + 7) * sizeof number, sizeof number);
        assert_true(fabs((double)number - merged_value(base, 3, false, from, 7)) < 1e-6);
    }
    assert_false(find_in_gguf(file, "output.weight", shape, &type, &offset)); /* it is tied */
    assert_true(find_in_gguf(file, "blk.0.ffn_norm.weight", shape, &type, &offset));
    free(file);
    scratch_expect("write", LEVEE_OK, "",
                   model_gguf_write(&m, tokens, in(f, "model"), GGUF_STORE_Q4_0, in(f, "q4.gguf"), &error), &error);
    file = scratch_read(in(f, "q4.gguf"), &bytes);
    static const struct {
        const char *name;
        gguf_type type;
    } expected[] = {{"token_embd.weight", GGUF_Q8_0},    /* the head */
                    {"blk.0.attn_q.weight", GGUF_Q4_0},  /* rows of 32 */
                    {"blk.0.ffn_down.weight", GGUF_F16}, /* rows of 48 */
                    {"blk.0.attn_norm.weight", GGUF_F32}};
    for (unsigned i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_true(find_in_gguf(file, expected[i].name, shape, &type, &offset));
        assert_int_equal(type, expected[i].type);
    }
    free(file);
    tokenizer_close(tokens);
    merged_close(&m);
}

static void refuses_unknown_splits(void **state) {
    const fixture *f = *state;
    levee_error error;
    tokenizer *tokens;
    size_t bytes;
    char *text = scratch_read(in(f, "model/tokenizer.json"), &bytes), *digits;
    assert_non_null(digits = strstr(text, "\"ByteLevel\""));
    digits = strstr(text, "\"use_regex\": true");
    memcpy(digits, "\"use_regex\":false", 17); /* no words at all */
    scratch_text(in(f, "model"), "tokenizer.json", text);
    free(text);
    merged_model m = open_merged(f, NULL);
    assert_int_equal(tokenizer_open(&tokens, in(f, "model"), NULL), LEVEE_OK);
    scratch_expect("split", LEVEE_BAD_DATA, "pre_tokenizer|GPT-2",
                   model_gguf_write(&m, tokens, in(f, "model"), GGUF_STORE_F16, in(f, "no.gguf"), &error), &error);
    assert_false(file_exists(in(f, "no.gguf")));
    tokenizer_close(tokens);
    merged_close(&m);
}

static void encodes_blocks(void **state) {
    (void)state;
    float values[32] = {0};
    unsigned char block[34], four[18];
    for (int i = 0; i < 32; i++) values[i] = (float)(i - 16); /* the extreme is -16 */
    gguf_encode(GGUF_Q8_0, block, values, 32);
    /* 16 / 127 as f16 is 0x3008; 15 / (16 / 127) is 119.06 */
    assert_memory_equal(block, "\x08\x30", 2);
    assert_int_equal((int8_t)block[2], -127);
    assert_int_equal((int8_t)block[2 + 31], 119);
    assert_int_equal((int8_t)block[2 + 16], 0);
    gguf_encode(GGUF_Q4_0, four, values, 32);
    /* A step is -16 / -8 = 2, 0x4000; -16 is 0, 0 is 8, 15 would be 16 and is 15. */
    assert_memory_equal(four, "\x00\x40", 2);
    assert_int_equal(four[2] & 15, 0);
    assert_int_equal(four[2] >> 4, 8);
    assert_int_equal(four[2 + 15] >> 4, 15);
    memset(values, 0, sizeof values);
    gguf_encode(GGUF_Q8_0, block, values, 32);
    for (unsigned i = 0; i < sizeof block; i++) assert_int_equal(block[i], 0);
    assert_int_equal(gguf_row_bytes(GGUF_Q4_0, 64), 36);
    assert_int_equal(gguf_row_bytes(GGUF_BF16, 5), 10);
}

#define MODEL_TEST(function) cmocka_unit_test_setup_teardown(function, small_model_setup, small_model_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_TEST(merges_row_by_row),
        MODEL_TEST(writes_whole_models),
        MODEL_TEST(converts_adapters_there_and_back),
        MODEL_TEST(converts_adapters_that_end_early),
        MODEL_TEST(refuses_what_does_not_fit),
        MODEL_TEST(spells_rope_for_mlx),
        MODEL_TEST(writes_gguf),
        MODEL_TEST(refuses_unknown_splits),
        cmocka_unit_test(encodes_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The index of a model in shards, beside shards that are sound, and one that is not. */
#include <string.h>

#include "harness.h"
#include "tensor/safetensors.h"

static void write_shard(const char *name, const char *header, size_t data_bytes) {
    char content[256] = "";
    size_t length = strlen(header);
    content[0] = (char)length;
    memcpy(content + 8, header, length);
    harness_write(name, content, 8 + length + data_bytes);
}

void fuzz_prepare(void) {
    static const char one[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    static const char two[] = "{\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}";
    write_shard("1.safetensors", one, 4);
    write_shard("2.safetensors", two, 4);
    write_shard("again.safetensors", one, 4);
    write_shard("cut.safetensors", two, 3);
}

void fuzz_input(const uint8_t *data, size_t bytes) {
    safetensors *s;
    levee_error error;
    harness_write("model.safetensors.index.json", data, bytes);
    levee_status status = safetensors_open_model(&s, harness_directory(), &error);
    if (harness_succeeded(status, &error, harness_directory())) {
        harness_require(safetensors_count(s) > 0, "no shard was opened");
        for (uint32_t i = 0; i < safetensors_count(s); i++) {
            const tensor_view *view = safetensors_at(s, i);
            harness_require(!strcmp(view->name, "a") || !strcmp(view->name, "b"), "a tensor that no shard has");
            harness_require(safetensors_find(s, view->name) == view, "a tensor is not found by its name");
        }
    }
    safetensors_close(s);
}

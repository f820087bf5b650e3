/* GGUF files: what opens lies within its file, to its last byte, and each of its texts, numbers and lists too. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness.h"
#include "tensor/gguf_file.h"

void fuzz_prepare(void) {}

/* A sum that needs every byte, kept where it cannot be optimised away. */
static volatile unsigned sum;

static void check_file(const gguf_file *g, size_t file_bytes) {
    static const char *const keys[] = {
        "general.architecture", "general.alignment", "llama.block_count", "list", "text", "a", ""};
    uint64_t end = 0;
    for (uint32_t i = 0; i < gguf_file_count(g); i++) {
        const gguf_view *t = gguf_file_at(g, i);
        uint64_t elements = 1;
        harness_require(strnlen(t->name, sizeof t->name) < sizeof t->name, "a name without an end");
        for (const char *c = t->name; *c; c++) harness_require(*c > ' ' && *c <= '~', "a name is not printable");
        harness_require(t->rank <= GGUF_DIMENSIONS, "a tensor of too many dimensions");
        for (uint32_t d = 0; d < t->rank; d++)
            harness_require(!__builtin_mul_overflow(elements, t->shape[d], &elements), "a shape overflows");
        harness_require(elements == t->elements && t->type && *t->type, "a tensor's elements are not its shape's");
        harness_require(t->offset >= end && t->bytes <= file_bytes && t->offset <= file_bytes - t->bytes,
                        "a tensor lies outside of the file, or over another");
        end = t->offset + t->bytes;
        for (uint32_t k = 0; k < i; k++)
            harness_require(strcmp(gguf_file_at(g, k)->name, t->name) != 0, "two tensors of one name");
    }
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        uint64_t bytes, number;
        const char *text = gguf_file_text(g, keys[k], &bytes);
        for (uint64_t i = 0; text && i < bytes; i++) sum += (unsigned char)text[i];
        if (gguf_file_number(g, keys[k], &number)) {
            harness_require(!text, "a number that is a text");
            sum += (unsigned)number;
        }
        harness_require(gguf_file_length(g, keys[k]) <= file_bytes, "a list is longer than its file");
    }
}

void fuzz_input(const uint8_t *data, size_t bytes) {
    gguf_file *g;
    levee_error error;
    const char *path = harness_write("f.gguf", data, bytes);
    if (harness_succeeded(gguf_file_open(&g, path, &error), &error, path)) check_file(g, bytes);
    gguf_file_close(g);
}

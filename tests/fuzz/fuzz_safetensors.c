/* A safetensors file: what opens is read to its last byte. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "tensor/safetensors.h"

void fuzz_prepare(void) {}

/* A sum that needs every byte, kept where it cannot be optimised away. */
static volatile unsigned sum;

static void check_tensors(const safetensors *s) {
    const unsigned char *low = NULL, *high = NULL;
    uint64_t total = 0;
    for (uint32_t i = 0; i < safetensors_count(s); i++) {
        const tensor_view *view = safetensors_at(s, i);
        const unsigned char *data = view->data;
        uint64_t elements = 1;
        harness_require(safetensors_find(s, view->name) == view, "a tensor is not found by its name");
        harness_require(view->rank <= TENSOR_RANK, "a tensor of too many dimensions");
        for (uint32_t d = 0; d < view->rank; d++)
            harness_require(!__builtin_mul_overflow(elements, view->shape[d], &elements), "a shape overflows");
        harness_require(view->bytes == dtype_bytes(view->type, elements), "a tensor's bytes are not its shape's");
        for (uint64_t b = 0; b < view->bytes; b++) sum += data[b];
        if (!low || data < low) low = data;
        if (!high || data + view->bytes > high) high = data + view->bytes;
        total += view->bytes;
    }
    harness_require(!low || total == (uint64_t)(high - low), "tensors overlap or leave a hole");
    harness_require(total + 8 <= safetensors_mapped_bytes(s), "the tensors are larger than the file");
}

static void open_file(const void *content, size_t bytes) {
    safetensors *s;
    levee_error error;
    const char *path = harness_write("f.safetensors", content, bytes);
    if (harness_succeeded(safetensors_open(&s, path, &error), &error, path)) check_tensors(s);
    safetensors_close(s);
}

/* As it is; and with the header's length set to the end of the last brace, because a change of the header by chance
 * seldom comes with the length that fits it. */
void fuzz_input(const uint8_t *data, size_t bytes) {
    open_file(data, bytes);
    size_t end = bytes;
    while (end > 8 && data[end - 1] != '}') end--;
    if (end <= 8) return;
    unsigned char *mended = malloc(bytes);
    harness_require(mended, "no memory");
    memcpy(mended, data, bytes);
    for (unsigned i = 0; i < 8; i++) mended[i] = (unsigned char)((uint64_t)(end - 8) >> 8 * i);
    if (memcmp(mended, data, 8)) open_file(mended, bytes);
    free(mended);
}

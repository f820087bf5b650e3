/* A checkpoint: what is refused leaves everything as it was; what is read is what the file holds. An input whose
 * first byte is odd gets hashes that fit, so that what they would hide is reached. */
#include <stddef.h>
#include <string.h>

#include <xxhash.h>

#include "harness.h"
#include "train/checkpoint.h"

enum { NUMBERS = 16, SECTIONS = 3, MOST_BYTES = 8192 };

static const uint64_t magic = UINT64_C(0x504b43454556454c);

static float numbers[SECTIONS][NUMBERS];

static void describe(checkpoint_section sections[SECTIONS]) {
    for (unsigned s = 0; s < SECTIONS; s++)
        sections[s] =
            (checkpoint_section){(checkpoint_kind)(CHECKPOINT_PARAMETERS + s), numbers[s], sizeof numbers[s]};
}

void fuzz_prepare(void) {}

/* Hashes of sections, trailer and header, as far as the input says where they are. */
static void mend(uint8_t *file, size_t bytes) {
    checkpoint_header header;
    checkpoint_trailer trailer;
    if (bytes < sizeof header + sizeof trailer) return;
    memcpy(&header, file, sizeof header);
    memcpy(&trailer, file + bytes - sizeof trailer, sizeof trailer);
    header.magic = magic;
    header.header_hash = XXH64(&header, offsetof(checkpoint_header, header_hash), magic);
    for (unsigned s = 0; s < CHECKPOINT_SECTIONS; s++) {
        checkpoint_entry *entry = &trailer.entries[s];
        if (entry->offset <= bytes && entry->bytes <= bytes - entry->offset && entry->bytes)
            entry->hash = XXH64(file + entry->offset, entry->bytes, 0);
    }
    trailer.trailer_hash = XXH64(&trailer, offsetof(checkpoint_trailer, trailer_hash), header.header_hash);
    memcpy(file, &header, sizeof header);
    memcpy(file + bytes - sizeof trailer, &trailer, sizeof trailer);
}

void fuzz_input(const uint8_t *data, size_t bytes) {
    static uint8_t file[MOST_BYTES];
    checkpoint_section sections[SECTIONS];
    checkpoint_state state = {0}, peeked = {0}, before;
    levee_error error;
    float kept[SECTIONS][NUMBERS];
    if (bytes < 1 || bytes - 1 > sizeof file) return;
    memcpy(file, data + 1, bytes - 1);
    if (data[0] & 1) mend(file, bytes - 1);
    describe(sections);
    for (unsigned i = 0; i < SECTIONS * NUMBERS; i++) numbers[i / NUMBERS][i % NUMBERS] = (float)i;
    memcpy(kept, numbers, sizeof kept);
    const char *path = harness_write("step-00000007.checkpoint", file, bytes - 1);
    bool seen = harness_succeeded(checkpoint_peek(path, &peeked, &error), &error, path);
    /* Half of the runs ask for what the file says it is. */
    if (seen && data[0] & 2) memcpy(state.identities, peeked.identities, sizeof state.identities);
    before = state;
    levee_status status = checkpoint_read(path, &state, sections, SECTIONS, &error);
    if (status == LEVEE_USAGE) harness_require(error.message[0] != 0, "a refusal says nothing");
    if (status != LEVEE_OK) {
        if (status != LEVEE_USAGE) harness_succeeded(status, &error, path);
        harness_require(!memcmp(numbers, kept, sizeof kept), "a refused file changed what was there");
        harness_require(!memcmp(&state, &before, sizeof state), "a refused file changed the state");
        return;
    }
    harness_require(seen && !memcmp(&state, &peeked, sizeof state), "what is read is not what was peeked at");
    harness_require(state.step == 7, "it holds another step than its name says");
    for (unsigned s = 0; s < SECTIONS; s++) {
        bool found = false;
        for (size_t at = 0; at + sizeof numbers[s] <= bytes - 1 && !found; at++)
            found = !memcmp(file + at, numbers[s], sizeof numbers[s]);
        harness_require(found, "a section holds what is not in the file");
    }
}

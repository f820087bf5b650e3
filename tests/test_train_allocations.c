/* The step loop takes no memory: every call to the allocator and to mmap between the third step and the last is
 * counted by the library that makes it. Levee's own code and what it calls of libc must make none; oneDNN, OpenMP and
 * the C++ runtime may, but give everything back. Runs levee_train with saves, validation, dropout and several passes
 * a step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sanitized.h"

#if !SANITIZED
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "levee.h"
#include "scratch.h"

enum { SITES = 64 };

typedef struct site {
    _Atomic(void *) address; /* where the call returns to */
    atomic_ullong calls;
} site;

static site sites[SITES];
static atomic_bool counting;
static atomic_llong live_bytes; /* of blocks, since counting began */

static void count_call(void *address, long long bytes) {
    if (!atomic_load(&counting)) return;
    atomic_fetch_add(&live_bytes, bytes);
    for (unsigned i = 0; i < SITES && bytes >= 0; i++) {
        void *known = NULL;
        if (!atomic_compare_exchange_strong(&sites[i].address, &known, address) && known != address) continue;
        atomic_fetch_add(&sites[i].calls, 1);
        return;
    }
}

#pragma GCC visibility push(default) /* so that libraries call these too */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *block);

static void *counted(void *block, void *address) {
    count_call(address, block ? (long long)malloc_usable_size(block) : 0);
    return block;
}

void *malloc(size_t bytes) { return counted(__libc_malloc(bytes), __builtin_return_address(0)); }
void *calloc(size_t count, size_t bytes) { return counted(__libc_calloc(count, bytes), __builtin_return_address(0)); }
void *aligned_alloc(size_t alignment, size_t bytes) {
    return counted(__libc_memalign(alignment, bytes), __builtin_return_address(0));
}
void *memalign(size_t alignment, size_t bytes) {
    return counted(__libc_memalign(alignment, bytes), __builtin_return_address(0));
}
int posix_memalign(void **block, size_t alignment, size_t bytes) {
    *block = counted(__libc_memalign(alignment, bytes), __builtin_return_address(0));
    return *block ? 0 : ENOMEM;
}
void free(void *block) {
    if (block) count_call(NULL, -(long long)malloc_usable_size(block));
    __libc_free(block);
}
void *realloc(void *block, size_t bytes) {
    if (block) count_call(NULL, -(long long)malloc_usable_size(block));
    return counted(__libc_realloc(block, bytes), __builtin_return_address(0));
}
void *mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
    count_call(__builtin_return_address(0), 0);
    return (void *)syscall(SYS_mmap, address, bytes, protection, flags, file, offset);
}
int brk(void *end) {
    (void)end;
    count_call(__builtin_return_address(0), 0);
    return -1;
}

#pragma GCC visibility pop

static const char *library_of(void *address, uintptr_t *offset) {
    Dl_info about;
    if (!dladdr(address, &about) || !about.dli_fname) return "unknown";
    *offset = (uintptr_t)address - (uintptr_t)about.dli_fbase;
    const char *slash = strrchr(about.dli_fname, '/');
    return slash ? slash + 1 : about.dli_fname;
}

/* Counts from the line of the third step to that of the last. */
static void watch_steps(void *context, const char *text) {
    const char *last = context;
    if (!strncmp(text, "step 3/", 7)) atomic_store(&counting, true);
    if (!strncmp(text, last, strlen(last))) atomic_store(&counting, false);
}

static void set(levee_options *options, const char *key, const char *value) {
    levee_error error;
    scratch_expect(key, LEVEE_OK, "", levee_options_set(options, key, value, &error), &error);
}

static void write_rows(const char *directory, const char *name, unsigned count) {
    char text[4096] = "";
    for (unsigned i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "{\"text\": \"row %u: %.*s\"}\n", i,
                 (int)(i * 7 % 40), "the tide comes in and the tide goes out \\u00e9");
    scratch_text(directory, name, text);
}

/* Calls by library; those of ours fail the test. */
static void report(const char *label) {
    static const char *const others[] = {"libdnnl.so", "libgomp.so", "libstdc++.so"};
    for (unsigned i = 0; i < SITES && sites[i].address; i++) {
        uintptr_t offset = 0;
        const char *library = library_of(sites[i].address, &offset);
        print_message("%s: %llu calls from %s + 0x%llx\n", label, (unsigned long long)sites[i].calls, library,
                      (unsigned long long)offset);
        bool theirs = false;
        for (unsigned k = 0; k < sizeof others / sizeof *others; k++)
            theirs = theirs || !strncmp(library, others[k], strlen(others[k]));
        if (!theirs) fail_msg("%s: the step loop allocates in %s", label, library);
    }
    /* A block of theirs may be alive when counting begins and gone when it ends, and the other way round. */
    print_message("%s: %lld bytes more than at the start\n", label, (long long)live_bytes);
    assert_true(live_bytes < 4096 && live_bytes > -4096);
}

static void step_loop_takes_no_memory(void **state) {
    const char *directory = *state;
    static const char *const kinds[] = {"dora", "full", "head"}; /* DoRA does all that LoRA does */
    char model[FILE_PATH_BYTES], data[FILE_PATH_BYTES], result[FILE_PATH_BYTES];
    levee_error error;
    const levee_shape shape = {.hidden_size = 64, .intermediate_size = 160, .layers = 2, .heads = 4, .kv_heads = 2};
    assert_true(file_join(model, directory, "model") && file_join(data, directory, "data"));
    scratch_expect("init", LEVEE_OK, "", levee_init(model, &shape, 1, &error), &error);
    scratch_expect("data", LEVEE_OK, "", file_make_directory(data, &error), &error);
    write_rows(data, "train.jsonl", 40);
    write_rows(data, "valid.jsonl", 6);
    for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        memset(sites, 0, sizeof sites);
        live_bytes = 0;
        levee_options *options = levee_options_create();
        assert_non_null(options);
        assert_true(file_join(result, directory, kinds[k]));
        const char *const given[][2] = {
            {"model", model},        {"data", data},      {"adapter_path", result}, {"fine_tune_type", kinds[k]},
            {"iters", "24"},         {"batch_size", "6"}, {"memory", "40MiB"},      {"steps_per_report", "1"},
            {"steps_per_eval", "5"}, {"save_every", "7"}, {"dropout", "0.1"},       {"num_layers", "-1"},
            {"threads", "2"}};
        for (unsigned i = 0; i < sizeof given / sizeof *given; i++) set(options, given[i][0], given[i][1]);
        char last[] = "step 24/";
        scratch_expect(kinds[k], LEVEE_OK, "", levee_train(options, watch_steps, last, &error), &error);
        assert_false(atomic_load(&counting));
        report(kinds[k]);
        levee_options_free(options);
    }
}

/* The counter itself: an allocation of this program is seen. */
static void counts_an_allocation(void **state) {
    (void)state;
    memset(sites, 0, sizeof sites);
    void *(*volatile allocate)(size_t) = malloc; /* an inlined malloc would return to the caller of this test */
    atomic_store(&counting, true);
    void *volatile block = allocate(100);
    atomic_store(&counting, false);
    free(block);
    assert_int_equal(sites[0].calls, 1);
    uintptr_t offset;
    assert_string_equal(library_of(sites[0].address, &offset), "test_train_allocations");
}

int main(void) {
    levee_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_an_allocation),
        cmocka_unit_test_setup_teardown(step_loop_takes_no_memory, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
static void step_loop_takes_no_memory(void **state) {
    (void)state;
    print_message("a sanitizer has the allocator\n");
    skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(step_loop_takes_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif

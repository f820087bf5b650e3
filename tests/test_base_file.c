/* Reading, mapping and atomic writing of files, with the failures that a disk can give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "failing.h"
#include "memory/ledger.h"
#include "memory/pool.h"
#include "scratch.h"

static void assert_content(const char *path, const char *expected) {
    size_t bytes;
    char *content = scratch_read(path, &bytes);
    assert_int_equal(bytes, strlen(expected));
    assert_string_equal(content, expected);
    free(content);
}

static void reads_small_files(void **state) {
    const char *path = scratch_text(*state, "small", "0123456789");
    char content[16] = "";
    uint64_t bytes;
    levee_error error;
    scratch_expect("it fits", LEVEE_OK, "", file_read(path, content, 10, &bytes, &error), &error);
    assert_int_equal(bytes, 10);
    assert_string_equal(content, "0123456789");
    memset(content, 0, sizeof content);
    scratch_expect("it does not", LEVEE_OK, "", file_read(path, content, 9, &bytes, &error), &error);
    assert_int_equal(bytes, 10);
    assert_string_equal(content, "");
    scratch_expect("empty", LEVEE_OK, "", file_read(scratch_text(*state, "none", ""), content, 9, &bytes, &error),
                   &error);
    assert_int_equal(bytes, 0);
}

static void copies_files(void **state) {
    char to[FILE_PATH_BYTES];
    levee_error error;
    assert_true(file_join(to, *state, "to"));
    char *large = malloc(100000);
    for (size_t i = 0; i < 100000; i++) large[i] = (char)(i * 31);
    const char *from = scratch_file(*state, "from", large, 100000);
    scratch_expect("copy", LEVEE_OK, "", file_copy(from, to, &error), &error);
    size_t bytes;
    char *copied = scratch_read(to, &bytes);
    assert_int_equal(bytes, 100000);
    assert_memory_equal(copied, large, bytes);
    free(copied);
    free(large);
    scratch_expect("missing", LEVEE_MISSING_INPUT, "nothing", file_copy("/nowhere/nothing", to, &error), &error);
    scratch_expect("target", LEVEE_IO_ERROR, "nowhere", file_copy(from, "/nowhere/to", &error), &error);
}

static void refuses_what_is_no_file(void **state) {
    char missing[FILE_PATH_BYTES], fifo[FILE_PATH_BYTES];
    file_join(missing, *state, "missing");
    file_join(fifo, *state, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    const struct {
        const char *path, *words;
    } cases[] = {
        {missing, "missing|No such file"}, {*state, "not a regular file"}, {fifo, "fifo|not a regular file"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char content[16];
        uint64_t bytes;
        file_mapping mapping;
        levee_error error;
        scratch_expect("read", LEVEE_MISSING_INPUT, cases[i].words,
                       file_read(cases[i].path, content, sizeof content, &bytes, &error), &error);
        scratch_expect("map", LEVEE_MISSING_INPUT, cases[i].words, file_map(&mapping, cases[i].path, &error), &error);
        file_unmap(&mapping);
    }
}

static void maps_files(void **state) {
    file_mapping mapping;
    assert_int_equal(file_map(&mapping, scratch_text(*state, "map", "mapped"), NULL), LEVEE_OK);
    assert_int_equal(mapping.bytes, 6);
    assert_memory_equal(mapping.data, "mapped", 6);
    file_unmap(&mapping);
    file_unmap(&mapping);
    assert_int_equal(file_map(&mapping, scratch_text(*state, "none", ""), NULL), LEVEE_OK);
    assert_null(mapping.data);
    file_unmap(&mapping);
}

static void replaces_only_on_commit(void **state) {
    char path[FILE_PATH_BYTES];
    strcpy(path, scratch_text(*state, "target", "old"));
    file_writer w;
    assert_int_equal(file_writer_open(&w, path, NULL), LEVEE_OK);
    assert_int_equal(file_writer_write(&w, "ne", 2, NULL), LEVEE_OK);
    assert_int_equal(file_writer_write(&w, "w", 1, NULL), LEVEE_OK);
    assert_content(path, "old");
    assert_true(file_exists(w.temporary));
    assert_int_equal(file_writer_commit(&w, NULL), LEVEE_OK);
    assert_content(path, "new");
    assert_false(file_exists(w.temporary));
    file_writer_abandon(&w);
    assert_content(path, "new");

    assert_int_equal(file_writer_open(&w, path, NULL), LEVEE_OK);
    assert_int_equal(file_writer_write(&w, "dropped", 7, NULL), LEVEE_OK);
    file_writer_abandon(&w);
    assert_content(path, "new");
    assert_false(file_exists(w.temporary));
}

static void leaves_strangers_alone(void **state) {
    (void)state;
    /* A writer that was never opened has descriptor 0, which is somebody's standard input. */
    int spare = open("/dev/null", O_RDONLY), saved = fcntl(0, F_DUPFD_CLOEXEC, 3);
    assert_true(spare >= 0);
    if (spare != 0) dup2(spare, 0);
    file_writer zeroed = {0};
    file_writer_abandon(&zeroed);
    assert_true(fcntl(0, F_GETFD) >= 0);
    if (saved >= 0) {
        dup2(saved, 0);
        close(saved);
    }
    if (spare > 0) close(spare);
}

static void holds_the_promised_length(void **state) {
    char path[FILE_PATH_BYTES];
    strcpy(path, scratch_text(*state, "promise", "old"));
    for (uint64_t bytes = 4; bytes <= 6; bytes++) {
        file_writer w;
        levee_error error;
        assert_int_equal(file_writer_open(&w, path, &error), LEVEE_OK);
        file_writer_promise(&w, 5);
        assert_int_equal(file_writer_write(&w, "123456", bytes, &error), LEVEE_OK);
        scratch_expect("promise", bytes == 5 ? LEVEE_OK : LEVEE_INTERNAL, bytes == 5 ? "" : "promise|5",
                       file_writer_commit(&w, &error), &error);
        assert_false(file_exists(w.temporary));
        assert_content(path, bytes == 4 ? "old" : "12345");
    }
}

/* Slices are flushed on the way: what lies dirty in the page cache stays below one slice. */
static void writes_large_files_in_slices(void **state) {
    enum { PIECE = 5 * 1000 * 1000 + 7, PIECES = 15, SLICE = 32 * 1024 * 1024 };
    unsigned char *piece = malloc(PIECE);
    assert_non_null(piece);
    for (size_t i = 0; i < PIECE; i++) piece[i] = (unsigned char)(i * 2654435761u >> 13);
    char path[FILE_PATH_BYTES];
    file_join(path, *state, "large");
    file_writer w;
    assert_int_equal(file_writer_open(&w, path, NULL), LEVEE_OK);
    for (unsigned i = 0; i < PIECES; i++) {
        assert_int_equal(file_writer_write(&w, piece, PIECE, NULL), LEVEE_OK);
        assert_true(w.written_bytes - w.flushed_bytes < SLICE);
    }
    assert_int_equal(w.flushed_bytes, 2u * SLICE);
    assert_int_equal(file_writer_commit(&w, NULL), LEVEE_OK);
    file_mapping mapping;
    assert_int_equal(file_map(&mapping, path, NULL), LEVEE_OK);
    assert_int_equal(mapping.bytes, (uint64_t)PIECE * PIECES);
    for (unsigned i = 0; i < PIECES; i++) assert_memory_equal(mapping.data + (size_t)i * PIECE, piece, PIECE);
    file_unmap(&mapping);
    free(piece);
}

/* The limit on a file's size stands for a disk that is full: a write fails half-way. */
static void survives_a_failing_write(void **state) {
    char path[FILE_PATH_BYTES], text[4096];
    strcpy(path, scratch_text(*state, "full", "old"));
    memset(text, 'x', sizeof text);
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 6000;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    file_writer w;
    levee_error error;
    levee_status open = file_writer_open(&w, path, &error);
    levee_status first = file_writer_write(&w, text, sizeof text, &error);
    levee_status second = file_writer_write(&w, text, sizeof text, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    assert_int_equal(open, LEVEE_OK);
    assert_int_equal(first, LEVEE_OK);
    scratch_expect("full", LEVEE_IO_ERROR, "full.partial", second, &error);
    file_writer_abandon(&w);
    assert_content(path, "old");
    assert_false(file_exists(w.temporary));
}

static void reports_unusable_targets(void **state) {
    file_writer w;
    levee_error error;
    char path[FILE_PATH_BYTES];
    file_join(path, *state, "nowhere/file");
    scratch_expect("no directory", LEVEE_IO_ERROR, "nowhere", file_writer_open(&w, path, &error), &error);
    file_writer_abandon(&w);
    file_join(path, *state, "directory");
    assert_int_equal(file_make_directory(path, NULL), LEVEE_OK);
    assert_int_equal(file_writer_open(&w, path, NULL), LEVEE_OK);
    scratch_expect("target is a directory", LEVEE_IO_ERROR, "directory|cannot be replaced",
                   file_writer_commit(&w, &error), &error);
    assert_false(file_exists(w.temporary));
    char longest[2 * FILE_PATH_BYTES];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = 0;
    scratch_expect("long path", LEVEE_USAGE, "too long", file_writer_open(&w, longest, &error), &error);
    file_writer_abandon(&w);
    assert_false(file_join(path, *state, longest));
}

static void makes_directories(void **state) {
    char path[FILE_PATH_BYTES];
    levee_error error;
    const char *const good[] = {"a", "b/c/d", "b/c/d", "b/c/e/"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        file_join(path, *state, good[i]);
        assert_int_equal(file_make_directory(path, &error), LEVEE_OK);
        assert_true(file_is_directory(path));
    }
    scratch_text(*state, "file", "");
    file_join(path, *state, "file");
    scratch_expect("a file", LEVEE_IO_ERROR, "is a file", file_make_directory(path, &error), &error);
    assert_false(file_is_directory(path));
    file_join(path, *state, "file/below");
    scratch_expect("below a file", LEVEE_IO_ERROR, "below|cannot make", file_make_directory(path, &error), &error);
    scratch_expect("empty", LEVEE_USAGE, "not a usable", file_make_directory("", &error), &error);
}

/* What cannot be looked up counts as there, so that nothing is put over it. */
static void what_is_unknown_is_there(void **state) {
    const char *path = scratch_text(*state, "file", "x");
    failing f = {.first = FAULT_STATUS, .last = FAULT_STATUS, .to = UINT64_MAX};
    static const struct {
        int failure;
        bool exists;
    } cases[] = {{ENOENT, false}, {ENOTDIR, false}, {EACCES, true}, {EIO, true}, {ENOMEM, true}};
    assert_true(file_exists(path));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        f.what.failure = cases[i].failure;
        failing_start(&f);
        bool exists = file_exists(path);
        failing_stop();
        assert_int_equal(exists, cases[i].exists);
    }
    char missing[FILE_PATH_BYTES], below[FILE_PATH_BYTES];
    assert_true(file_join(missing, *state, "missing") && file_join(below, path, "below a file"));
    assert_false(file_exists(missing));
    assert_false(file_exists(below));
    assert_true(file_is_same(path, path));
    assert_false(file_is_same(path, missing));
}

/* Signals and short reads and writes change nothing; a write that fails half-way leaves whole lines. */
static void appends_whole_lines(void **state) {
    char path[FILE_PATH_BYTES];
    levee_error error;
    int file;
    uint64_t bytes;
    strcpy(path, scratch_text(*state, "lines", "one\ntwo\nhalf of thr"));
    scratch_expect("open", LEVEE_OK, "", file_append_open(&file, path, 8, &bytes, &error), &error);
    assert_int_equal(bytes, 8);
    assert_content(path, "one\ntwo\n");
    scratch_expect("append", LEVEE_OK, "", file_append(file, path, "three\n", 6, 8, &error), &error);
    failing f = {.first = FAULT_WRITE, .last = FAULT_WRITE, .to = 1};
    static const fault harmless[] = {{.failure = EINTR}, {.cut = true}};
    for (unsigned i = 0; i < 2; i++) {
        f.what = harmless[i];
        failing_start(&f);
        levee_status status = file_append(file, path, "four\n", 5, 14 + 5 * i, &error);
        failing_stop();
        scratch_expect("harmless", LEVEE_OK, "", status, &error);
    }
    assert_content(path, "one\ntwo\nthree\nfour\nfour\n");
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 26; /* two bytes more than there are: the kernel takes a part of what follows */
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    levee_status status = file_append(file, path, "five\n", 5, 24, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    scratch_expect("half", LEVEE_IO_ERROR, "lines|disk full", status, &error);
    assert_content(path, "one\ntwo\nthree\nfour\nfour\n");
    scratch_expect("sync", LEVEE_OK, "", file_sync(file, path, &error), &error);
    file_close(file);
    scratch_expect("shorter", LEVEE_OK, "", file_append_open(&file, path, 1000, &bytes, &error), &error);
    assert_int_equal(bytes, 24);
    file_close(file);
    scratch_expect("nowhere", LEVEE_IO_ERROR, "/nowhere", file_append_open(&file, "/nowhere/f", 0, &bytes, &error),
                   &error);
    assert_int_equal(file, -1);
}

static levee_status count_names(void *context, const char *name, levee_error *e) {
    unsigned *count = context;
    if (!strcmp(name, "bad")) return error_set(e, LEVEE_BAD_DATA, "bad name");
    *count += *name != '.';
    return LEVEE_OK;
}

static void lists_and_removes(void **state) {
    unsigned count = 0;
    levee_error error;
    char path[FILE_PATH_BYTES];
    scratch_text(*state, "a", "");
    strcpy(path, scratch_text(*state, "b", ""));
    scratch_expect("list", LEVEE_OK, "", file_list(*state, count_names, &count, &error), &error);
    assert_int_equal(count, 2);
    scratch_expect("remove", LEVEE_OK, "", file_remove(path, &error), &error);
    scratch_expect("again", LEVEE_OK, "", file_remove(path, &error), &error);
    scratch_expect("a directory", LEVEE_IO_ERROR, "cannot be removed", file_remove(*state, &error), &error);
    scratch_expect("not empty", LEVEE_IO_ERROR, "cannot be removed", file_remove_directory(*state, &error), &error);
    scratch_text(*state, "bad", "");
    scratch_expect("a visit", LEVEE_BAD_DATA, "bad name", file_list(*state, count_names, &count, &error), &error);
    scratch_expect("nowhere", LEVEE_IO_ERROR, "/nowhere", file_list("/nowhere", count_names, &count, &error), &error);
    failing f = {.first = FAULT_LIST, .last = FAULT_LIST, .what = {.failure = EIO}};
    for (f.from = 0; f.from < 4; f.from++) { /* opening, and three of the readings */
        f.to = f.from + 1;
        failing_start(&f);
        levee_status status = file_list(*state, count_names, &count, &error);
        failing_stop();
        if (status != LEVEE_BAD_DATA) scratch_expect("broken", LEVEE_IO_ERROR, "cannot be read", status, &error);
    }
    scratch_expect("temporary", LEVEE_OK, "", file_make_temporary_directory(path, *state, "stem", &error), &error);
    assert_non_null(strstr(path, "/stem-"));
    assert_true(file_is_directory(path));
    scratch_expect("empty", LEVEE_OK, "", file_remove_directory(path, &error), &error);
    scratch_expect("gone", LEVEE_OK, "", file_remove_directory(path, &error), &error);
}

#define SCRATCH_TEST(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void) {
    pool_hook_json();
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(reads_small_files),         SCRATCH_TEST(copies_files),
        SCRATCH_TEST(refuses_what_is_no_file),   SCRATCH_TEST(maps_files),
        SCRATCH_TEST(replaces_only_on_commit),   SCRATCH_TEST(leaves_strangers_alone),
        SCRATCH_TEST(holds_the_promised_length), SCRATCH_TEST(writes_large_files_in_slices),
        SCRATCH_TEST(survives_a_failing_write),  SCRATCH_TEST(reports_unusable_targets),
        SCRATCH_TEST(makes_directories),         SCRATCH_TEST(what_is_unknown_is_there),
        SCRATCH_TEST(appends_whole_lines),       SCRATCH_TEST(lists_and_removes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Checkpoints: what is written is read, whatever is damaged is refused before anything changes, and a run that is
 * killed at any instant leaves a whole one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/lock.h"
#include "failing.h"
#include "memory/ledger.h"
#include "scratch.h"
#include "train/checkpoint_directory.h"

enum { NUMBERS = 100, SECTIONS = 3, FILE_BYTES = SECTIONS * NUMBERS * 4 + 400 + 264 };

/* What a run would hold: its numbers, and the sections that point at them. */
typedef struct world {
    uint32_t numbers[SECTIONS][NUMBERS];
    checkpoint_section sections[SECTIONS];
    checkpoint_state state;
} world;

static void fill(world *w, uint64_t step) {
    for (unsigned s = 0; s < SECTIONS; s++)
        for (unsigned i = 0; i < NUMBERS; i++) w->numbers[s][i] = (uint32_t)((step + 1) * 2654435761u + s * 7919 + i);
}

/* The world of a run at a step; another `step` gives other numbers everywhere. */
static void make_world(world *w, uint64_t step) {
    memset(w, 0, sizeof *w);
    fill(w, step);
    for (unsigned s = 0; s < SECTIONS; s++)
        w->sections[s] = (checkpoint_section){CHECKPOINT_PARAMETERS + s, w->numbers[s], sizeof w->numbers[s]};
    w->state = (checkpoint_state){.step = step,
                                  .updates = step + 1,
                                  .seed = 3,
                                  .rows = 40,
                                  .position = step * 6,
                                  .trained_tokens = step * 100,
                                  .metrics_bytes = step * 200};
    checkpoint_identify(&w->state, "data", "tide", 4);
    checkpoint_identify(&w->state, "model", "small", 5);
    checkpoint_identify(&w->state, "trainable set", "lora", 4);
    checkpoint_identify(&w->state, "batch", "6", 1);
}

static const char *path_of(const char *directory, uint64_t step) {
    static char path[FILE_PATH_BYTES];
    char name[CHECKPOINT_FILE_NAME_BYTES];
    checkpoint_file_name(name, step);
    assert_true(file_join(path, directory, name));
    return path;
}

static void write_step(const char *directory, uint64_t step) {
    world w;
    levee_error error;
    make_world(&w, step);
    scratch_expect("write", LEVEE_OK, "", checkpoint_write(directory, &w.state, w.sections, SECTIONS, &error),
                   &error);
}

/* Does the world hold what the run held at this step? */
static void assert_world(const world *w, uint64_t step) {
    world expected;
    make_world(&expected, step);
    assert_memory_equal(w->numbers, expected.numbers, sizeof expected.numbers);
    assert_memory_equal(&w->state, &expected.state, sizeof expected.state);
}

static void expect_refusal(const char *label, const char *path, levee_status expected, const char *words) {
    world w, before;
    levee_error error;
    make_world(&w, 1000);
    memcpy(&before, &w, sizeof w);
    scratch_expect(label, expected, words, checkpoint_read(path, &w.state, w.sections, SECTIONS, &error), &error);
    assert_memory_equal(w.numbers, before.numbers, sizeof w.numbers);
    assert_memory_equal(&w.state, &before.state, sizeof w.state);
}

static void names_are_read_as_written(void **state) {
    (void)state;
    static const uint64_t steps[] = {0, 1, 120, 99999999, 100000000, UINT64_MAX};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        char name[CHECKPOINT_FILE_NAME_BYTES];
        uint64_t step = 7;
        checkpoint_file_name(name, steps[i]);
        assert_true(checkpoint_parse_name(name, &step));
        assert_int_equal(step, steps[i]);
    }
    static const char *const strangers[] = {"",
                                            "step-",
                                            "step-120.checkpoint",
                                            "step-00000120",
                                            "step-00000120.checkpoint.partial",
                                            "step-000000120.checkpoint",
                                            "step--0000001.checkpoint",
                                            "step- 0000001.checkpoint",
                                            "step-99999999999999999999.checkpoint",
                                            "STEP-00000120.checkpoint"};
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        uint64_t step;
        if (checkpoint_parse_name(strangers[i], &step)) fail_msg("'%s' is taken for a checkpoint", strangers[i]);
    }
}

static void reads_what_was_written(void **state) {
    static const uint64_t steps[] = {0, 120, UINT64_MAX / 1000};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        world w, other;
        levee_error error;
        make_world(&w, steps[i]);
        make_world(&other, 5);
        uint64_t blocks = ledger_allocation_count();
        scratch_expect("write", LEVEE_OK, "", checkpoint_write(*state, &w.state, w.sections, SECTIONS, &error),
                       &error);
        assert_int_equal(ledger_allocation_count(), blocks);
        const char *path = path_of(*state, steps[i]);
        struct stat status;
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_size, FILE_BYTES);
        assert_int_equal(checkpoint_bytes(w.sections, SECTIONS), FILE_BYTES);
        scratch_expect("read", LEVEE_OK, "", checkpoint_read(path, &other.state, other.sections, SECTIONS, &error),
                       &error);
        assert_world(&other, steps[i]);
    }
}

/* Sections longer than every buffer, of sizes that are no multiple of any, in another order than they were written.
 */
static void reads_large_and_empty_sections(void **state) {
    enum { LARGE = 3 * 1024 * 1024 + 77 };
    unsigned char *written = malloc(LARGE), *read = malloc(LARGE), odd[5] = "tide", odd_read[5] = "";
    assert_true(written && read);
    for (unsigned i = 0; i < LARGE; i++) written[i] = (unsigned char)(i * 2654435761u >> 11);
    checkpoint_section out[] = {{CHECKPOINT_PARAMETERS, written, LARGE},
                                {CHECKPOINT_SECOND_MOMENTS, NULL, 0},
                                {CHECKPOINT_FIRST_MOMENTS, odd, 5}};
    checkpoint_section in[] = {{CHECKPOINT_FIRST_MOMENTS, odd_read, 5},
                               {CHECKPOINT_PARAMETERS, read, LARGE},
                               {CHECKPOINT_SECOND_MOMENTS, NULL, 0}};
    checkpoint_state at = {.step = 8}, got = {0};
    levee_error error;
    scratch_expect("write", LEVEE_OK, "", checkpoint_write(*state, &at, out, 3, &error), &error);
    scratch_expect("read", LEVEE_OK, "", checkpoint_read(path_of(*state, 8), &got, in, 3, &error), &error);
    assert_memory_equal(read, written, LARGE);
    assert_memory_equal(odd_read, odd, 5);
    scratch_expect("no sections", LEVEE_OK, "", checkpoint_write(*state, &at, NULL, 0, &error), &error);
    scratch_expect("no sections", LEVEE_OK, "", checkpoint_read(path_of(*state, 8), &got, NULL, 0, &error), &error);
    checkpoint_section endless = {CHECKPOINT_PARAMETERS, NULL, UINT64_MAX};
    assert_int_equal(checkpoint_bytes(&endless, 1), UINT64_MAX);
    free(written);
    free(read);
}

/* Which words the refusal of a change at this byte of the file must hold. */
static const char *words_for(size_t byte) {
    const size_t header = 400, section = sizeof((world *)0)->numbers[0];
    if (byte < 8) return "no checkpoint";
    if (byte < header) return "header|damaged|older checkpoint";
    if (byte < header + section) return "'parameters'|damaged|older checkpoint";
    if (byte < header + 2 * section) return "'first moments'|damaged|older checkpoint";
    if (byte < header + 3 * section) return "'second moments'|damaged|older checkpoint";
    return "table of sections|damaged|older checkpoint";
}

static void refuses_every_changed_byte(void **state) {
    write_step(*state, 12);
    size_t bytes;
    char path[FILE_PATH_BYTES], *content = scratch_read(path_of(*state, 12), &bytes);
    strcpy(path, path_of(*state, 12));
    int file = open(path, O_WRONLY);
    for (size_t i = 0; i < bytes; i++) {
        static const unsigned char masks[] = {0x01, 0x80, 0xff};
        char changed = (char)(content[i] ^ masks[i % 3]);
        assert_int_equal(pwrite(file, &changed, 1, (off_t)i), 1);
        expect_refusal("a changed byte", path, LEVEE_BAD_DATA, words_for(i));
        assert_int_equal(pwrite(file, &content[i], 1, (off_t)i), 1);
    }
    close(file);
    free(content);
    world w;
    levee_error error;
    make_world(&w, 1);
    scratch_expect("restored", LEVEE_OK, "", checkpoint_read(path, &w.state, w.sections, SECTIONS, &error), &error);
}

static void refuses_every_other_length(void **state) {
    write_step(*state, 12);
    char path[FILE_PATH_BYTES];
    strcpy(path, path_of(*state, 12));
    for (off_t bytes = FILE_BYTES + 9; bytes >= 0; bytes--) {
        if (bytes == FILE_BYTES) write_step(*state, 12); /* the tail that follows is no longer all zero */
        if (bytes == FILE_BYTES) continue;
        assert_int_equal(truncate(path, bytes), 0);
        expect_refusal("another length", path, LEVEE_BAD_DATA, "step-00000012.checkpoint");
    }
}

/* A header of another version, whose hash fits, is no damage; neither is a name that somebody changed. */
static void refuses_other_versions_and_names(void **state) {
    write_step(*state, 12);
    size_t bytes;
    char *content = scratch_read(path_of(*state, 12), &bytes);
    checkpoint_header header;
    memcpy(&header, content, sizeof header);
    assert_int_equal(header.version, 1);
    assert_int_equal(header.header_bytes, sizeof header);
    assert_int_equal(header.file_bytes, bytes);
    header.version = 2;
    header.header_hash = XXH64(&header, sizeof header - 8, header.magic);
    memcpy(content, &header, sizeof header);
    scratch_file(*state, "step-00000012.checkpoint", content, bytes);
    expect_refusal("version 2", path_of(*state, 12), LEVEE_USAGE, "version 2|reads 1|program that wrote it");
    free(content);
    expect_refusal("missing", path_of(*state, 13), LEVEE_MISSING_INPUT, "step-00000013");
    expect_refusal("a directory", *state, LEVEE_MISSING_INPUT, "not a regular file");
    write_step(*state, 12);
    content = scratch_read(path_of(*state, 12), &bytes);
    scratch_file(*state, "step-00000099.checkpoint", content, bytes);
    expect_refusal("another name", path_of(*state, 99), LEVEE_USAGE, "step-00000099|holds step 12|name");
    free(content);
}

static void names_what_differs(void **state) {
    static const struct {
        const char *label, *name, *folded, *words;
    } cases[] = {
        {"data", "data", "x", "another data;|--adapter-path"},
        {"model", "model", "x", "another model;"},
        {"trainable set", "trainable set", "x", "another trainable set;"},
        {"batch", "batch", "x", "another batch;"},
        {"one more", "weather", "x", "another weather;"},
    };
    write_step(*state, 12);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world w, before;
        levee_error error;
        make_world(&w, 1);
        checkpoint_identify(&w.state, cases[i].name, cases[i].folded, 1);
        memcpy(&before, &w, sizeof w);
        scratch_expect(cases[i].label, LEVEE_USAGE, cases[i].words,
                       checkpoint_read(path_of(*state, 12), &w.state, w.sections, SECTIONS, &error), &error);
        assert_memory_equal(&w, &before, sizeof w);
    }
    world w;
    levee_error error;
    make_world(&w, 1);
    memset(w.state.identities, 0, sizeof w.state.identities);
    checkpoint_identify(&w.state, "data", "other", 5);
    scratch_expect("several", LEVEE_USAGE, "another data, model, trainable set, batch;",
                   checkpoint_read(path_of(*state, 12), &w.state, w.sections, SECTIONS, &error), &error);
}

static void refuses_other_sections(void **state) {
    write_step(*state, 12);
    for (unsigned i = 0; i < 3; i++) {
        static const char *const words[] = {"400 bytes of first moments|has 396", "0 bytes of a section of unknown",
                                            "3 sections|has 2"};
        world w;
        levee_error error;
        make_world(&w, 1);
        if (i == 0) w.sections[1].bytes -= 4;
        if (i == 1) w.sections[2].kind = CHECKPOINT_KINDS_END;
        scratch_expect("sections", LEVEE_USAGE, words[i],
                       checkpoint_read(path_of(*state, 12), &w.state, w.sections, i == 2 ? 2 : 3, &error), &error);
        world untouched;
        make_world(&untouched, 1);
        assert_memory_equal(w.numbers, untouched.numbers, sizeof w.numbers);
    }
}

static void refuses_to_write_what_has_no_room(void **state) {
    levee_error error;
    checkpoint_state at = {.step = 1};
    checkpoint_section many[CHECKPOINT_SECTIONS + 1] = {{0}};
    for (unsigned i = 0; i < CHECKPOINT_IDENTITIES; i++) checkpoint_identify(&at, (char[2]){(char)('a' + i)}, "", 0);
    scratch_expect("all used", LEVEE_OK, "", checkpoint_write(*state, &at, many, CHECKPOINT_SECTIONS, &error),
                   &error);
    scratch_expect("sections", LEVEE_INTERNAL, "room",
                   checkpoint_write(*state, &at, many, CHECKPOINT_SECTIONS + 1, &error), &error);
    checkpoint_identify(&at, "one more", "", 0);
    checkpoint_identify(&at, "another", "", 0);
    scratch_expect("identities", LEVEE_INTERNAL, "room", checkpoint_write(*state, &at, NULL, 0, &error), &error);
    at = (checkpoint_state){.step = 1};
    checkpoint_identify(&at, "a name that is far too long for it", "", 0);
    scratch_expect("long name", LEVEE_INTERNAL, "room", checkpoint_write(*state, &at, NULL, 0, &error), &error);
}

/* The steps that have a file, as the directory knows them and as they lie on the disk. */
static void assert_steps(const checkpoint_directory *d, const char *expected) {
    char known[256] = "";
    for (uint32_t i = 0; i < d->count; i++) {
        assert_true(file_exists(path_of(d->path, d->known[i].step)));
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%llu", i ? " " : "",
                 (unsigned long long)d->known[i].step);
    }
    assert_string_equal(known, expected);
    checkpoint_directory again;
    assert_int_equal(checkpoints_open(&again, d->path, 1, NULL), LEVEE_OK);
    assert_int_equal(again.count, d->count);
}

static void save_step(checkpoint_directory *d, uint64_t step) {
    world w;
    levee_error error;
    make_world(&w, step);
    uint64_t blocks = ledger_allocation_count();
    scratch_expect("save", LEVEE_OK, "", checkpoints_save(d, &w.state, w.sections, SECTIONS, &error), &error);
    assert_int_equal(ledger_allocation_count(), blocks);
}

static void open_checkpoints(checkpoint_directory *d, const char *directory, uint32_t keep_last) {
    char path[FILE_PATH_BYTES];
    levee_error error;
    assert_true(file_join(path, directory, "run/checkpoints"));
    scratch_expect("open", LEVEE_OK, "", checkpoints_open(d, path, keep_last, &error), &error);
}

static void keeps_the_last(void **state) {
    static const struct {
        uint32_t keep;
        const char *after[5];
    } cases[] = {
        {1, {"5", "10", "15", "20", "25"}},
        {2, {"5", "5 10", "10 15", "15 20", "20 25"}},
        {3, {"5", "5 10", "5 10 15", "10 15 20", "15 20 25"}},
        {CHECKPOINTS_KEEP_ALL, {"5", "5 10", "5 10 15", "5 10 15 20", "5 10 15 20 25"}},
    };
    checkpoint_directory d;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char directory[FILE_PATH_BYTES];
        snprintf(directory, sizeof directory, "%s/%zu", (char *)*state, i);
        open_checkpoints(&d, directory, cases[i].keep);
        assert_int_equal(d.count, 0);
        for (unsigned k = 0; k < 5; k++) {
            save_step(&d, 5 * (k + 1));
            assert_steps(&d, cases[i].after[k]);
        }
        save_step(&d, 25); /* again: replaced */
        assert_steps(&d, cases[i].after[4]);
    }
    /* Opened again with fewer to keep: nothing goes before something newer is there. */
    char path[FILE_PATH_BYTES];
    strcpy(path, d.path);
    assert_int_equal(checkpoints_open(&d, path, 2, NULL), LEVEE_OK);
    assert_steps(&d, "5 10 15 20 25");
    save_step(&d, 30);
    assert_steps(&d, "25 30");
    /* A step before others: theirs are another run's, and what was just written stays. */
    save_step(&d, 3);
    assert_steps(&d, "3 25 30");
    for (uint32_t keep = 0; keep < 2; keep++) {
        levee_error error;
        scratch_expect("keep", LEVEE_USAGE, "1 to 255",
                       checkpoints_open(&d, path, keep ? CHECKPOINTS_KEEP_MOST + 1 : 0, &error), &error);
    }
}

/* More files than are known by number: the newest are known, and the rest is left alone. */
static void knows_the_newest(void **state) {
    checkpoint_directory d;
    open_checkpoints(&d, *state, CHECKPOINTS_KEEP_MOST);
    char path[FILE_PATH_BYTES];
    strcpy(path, d.path);
    for (uint64_t step = 1; step <= CHECKPOINTS_KNOWN + 50; step++) {
        char name[CHECKPOINT_FILE_NAME_BYTES];
        checkpoint_file_name(name, step * 7 % (CHECKPOINTS_KNOWN + 51)); /* in no order */
        scratch_text(path, name, "");
    }
    open_checkpoints(&d, *state, CHECKPOINTS_KEEP_MOST);
    assert_int_equal(d.count, CHECKPOINTS_KNOWN);
    for (uint32_t i = 0; i < d.count; i++) assert_int_equal(d.known[i].step, 51 + i);
    save_step(&d, 1000);
    assert_int_equal(d.count, CHECKPOINTS_KEEP_MOST);
    assert_int_equal(d.known[0].step, 53);
    assert_int_equal(d.known[d.count - 1].step, 1000);
    assert_false(file_exists(path_of(path, 52)));
    assert_true(file_exists(path_of(path, 50)));
}

/* Keeps the lines that it is given, one after the other. */
static void keep_line(void *context, const char *text) {
    char *lines = context;
    snprintf(lines + strlen(lines), 4096 - strlen(lines), "%s\n", text);
}

static void damage(const char *directory, uint64_t step, off_t place) {
    int file = open(path_of(directory, step), O_RDWR);
    unsigned char content;
    assert_int_equal(pread(file, &content, 1, place), 1);
    content ^= 0x10;
    assert_int_equal(pwrite(file, &content, 1, place), 1);
    close(file);
}

static void falls_back_from_damage(void **state) {
    checkpoint_directory d;
    world w;
    levee_error error;
    char lines[4096] = "";
    uint64_t newest;
    open_checkpoints(&d, *state, 3);
    make_world(&w, 1);
    assert_false(checkpoints_newest(&d, &newest));
    scratch_expect("empty", LEVEE_MISSING_INPUT, "run/checkpoints|no checkpoint",
                   checkpoints_load(&d, &w.state, w.sections, SECTIONS, NULL, NULL, &error), &error);
    for (uint64_t step = 100; step <= 300; step += 100) save_step(&d, step);
    assert_true(checkpoints_newest(&d, &newest));
    assert_int_equal(newest, 300);
    scratch_expect("whole", LEVEE_OK, "",
                   checkpoints_load(&d, &w.state, w.sections, SECTIONS, keep_line, lines, &error), &error);
    assert_world(&w, 300);
    assert_string_equal(lines, "");

    damage(d.path, 300, 800);
    assert_int_equal(truncate(path_of(d.path, 200), 700), 0);
    make_world(&w, 1);
    scratch_expect("two damaged", LEVEE_OK, "",
                   checkpoints_load(&d, &w.state, w.sections, SECTIONS, keep_line, lines, &error), &error);
    assert_world(&w, 100);
    static const char *const told[] = {"step-00000300", "'first moments'", "step-00000200", "700 bytes"};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (!strstr(lines, told[i])) fail_msg("'%s' is not in: %s", told[i], lines);
    assert_null(strstr(lines, "step-00000100"));

    /* Damaged ones are nobody's last: they go once a whole one follows, and do not count. */
    save_step(&d, 110);
    assert_steps(&d, "100 110");
    d.keep_last = 1;
    damage(d.path, 110, 400);
    make_world(&w, 1);
    scratch_expect("again", LEVEE_OK, "", checkpoints_load(&d, &w.state, w.sections, SECTIONS, NULL, NULL, &error),
                   &error);
    assert_world(&w, 100);
    save_step(&d, 105);
    assert_steps(&d, "105");

    damage(d.path, 105, 400);
    make_world(&w, 1);
    scratch_expect("none", LEVEE_BAD_DATA, "none of its checkpoints|--adapter-path",
                   checkpoints_load(&d, &w.state, w.sections, SECTIONS, NULL, NULL, &error), &error);
    assert_world(&w, 1);
}

/* A whole checkpoint of another run is no damage: an older one would be no better. */
static void does_not_fall_back_from_another_run(void **state) {
    checkpoint_directory d;
    world w;
    levee_error error;
    char lines[4096] = "";
    open_checkpoints(&d, *state, 3);
    save_step(&d, 10);
    make_world(&w, 20);
    checkpoint_identify(&w.state, "batch", "8", 1);
    scratch_expect("save", LEVEE_OK, "", checkpoints_save(&d, &w.state, w.sections, SECTIONS, &error), &error);
    make_world(&w, 1);
    scratch_expect("another", LEVEE_USAGE, "step-00000020|another batch",
                   checkpoints_load(&d, &w.state, w.sections, SECTIONS, keep_line, lines, &error), &error);
    assert_world(&w, 1);
    assert_string_equal(lines, "");
    /* A file that went away is passed over, but not given up. */
    char away[FILE_PATH_BYTES];
    assert_true(file_join(away, *state, "away"));
    assert_int_equal(rename(path_of(d.path, 20), away), 0);
    scratch_expect("gone", LEVEE_OK, "",
                   checkpoints_load(&d, &w.state, w.sections, SECTIONS, keep_line, lines, &error), &error);
    assert_world(&w, 10);
    assert_non_null(strstr(lines, "step-00000020"));
    assert_int_equal(rename(away, path_of(d.path, 20)), 0);
    save_step(&d, 15);
    assert_steps(&d, "10 15 20");
}

static void removes_leftovers(void **state) {
    static const struct {
        const char *name;
        bool stays;
    } files[] = {
        {"step-00000030.checkpoint.partial", false},
        {"step-00000010.checkpoint.partial", false},
        {"step-30.checkpoint.partial", true},
        {"notes.partial", true},
        {"step-00000030.checkpoint.partial.p", true},
        {".partial", true},
        {"lock", true},
    };
    checkpoint_directory d;
    open_checkpoints(&d, *state, 3);
    save_step(&d, 10);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) scratch_text(d.path, files[i].name, "half");
    open_checkpoints(&d, *state, 3);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[FILE_PATH_BYTES];
        assert_true(file_join(path, d.path, files[i].name));
        if (file_exists(path) != files[i].stays) fail_msg("%s: %s", files[i].name, files[i].stays ? "gone" : "there");
    }
    assert_steps(&d, "10");
    char path[FILE_PATH_BYTES];
    levee_error error;
    assert_true(file_join(path, d.path, "step-00000050.checkpoint.partial"));
    assert_int_equal(mkdir(path, 0777), 0);
    strcpy(path, d.path);
    scratch_expect("a directory", LEVEE_IO_ERROR, "step-00000050|cannot be removed",
                   checkpoints_open(&d, path, 3, &error), &error);
    assert_true(file_join(path, scratch_text(*state, "file", ""), "checkpoints"));
    scratch_expect("below a file", LEVEE_IO_ERROR, "file/checkpoints", checkpoints_open(&d, path, 3, &error), &error);
}

/* The limit on a file's size stands for a disk that is full: at every place where a write can fail. */
static void survives_a_full_disk(void **state) {
    checkpoint_directory d;
    open_checkpoints(&d, *state, 1);
    save_step(&d, 10);
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (unsigned bytes = 0; bytes < FILE_BYTES; bytes += 100) {
        for (uint64_t step = 10; step <= 20; step += 10) {
            world w;
            levee_error error;
            make_world(&w, step);
            w.numbers[0][0]++; /* another content than the one that is there */
            small = before;
            small.rlim_cur = bytes;
            setrlimit(RLIMIT_FSIZE, &small);
            levee_status status = checkpoints_save(&d, &w.state, w.sections, SECTIONS, &error);
            setrlimit(RLIMIT_FSIZE, &before);
            scratch_expect("full", LEVEE_IO_ERROR, "checkpoint.partial|disk full", status, &error);
            char partial[FILE_PATH_BYTES + 16];
            snprintf(partial, sizeof partial, "%s.partial", path_of(d.path, step));
            assert_false(file_exists(partial));
            assert_steps(&d, "10");
        }
    }
    signal(SIGXFSZ, handler);
    world w;
    levee_error error;
    make_world(&w, 1);
    scratch_expect("load", LEVEE_OK, "", checkpoints_load(&d, &w.state, w.sections, SECTIONS, NULL, NULL, &error),
                   &error);
    assert_world(&w, 10);
}

/* Saves step 20 behind step 10 while calls fail. Whatever comes of it, what is there is whole, and step 10 or 20. */
static levee_status save_failing(const char *directory, failing *f) {
    checkpoint_directory d;
    world w;
    levee_error error;
    char lines[4096] = "";
    open_checkpoints(&d, directory, 1);
    save_step(&d, 10);
    make_world(&w, 20);
    failing_start(f);
    levee_status status = checkpoints_save(&d, &w.state, w.sections, SECTIONS, &error);
    failing_stop();
    if (status != LEVEE_OK) scratch_expect("save", LEVEE_IO_ERROR, "run/checkpoints", status, &error);
    open_checkpoints(&d, directory, 1);
    assert_in_range(d.count, 1, 2);
    make_world(&w, 1);
    scratch_expect("load", LEVEE_OK, "",
                   checkpoints_load(&d, &w.state, w.sections, SECTIONS, keep_line, lines, &error), &error);
    assert_string_equal(lines, "");
    assert_world(&w, d.known[d.count - 1].step);
    if (status == LEVEE_OK) assert_int_equal(d.known[d.count - 1].step, 20);
    return status;
}

/* Every call that saving makes fails, alone or with all later ones, on a broken disk or a full one. */
static void survives_every_failing_call_of_a_save(void **state) {
    static const int failures[] = {EIO, ENOSPC};
    char directory[FILE_PATH_BYTES];
    failing f = {.first = FAULT_FIRST_FILE_POINT, .last = FAULT_POINT_COUNT};
    assert_true(file_join(directory, *state, "counted"));
    assert_int_equal(save_failing(directory, &f), LEVEE_OK);
    uint64_t calls = f.calls;
    unsigned errors = 0;
    assert_true(calls >= 11); /* open, five writes, two syncs, rename, two for the directory, remove */
    for (unsigned way = 0; way < 4; way++)
        for (f.from = 0; f.from < calls; f.from++) {
            snprintf(directory, sizeof directory, "%s/%u-%u", (char *)*state, way, (unsigned)f.from);
            f.what.failure = failures[way % 2];
            f.to = way / 2 ? UINT64_MAX : f.from + 1;
            errors += save_failing(directory, &f) != LEVEE_OK;
        }
    assert_true(errors >= 4 * (calls - 1));
}

/* Reading may be cut short and interrupted, and then gives the same; or fail, and then says so. */
static void survives_every_failing_call_of_a_load(void **state) {
    checkpoint_directory d;
    world w;
    levee_error error;
    open_checkpoints(&d, *state, 2);
    save_step(&d, 10);
    save_step(&d, 20);
    static const fault faults[] = {{.failure = EIO}, {.failure = EINTR}, {.cut = true}};
    failing f = {.first = FAULT_FIRST_FILE_POINT, .last = FAULT_POINT_COUNT, .from = UINT64_MAX, .to = UINT64_MAX};
    make_world(&w, 1);
    failing_start(&f);
    levee_status whole = checkpoints_load(&d, &w.state, w.sections, SECTIONS, NULL, NULL, &error);
    failing_stop();
    scratch_expect("whole", LEVEE_OK, "", whole, &error);
    uint64_t calls = f.calls;
    assert_true(calls >= 2 + 2 + 2 * SECTIONS);
    for (unsigned way = 0; way < 6; way++)
        for (f.from = 0; f.from < calls; f.from++) {
            char lines[4096] = "";
            f.what = faults[way / 2];
            f.to = way % 2 && f.what.failure != EINTR ? UINT64_MAX : f.from + 1;
            make_world(&w, 1);
            failing_start(&f);
            levee_status status = checkpoints_load(&d, &w.state, w.sections, SECTIONS, keep_line, lines, &error);
            failing_stop();
            assert_true(f.struck);
            if (f.what.failure != EIO) scratch_expect("again", LEVEE_OK, "", status, &error);
            if (status != LEVEE_OK)
                scratch_expect("none", LEVEE_IO_ERROR, "run/checkpoints", status, &error);
            else
                assert_world(&w, *lines ? 10 : 20);
            if (*lines) assert_non_null(strstr(lines, "step-00000020"));
        }
}

/* Saves one step after the other until it is killed. */
static void save_for_ever(checkpoint_directory *d) {
    world w;
    for (uint64_t step = 1;; step++) {
        make_world(&w, step);
        if (checkpoints_save(d, &w.state, w.sections, SECTIONS, NULL) != LEVEE_OK) _exit(1);
    }
}

static void survives_a_kill_at_any_instant(void **state) {
    for (unsigned round = 0; round < 25; round++) {
        checkpoint_directory d;
        world w;
        levee_error error;
        char directory[FILE_PATH_BYTES], lines[4096] = "";
        snprintf(directory, sizeof directory, "%s/%u", (char *)*state, round);
        open_checkpoints(&d, directory, 2);
        save_step(&d, 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (!child) save_for_ever(&d);
        nanosleep(&(struct timespec){.tv_nsec = 3000000 + 1370000 * (long)round}, NULL);
        kill(child, SIGKILL);
        int ended;
        assert_int_equal(waitpid(child, &ended, 0), child);
        assert_true(WIFSIGNALED(ended));
        open_checkpoints(&d, directory, 2);
        assert_true(d.count >= 1 && d.count <= 3);
        make_world(&w, 1);
        scratch_expect("load", LEVEE_OK, "",
                       checkpoints_load(&d, &w.state, w.sections, SECTIONS, keep_line, lines, &error), &error);
        assert_string_equal(lines, "");
        assert_world(&w, d.known[d.count - 1].step);
    }
}

static void compares_with_what_is_free(void **state) {
    checkpoint_directory d;
    levee_error error;
    open_checkpoints(&d, *state, 2);
    const uint64_t much = UINT64_C(1) << 62;
    static const char words[] = "run/checkpoints|free|keep fewer";
    scratch_expect("little", LEVEE_OK, "", checkpoint_check_disk(d.path, 1, 3, 0, &error), &error);
    scratch_expect("nothing", LEVEE_OK, "", checkpoint_check_disk(d.path, much, 0, 0, &error), &error);
    scratch_expect("much", LEVEE_IO_ERROR, words, checkpoint_check_disk(d.path, much, 1, 0, &error), &error);
    scratch_expect("overflow", LEVEE_IO_ERROR, words, checkpoint_check_disk(d.path, much, 8, 0, &error), &error);
    scratch_expect("nowhere", LEVEE_IO_ERROR, "/nowhere", checkpoint_check_disk("/nowhere", 1, 1, 0, &error), &error);
    /* How many files a run adds: told by the message. */
    static const struct {
        uint32_t keep;
        unsigned there;
        uint64_t saves;
        const char *words;
    } cases[] = {{2, 0, 1, ": 1 files"}, {2, 0, 2, ": 2 files"},
                 {2, 0, 9, ": 3 files"}, {2, 1, 9, ": 2 files"},
                 {2, 2, 9, ": 1 files"}, {2, 5, 9, ": 1 files"},
                 {1, 0, 9, ": 2 files"}, {CHECKPOINTS_KEEP_ALL, 3, 9, ": 9 files"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        d.keep_last = cases[i].keep;
        d.count = cases[i].there;
        scratch_expect("room", LEVEE_IO_ERROR, cases[i].words,
                       checkpoints_check_room(&d, much, cases[i].saves, 0, &error), &error);
    }
    scratch_expect("no saves", LEVEE_OK, "", checkpoints_check_room(&d, much, 0, 0, &error), &error);
}

static void lock_keeps_a_second_run_out(void **state) {
    directory_lock lock = {0}, second = {0};
    levee_error error;
    directory_lock_release(&lock);
    scratch_expect("free", LEVEE_OK, "", directory_lock_take(&lock, *state, &error), &error);
    scratch_expect("held here", LEVEE_USAGE, "another run|--adapter-path|levee-test",
                   directory_lock_take(&second, *state, &error), &error);
    directory_lock_release(&second);
    scratch_expect("still held", LEVEE_USAGE, "another run", directory_lock_take(&second, *state, &error), &error);
    directory_lock_release(&lock);

    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        char taken = directory_lock_take(&lock, *state, NULL) == LEVEE_OK;
        if (write(ready[1], &taken, 1) != 1) _exit(1);
        for (;;) pause();
    }
    char taken = 0;
    assert_int_equal(read(ready[0], &taken, 1), 1);
    assert_true(taken);
    scratch_expect("held by a child", LEVEE_USAGE, "another run", directory_lock_take(&lock, *state, &error), &error);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    scratch_expect("the child was killed", LEVEE_OK, "", directory_lock_take(&lock, *state, &error), &error);
    directory_lock_release(&lock);
    close(ready[0]);
    close(ready[1]);
    scratch_expect("nowhere", LEVEE_IO_ERROR, "/nowhere/lock", directory_lock_take(&lock, "/nowhere", &error),
                   &error);
}

#define SCRATCH_TEST(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read_as_written),
        SCRATCH_TEST(reads_what_was_written),
        SCRATCH_TEST(reads_large_and_empty_sections),
        SCRATCH_TEST(refuses_every_changed_byte),
        SCRATCH_TEST(refuses_every_other_length),
        SCRATCH_TEST(refuses_other_versions_and_names),
        SCRATCH_TEST(names_what_differs),
        SCRATCH_TEST(refuses_other_sections),
        SCRATCH_TEST(refuses_to_write_what_has_no_room),
        SCRATCH_TEST(keeps_the_last),
        SCRATCH_TEST(knows_the_newest),
        SCRATCH_TEST(falls_back_from_damage),
        SCRATCH_TEST(does_not_fall_back_from_another_run),
        SCRATCH_TEST(removes_leftovers),
        SCRATCH_TEST(survives_a_full_disk),
        SCRATCH_TEST(survives_every_failing_call_of_a_save),
        SCRATCH_TEST(survives_every_failing_call_of_a_load),
        SCRATCH_TEST(survives_a_kill_at_any_instant),
        SCRATCH_TEST(compares_with_what_is_free),
        SCRATCH_TEST(lock_keeps_a_second_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

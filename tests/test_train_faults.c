/* Everything that may fail does, at every place: each allocation and each call on a file of a small training that
 * goes on from a checkpoint, and of an evaluation, a generation and a new model; once, and from there on for good.
 * Each time it must end with a message or as if nothing had happened, give everything back, and leave what was saved
 * before as it was or replaced by something whole: afterwards the training is gone on with, and ends where one ends
 * that met no failure.
 *
 * Calls are told apart by the innermost functions of the stack that makes them, and of each kind the first fails, or
 * of every third kind the first and all calls after it. With LEVEE_EVERY_FAULT set, every call does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "failing.h"
#include "given_options.h"
#include "memory/ledger.h"
#include "sanitized.h"
#include "scratch.h"

enum { FIRST_STEPS = 2, LAST_STEPS = 4, MOST_CALLS = 100000, MOST_FILES = 64, INNERMOST = 7 };

static levee_error error;
static char root[FILE_PATH_BYTES];

/* A path below the test's directory; valid until the fourth call from here. */
static const char *in(const char *directory, const char *name) {
    static char paths[4][2 * FILE_PATH_BYTES];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s%s%s", root, directory, *name ? "/" : "", name);
    return path;
}

/* Files by name, to compare a directory with what it was. */
typedef struct contents {
    unsigned count;
    struct {
        char name[512];
        uint64_t hash;
    } files[MOST_FILES];
} contents;

static uint64_t hash_file(const char *path) {
    size_t bytes;
    char *content = scratch_read(path, &bytes);
    uint64_t hash = XXH64(content, bytes, bytes);
    free(content);
    return hash;
}

static void list_files(contents *l, const char *directory, const char *below) {
    DIR *names = opendir(in(directory, below));
    if (!names) return;
    for (const struct dirent *entry; (entry = readdir(names));) {
        char name[512];
        if (*entry->d_name == '.') continue;
        snprintf(name, sizeof name, "%s%s%s", below, *below ? "/" : "", entry->d_name);
        if (file_is_directory(in(directory, name))) {
            list_files(l, directory, name);
            continue;
        }
        assert_true(l->count < MOST_FILES);
        snprintf(l->files[l->count].name, sizeof l->files[0].name, "%s", name);
        l->files[l->count++].hash = hash_file(in(directory, name));
    }
    closedir(names);
}

static void copy_file(const char *from, const char *to) {
    size_t bytes;
    char *content = scratch_read(from, &bytes);
    FILE *file = fopen(to, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    free(content);
}

/* Makes `to` a copy of `from`, with the one directory that a run has. */
static void copy_directory(const char *from, const char *to) {
    contents files = {0};
    scratch_remove(in(to, ""));
    assert_int_equal(mkdir(in(to, ""), 0777), 0);
    list_files(&files, from, "");
    for (unsigned i = 0; i < files.count; i++) {
        if (strchr(files.files[i].name, '/')) mkdir(in(to, "checkpoints"), 0777);
        copy_file(in(from, files.files[i].name), in(to, files.files[i].name));
    }
}

static unsigned open_descriptors(void) {
    unsigned count = 0;
    DIR *names = opendir("/proc/self/fd");
    assert_non_null(names);
    while (readdir(names)) count++;
    closedir(names);
    return count;
}

static levee_options options_of(const char *result, unsigned steps) {
    char number[16];
    levee_options o;
    options_defaults(&o);
    snprintf(number, sizeof number, "%u", steps);
    must_set(&o, "model", in("model", ""));
    must_set(&o, "data", in("data", ""));
    must_set(&o, "adapter_path", in(result, ""));
    must_set(&o, "iters", number);
    must_set(&o, "learning_rate", "1e-2");
    must_set(&o, "batch_size", "2");
    must_set(&o, "rank", "2");
    must_set(&o, "keys", "q_proj,down_proj");
    must_set(&o, "save_every", "1");
    must_set(&o, "steps_per_eval", "3");
    must_set(&o, "threads", "1");
    must_set(&o, "dtype", "f32");
    must_set(&o, "memory", SANITIZED ? "1GiB" : "24MiB"); /* a smaller one makes measuring the machine shorter */
    must_set(&o, "reserve", "0");
    must_set(&o, "max_tokens", "3");
    must_set(&o, "prompt", "tide");
    return o;
}

/* What is swept. */
typedef struct scenario {
    const char *name;
    const char *pristine; /* the directory that "work" is a copy of; NULL: it is not there */
    const char *result;   /* what a training writes; NULL: it is no training */
    levee_status (*run)(void);
    uint64_t hashes[LAST_STEPS - FIRST_STEPS + 1]; /* of the result, from FIRST_STEPS on */
    contents before, after;                        /* of "work", by runs without a failure */
} scenario;

/* Where runs work: on a disk of its own when that is to become full. */
static const char *place = "work";

/* Does the run say that it goes on? Starting anew would end with the same numbers. */
static bool goes_on;

static void listen(void *context, const char *text) {
    (void)context;
    if (!strncmp(text, "going on after step", 19)) goes_on = true;
}

static levee_status train(const char *type, unsigned steps) {
    levee_options o = options_of(place, steps);
    goes_on = false;
    must_set(&o, "resume", "auto");
    must_set(&o, "fine_tune_type", type);
    return levee_train(&o, listen, NULL, &error);
}

static levee_status run_lora(void) { return train("lora", LAST_STEPS); }
static levee_status run_full(void) { return train("full", LAST_STEPS); }
static levee_status run_head(void) { return train("head", LAST_STEPS); } /* which becomes a tensor of its own */

static levee_status run_eval(void) {
    levee_options o = options_of(place, 1);
    return levee_eval(&o, NULL, NULL, &error);
}

static levee_status run_generate(void) {
    levee_options o = options_of(place, 1);
    return levee_generate(&o, NULL, NULL, &error);
}

/* Two sizes. What it writes has speeds in it, and lies beside what is compared. */
static levee_status run_probe(void) {
    levee_options o = options_of(place, 1);
    must_set(&o, "probe_file", in("", "probe.yaml"));
    must_set(&o, "probe_steps", "3");
    return levee_probe(&o, NULL, NULL, &error);
}

static levee_status run_options(void) {
    levee_options *o = levee_options_create();
    if (!o) return error_out_of_memory(&error, "options", sizeof *o);
    levee_status status = levee_options_read(o, in(place, "config.yaml"), &error);
    levee_options_free(o);
    return status;
}

static levee_status run_init(void) {
    const levee_shape shape = {.hidden_size = 16, .intermediate_size = 16, .layers = 1, .heads = 2, .kv_heads = 1};
    return levee_init(in(place, ""), &shape, 3, &error);
}

static void must_run(const char *label, levee_status status) { scratch_expect(label, LEVEE_OK, "", status, &error); }

/* What runs were promised is forgotten too: one that could not withdraw its promise would leave the next one a line
 * to read, and so another number of calls. */
static void reset(const scenario *s) {
    char promises[64];
    snprintf(promises, sizeof promises, "levee-promises-%u", (unsigned)geteuid());
    unlink(in("runtime", promises));
    if (s->pristine)
        copy_directory(s->pristine, place);
    else
        scratch_remove(in(place, ""));
}

static const uint64_t *find_file(const contents *l, const char *name) {
    for (unsigned i = 0; i < l->count; i++)
        if (!strcmp(l->files[i].name, name)) return &l->files[i].hash;
    return NULL;
}

/* A card has numbers of bytes too; it is whole when its last row is. */
static bool is_whole_card(const char *path) {
    size_t bytes;
    char *content = scratch_read(path, &bytes), *last = strstr(content, "\n| memory | predicted ");
    bool whole = last && strchr(last + 1, '\n') == content + bytes - 1;
    free(content);
    return whole;
}

static bool ends_with(const char *text, const char *ending) {
    size_t length = strlen(text), tail = strlen(ending);
    return length >= tail && !strcmp(text + length - tail, ending);
}

/* A plan has numbers of bytes that are free now. */
static bool is_whole_plan(const char *path) {
    size_t bytes;
    char *content = scratch_read(path, &bytes);
    bool whole = bytes > 2 && content[0] == '{' && !strcmp(content + bytes - 2, "}\n");
    free(content);
    return whole;
}

/* Files that lines are appended to end with a whole one. */
static bool has_whole_lines(const char *path) {
    size_t bytes;
    char *content = scratch_read(path, &bytes);
    bool whole = !bytes || content[bytes - 1] == '\n';
    free(content);
    return whole;
}

/* Is the content of a file one that it may have: as before, as after, or what a step between them gives? Numbers of
 * seconds and bytes are in metrics and so in checkpoints; what those are worth shows when the run is gone on with. */
static bool is_whole(const scenario *s, const char *name, uint64_t hash) {
    if (ends_with(name, ".partial") || ends_with(name, ".checkpoint") || ends_with(name, "metrics.jsonl"))
        return true;
    if (!strcmp(name, "README.md") && s->result) return is_whole_card(in(place, name));
    if (!strcmp(name, "plan.json")) return is_whole_plan(in(place, name));
    if (!strcmp(name, "samples.jsonl") || !strcmp(name, "log.txt")) return has_whole_lines(in(place, name));
    const uint64_t *before = find_file(&s->before, name), *after = find_file(&s->after, name);
    bool known = (before && *before == hash) || (after && *after == hash);
    for (unsigned i = 0; s->result && !strcmp(name, s->result) && i <= LAST_STEPS - FIRST_STEPS; i++)
        known = known || s->hashes[i] == hash;
    return known;
}

/* The failure in hand, for messages. */
static char label[512];

static void check_files(const scenario *s) {
    contents now = {0};
    list_files(&now, place, "");
    for (unsigned i = 0; i < now.count; i++)
        if (!is_whole(s, now.files[i].name, now.files[i].hash))
            fail_msg("%s: %s is damaged", label, now.files[i].name);
    for (unsigned i = 0; i < s->before.count; i++)
        if (!ends_with(s->before.files[i].name, ".checkpoint") && !find_file(&now, s->before.files[i].name))
            fail_msg("%s: %s is gone", label, s->before.files[i].name);
}

/* The lines of metrics are whole, up to the last step; one that could not be written may be missing. */
static void check_metrics(void) {
    size_t bytes;
    unsigned step = 0;
    char *content = scratch_read(in(place, "metrics.jsonl"), &bytes);
    for (char *line = content; *line;) {
        char *end = strchr(line, '\n');
        unsigned previous = step;
        if (!end || end[-1] != '}' || sscanf(line, "{\"step\":%u,", &step) != 1 || step <= previous)
            fail_msg("%s: metrics.jsonl: the line after step %u is not whole", label, previous);
        line = end + 1;
    }
    if (step != LAST_STEPS) fail_msg("%s: metrics.jsonl ends with step %u", label, step);
    free(content);
}

/* Nothing was lost if a training that is gone on with ends where it would have ended. */
static void check_going_on(const scenario *s) {
    must_run(label, s->run());
    if (hash_file(in(place, s->result)) != s->hashes[LAST_STEPS - FIRST_STEPS])
        fail_msg("%s: going on ends with another result", label);
    check_metrics();
}

/* What a refused block or page may end with, and what a file that cannot be used may. Where it cannot be told whether
 * something is there, it is taken to be, and not overwritten. */
static bool may_end_with(const failing *f, levee_status status) {
    if (status == LEVEE_DOES_NOT_FIT || status == LEVEE_OK) return true;
    if (f->first < FAULT_FIRST_FILE_POINT) return false;
    return status == LEVEE_IO_ERROR || status == LEVEE_MISSING_INPUT ||
           (status == LEVEE_USAGE && f->point == FAULT_STATUS);
}

/* One run with failures in it. */
static levee_status run_failing(const scenario *s, failing *f) {
    reset(s);
    memset(&error, 0, sizeof error);
    uint64_t booked = ledger_booked(LEVEE_CATEGORY_COUNT);
    unsigned descriptors = open_descriptors();
    failing_start(f);
    levee_status status = s->run();
    failing_stop();
    snprintf(label, sizeof label, "%s: %s number %llu%s: %.200s", s->name, failing_name(f->point),
             (unsigned long long)f->from, f->to > f->from + 1 ? " and all later ones" : "",
             status == LEVEE_OK ? "absorbed" : error.message);
    if (ledger_booked(LEVEE_CATEGORY_COUNT) != booked)
        fail_msg("%s: %lld bytes were not given back", label,
                 (long long)(ledger_booked(LEVEE_CATEGORY_COUNT) - booked));
    if (open_descriptors() != descriptors) fail_msg("%s: a file stays open", label);
    if (status != LEVEE_OK && (error.status != status || !*error.message || strchr(error.message, '\n')))
        fail_msg("%s: no usable message", label);
    return status;
}

static void check_outcome(const scenario *s, const failing *f, levee_status status, bool and_on) {
    if (!may_end_with(f, status)) fail_msg("%s: status %d", label, (int)status);
    check_files(s);
    if (!s->result) return;
    if (status == LEVEE_OK && hash_file(in(place, s->result)) != s->hashes[LAST_STEPS - FIRST_STEPS])
        fail_msg("%s: another result", label);
    if (status == LEVEE_OK && !goes_on) fail_msg("%s: started anew", label);
    if (and_on) check_going_on(s);
}

/* The calls of a run, told apart by the stack that makes them. */
typedef struct census {
    fault_point first, last;
    unsigned count;
    uint64_t hashes[MOST_CALLS];
} census;

static fault note(void *context, fault_point point) {
    census *c = context;
    void *stack[INNERMOST];
    if (point < c->first || point > c->last || !failing_is_counted()) return (fault){0};
    assert_true(c->count < MOST_CALLS);
    int depth = backtrace(stack, INNERMOST);
    c->hashes[c->count++] = XXH64(stack, (size_t)depth * sizeof *stack, point);
    return (fault){0};
}

/* The kinds of calls that failed already, in one way of failing. */
typedef struct history {
    unsigned count;
    uint64_t hashes[MOST_CALLS];
} history;

static bool is_known(const history *h, uint64_t hash) {
    for (unsigned i = 0; i < h->count; i++)
        if (h->hashes[i] == hash) return true;
    return false;
}

static bool is_chosen(history *h, uint64_t hash, unsigned one_of) {
    if (getenv("LEVEE_EVERY_FAULT")) return true;
    if (is_known(h, hash)) return false;
    h->hashes[h->count++] = hash;
    return h->count % one_of == 0;
}

static census *take_census(const scenario *s, fault_point first, fault_point last) {
    static census c;
    c = (census){.first = first, .last = last};
    reset(s);
    failing_count_here();
    fault_install(note, &c);
    levee_status status = s->run();
    fault_install(NULL, NULL);
    must_run(s->name, status);
    return &c;
}

/* Fails chosen calls of a scenario, each alone or from it on. */
static void sweep(const scenario *s, history *h, failing f, bool persistent, const char *words) {
    const census *c = take_census(s, f.first, f.last);
    unsigned runs = 0, absorbed = 0;
    for (unsigned n = 0; n < c->count; n++) {
        if (!is_chosen(h, c->hashes[n], persistent ? 3 : 1)) continue;
        f.from = n;
        f.to = persistent ? UINT64_MAX : n + 1;
        levee_status status = run_failing(s, &f);
        if (!f.struck) fail_msg("%s: was not made this time, of %u", label, c->count);
        check_outcome(s, &f, status, runs++ % (f.first < FAULT_FIRST_FILE_POINT ? 8 : 2) == 0);
        absorbed += status == LEVEE_OK;
    }
    print_message("%s, %s: %u calls, %u runs, %u of them without an error\n", s->name, words, c->count, runs,
                  absorbed);
}

static scenario lora = {.name = "lora", .pristine = "kept", .result = "adapter_model.safetensors", .run = run_lora},
                full = {.name = "full", .pristine = "kept-full", .result = "model.safetensors", .run = run_full},
                head = {.name = "head", .pristine = "kept-head", .result = "model.safetensors", .run = run_head},
                evaluation = {.name = "eval", .pristine = "kept", .run = run_eval},
                probing = {.name = "probe", .pristine = "kept", .run = run_probe},
                generating = {.name = "generate", .pristine = "kept", .run = run_generate},
                init = {.name = "init", .run = run_init},
                configuration = {.name = "options", .pristine = "kept", .run = run_options};
enum { TRAININGS = 3 };
static const char *const types[TRAININGS] = {"lora", "full", "head"};
static scenario *const all[] = {&lora, &full, &head, &evaluation, &probing, &generating, &init, &configuration};
enum { SCENARIOS = sizeof all / sizeof *all };

static void learn_contents(scenario *s) {
    s->before.count = s->after.count = 0;
    reset(s);
    list_files(&s->before, place, "");
    must_run(s->name, s->run());
    list_files(&s->after, place, "");
}

/* Where the runs start from, and what they give when nothing fails. */
static void make_references(scenario *s, const char *type) {
    reset(s);
    for (unsigned steps = FIRST_STEPS; s->result && steps <= LAST_STEPS; steps++) {
        if (steps > FIRST_STEPS) must_run(s->name, train(type, steps));
        s->hashes[steps - FIRST_STEPS] = hash_file(in(place, s->result));
    }
    learn_contents(s);
}

/* So that the tokenizer takes memory for that too. */
static void use_a_normalizer(void) {
    static const char none[] = "\"normalizer\": null", form[] = "\"normalizer\": {\"type\": \"NFC\"}";
    size_t bytes;
    char path[FILE_PATH_BYTES], changed[16384];
    assert_true(file_join(path, root, "model/tokenizer.json"));
    char *content = scratch_read(path, &bytes), *found = strstr(content, none);
    assert_non_null(found);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(found - content), content, form, found + strlen(none));
    scratch_text(root, "model/tokenizer.json", changed);
    free(content);
}

static int setup(void **state) {
    const levee_shape shape = {.hidden_size = 16, .intermediate_size = 16, .layers = 1, .heads = 2, .kv_heads = 1};
    void *stack[4];
    if (file_is_directory("/dev/shm")) setenv("TMPDIR", "/dev/shm", 1); /* where syncing takes no time */
    if (scratch_setup(state)) return -1;
    backtrace(stack, 4); /* loads what it needs */
    snprintf(root, sizeof root, "%s", (char *)*state);
    must_run("model", levee_init(in("model", ""), &shape, 3, &error));
    use_a_normalizer();
    assert_int_equal(mkdir(in("data", ""), 0777), 0);
    assert_int_equal(mkdir(in("runtime", ""), 0700), 0);
    setenv("XDG_RUNTIME_DIR", in("runtime", ""), 1);
    char text[1024] = "";
    for (unsigned i = 0; i < 6; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "{\"text\": \"row %u of the harbour\"}\n", i);
    scratch_text(in("data", ""), "train.jsonl", text);
    scratch_text(in("data", ""), "valid.jsonl", text);
    for (unsigned i = 0; i < TRAININGS; i++) {
        levee_options o = options_of(all[i]->pristine, FIRST_STEPS);
        must_set(&o, "fine_tune_type", types[i]);
        must_run(types[i], levee_train(&o, NULL, NULL, &error));
    }
    for (unsigned i = 0; i < SCENARIOS; i++) make_references(all[i], i < TRAININGS ? types[i] : "");
    return 0;
}

static const fault refused = {.failure = ENOMEM}, broken = {.failure = EIO};

/* All scenarios; what fails in one need not fail in the next again. */
static void sweep_all(fault_point first, fault_point last, fault what, bool persistent, const char *words) {
    static history h;
    const failing f = {.first = first, .last = last, .what = what};
    h.count = 0;
    for (unsigned i = 0; i < SCENARIOS; i++) sweep(all[i], &h, f, persistent, words);
}

static void every_block_may_be_refused(void **state) {
    (void)state;
    sweep_all(FAULT_ALLOCATE, FAULT_ALLOCATE, refused, false, "one block refused");
}

static void all_blocks_may_be_refused_from_one_on(void **state) {
    (void)state;
    sweep_all(FAULT_ALLOCATE, FAULT_ALLOCATE, refused, true, "blocks refused from one on");
}

static void every_block_of_a_library_may_be_refused(void **state) {
    (void)state;
    sweep_all(FAULT_LIBRARY, FAULT_LIBRARY, refused, false, "one block refused to a library");
    sweep_all(FAULT_LIBRARY, FAULT_LIBRARY, refused, true, "blocks refused to libraries from one on");
}

static void every_page_may_be_refused(void **state) {
    (void)state;
    for (int persistent = 0; persistent < 2; persistent++)
        sweep_all(FAULT_RESERVE, FAULT_COMMIT, refused, persistent, "addresses and pages refused");
}

static void every_call_on_a_file_may_fail(void **state) {
    (void)state;
    sweep_all(FAULT_FIRST_FILE_POINT, FAULT_POINT_COUNT, broken, false, "one call on a file failing");
}

static void all_calls_on_files_may_fail_from_one_on(void **state) {
    (void)state;
    sweep_all(FAULT_FIRST_FILE_POINT, FAULT_POINT_COUNT, broken, true, "calls on files failing from one on");
}

/* A disk that is full from one call on. */
static void the_disk_may_be_full_from_one_on(void **state) {
    (void)state;
    sweep_all(FAULT_WRITE, FAULT_TRUNCATE, (fault){.failure = ENOSPC}, true, "disk full from one call on");
}

/* Every second call is interrupted by a signal, and the others move half of what they were asked to. */
static fault interrupt_and_cut(void *context, fault_point point) {
    unsigned *calls = context;
    bool moves = point == FAULT_READ || point == FAULT_WRITE;
    if (!failing_is_counted()) return (fault){0};
    if (point < FAULT_FIRST_FILE_POINT || point == FAULT_MAP || point == FAULT_LIST || point == FAULT_MAKE_DIRECTORY)
        return (fault){0};
    return ++*calls % 2 ? (fault){.failure = EINTR} : (fault){.cut = moves};
}

static void interrupted_and_short_calls_are_made_again(void **state) {
    (void)state;
    for (unsigned i = 0; i < SCENARIOS; i++) {
        const scenario *s = all[i];
        unsigned calls = 0;
        reset(s);
        snprintf(label, sizeof label, "%s: interrupted and short", s->name);
        failing_count_here();
        fault_install(interrupt_and_cut, &calls);
        levee_status status = s->run();
        fault_install(NULL, NULL);
        must_run(label, status);
        assert_true(calls > 4);
        check_files(s);
        if (!s->result) continue;
        assert_true(goes_on);
        check_going_on(s);
    }
}

/* Somebody else who fills the disk, as a run makes its n-th call, but for a few bytes. */
typedef struct filler {
    uint64_t at, calls;
    off_t left_bytes;
} filler;

static fault fill(void *context, fault_point point) {
    filler *f = context;
    if (point < FAULT_OPEN || f->calls++ != f->at) return (fault){0};
    fault_install(NULL, NULL);
    struct statvfs disk;
    int file = open(in("disk", "ballast"), O_WRONLY | O_CREAT, 0600);
    assert_true(file >= 0 && !statvfs(in("disk", ""), &disk));
    assert_int_equal(posix_fallocate(file, 0, (off_t)(disk.f_bavail * disk.f_bsize) - f->left_bytes), 0);
    assert_int_equal(close(file), 0);
    return (fault){0};
}

/* The kernel's own refusals, on a small file system in memory. */
static void a_disk_that_fills_loses_nothing(void **state) {
    (void)state;
    assert_int_equal(mkdir(in("disk", ""), 0777), 0);
    if (mount("tmpfs", in("disk", ""), "tmpfs", 0, "size=70m")) {
        print_message("a file system to fill needs the right to mount one: %s\n", strerror(errno));
        rmdir(in("disk", ""));
        skip();
    }
    static history h;
    unsigned runs = 0, failed = 0;
    h.count = 0;
    place = "disk/work";
    for (unsigned i = 0; i < TRAININGS; i++) {
        scenario there = *all[i];
        const scenario *s = &there;
        learn_contents(&there); /* config.yaml names the place */
        const census *c = take_census(s, FAULT_OPEN, FAULT_POINT_COUNT);
        for (unsigned n = 0; n < c->count; n++) {
            if (!is_chosen(&h, c->hashes[n], 6)) continue;
            filler f = {.at = n, .left_bytes = (off_t)(runs % 3) * 8192};
            reset(s);
            snprintf(label, sizeof label, "%s: disk full at call %u", s->name, n);
            fault_install(fill, &f);
            levee_status status = s->run();
            fault_install(NULL, NULL);
            assert_int_equal(status == LEVEE_OK || status == LEVEE_IO_ERROR, 1);
            check_files(s);
            unlink(in("disk", "ballast"));
            check_going_on(s);
            runs++;
            failed += status != LEVEE_OK;
        }
    }
    place = "work";
    print_message("%u runs on a disk that fills, %u of them with an error\n", runs, failed);
    assert_int_equal(umount(in("disk", "")), 0);
    rmdir(in("disk", ""));
    assert_true(failed > 0);
}

int main(void) {
    levee_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_may_be_refused),
        cmocka_unit_test(all_blocks_may_be_refused_from_one_on),
        cmocka_unit_test(every_block_of_a_library_may_be_refused),
        cmocka_unit_test(every_page_may_be_refused),
        cmocka_unit_test(every_call_on_a_file_may_fail),
        cmocka_unit_test(all_calls_on_files_may_fail_from_one_on),
        cmocka_unit_test(the_disk_may_be_full_from_one_on),
        cmocka_unit_test(interrupted_and_short_calls_are_made_again),
        cmocka_unit_test(a_disk_that_fills_loses_nothing),
    };
    return cmocka_run_group_tests(tests, setup, scratch_teardown);
}

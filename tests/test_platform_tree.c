/* Process trees: on a made /proc of every kind, and on real processes: an orphan, memory from before a fork, a number
 * that belongs to somebody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_kernel.h"
#include "guard/sample.h"
#include "platform/process_tree.h"
#include "scratch.h"

static process_tree tree;

static void make_stat(const fake_kernel *k, int pid, const char *name, char state, int parent, unsigned started) {
    char path[64], text[512];
    snprintf(path, sizeof path, "proc/%d/stat", pid);
    snprintf(text, sizeof text,
             "%d (%s) %c %d 1 1 0 -1 4194560 100 0 0 0 1 2 3 4 20 0 1 0 %u 1000000 200 18446744073709551615 1 1 0\n",
             pid, name, state, parent, started);
    fake_kernel_text(k, path, text);
}

static void make_status(const fake_kernel *k, int pid, unsigned anonymous, unsigned shared, unsigned swapped) {
    char path[64], text[512];
    snprintf(path, sizeof path, "proc/%d/status", pid);
    snprintf(text, sizeof text,
             "Name:\tx\nVmRSS:\t 1 kB\nRssAnon:\t %u kB\nRssFile:\t 10 kB\nRssShmem:\t %u kB\nVmSwap:\t %u kB\n"
             "nonvoluntary_ctxt_switches:\t1\n",
             anonymous, shared, swapped);
    fake_kernel_text(k, path, text);
}

static void make_shares(const fake_kernel *k, int pid, unsigned anonymous, unsigned shared, unsigned swapped) {
    char path[64], text[512];
    snprintf(path, sizeof path, "proc/%d/smaps_rollup", pid);
    snprintf(
        text, sizeof text,
        "00400000-7fff00000000 ---p 00000000 00:00 0    [rollup]\nRss:  1 kB\nPss_Anon: %u kB\nPss_Shmem: %u kB\n"
        "SwapPss: %u kB\n",
        anonymous, shared, swapped);
    fake_kernel_text(k, path, text);
}

/* 10 is the root; 11 and its child 9, and 13, are below it; 12 is below 20, which is a stranger. */
static kernel_roots make_family(fake_kernel *k, const char *directory) {
    kernel_roots roots = fake_kernel_make(k, directory);
    make_stat(k, 10, "watch", 'S', 1, 100);
    make_stat(k, 11, "a) S 1 (", 'R', 10, 110); /* a name that looks like what follows it */
    make_stat(k, 9, "b", 'S', 11, 120);         /* numbers begin anew at the end of their range */
    make_stat(k, 13, "orphan", 'T', 10, 130);
    make_stat(k, 12, "c", 'S', 20, 140);
    make_stat(k, 20, "stranger", 'S', 1, 1);
    make_status(k, 11, 1000, 0, 0);
    make_status(k, 9, 200, 0, 0);
    make_status(k, 13, 30, 0, 4);
    make_status(k, 12, 99999, 0, 0);
    fake_kernel_text(k, "proc/meminfo", "MemTotal: 1 kB\n");
    return roots;
}

static bool is_member(int pid) {
    for (unsigned i = 0; i < tree.count; i++)
        if (tree.members[i].identity.pid == pid) return true;
    return false;
}

static void descendants_are_members(void **state) {
    fake_kernel k;
    kernel_roots roots = make_family(&k, *state);
    process_readings now;
    assert_int_equal(process_tree_open(&tree, roots, 10, NULL), LEVEE_OK);
    process_tree_read(&tree, &now);
    assert_false(now.anonymous.known); /* nobody has looked yet */
    process_tree_look(&tree);
    assert_int_equal(tree.count, 3);
    assert_true(is_member(11) && is_member(9) && is_member(13));
    process_tree_read(&tree, &now);
    assert_true(now.anonymous.known && now.swapped.known && now.file.known);
    assert_int_equal(now.anonymous.value, 1230 * 1024);
    assert_int_equal(now.swapped.value, 4 * 1024);
    assert_int_equal(now.file.value, 30 * 1024);
    process_tree_exclude(&tree, 0, 11);
    process_tree_look(&tree);
    assert_int_equal(tree.count, 1);
    process_tree_exclude(&tree, 0, 0);
    process_tree_look(&tree);
    assert_int_equal(tree.count, 3);
    process_tree_close(&tree);
}

static void remove_process(const fake_kernel *k, int pid) {
    char path[FILE_PATH_BYTES], name[32];
    snprintf(name, sizeof name, "proc/%d", pid);
    assert_true(file_join(path, k->directory, name));
    scratch_remove(path);
}

static void members_come_and_go(void **state) {
    fake_kernel k;
    kernel_roots roots = make_family(&k, *state);
    process_readings now;
    assert_int_equal(process_tree_open(&tree, roots, 10, NULL), LEVEE_OK);
    process_tree_look(&tree);
    remove_process(&k, 11);
    make_stat(&k, 9, "b", 'S', 10, 120); /* which fell to the root */
    make_stat(&k, 12, "c", 'S', 10, 140);
    process_tree_look(&tree);
    assert_int_equal(tree.count, 3);
    assert_true(is_member(9) && is_member(13) && is_member(12));
    make_stat(&k, 13, "another", 'S', 10, 131); /* the number again, for somebody new */
    make_status(&k, 13, 5, 0, 0);
    process_tree_look(&tree);
    process_tree_read(&tree, &now);
    assert_int_equal(now.anonymous.value, (200 + 99999 + 5) * 1024);
    make_stat(&k, 12, "c", 'Z', 10, 140);
    process_tree_look(&tree);
    assert_int_equal(process_tree_living(&tree), 2);
    process_tree_close(&tree);
}

static void what_cannot_be_read_is_unknown(void **state) {
    static const struct {
        const char *label, *status;
        bool known;
        unsigned kilobytes; /* of process 13 */
    } cases[] = {
        {"no memory any more", "Name:\tx\nState:\tZ (zombie)\nnonvoluntary_ctxt_switches:\t1\n", true, 0},
        {"empty", "", false, 0},
        {"cut before its memory", "Name:\tx\nState:\tS (sleeping)\n", false, 0},
        {"cut in its memory", "Name:\tx\nVmRSS:\t 9 kB\nRssAnon:\t 1", false, 0},
        {"garbled", "Name:\tx\nVmRSS:\t 9 kB\nRssAnon:\t lots\nnonvoluntary_ctxt_switches:\t1\n", false, 0},
        {"whole", "Name:\tx\nVmRSS:\t 9 kB\nRssAnon:\t 7 kB\nRssShmem:\t 0 kB\nnonvoluntary_ctxt_switches:\t1\n",
         true, 7},
    };
    fake_kernel k;
    kernel_roots roots = make_family(&k, *state);
    process_readings now;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_kernel_text(&k, "proc/13/status", cases[i].status);
        assert_int_equal(process_tree_open(&tree, roots, 10, NULL), LEVEE_OK);
        process_tree_look(&tree);
        process_tree_read(&tree, &now);
        if (now.anonymous.known != cases[i].known ||
            (cases[i].known && now.anonymous.value != (1200 + cases[i].kilobytes) * 1024))
            fail_msg("%s: %d %llu", cases[i].label, now.anonymous.known, (unsigned long long)now.anonymous.value);
        process_tree_close(&tree);
    }
    fake_kernel_text(&k, "proc/20/stat", "20 (x) S");
    assert_int_equal(process_tree_open(&tree, roots, 10, NULL), LEVEE_OK);
    process_tree_look(&tree);
    process_tree_read(&tree, &now);
    assert_false(now.anonymous.known); /* whose child it is, nobody knows */
    process_tree_close(&tree);
    levee_error error;
    roots.proc = "/nowhere";
    assert_int_equal(process_tree_open(&tree, roots, 10, &error), LEVEE_MISSING_INPUT);
    process_tree_close(&tree);
}

static void shared_memory_counts_once(void **state) {
    fake_kernel k;
    kernel_roots roots = make_family(&k, *state);
    process_readings now;
    for (unsigned i = 0; i < 3; i++) {
        static const int pids[] = {9, 11, 13};
        make_status(&k, pids[i], 900, 60, 30);
        make_shares(&k, pids[i], 300, 20, 10);
    }
    assert_int_equal(process_tree_open(&tree, roots, 10, NULL), LEVEE_OK);
    process_tree_look(&tree);
    process_tree_read(&tree, &now);
    assert_int_equal(now.anonymous.value, 900 * 1024);
    assert_int_equal(now.shared.value, 60 * 1024);
    assert_int_equal(now.swapped.value, 30 * 1024);
    make_status(&k, 13, 1000, 60, 30); /* what is new is its own */
    tree.shares_cost = 1e6;            /* and shares are not read again */
    process_tree_read(&tree, &now);
    assert_int_equal(now.anonymous.value, 1000 * 1024);
    remove_process(&k, 9); /* now the others have more each, which is read at once */
    make_shares(&k, 11, 450, 30, 15);
    make_shares(&k, 13, 550, 30, 15);
    process_tree_look(&tree);
    process_tree_read(&tree, &now);
    assert_int_equal(now.anonymous.value, 1000 * 1024);
    fake_kernel_text(&k, "proc/13/smaps_rollup", "Pss_Anon: 5"); /* then its own counter stands */
    tree.shares_stale = true;
    process_tree_read(&tree, &now);
    assert_int_equal(now.anonymous.value, 1450 * 1024);
    process_tree_close(&tree);
}

static void sampler_samples_the_tree(void **state) {
    fake_kernel k;
    sampler_options options = sampler_options_default();
    sampler s;
    guard_sample sample;
    int64_t unaccounted;
    options.roots = make_family(&k, *state);
    options.tree = &tree;
    options.pid = 11;
    assert_int_equal(process_tree_open(&tree, options.roots, 10, NULL), LEVEE_OK);
    sampler_open(&s, &options);
    sampler_take(&s, &sample);
    assert_int_equal(sample_held(&sample).value, 1230 * 1024);
    assert_false(sample_unaccounted(&sample, &unaccounted)); /* nobody knows its ledger */
    sampler_close(&s);
    process_tree_close(&tree);
}

/* A child that makes a child, tells its number and ends; the grandchild touches memory and stays. */
static pid_t start_orphan(size_t bytes) {
    int result[2];
    pid_t orphan = 0;
    assert_int_equal(pipe(result), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        pid_t grandchild = fork();
        if (grandchild) _exit(grandchild < 0 || write(result[1], &grandchild, sizeof grandchild) < 0);
        char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(memory, 1, bytes);
        grandchild = 1;
        while (write(result[1], &grandchild, sizeof grandchild) > 0) pause();
        _exit(0);
    }
    assert_int_equal(read(result[0], &orphan, sizeof orphan), sizeof orphan);
    assert_int_equal(waitpid(child, NULL, 0), child);
    pid_t ready;
    assert_int_equal(read(result[0], &ready, sizeof ready), sizeof ready);
    close(result[0]);
    close(result[1]);
    return orphan;
}

static void orphans_stay_members(void **state) {
    (void)state;
    enum { BYTES = 32 << 20 };
    process_readings now;
    assert_true(process_tree_adopt());
    pid_t orphan = start_orphan(BYTES);
    assert_int_equal(process_tree_open(&tree, kernel_roots_default, getpid(), NULL), LEVEE_OK);
    process_tree_look(&tree);
    assert_int_equal(tree.count, 1);
    assert_int_equal(tree.members[0].identity.pid, orphan);
    process_tree_read(&tree, &now);
    assert_true(now.anonymous.known && now.anonymous.value >= BYTES);
    /* Not to a process that had the number before: */
    process_identity before = {.pid = orphan, .started = tree.members[0].identity.started - 1};
    assert_false(process_signal(kernel_roots_default, &before, SIGKILL));
    assert_int_equal(waitpid(orphan, NULL, WNOHANG), 0);
    assert_int_equal(process_tree_signal(&tree, SIGKILL), 1);
    assert_int_equal(waitpid(orphan, NULL, 0), orphan);
    assert_false(process_signal(kernel_roots_default, &tree.members[0].identity, SIGKILL));
    process_tree_read(&tree, &now); /* it has ended since the last look */
    assert_true(now.anonymous.known);
    assert_int_equal(now.anonymous.value, 0);
    process_tree_close(&tree);
}

/* This process, from now on, as before Linux 5.3. */
static bool forbid_process_descriptors(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* Runs in a process of its own: 0 when only an own child that was not waited for is reached. */
static int signal_without_descriptors(void) {
    process_identity child, stranger;
    if (!forbid_process_descriptors()) return 77;
    pid_t pid = fork();
    if (!pid) pause();
    if (!process_identify(kernel_roots_default, pid, &child)) return 1;
    if (!process_identify(kernel_roots_default, getppid(), &stranger)) return 2;
    if (process_signal(kernel_roots_default, &stranger, 0)) return 3;
    if (!process_signal(kernel_roots_default, &child, SIGKILL)) return 4;
    if (waitpid(pid, NULL, 0) != pid) return 5;
    return process_signal(kernel_roots_default, &child, 0) ? 6 : 0;
}

static void old_kernels_reach_own_children_only(void **state) {
    (void)state;
    int status;
    pid_t pid = fork();
    if (!pid) _exit(signal_without_descriptors());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static unsigned descriptors(void) {
    DIR *own = opendir("/proc/self/fd");
    unsigned count = 0;
    while (readdir(own)) count++;
    closedir(own);
    return count;
}

static void looking_keeps_no_descriptor_of_who_is_gone(void **state) {
    fake_kernel k;
    kernel_roots roots = make_family(&k, *state);
    process_readings now;
    assert_int_equal(process_tree_open(&tree, roots, 10, NULL), LEVEE_OK);
    unsigned before = descriptors();
    for (unsigned i = 0; i < 20; i++) {
        make_stat(&k, 13, "again", 'S', 10, 200 + i);
        process_tree_look(&tree);
        process_tree_read(&tree, &now);
    }
    assert_int_equal(descriptors(), before + 3);
    process_tree_close(&tree);
    assert_int_equal(descriptors(), before - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(descendants_are_members, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(members_come_and_go, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_is_unknown, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(shared_memory_counts_once, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(sampler_samples_the_tree, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(looking_keeps_no_descriptor_of_who_is_gone, scratch_setup, scratch_teardown),
        cmocka_unit_test(orphans_stay_members),
        cmocka_unit_test(old_kernels_reach_own_children_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Made /proc and /sys: see fake_kernel.h. */
#include "fake_kernel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

kernel_roots fake_kernel_make(fake_kernel *k, const char *directory) {
    k->directory = directory;
    assert_true(file_join(k->proc, directory, "proc") && file_join(k->sys, directory, "sys"));
    assert_int_equal(file_make_directory(k->proc, NULL), LEVEE_OK);
    assert_int_equal(file_make_directory(k->sys, NULL), LEVEE_OK);
    return (kernel_roots){.proc = k->proc, .sys = k->sys};
}

void fake_kernel_write(const fake_kernel *k, const char *path, const char *text, size_t bytes) {
    char whole[FILE_PATH_BYTES];
    assert_true(file_join(whole, k->directory, path));
    char *slash = strrchr(whole, '/');
    *slash = 0;
    assert_int_equal(file_make_directory(whole, NULL), LEVEE_OK);
    *slash = '/';
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

void fake_kernel_text(const fake_kernel *k, const char *path, const char *text) {
    fake_kernel_write(k, path, text, strlen(text));
}

void fake_kernel_files(const fake_kernel *k, const fake_file *files) {
    for (; files->path; files++) fake_kernel_text(k, files->path, files->text);
}

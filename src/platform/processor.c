/* The processor: see processor.h. */
#include "platform/processor.h"

#include <stdio.h>
#include <string.h>

/* Is the word among those of a list separated by spaces? */
static bool has(const char *words, const char *word) {
    size_t length = strlen(word);
    for (const char *at = words; (at = strstr(at, word)); at += length)
        if ((at == words || at[-1] == ' ') && (at[length] == ' ' || !at[length])) return true;
    return false;
}

static void take_features(processor *p, const char *flags) {
    p->features_known = true;
    p->avx2 = has(flags, "avx2") && has(flags, "fma");
    p->avx512 = has(flags, "avx512f") && has(flags, "avx512bw") && has(flags, "avx512vl") && has(flags, "avx512dq");
    p->avx512_bf16 = has(flags, "avx512_bf16");
    p->amx_bf16 = has(flags, "amx_tile") && has(flags, "amx_bf16");
}

/* "model name\t: ..." and "flags\t\t: ..." of the first processor; the others are taken to be like it. */
static bool take_line(void *context, char *line) {
    processor *p = context;
    const char *value = strchr(line, ':');
    if (!value) return true;
    value += 1 + strspn(value + 1, " ");
    if (!strncmp(line, "model name\t", 11) && !*p->name) snprintf(p->name, sizeof p->name, "%.95s", value);
    if (!strncmp(line, "flags\t", 6)) take_features(p, value);
    return !(*p->name && p->features_known);
}

void processor_read(processor *p, kernel_roots roots) {
    char path[KERNEL_PATH_BYTES], text[KERNEL_TEXT_BYTES];
    unsigned whole, hundredths;
    memset(p, 0, sizeof *p);
    snprintf(path, sizeof path, "%s/cpuinfo", roots.proc);
    kernel_file_lines(path, take_line, p);
    kernel_text_read(text, roots.proc, "loadavg");
    if (sscanf(text, "%6u.%2u ", &whole, &hundredths) == 2)
        p->load = (reading){.known = true, .value = 100ull * whole + hundredths};
}

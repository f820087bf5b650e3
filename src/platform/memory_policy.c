/* How the kernel deals with memory: see memory_policy.h. */
#include "platform/memory_policy.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

/* "[always] madvise never": the one in force stands in brackets. */
static huge_pages parse_huge_pages(const char *text) {
    if (strstr(text, "[always]")) return HUGE_PAGES_ALWAYS;
    if (strstr(text, "[madvise]")) return HUGE_PAGES_MADVISE;
    return strstr(text, "[never]") ? HUGE_PAGES_NEVER : HUGE_PAGES_UNKNOWN;
}

/* "some avg10=1.25 avg60=...": two digits always follow the point. */
static reading parse_stall(const char *text, const char *kind) {
    unsigned whole, hundredths;
    const char *line = kernel_text_line(text, kind);
    if (!line || sscanf(line, "avg10=%3u.%2u ", &whole, &hundredths) != 2) return (reading){0};
    return (reading){.known = true, .value = 100 * whole + hundredths};
}

void memory_policy_read(memory_policy *policy, kernel_roots roots) {
    char text[KERNEL_TEXT_BYTES];
    memset(policy, 0, sizeof *policy);
    kernel_text_read(text, roots.sys, "kernel/mm/transparent_hugepage/enabled");
    policy->huge_pages = parse_huge_pages(text);
    kernel_text_read(text, roots.proc, "self/status");
    policy->own_huge_pages = kernel_text_field(text, "THP_enabled:");
    /* Refused but where they are asked for: the status does not show that. */
    if (policy->own_huge_pages.known && prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) > 0) policy->own_huge_pages.value = 0;
    kernel_text_read(text, roots.proc, "sys/vm/overcommit_memory");
    policy->overcommit = kernel_text_number(text);
    kernel_text_read(text, roots.proc, "meminfo");
    policy->commit_limit = kernel_text_field(text, "CommitLimit:");
    policy->committed = kernel_text_field(text, "Committed_AS:");
    kernel_text_read(text, roots.proc, "pressure/memory");
    policy->stall_some10 = parse_stall(text, "some ");
    policy->stall_full10 = parse_stall(text, "full ");
}

/* The findings in their order: see findings.h. */
#include "doctor/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *verdict_name(verdict v) {
    static const char *const names[VERDICT_COUNT] = {"good", "look", "bad"};
    return names[v];
}

void find_figure(finding *found, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(found->figure, sizeof found->figure, format, arguments);
    va_end(arguments);
}

void find_fault(finding *found, verdict v, const char *format, ...) {
    va_list arguments;
    if (v <= found->verdict) return;
    found->verdict = v;
    va_start(arguments, format);
    vsnprintf(found->remedy, sizeof found->remedy, format, arguments);
    va_end(arguments);
}

void doctor_judge(finding findings[FINDINGS], const doctor_facts *facts) {
    static const struct {
        const char *name;
        judge *look;
    } matters[] = {
        {"memory", judge_memory},
        {"swap", judge_swap},
        {"control_group", judge_groups},
        {"limits", judge_limits},
        {"pressure", judge_pressure},
        {"huge_pages", judge_huge_pages},
        {"overcommit", judge_overcommit},
        {"oom_killers", judge_killers},
        {"first_victim", judge_victim},
        {"processor", judge_processor},
        {"threads", judge_threads},
        {"gpu", judge_gpu},
        {"disk", judge_disk},
    };
    _Static_assert(sizeof matters / sizeof *matters == FINDINGS, "one finding a matter");
    memset(findings, 0, FINDINGS * sizeof *findings);
    for (unsigned i = 0; i < FINDINGS; i++) {
        findings[i].name = matters[i].name;
        matters[i].look(&findings[i], facts);
    }
}

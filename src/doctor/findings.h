/* What the doctor says of the facts: one finding a matter, each with its figure, and with a remedy where it is not
 * good.
 *
 * Words. `good`: nothing to do. `look`: a run works, but something here can hurt it or a neighbour, or is not known.
 * `bad`: a run would be refused, ended, or could not store its result.
 *
 * Judging is a function of the facts alone. Nothing here allocates, reads or prints. */
#ifndef LEVEE_DOCTOR_FINDINGS_H
#define LEVEE_DOCTOR_FINDINGS_H

#include "doctor/facts.h"

typedef enum verdict { VERDICT_GOOD, VERDICT_LOOK, VERDICT_BAD, VERDICT_COUNT } verdict;

enum { FINDING_FIGURE_BYTES = 320, FINDING_REMEDY_BYTES = 320 };

typedef struct finding {
    const char *name; /* "memory", "swap", ... */
    verdict verdict;
    char figure[FINDING_FIGURE_BYTES];
    char remedy[FINDING_REMEDY_BYTES]; /* empty when it is good */
} finding;

/* Of one matter; the finding has its name already and is good until said otherwise. */
typedef void judge(finding *found, const doctor_facts *facts);

/* Of memory (judge_memory.c). */
judge judge_memory, judge_swap, judge_groups, judge_limits;
/* Of the kernel's ways with it (judge_kernel.c). */
judge judge_pressure, judge_huge_pages, judge_overcommit, judge_killers, judge_victim;
/* Of the rest of the machine (judge_machine.c). */
judge judge_processor, judge_threads, judge_gpu, judge_disk;

/* "good", "look", "bad" */
const char *verdict_name(verdict v);

enum { FINDINGS = 13 };

/* Judges everything, in the order in which it is told. */
void doctor_judge(finding findings[FINDINGS], const doctor_facts *facts);

/* For the judges: sets the figure, and (find_fault) verdict and remedy. The more serious verdict of two is kept, with
 * its remedy. */
void find_figure(finding *found, const char *format, ...) __attribute__((format(printf, 2, 3)));
void find_fault(finding *found, verdict v, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif

/* Memory as a table for people: planned by category, and measured beside it. */
#ifndef LEVEE_REPORT_TABLE_H
#define LEVEE_REPORT_TABLE_H

#include "levee.h"

enum { TABLE_BYTES = 4096 };

/* Appends to a table what still fits. */
void table_add(char text[TABLE_BYTES], const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes the plan: a line a category that is not empty, the total, and the budget. */
void table_of_plan(char text[TABLE_BYTES], const uint64_t planned[LEVEE_CATEGORY_COUNT], uint64_t budget_bytes);

/* Writes prediction against measurement, and the budget. */
void table_of_result(char text[TABLE_BYTES], uint64_t predicted_bytes, uint64_t measured_bytes,
                     uint64_t budget_bytes);

#endif

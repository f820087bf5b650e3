/* Memory as a table: see table.h. */
#include "report/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

void table_add(char text[TABLE_BYTES], const char *format, ...) {
    size_t length = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + length, TABLE_BYTES - length, format, arguments);
    va_end(arguments);
}

void table_of_plan(char text[TABLE_BYTES], const uint64_t planned[LEVEE_CATEGORY_COUNT], uint64_t budget_bytes) {
    char number[BYTES_TEXT];
    uint64_t total = 0;
    text[0] = 0;
    table_add(text, "  %-12s %12s\n", "memory", "planned");
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) {
        total += planned[c];
        if (planned[c])
            table_add(text, "  %-12s %12s\n", levee_category_name((levee_category)c),
                      bytes_format(number, planned[c]));
    }
    table_add(text, "  %-12s %12s\n", "total", bytes_format(number, total));
    table_add(text, "  %-12s %12s", "budget", bytes_format(number, budget_bytes));
}

void table_of_result(char text[TABLE_BYTES], uint64_t predicted_bytes, uint64_t measured_bytes,
                     uint64_t budget_bytes) {
    char predicted[BYTES_TEXT], measured[BYTES_TEXT], budget[BYTES_TEXT];
    double difference = (double)measured_bytes - (double)predicted_bytes;
    text[0] = 0;
    table_add(text, "peak memory: predicted %s, measured %s (%+.1f MiB, %+.2f %%), budget %s: %s",
              bytes_format(predicted, predicted_bytes), bytes_format(measured, measured_bytes), difference / 0x1p20,
              100 * difference / (double)predicted_bytes, bytes_format(budget, budget_bytes),
              measured_bytes <= budget_bytes ? "held" : "NOT HELD");
}

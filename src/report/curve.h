/* A picture of memory over one pass, stacked by category, an operator a column: as SVG, or as a page that holds it.
 */
#ifndef LEVEE_REPORT_CURVE_H
#define LEVEE_REPORT_CURVE_H

#include "levee.h"
#include "text/buffer.h"

enum { CURVE_NAME_BYTES = 96 };

typedef enum curve_part { CURVE_FORWARD, CURVE_HEAD, CURVE_BACKWARD } curve_part;

/* One operator, in the order in which they run. */
typedef struct curve_point {
    char name[CURVE_NAME_BYTES];
    curve_part part;
    int32_t layer; /* negative: outside the layers */
    uint64_t bytes[LEVEE_CATEGORY_COUNT];
} curve_point;

typedef struct curve {
    const char *title, *subtitle;
    const curve_point *points; /* at least one */
    uint32_t count;
    uint64_t planned_bytes; /* what the run takes: the highest column, and what packing leaves unused */
    uint64_t budget_bytes;
} curve;

/* Appends the picture. */
levee_status curve_draw(text_buffer *text, const curve *c, bool as_page, levee_error *error);

#endif

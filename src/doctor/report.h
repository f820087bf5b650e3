/* Findings as text for people, or as one JSON object. */
#ifndef LEVEE_DOCTOR_REPORT_H
#define LEVEE_DOCTOR_REPORT_H

#include "doctor/calibration.h"
#include "doctor/findings.h"
#include "text/buffer.h"

/* How many findings have this verdict. */
unsigned findings_count(const finding findings[FINDINGS], verdict v);

/* What was measured beside, if anything was, and where it was stored. */
typedef struct measured {
    calibration rates;
    char path[FILE_PATH_BYTES];
} measured;

/* Appends the report; the text has no newline at its end. `m` NULL: nothing was measured. */
levee_status findings_text(text_buffer *text, const finding findings[FINDINGS], const measured *m,
                           levee_error *error);
levee_status findings_json(text_buffer *text, const finding findings[FINDINGS], const measured *m,
                           levee_error *error);

#endif

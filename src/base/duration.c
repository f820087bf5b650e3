/* Durations: see duration.h. */
#include "base/duration.h"

#include <stdio.h>

char *duration_format(char text[DURATION_TEXT], double seconds, int digits) {
    double minutes = seconds / 60, hours = minutes / 60;
    if (seconds < 120)
        snprintf(text, DURATION_TEXT, "%.*f s", digits, seconds);
    else if (minutes < 120)
        snprintf(text, DURATION_TEXT, "%.*f min", digits, minutes);
    else if (hours < 48)
        snprintf(text, DURATION_TEXT, "%.1f h", hours);
    else
        snprintf(text, DURATION_TEXT, "%.1f days", hours / 24);
    return text;
}

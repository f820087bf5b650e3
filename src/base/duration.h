/* Durations, written for people. */
#ifndef LEVEE_BASE_DURATION_H
#define LEVEE_BASE_DURATION_H

enum { DURATION_TEXT = 32 };

/* Writes "12.5 s", "25.0 min", "3.1 h" or "9.5 days" into text, and returns it: seconds below two minutes, minutes
 * below two hours, hours below two days. `digits` stand behind the point of seconds and minutes. */
char *duration_format(char text[DURATION_TEXT], double seconds, int digits);

#endif

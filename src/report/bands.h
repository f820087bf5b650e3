/* Categories of memory as coloured bands that lie on each other, in all pictures alike. */
#ifndef LEVEE_REPORT_BANDS_H
#define LEVEE_REPORT_BANDS_H

#include <stdbool.h>

#include "levee.h"

enum { BANDS = LEVEE_CATEGORY_COUNT, BANDS_STYLE_BYTES = 512 };

/* The category of a band, from the lowest, number 0: what lasts lies lowest, as it does in memory. */
levee_category band_category(unsigned band);

/* Writes a rule a band: ".b0{fill:#8a8f98}". */
const char *bands_style(char text[BANDS_STYLE_BYTES], bool dark);

#endif

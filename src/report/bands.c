/* The order and colours of categories: see bands.h. */
#include "report/bands.h"

#include <stdio.h>

static const struct {
    levee_category category;
    const char *light, *dark;
} bands[] = {
    {LEVEE_RUNTIME, "#8a8f98", "#737985"},     {LEVEE_TOKENIZER, "#5f8fa8", "#7fb0c9"},
    {LEVEE_IO, "#a8547c", "#c97a9e"},          {LEVEE_WEIGHTS, "#b0a08a", "#9c8b73"},
    {LEVEE_TRAINABLE, "#2f6db5", "#4f8fd9"},   {LEVEE_GRADIENTS, "#c4473a", "#dd6a5c"},
    {LEVEE_OPTIMIZER, "#7a4fa3", "#a07acb"},   {LEVEE_DATA, "#4c4f54", "#c9ccd1"},
    {LEVEE_ACTIVATIONS, "#3c9a7c", "#4bb594"}, {LEVEE_WORKSPACE, "#e0a02f", "#eab54e"},
};
_Static_assert(sizeof bands / sizeof *bands == BANDS, "each category has its band");

levee_category band_category(unsigned band) { return bands[band].category; }

const char *bands_style(char text[BANDS_STYLE_BYTES], bool dark) {
    int length = 0;
    for (unsigned b = 0; b < BANDS; b++)
        length += snprintf(text + length, BANDS_STYLE_BYTES - (size_t)length, ".b%u{fill:%s}", b,
                           dark ? bands[b].dark : bands[b].light);
    return text;
}

/* Where in a rendered conversation the model itself speaks: see example.h. */
#ifndef LEVEE_DATA_TURNS_H
#define LEVEE_DATA_TURNS_H

#include "data/example.h"

/* Copies the rendering `output` of `input` to m->whole, and finds its turns: m->turns, and m->hidden_turns. The
 * rendering is gone afterwards. */
levee_status turns_find(example_maker *m, const chat_template_input *input, const chat_template_output *output,
                        levee_error *error);

#endif

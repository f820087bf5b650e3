/* The stages of a tokenizer around the encoding itself: normalizer, pre-tokenizer, decoder. Each is a list of steps
 * read from tokenizer.json; a step of an unknown type is refused by name. */
#ifndef LEVEE_TEXT_STAGES_H
#define LEVEE_TEXT_STAGES_H

#include <jansson.h>

#include "text/pattern.h"

typedef enum step_kind {
    STEP_PREPEND,       /* normalizer: puts `text` before a text that is not empty */
    STEP_REPLACE,       /* normalizer, decoder: every match becomes `text` */
    STEP_UNICODE,       /* normalizer: NFC, NFD, NFKC or NFKD, by `option` */
    STEP_LOWERCASE,     /* normalizer */
    STEP_STRIP,         /* normalizer: white space at the ends; decoder: up to `start` and `stop` times `text` */
    STEP_SPLIT,         /* pre-tokenizer */
    STEP_BYTE_LEVEL,    /* pre-tokenizer: perhaps a space in front and GPT-2's split; decoder: characters to bytes */
    STEP_METASPACE,     /* pre-tokenizer and decoder: spaces as `text` */
    STEP_BYTE_FALLBACK, /* decoder: <0xNN> to bytes */
    STEP_FUSE,          /* decoder: all pieces become one */
} step_kind;

typedef enum split_behaviour {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_WITH_PREVIOUS,
    SPLIT_WITH_NEXT,
    SPLIT_CONTIGUOUS
} split_behaviour;

enum { STAGE_STEPS = 16, STEP_TEXT_BYTES = 64 };

typedef struct step {
    step_kind kind;
    pattern *match;
    char text[STEP_TEXT_BYTES];
    int option;
    unsigned start, stop;
    split_behaviour behaviour;
    bool invert, prefix_space, prefix_first_only, split;
} step;

typedef struct stage {
    step steps[STAGE_STEPS];
    unsigned count;
} stage;

/* Read "normalizer", "pre_tokenizer" or "decoder"; null gives an empty stage. stage_close accepts a zeroed stage. */
levee_status stage_read_normalizer(stage *s, const json_t *description, levee_error *error);
levee_status stage_read_pretokenizer(stage *s, const json_t *description, levee_error *error);
levee_status stage_read_decoder(stage *s, const json_t *description, levee_error *error);
void stage_close(stage *s);

/* Has all patterns give back what they keep (pattern_trim). */
void stage_trim(stage *s);

/* Does a stage have a step of this kind? */
bool stage_has(const stage *s, step_kind kind);

/* Normalises `text` in place; `scratch` is overwritten. */
levee_status stage_normalise(stage *s, text_buffer *text, text_buffer *scratch, levee_error *error);

/* Splits `text`, which may change (a space in front), into words. `first` says that it begins the whole input. */
levee_status stage_split(stage *s, text_buffer *text, text_buffer *scratch, bool first, piece_list *words,
                         piece_list *other, levee_error *error);

/* Turns token texts (pieces of `text`) into the decoded text, which replaces `text`. */
levee_status stage_decode(stage *s, text_buffer *text, piece_list *tokens, text_buffer *scratch, piece_list *other,
                          levee_error *error);

#endif

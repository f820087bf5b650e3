/* A row as an example to learn from: its tokens, and which of them count in the loss. The one way from a row to
 * tokens, for training and for those who want to see what is trained on.
 *
 * A text is tokenised as it is, with the special tokens that the tokenizer adds and an end token. A conversation is
 * rendered by the model's chat template (the one that is named "tool_use", if there is one and the row has tools),
 * and what that gives is tokenised without adding anything.
 *
 * With `mask_prompt` only what the model itself is to say counts. Where a template marks that by generation blocks,
 * they are the turns. Otherwise, and where such a block's place is not known (captured_generations), a turn of the
 * role "assistant" begins where the rendering of the messages before it, with the beginning of an answer, parts from
 * the whole, and ends where the rendering of the messages up to it ends; the last message's turn ends with the text.
 * Both renderings must begin as the whole does: a template may write a turn otherwise when others follow. Such a turn
 * does not count, and is told of (hidden_turns); if it is the last, the row is refused.
 *
 * A token counts when it begins a turn or lies within one. One that has characters on both sides of a turn's begin
 * counts, since it is not what the prompt alone would give.
 *
 * Memory is booked under `data` and `tokenizer`, and kept for the next row. Not thread-safe. */
#ifndef LEVEE_DATA_EXAMPLE_H
#define LEVEE_DATA_EXAMPLE_H

#include "data/rows.h"
#include "text/buffer.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

typedef struct example_maker {
    tokenizer *tokens;           /* not owned */
    const char *model_directory; /* where the chat template is opened when a row needs it; NULL: there is none */
    bool append_eos, mask_prompt;
    bool add_generation_prompt; /* ends conversations with the beginning of an answer: to look at, not to train on */
    const char *bos_token, *eos_token; /* for the template instead of the model's; NULL: the model's */
    bool bare_texts;                   /* texts without the special tokens that the tokenizer adds */
    int64_t now_seconds; /* since 1970: what a template is told that it is, so that it says the same again;
                                    0: the time when it is opened */

    bool told_time; /* a template asked for it */

    /* The example in hand. */
    token_list ids;
    uint8_t *mask;         /* [ids.count], 0 or 1: does the token count? NULL: each does */
    uint64_t hidden_turns; /* turns that should count, but whose place is not known */
    const char *text;      /* that was tokenised; until the next row */
    uint64_t text_bytes;

    chat_template *chats[2]; /* of rows without and with tools; NULL: not opened yet */
    chat_template *chat;     /* of the row in hand: one of these */
    uint8_t *mask_room;      /* [mask_capacity] */
    uint64_t mask_capacity;
    text_buffer whole; /* the rendered conversation, while its parts are rendered */
    piece_list turns;  /* ranges of it */
    token_list part;   /* tokens of a part of it */
} example_maker;

/* What the rows took so far: the most of each kind. */
typedef struct example_room {
    uint64_t template_bytes[2], whole_bytes, turns, part_ids, mask_bytes;
} example_room;

/* Makes a row into m->ids, m->mask and m->text. What is wrong with the row is LEVEE_BAD_DATA without its place. */
levee_status example_make(example_maker *m, const row_content *row, levee_error *error);

/* Tokenises a text into m->ids as a row of it would be. */
levee_status example_encode_text(example_maker *m, const char *text, uint64_t bytes, levee_error *error);

/* Tells apart what rows were rendered with; 0: no row was. */
uint64_t example_template_hash(const example_maker *m);

example_room example_room_taken(const example_maker *m);

/* Takes as much at once, and room for `ids` tokens: rows that took no more before take nothing now. */
levee_status example_reserve(example_maker *m, const example_room *room, uint64_t ids, levee_error *error);

/* Frees all but the settings; accepts a zeroed maker. */
void example_release(example_maker *m);

#endif

/* Rendered texts that answers share: everybody who asks at the same moment gets the same one, so that many clients
 * take no more memory than few.
 *
 * A block is free, or the newest of its kind, or still being sent; what is newest is rendered anew when the board has
 * changed, or after a second. When all blocks are being sent, there is none: whoever asks comes again. Streams have
 * blocks of their own, one a second at most, and a client that does not take its message is dropped before they are
 * used up (server.c): so nobody who asks for something else can stop them.
 *
 * All functions are for one thread. */
#ifndef LEVEE_WEB_BLOCKS_H
#define LEVEE_WEB_BLOCKS_H

#include <microhttpd.h>

#include "monitor/board.h"
#include "platform/consumers.h"
#include "web/exposition.h"

enum { BLOCK_BYTES = 24 * 1024, BLOCK_COUNT = 40, BLOCKS_OF_STREAMS = 24 };

typedef enum block_kind { BLOCK_MESSAGE, BLOCK_STATE, BLOCK_METRICS, BLOCK_KINDS } block_kind;

typedef struct web_block {
    bool used;
    unsigned readers; /* streams in the middle of it */
    bool newest, sent_by_library;
    size_t length;
    struct MHD_Response *answer; /* while it is the newest of a kind that is an answer */
    char text[BLOCK_BYTES];
} web_block;

typedef struct web_blocks {
    web_block *blocks; /* [BLOCK_COUNT] */
    struct {
        web_block *block;
        uint64_t version;
        double rendered; /* machine_seconds() */
    } newest[BLOCK_KINDS];
} web_blocks;

/* Takes the memory. blocks_close is due when the library has let go of all answers; accepts a zeroed one. */
levee_status blocks_open(web_blocks *b, levee_error *error);
void blocks_close(web_blocks *b);

/* The newest block of a kind, rendered if need be; NULL when there is none free. Of an answer `head` is called once
 * for each response that is made: it adds headers. */
web_block *blocks_get(web_blocks *b, block_kind kind, board *shown, const consumers *others, const web_counts *counts,
                      bool (*head)(struct MHD_Response *answer, const char *type));

/* A stream begins to read a message, and has ended. */
void blocks_hold(web_block *block);
void blocks_release(web_block *block);

/* Drops what is newest, so that the library may free it. */
void blocks_forget(web_blocks *b);

#endif

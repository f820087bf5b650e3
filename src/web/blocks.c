/* Rendered texts that answers share: see blocks.h. */
#include "web/blocks.h"

#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "platform/machine.h"
#include "web/state.h"

static const double stale_seconds = 1;

levee_status blocks_open(web_blocks *b, levee_error *error) {
    uint64_t bytes = BLOCK_COUNT * sizeof *b->blocks;
    *b = (web_blocks){.blocks = ledger_alloc(LEVEE_RUNTIME, bytes)};
    if (!b->blocks) return error_out_of_memory(error, "texts of the page", bytes);
    for (uint64_t i = 0; i < bytes; i += 4096) ((volatile char *)b->blocks)[i] = 0; /* touched: held from now on */
    return LEVEE_OK;
}

void blocks_close(web_blocks *b) {
    ledger_free(b->blocks);
    *b = (web_blocks){0};
}

static void free_if_done(web_block *block) {
    if (!block->newest && !block->readers && !block->sent_by_library) block->used = false;
}

/* The library has sent it to the last who asked, and we have let go of it. */
static void sent(void *context) {
    web_block *block = context;
    block->sent_by_library = false;
    free_if_done(block);
}

static void forget(web_blocks *b, block_kind kind) {
    web_block *block = b->newest[kind].block;
    if (!block) return;
    b->newest[kind].block = NULL;
    block->newest = false;
    struct MHD_Response *answer = block->answer;
    block->answer = NULL;
    if (answer)
        MHD_destroy_response(answer); /* which calls sent(), now or later */
    else
        free_if_done(block);
}

void blocks_forget(web_blocks *b) {
    for (unsigned k = 0; k < BLOCK_KINDS; k++) forget(b, (block_kind)k);
}

static web_block *find_free(web_blocks *b, block_kind kind) {
    unsigned begin = kind == BLOCK_MESSAGE ? 0 : BLOCKS_OF_STREAMS;
    unsigned end = kind == BLOCK_MESSAGE ? BLOCKS_OF_STREAMS : BLOCK_COUNT;
    for (unsigned i = begin; i < end; i++)
        if (!b->blocks[i].used) return &b->blocks[i];
    return NULL;
}

static bool render(web_block *block, block_kind kind, const board_view *view, const consumers *others,
                   const web_counts *counts) {
    web_text t = {.text = block->text, .room = sizeof block->text};
    if (kind == BLOCK_METRICS)
        exposition_put(&t, view, counts);
    else {
        if (kind == BLOCK_MESSAGE) web_put(&t, "data: ");
        state_put(&t, view, others);
        web_put(&t, kind == BLOCK_MESSAGE ? "\n\n" : "\n");
    }
    block->length = t.length;
    return !t.cut;
}

static bool make_answer(web_block *block, block_kind kind,
                        bool (*head)(struct MHD_Response *answer, const char *type)) {
    static const char *const types[BLOCK_KINDS] = {NULL, "application/json",
                                                   "text/plain; version=0.0.4; charset=utf-8"};
    if (kind == BLOCK_MESSAGE) return true;
    block->answer = MHD_create_response_from_buffer_with_free_callback_cls(block->length, block->text, sent, block);
    if (!block->answer) return false;
    block->sent_by_library = true;
    if (head(block->answer, types[kind])) return true;
    MHD_destroy_response(block->answer);
    block->answer = NULL;
    return false;
}

web_block *blocks_get(web_blocks *b, block_kind kind, board *shown, const consumers *others, const web_counts *counts,
                      bool (*head)(struct MHD_Response *answer, const char *type)) {
    double now = machine_seconds();
    bool fresh = b->newest[kind].version == board_version(shown) && now - b->newest[kind].rendered < stale_seconds;
    if (b->newest[kind].block && fresh) return b->newest[kind].block;
    forget(b, kind);
    web_block *block = find_free(b, kind);
    if (!block) return NULL;
    board_view view;
    board_view_copy(shown, &view);
    block->used = block->newest = true;
    if (!render(block, kind, &view, others, counts) || !make_answer(block, kind, head)) {
        block->newest = false;
        free_if_done(block);
        return NULL;
    }
    b->newest[kind].block = block;
    b->newest[kind].version = view.version;
    b->newest[kind].rendered = now;
    return block;
}

void blocks_hold(web_block *block) { block->readers++; }

void blocks_release(web_block *block) {
    block->readers--;
    free_if_done(block);
}

/* A row as an example: see example.h. */
#include "data/example.h"

#include <string.h>
#include <xxhash.h>

#include "base/error.h"
#include "data/turns.h"
#include "memory/ledger.h"

/* The time that was fixed, not the system's. */
static void tell_time(void *context, struct tm *now) {
    example_maker *m = context;
    m->told_time = true;
    time_t seconds = (time_t)m->now_seconds;
    localtime_r(&seconds, now);
}

/* Makes the template for rows with or without tools the one in hand. */
static levee_status take_template(example_maker *m, bool tools, levee_error *error) {
    m->chat = m->chats[tools];
    if (m->chat) return LEVEE_OK;
    chat_template_options options = chat_template_defaults();
    options.variant = tools ? "tool_use" : NULL;
    options.clock = tell_time;
    options.clock_context = m;
    options.bos_token = m->bos_token;
    options.eos_token = m->eos_token;
    if (!m->now_seconds) m->now_seconds = (int64_t)time(NULL);
    levee_status status = m->model_directory
                              ? chat_template_open(&m->chats[tools], m->model_directory, &options, error)
                              : error_set(error, LEVEE_MISSING_INPUT, "the model has no chat template");
    m->chat = m->chats[tools];
    if (status != LEVEE_MISSING_INPUT) return status;
    error_context(error,
                  "a row of a prompt or of messages needs a chat template: put the model's chat_template.jinja "
                  "into its directory, or write the rows as {\"text\": \"...\"}");
    if (error) error->status = LEVEE_BAD_DATA;
    return LEVEE_BAD_DATA;
}

levee_status example_encode_text(example_maker *m, const char *text, uint64_t bytes, levee_error *error) {
    token_list *ids = &m->ids;
    ids->count = 0;
    m->mask = NULL;
    m->text = text;
    m->text_bytes = bytes;
    levee_status status = tokenizer_encode(m->tokens, text, bytes, !m->bare_texts, ids, error);
    if (status != LEVEE_OK) return status;
    int64_t eos = tokenizer_eos(m->tokens);
    if (!m->append_eos || eos < 0 || (ids->count > 0 && ids->ids[ids->count - 1] == (uint32_t)eos)) return LEVEE_OK;
    return token_list_add(ids, (uint32_t)eos, error);
}

static levee_status make_mask_room(example_maker *m, uint64_t bytes, levee_error *error) {
    if (bytes <= m->mask_capacity) return LEVEE_OK;
    uint8_t *larger = ledger_resize(LEVEE_DATA, m->mask_room, bytes);
    if (!larger) return error_out_of_memory(error, "which tokens of a row count", bytes);
    m->mask_room = larger;
    m->mask_capacity = bytes;
    return LEVEE_OK;
}

/* How many tokens of the example lie before byte `end` of its text, and whether the next lies there in part: the
 * tokens that the text up to there, tokenised alone, has in common with the whole. */
static levee_status count_tokens_before(example_maker *m, uint64_t end, uint64_t *count, bool *parted,
                                        levee_error *error) {
    m->part.count = *count = 0;
    levee_status status = tokenizer_encode(m->tokens, m->text, end, false, &m->part, error);
    if (status != LEVEE_OK) return status;
    uint64_t most = m->part.count < m->ids.count ? m->part.count : m->ids.count;
    while (*count < most && m->part.ids[*count] == m->ids.ids[*count]) ++*count;
    *parted = *count < m->part.count && *count < m->ids.count;
    return LEVEE_OK;
}

static levee_status mark_turns(example_maker *m, levee_error *error) {
    levee_status status = make_mask_room(m, m->ids.count ? m->ids.count : 1, error);
    if (status != LEVEE_OK) return status;
    m->mask = m->mask_room;
    memset(m->mask, 0, m->ids.count);
    for (uint64_t i = 0; i < m->turns.count; i++) {
        const text_piece *turn = &m->turns.pieces[i];
        uint64_t begin, end = m->ids.count, after = turn->offset + turn->bytes;
        bool parted = false, last = after == m->text_bytes; /* the whole text is tokenised already */
        if (!turn->bytes) continue;
        status = count_tokens_before(m, turn->offset, &begin, &parted, error);
        parted = false;
        if (status == LEVEE_OK && !last) status = count_tokens_before(m, after, &end, &parted, error);
        if (status != LEVEE_OK) return status;
        end += parted;
        if (end > begin) memset(m->mask + begin, 1, end - begin);
    }
    return LEVEE_OK;
}

static levee_status make_chat(example_maker *m, const row_content *row, levee_error *error) {
    chat_template_output output = {0};
    levee_status status = take_template(m, row->tools, error);
    if (status != LEVEE_OK) return status;
    chat_template_input input = {.messages = row->messages,
                                 .message_count = UINT64_MAX,
                                 .tools = row->tools,
                                 .add_generation_prompt = m->add_generation_prompt};
    status = chat_template_render(m->chat, &input, &output, error);
    if (status != LEVEE_OK) return status;
    m->text = output.text;
    m->text_bytes = output.bytes;
    if (m->mask_prompt) {
        status = turns_find(m, &input, &output, error);
        m->text = m->whole.data; /* the rendering may be gone */
    }
    if (status == LEVEE_OK) status = tokenizer_encode(m->tokens, m->text, m->text_bytes, false, &m->ids, error);
    return status == LEVEE_OK && m->mask_prompt ? mark_turns(m, error) : status;
}

levee_status example_make(example_maker *m, const row_content *row, levee_error *error) {
    m->ids.count = m->hidden_turns = 0;
    m->mask = NULL;
    if (row->kind == ROW_CHAT) return make_chat(m, row, error);
    if (m->mask_prompt)
        return error_set(error, LEVEE_BAD_DATA,
                         "a row of text has no prompt that --mask-prompt could leave out; write it as messages or as "
                         "prompt and completion, or train without --mask-prompt");
    return example_encode_text(m, row->text, row->text_bytes, error);
}

uint64_t example_template_hash(const example_maker *m) {
    uint64_t hashes[2] = {0};
    if (!m->chats[0] && !m->chats[1]) return 0;
    for (unsigned tools = 0; tools < 2; tools++)
        if (m->chats[tools]) hashes[tools] = chat_template_fingerprint(m->chats[tools]);
    return XXH64(hashes, sizeof hashes, 0);
}

example_room example_room_taken(const example_maker *m) {
    return (example_room){.template_bytes = {m->chats[0] ? chat_template_room_taken(m->chats[0]) : 0,
                                             m->chats[1] ? chat_template_room_taken(m->chats[1]) : 0},
                          .whole_bytes = m->whole.capacity,
                          .turns = m->turns.capacity,
                          .part_ids = m->part.capacity,
                          .mask_bytes = m->mask_capacity};
}

levee_status example_reserve(example_maker *m, const example_room *room, uint64_t ids, levee_error *error) {
    levee_status status = LEVEE_OK;
    for (unsigned tools = 0; tools < 2 && status == LEVEE_OK; tools++) {
        if (!room->template_bytes[tools]) continue;
        status = take_template(m, tools, error);
        if (status == LEVEE_OK) status = chat_template_reserve(m->chat, room->template_bytes[tools], error);
    }
    if (status == LEVEE_OK && room->whole_bytes) status = text_reserve(&m->whole, room->whole_bytes - 1, error);
    if (status == LEVEE_OK) status = pieces_reserve(&m->turns, room->turns, error);
    if (status == LEVEE_OK) status = token_list_reserve(&m->part, room->part_ids, error);
    if (status == LEVEE_OK) status = make_mask_room(m, room->mask_bytes, error);
    if (status != LEVEE_OK) return status;
    token_list_free(&m->ids);
    m->ids.ids = ledger_alloc_array(LEVEE_DATA, ids, sizeof *m->ids.ids);
    if (!m->ids.ids) return error_out_of_memory(error, "the tokens of the longest row", ids * sizeof *m->ids.ids);
    m->ids.capacity = ids;
    return LEVEE_OK;
}

void example_release(example_maker *m) {
    token_list_free(&m->ids);
    token_list_free(&m->part);
    text_free(&m->whole);
    pieces_free(&m->turns);
    ledger_free(m->mask_room);
    m->mask_room = m->mask = NULL;
    m->mask_capacity = 0;
    m->text = NULL;
    for (unsigned tools = 0; tools < 2; tools++) {
        chat_template_close(m->chats[tools]);
        m->chats[tools] = NULL;
    }
    m->chat = NULL;
}

/* Where in a rendered conversation the model itself speaks: see example.h. */
#include "data/turns.h"

#include <string.h>

#include "base/error.h"

static levee_status add_blocks(example_maker *m, const chat_template_output *output, levee_error *error) {
    levee_status status = LEVEE_OK;
    for (uint64_t i = 0; i < output->generated_count && status == LEVEE_OK; i++)
        status = pieces_append(&m->turns, output->generated[i].offset, output->generated[i].bytes, error);
    return status;
}

/* A part of the conversation as the template writes it alone; `common` is how many bytes begin the whole too, and
 * `begins_whole` whether all do. A template may refuse a part (a conversation that ends with a system message, say):
 * then nothing is in common. */
typedef struct part_rendering {
    uint64_t common;
    bool begins_whole;
} part_rendering;

static levee_status render_part(example_maker *m, const chat_template_input *whole, uint64_t messages, bool prompt,
                                part_rendering *part, levee_error *error) {
    chat_template_input input = *whole;
    chat_template_output output;
    levee_error refused;
    input.message_count = messages;
    input.add_generation_prompt = prompt;
    *part = (part_rendering){0};
    levee_status status = chat_template_render(m->chat, &input, &output, &refused);
    if (status == LEVEE_BAD_DATA) return LEVEE_OK;
    if (status != LEVEE_OK) return error_set(error, status, "%s", refused.message);
    uint64_t most = output.bytes < m->whole.bytes ? output.bytes : m->whole.bytes;
    while (part->common < most && output.text[part->common] == m->whole.data[part->common]) part->common++;
    part->begins_whole = part->common == output.bytes;
    return LEVEE_OK;
}

/* Where the turn of message `index` begins. The beginning of an answer may go further than the answer that is there
 * (it may open a thought): then they part within it, and that is where the turn begins, if the conversation before it
 * is the same. */
static levee_status find_begin(example_maker *m, const chat_template_input *whole, uint64_t index, uint64_t *begin,
                               bool *known, levee_error *error) {
    part_rendering prompt, before;
    levee_status status = render_part(m, whole, index, true, &prompt, error);
    *begin = prompt.common;
    *known = prompt.begins_whole;
    if (status != LEVEE_OK || *known || !index) return status;
    status = render_part(m, whole, index, false, &before, error);
    *known = before.begins_whole && before.common > 0 && prompt.common >= before.common;
    return status;
}

static levee_status find_end(example_maker *m, const chat_template_input *whole, uint64_t index, uint64_t *end,
                             bool *known, levee_error *error) {
    *end = m->whole.bytes;
    *known = true;
    if (index + 1 == json_array_size(whole->messages)) return LEVEE_OK;
    part_rendering through;
    levee_status status = render_part(m, whole, index + 1, false, &through, error);
    *end = through.common;
    *known = through.begins_whole;
    return status;
}

static levee_status add_turn(example_maker *m, const chat_template_input *whole, uint64_t index, levee_error *error) {
    uint64_t begin, end = 0;
    bool begins, ends = false;
    levee_status status = find_begin(m, whole, index, &begin, &begins, error);
    if (status == LEVEE_OK && begins) status = find_end(m, whole, index, &end, &ends, error);
    if (status != LEVEE_OK) return status;
    if (begins && ends && end >= begin) return pieces_append(&m->turns, begin, end - begin, error);
    m->hidden_turns++;
    if (index + 1 < json_array_size(whole->messages)) return LEVEE_OK;
    return error_set(error, LEVEE_BAD_DATA,
                     "the chat template does not write the messages before the last as it does with the last one, so "
                     "--mask-prompt cannot tell where that begins; put {%% generation %%} ... {%% endgeneration %%} "
                     "around it in the template, or train without --mask-prompt");
}

levee_status turns_find(example_maker *m, const chat_template_input *input, const chat_template_output *output,
                        levee_error *error) {
    m->whole.bytes = m->turns.count = 0;
    levee_status status = text_append(&m->whole, output->text, output->bytes, error);
    if (status != LEVEE_OK) return status;
    if (chat_template_has_generation(m->chat) && !output->captured_generations) return add_blocks(m, output, error);
    for (uint64_t i = 0; i < json_array_size(input->messages) && status == LEVEE_OK; i++) {
        const json_t *role = json_object_get(json_array_get(input->messages, i), "role");
        if (!strcmp(json_string_value(role), "assistant")) status = add_turn(m, input, i, error);
    }
    return status;
}

/* The card beside a result, README.md, by the conventions of Hugging Face's hub: see trainer.h. It is written in the
 * step loop, so it takes no memory. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "train/trainer.h"

/* What tells a card of ours from one that somebody wrote. */
static const char ours[] = "<!-- written by levee train -->";

enum { CARD_BYTES = 3 * FILE_PATH_BYTES + 4096 };

typedef struct card {
    char text[CARD_BYTES];
    size_t length;
} card;

__attribute__((format(printf, 2, 3))) static void add(card *c, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(c->text + c->length, sizeof c->text - c->length, format, arguments);
    va_end(arguments);
    if (length > 0) c->length += (size_t)length;
    if (c->length >= sizeof c->text) c->length = sizeof c->text - 1; /* cut off */
}

/* A path as code; what would end that, or the line, is left out. */
static void add_code(card *c, const char *text) {
    add(c, "`");
    for (; *text; text++)
        if (*text != '`' && *text != '|' && (unsigned char)*text >= ' ') add(c, "%c", *text);
    add(c, "`");
}

static const char *model_name(const levee_options *o) { return *o->model_name ? o->model_name : o->model; }

static void add_head(card *c, const levee_options *o) {
    bool adapter = fine_tune_is_adapter(o->type), dora = o->type == FINE_TUNE_DORA;
    add(c, "---\n");
    if (*o->model_name) add(c, "base_model: %s\n", o->model_name);
    add(c, "library_name: %s\npipeline_tag: text-generation\ntags:\n- levee\n%s---\n%s\n\n# %s of ",
        adapter ? "peft" : "transformers",
        dora      ? "- dora\n"
        : adapter ? "- lora\n"
                  : "",
        ours,
        dora      ? "DoRA adapter"
        : adapter ? "LoRA adapter"
                  : "Fine-tuned copy");
    add_code(c, model_name(o));
    add(c, "\n\nTrained by Levee " LEVEE_VERSION ", inside a memory budget. `config.yaml` has all options, "
           "`metrics.jsonl` each step.\n\n| | |\n|---|---|\n");
}

static void add_layers(card *c, const trainer *t) {
    const levee_options *o = t->common.options;
    uint32_t layers = t->common.model.config.layers,
             last = t->trained.last_layers < layers ? t->trained.last_layers : layers;
    if (o->type == FINE_TUNE_HEAD) {
        add(c, "| trained | the head |\n");
        return;
    }
    add(c, "| trained | the last %u of %u layers", last, layers);
    if (fine_tune_is_adapter(o->type))
        add(c, ": rank %u, scale %g, dropout %g, on", t->trained.rank, (double)t->trained.scale,
            (double)t->trained.dropout);
    for (unsigned p = 0; p < PROJECTION_COUNT; p++)
        if (fine_tune_is_adapter(o->type) && t->trained.projections[p])
            add(c, " %s", strchr(model_projection_name((model_projection)p), '.') + 1);
    add(c, " |\n");
}

static void add_figures(card *c, const trainer *t, const step_report *r) {
    const levee_options *o = t->common.options;
    char predicted[BYTES_TEXT], peak[BYTES_TEXT], budget[BYTES_TEXT];
    add(c, "| data | ");
    add_code(c, o->data);
    add(c, ", %llu rows |\n| steps | %llu of %llu, %u examples each |\n| tokens that counted | %llu |\n",
        (unsigned long long)dataset_rows(t->data.train), (unsigned long long)r->step, (unsigned long long)r->steps,
        t->order.batch_size, (unsigned long long)r->trained_tokens);
    add(c, "| training loss, last step | %.4f |\n", r->loss);
    if (!isnan(t->validation_loss)) add(c, "| validation loss, last | %.4f |\n", t->validation_loss);
    add_layers(c, t);
    add(c, "| optimizer | %s, learning rate %g at the last step, seed %llu |\n",
        o->optimizer == OPTIMIZER_ADAM ? "adam" : "adamw", r->learning_rate, (unsigned long long)o->seed);
    add(c, "| longest sequence | %u tokens |\n", o->max_sequence_tokens);
    add(c, "| memory | predicted %s, measured peak %s, budget %s |\n", bytes_format(predicted, r->predicted_bytes),
        bytes_format(peak, r->peak_bytes), bytes_format(budget, r->budget_bytes));
}

static bool is_anothers(const char *path) {
    char text[4096];
    return file_exists(path) && (file_read_text(path, text, sizeof text, NULL) != LEVEE_OK || !strstr(text, ours));
}

levee_status trainer_write_card(const trainer *t, const step_report *report, levee_error *error) {
    const levee_options *o = t->common.options;
    char path[FILE_PATH_BYTES];
    card c = {.length = 0};
    file_writer writer;
    if (!file_join(path, o->adapter_path, "README.md"))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", o->adapter_path);
    if (is_anothers(path)) return LEVEE_OK;
    add_head(&c, o);
    add_figures(&c, t, report);
    levee_status status = file_writer_open(&writer, path, error);
    if (status == LEVEE_OK) status = file_writer_write(&writer, c.text, c.length, error);
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    return status;
}

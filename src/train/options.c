/* The options of a run: see options.h. */
#include "train/options.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "platform/machine.h"

typedef enum option_kind {
    OPTION_PATH,
    OPTION_WHOLE,    /* uint32 within [least, most] */
    OPTION_LAYERS,   /* int64, -1 for all */
    OPTION_NUMBER,   /* double within [least, most] */
    OPTION_BYTES,
    OPTION_SEED,
    OPTION_CHOICE,   /* enum by the words of `words` */
    OPTION_FLAG,     /* bool */
    OPTION_KEYS,     /* list of projections */
    OPTION_BETAS,
    OPTION_SCHEDULE,
    OPTION_ARGUMENTS,
    OPTION_IGNORED,  /* mlx_lm has it; it changes nothing here */
    OPTION_REFUSED,  /* mlx_lm has it; not supported unless it is off */
} option_kind;

typedef struct option {
    const char *key; /* YAML spelling */
    option_kind kind;
    size_t offset;
    double least, most;
    const char *words; /* of a choice, in the order of its enum, separated by | */
    const char *help;
} option;

#define AT(field) offsetof(levee_options, field)

static const option table[] = {
    {"model", OPTION_PATH, AT(model), 0, 0, NULL, "Hugging Face model directory"},
    {"data", OPTION_PATH, AT(data), 0, 0, NULL, "directory with train.jsonl, valid.jsonl, test.jsonl; or one .jsonl or .txt file"},
    {"memory", OPTION_BYTES, AT(budget_bytes), 0, 0, NULL, "memory budget, as 600MiB or 6GiB; default: half of what is available"},
    {"fine_tune_type", OPTION_CHOICE, AT(type), 0, 0, "|lora|full|head", "what trains: lora, full or head"},
    {"num_layers", OPTION_LAYERS, AT(num_layers), -1, 1e6, NULL, "how many of the last layers train; -1: all"},
    {"batch_size", OPTION_WHOLE, AT(batch_size), 1, 1e6, NULL, "examples of a batch"},
    {"iters", OPTION_WHOLE, AT(iterations), 1, 1e9, NULL, "batches to train on"},
    {"grad_accumulation_steps", OPTION_WHOLE, AT(accumulation), 1, 1e6, NULL, "batches that make one optimizer step"},
    {"learning_rate", OPTION_NUMBER, AT(learning_rate), 0, 1e3, NULL, "learning rate, unless a schedule is given"},
    {"max_seq_length", OPTION_WHOLE, AT(max_sequence_tokens), 2, 1e7, NULL, "longer rows are cut to so many tokens"},
    {"adapter_path", OPTION_PATH, AT(adapter_path), 0, 0, NULL, "where the result and the run's files go"},
    {"resume_adapter_file", OPTION_PATH, AT(resume_adapter_file), 0, 0, NULL, "PEFT adapter to start from: directory or safetensors file"},
    {"rank", OPTION_WHOLE, AT(rank), 1, 4096, NULL, "LoRA rank"},
    {"scale", OPTION_NUMBER, AT(scale), 0, 1e6, NULL, "LoRA scale: alpha / rank"},
    {"dropout", OPTION_NUMBER, AT(dropout), 0, 0.999, NULL, "LoRA dropout"},
    {"keys", OPTION_KEYS, AT(projections), 0, 0, NULL, "LoRA projections, as q_proj,v_proj; default: all"},
    {"optimizer", OPTION_CHOICE, AT(optimizer), 0, 0, "adamw|adam", "adamw, or adam: the same without weight decay"},
    {"betas", OPTION_BETAS, AT(optimizer.beta1), 0, 0, NULL, "AdamW's betas"},
    {"eps", OPTION_NUMBER, AT(optimizer.epsilon), 0, 1, NULL, "AdamW's epsilon"},
    {"weight_decay", OPTION_NUMBER, AT(optimizer.weight_decay), 0, 10, NULL, "AdamW's decoupled decay"},
    {"bias_correction", OPTION_FLAG, AT(optimizer.bias_correction), 0, 0, NULL, "AdamW's bias correction"},
    {"max_grad_norm", OPTION_NUMBER, AT(max_gradient_norm), 0, INFINITY, NULL, "clip gradients to this global norm; default: not"},
    {"grad_checkpoint", OPTION_CHOICE, AT(recompute), 0, 0, "auto|off|all", "recompute activations: auto, off or all"},
    {"dtype", OPTION_CHOICE, AT(compute), 0, 0, "auto|f32|bf16", "type of matrix products; auto measures"},
    {"steps_per_report", OPTION_WHOLE, AT(steps_per_report), 1, 1e9, NULL, "steps between progress lines"},
    {"steps_per_eval", OPTION_WHOLE, AT(steps_per_evaluation), 1, 1e9, NULL, "steps between validations"},
    {"val_batches", OPTION_WHOLE, AT(validation_batches), 0, 1e9, NULL, "batches of a validation"},
    {"test_batches", OPTION_WHOLE, AT(test_batches), 1, 1e9, NULL, "batches of eval"},
    {"save_every", OPTION_WHOLE, AT(save_every), 1, 1e9, NULL, "steps between saves"},
    {"seed", OPTION_SEED, AT(seed), 0, 0, NULL, "seed of the data order, LoRA's start and dropout"},
    {"threads", OPTION_WHOLE, AT(threads), 1, 1024, NULL, "threads; default: all processors"},
    {"max_row_bytes", OPTION_BYTES, AT(max_row_bytes), 0, 0, NULL, "longest row of data that is read"},
    {"prompt", OPTION_PATH, AT(prompt), 0, 0, NULL, "text to continue (generate)"},
    {"max_tokens", OPTION_WHOLE, AT(max_new_tokens), 1, 1e6, NULL, "tokens to generate"},
    {"lr_schedule.name", OPTION_SCHEDULE, AT(rate.kind), 0, 0, NULL, "constant, linear, cosine, step or exponential"},
    {"lr_schedule.warmup", OPTION_WHOLE, AT(rate.warmup), 0, 1e9, NULL, "updates of warm-up"},
    {"lr_schedule.warmup_init", OPTION_NUMBER, AT(rate.warmup_init), 0, 1e3, NULL, "rate at the start of the warm-up"},
    {"lr_schedule.arguments", OPTION_ARGUMENTS, AT(rate.arguments), 0, 0, NULL, "the curve's numbers"},
    {"train", OPTION_IGNORED, 0, 0, 0, NULL, NULL},
    {"test", OPTION_IGNORED, 0, 0, 0, NULL, NULL},
    {"clear_cache_threshold", OPTION_IGNORED, 0, 0, 0, NULL, NULL},
    {"trust_remote_code", OPTION_IGNORED, 0, 0, 0, NULL, NULL},
    {"report_to", OPTION_IGNORED, 0, 0, 0, NULL, NULL},
    {"project_name", OPTION_IGNORED, 0, 0, 0, NULL, NULL},
    {"mask_prompt", OPTION_REFUSED, 0, 0, 0, NULL, NULL},
    {"hf_dataset", OPTION_REFUSED, 0, 0, 0, NULL, NULL},
};

enum { OPTION_COUNT = sizeof table / sizeof *table };

void options_defaults(levee_options *o) {
    memset(o, 0, sizeof *o);
    memcpy(o->adapter_path, "adapters", sizeof "adapters");
    o->type = FINE_TUNE_LORA;
    o->num_layers = 16;
    o->batch_size = 4;
    o->iterations = 1000;
    o->accumulation = 1;
    o->validation_batches = 25;
    o->test_batches = 500;
    o->max_sequence_tokens = 2048;
    o->steps_per_report = 10;
    o->steps_per_evaluation = 200;
    o->save_every = 100;
    o->threads = machine_processors();
    o->max_new_tokens = 100;
    o->learning_rate = 1e-5;
    o->optimizer = (optimizer_settings){.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.01,
                                        .bias_correction = true};
    o->max_gradient_norm = INFINITY;
    o->rank = 8;
    o->scale = 20;
    for (unsigned p = 0; p < PROJECTION_COUNT; p++) o->projections[p] = true;
    o->max_row_bytes = 16u << 20;
}

/* Edits that turn one word into another. */
static unsigned distance(const char *a, const char *b) {
    enum { LONGEST = 64 };
    unsigned row[LONGEST + 1], rows = (unsigned)strlen(a), cols = (unsigned)strlen(b);
    if (rows > LONGEST || cols > LONGEST) return LONGEST;
    for (unsigned j = 0; j <= cols; j++) row[j] = j;
    for (unsigned i = 1; i <= rows; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= cols; j++) {
            unsigned above = row[j], best = diagonal + (a[i - 1] != b[j - 1]);
            if (above + 1 < best) best = above + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = above;
            row[j] = best;
        }
    }
    return row[cols];
}

/* The YAML spelling without the maps that only group: lora_parameters.rank is rank, optimizer_config.adamw.eps is eps. */
static void canonical_key(char key[128], const char *written) {
    snprintf(key, 128, "%s", written);
    for (char *c = key; *c; c++)
        if (*c == '-') *c = '_';
    static const char *const groups[] = {"lora_parameters.", "optimizer_config.", "adamw.", "adam."};
    for (unsigned i = 0; i < sizeof groups / sizeof *groups; i++) {
        size_t length = strlen(groups[i]);
        if (!strncmp(key, groups[i], length)) memmove(key, key + length, strlen(key + length) + 1);
    }
}

static const option *find_option(const char *key) {
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if (!strcmp(table[i].key, key)) return &table[i];
    return NULL;
}

static levee_status unknown_key(const char *key, levee_error *error) {
    const option *nearest = &table[0];
    for (unsigned i = 1; i < OPTION_COUNT; i++)
        if (distance(table[i].key, key) < distance(nearest->key, key)) nearest = &table[i];
    return error_set(error, LEVEE_USAGE, "'%.60s' is no option; did you mean %s?", key, nearest->key);
}

static levee_status bad_value(const option *d, const char *given, const char *wanted, levee_error *error) {
    return error_set(error, LEVEE_USAGE, "%s: '%.60s' does not do; %s is needed", d->key, given, wanted);
}

static bool is_true(const char *given) { return !*given || !strcmp(given, "true") || !strcmp(given, "yes"); }
static bool is_false(const char *given) {
    return !strcmp(given, "false") || !strcmp(given, "no") || !strcmp(given, "null") || !strcmp(given, "~");
}

static bool read_double(const char *given, double *number) {
    char *end;
    *number = strtod(given, &end);
    return end != given && !*end && !isnan(*number);
}

static levee_status set_number(levee_options *o, const option *d, const char *given, levee_error *error) {
    double number;
    char wanted[96];
    bool whole = d->kind != OPTION_NUMBER;
    snprintf(wanted, sizeof wanted, "a %snumber from %g to %g", whole ? "whole " : "", d->least, d->most);
    if (!read_double(given, &number) || number < d->least || number > d->most || (whole && number != floor(number)))
        return bad_value(d, given, wanted, error);
    unsigned char *field = (unsigned char *)o + d->offset;
    uint32_t small = (uint32_t)number;
    int64_t layers = (int64_t)number;
    if (d->kind == OPTION_NUMBER) memcpy(field, &number, sizeof number);
    if (d->kind == OPTION_WHOLE) memcpy(field, &small, sizeof small);
    if (d->kind == OPTION_LAYERS) memcpy(field, &layers, sizeof layers);
    return LEVEE_OK;
}

/* The place of a word among words separated by |; -1 when it is none of them. */
static int choice_index(const char *words, const char *given) {
    size_t length = strlen(given);
    for (int i = 0; words; i++) {
        const char *end = strchr(words, '|');
        size_t bytes = end ? (size_t)(end - words) : strlen(words);
        if (bytes && bytes == length && !memcmp(words, given, bytes)) return i;
        words = end ? end + 1 : NULL;
    }
    return -1;
}

static levee_status set_choice(levee_options *o, const option *d, const char *given, levee_error *error) {
    /* mlx_lm's grad_checkpoint is a flag. */
    if (d->offset == AT(recompute) && is_true(given)) given = "all";
    if (d->offset == AT(recompute) && is_false(given)) given = "auto";
    if (d->offset == AT(type) && !strcmp(given, "dora"))
        return error_set(error, LEVEE_USAGE, "fine_tune_type: dora is not supported; lora, full and head are");
    int index = choice_index(d->words, given);
    if (index < 0) return bad_value(d, given, d->words + (*d->words == '|'), error);
    if (d->offset == AT(type)) o->type = (fine_tune_type)index;
    if (d->offset == AT(recompute)) o->recompute = (recompute_choice)index;
    if (d->offset == AT(compute)) o->compute = (compute_type)index;
    if (d->offset == AT(optimizer) && index == 1) o->optimizer.weight_decay = 0;
    return LEVEE_OK;
}

/* Takes the next item of a list separated by commas or spaces. */
static bool next_item(const char **list, char item[96]) {
    *list += strspn(*list, ", ");
    size_t length = strcspn(*list, ", ");
    if (!length || length >= 96) return false;
    memcpy(item, *list, length);
    item[length] = 0;
    *list += length;
    return true;
}

static levee_status set_list(levee_options *o, const option *d, const char *given, levee_error *error) {
    char item[96];
    double numbers[SCHEDULE_ARGUMENTS] = {0};
    unsigned count = 0;
    bool projections[PROJECTION_COUNT] = {false};
    for (const char *rest = given; next_item(&rest, item); count++) {
        model_projection p = d->kind == OPTION_KEYS ? model_projection_find(item) : PROJECTION_COUNT;
        if (d->kind == OPTION_KEYS && p == PROJECTION_COUNT)
            return bad_value(d, item, "a projection: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj or down_proj", error);
        if (d->kind == OPTION_KEYS)
            projections[p] = true;
        else if (count == SCHEDULE_ARGUMENTS || !read_double(item, &numbers[count]))
            return bad_value(d, given, "a list of numbers", error);
    }
    if (d->kind == OPTION_KEYS && count) memcpy(o->projections, projections, sizeof projections);
    if (d->kind == OPTION_ARGUMENTS) memcpy(o->rate.arguments, numbers, sizeof numbers);
    if (d->kind == OPTION_BETAS) {
        if (count != 2 || !(numbers[0] >= 0 && numbers[0] < 1 && numbers[1] >= 0 && numbers[1] < 1))
            return bad_value(d, given, "two numbers from 0 to below 1", error);
        o->optimizer.beta1 = numbers[0];
        o->optimizer.beta2 = numbers[1];
    }
    return LEVEE_OK;
}

static levee_status set_value(levee_options *o, const option *d, const char *given, levee_error *error) {
    unsigned char *field = (unsigned char *)o + d->offset;
    uint64_t bytes;
    char *end;
    switch (d->kind) {
    case OPTION_PATH:
        if (strlen(given) >= FILE_PATH_BYTES) return bad_value(d, given, "a shorter text", error);
        if (!strcmp(given, "null")) given = "";
        memcpy(field, given, strlen(given) + 1);
        if (d->offset == AT(adapter_path)) o->adapter_path_given = true;
        return LEVEE_OK;
    case OPTION_BYTES:
        if (!bytes_parse(given, &bytes) || !bytes) return bad_value(d, given, "a size like 600MiB or 6GiB", error);
        memcpy(field, &bytes, sizeof bytes);
        if (d->offset == AT(budget_bytes)) o->budget_given = true;
        return LEVEE_OK;
    case OPTION_SEED:
        o->seed = strtoull(given, &end, 10);
        return *given && !*end ? LEVEE_OK : bad_value(d, given, "a whole number", error);
    case OPTION_FLAG:
        if (!is_true(given) && !is_false(given)) return bad_value(d, given, "true or false", error);
        *(bool *)field = is_true(given);
        return LEVEE_OK;
    case OPTION_CHOICE: return set_choice(o, d, given, error);
    case OPTION_SCHEDULE:
        o->has_schedule = true;
        return schedule_find(given, &o->rate.kind) ? LEVEE_OK : bad_value(d, given, d->help, error);
    case OPTION_KEYS:
    case OPTION_BETAS:
    case OPTION_ARGUMENTS: return set_list(o, d, given, error);
    case OPTION_IGNORED: return LEVEE_OK;
    case OPTION_REFUSED:
        return is_false(given) ? LEVEE_OK : error_set(error, LEVEE_USAGE, "%s: is not supported", d->key);
    default: return set_number(o, d, given, error);
    }
}

levee_status options_set(levee_options *o, const char *key, const char *given, levee_error *error) {
    char canonical[128];
    canonical_key(canonical, key);
    const option *d = find_option(canonical);
    if (d) return set_value(o, d, given, error);
    return strncmp(canonical, "hf_dataset", 10) ? unknown_key(canonical, error)
                                                : error_set(error, LEVEE_USAGE, "hf_dataset: is not supported");
}

/* One option as YAML text; false for those that are not stored. */
static bool write_value(const levee_options *o, const option *d, char *text, size_t bytes) {
    const unsigned char *field = (const unsigned char *)o + d->offset;
    double number;
    uint32_t small;
    uint64_t large;
    int index = d->offset == AT(type)        ? (int)o->type
                : d->offset == AT(recompute) ? (int)o->recompute
                : d->offset == AT(compute)   ? (int)o->compute
                                             : 0;
    switch (d->kind) {
    case OPTION_PATH: return snprintf(text, bytes, *field ? "\"%s\"" : "null", (const char *)field) > 0;
    case OPTION_WHOLE: return memcpy(&small, field, sizeof small), snprintf(text, bytes, "%u", small) > 0;
    case OPTION_LAYERS: return snprintf(text, bytes, "%lld", (long long)o->num_layers) > 0;
    case OPTION_NUMBER:
        memcpy(&number, field, sizeof number);
        return isfinite(number) && snprintf(text, bytes, "%.17g", number) > 0;
    case OPTION_BYTES:
    case OPTION_SEED:
        memcpy(&large, field, sizeof large);
        return (large || d->kind == OPTION_SEED) && snprintf(text, bytes, "%llu", (unsigned long long)large) > 0;
    case OPTION_FLAG: return snprintf(text, bytes, "%s", *(const bool *)field ? "true" : "false") > 0;
    case OPTION_BETAS: return snprintf(text, bytes, "[%g, %g]", o->optimizer.beta1, o->optimizer.beta2) > 0;
    case OPTION_CHOICE: {
        const char *word = d->words;
        for (int i = 0; i < index; i++) word = strchr(word, '|') + 1;
        return snprintf(text, bytes, "%.*s", (int)strcspn(word, "|"), word) > 0;
    }
    default: return false;
    }
}

levee_status options_write(const levee_options *o, const char *path, levee_error *error) {
    file_writer writer;
    levee_status status = file_writer_open(&writer, path, error);
    for (unsigned i = 0; i < OPTION_COUNT && status == LEVEE_OK; i++) {
        char given[FILE_PATH_BYTES + 8], line[FILE_PATH_BYTES + 160];
        bool part = strchr(table[i].key, '.') != NULL;
        if (part || !write_value(o, &table[i], given, sizeof given)) continue;
        int length = snprintf(line, sizeof line, "%s: %s\n", table[i].key, given);
        status = file_writer_write(&writer, line, (uint64_t)length, error);
    }
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    return status;
}

unsigned levee_option_count(void) { return OPTION_COUNT; }

const char *levee_option_key(unsigned index) { return index < OPTION_COUNT ? table[index].key : NULL; }

const char *levee_option_help(unsigned index) { return index < OPTION_COUNT ? table[index].help : NULL; }

/* The options of a run: see options.h. Also the public calls on them. */
#include "train/options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/error.h"
#include "memory/ledger.h"
#include "model/hub.h"
#include "platform/headroom.h"
#include "platform/machine.h"
#include "train/drill.h"
#include "train/options_table.h"

void options_defaults(levee_options *o) {
    memset(o, 0, sizeof *o);
    memcpy(o->adapter_path, "adapters", sizeof "adapters");
    memcpy(o->text_feature, "text", sizeof "text");
    memcpy(o->prompt_feature, "prompt", sizeof "prompt");
    memcpy(o->completion_feature, "completion", sizeof "completion");
    memcpy(o->chat_feature, "messages", sizeof "messages");
    o->train = true;
    o->type = FINE_TUNE_LORA;
    o->num_layers = 16;
    o->batch_size = 4;
    o->iterations = 1000;
    memcpy(o->probe.file, "probe.yaml", sizeof "probe.yaml");
    o->probe.steps = 10;
    o->accumulation = 1;
    o->validation_batches = 25;
    o->test_batches = 500;
    o->max_sequence_tokens = 2048;
    o->steps_per_report = 10;
    o->steps_per_evaluation = 200;
    o->save_every = 100;
    o->keep_last = 2;
    o->most_not_finite_steps = 3;
    o->guard = GUARD_ACT;
    o->on_pressure = RESPOND_SHRINK;
    o->cool_down_seconds = breaker_limits_default().first_seconds;
    const pressure_limits usual = pressure_limits_default();
    o->yellow_at = usual.yellow;
    o->orange_at = usual.orange;
    o->red_at = usual.red;
    o->threads = machine_processors();
    o->max_new_tokens = 100;
    o->generate.repetition_context = 20;
    o->learning_rate = 1e-5;
    for (unsigned i = 0; i < OPTIMIZER_COUNT; i++)
        o->optimizers[i] = (optimizer_settings){.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.01};
    o->max_gradient_norm = INFINITY;
    o->rank = 8;
    o->scale = 20;
    for (unsigned p = 0; p < PROJECTION_COUNT; p++) o->projections[p] = true;
    o->max_row_bytes = 16u << 20;
    o->others_bytes = HEADROOM_USUAL_RESERVE;
    o->group_bytes = UINT64_MAX;
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

/* The YAML spelling without the maps that only group: lora_parameters.rank is rank, optimizer_config.adamw.eps is eps
 * and says in *section that it is adamw's alone. */
static void canonical_key(char key[128], const char *written, optimizer_choice *section) {
    *section = OPTIMIZER_COUNT;
    snprintf(key, 128, "%s", written);
    for (char *c = key; *c; c++)
        if (*c == '-') *c = '_';
    static const char *const groups[] = {"lora_parameters.", "optimizer_config.", "adamw.", "adam."};
    for (unsigned i = 0; i < sizeof groups / sizeof *groups; i++) {
        size_t length = strlen(groups[i]);
        if (strncmp(key, groups[i], length)) continue;
        memmove(key, key + length, strlen(key + length) + 1);
        if (i >= 2) *section = i == 2 ? OPTIMIZER_ADAMW : OPTIMIZER_ADAM;
    }
}

/* What else an option is called where people come from. */
static void replace_peer_name(char key[128]) {
    static const char *const names[][2] = {{"lora_rank", "rank"},
                                           {"lora_r", "rank"},
                                           {"quantize", "outtype"},
                                           {"temperature", "temp"},
                                           {"lora_alpha", "alpha"}};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(key, names[i][0])) snprintf(key, 128, "%s", names[i][1]);
}

static const option *find_option(const char *key) {
    for (const option *d = options_table; d->key; d++)
        if (!strcmp(d->key, key)) return d;
    return NULL;
}

static levee_status unknown_key(const char *key, levee_error *error) {
    const option *nearest = options_table;
    for (const option *d = options_table; d->key; d++)
        if (distance(d->key, key) < distance(nearest->key, key)) nearest = d;
    return error_set(error, LEVEE_USAGE, "'%.60s' is no option; did you mean %s?", key, nearest->key);
}

/* Settings of mlx_lm's optimizers that are not here: those of one that was not chosen change nothing. */
static bool is_other_optimizers(const char *key) {
    static const char *const sections[] = {"sgd", "muon", "adafactor"};
    for (unsigned i = 0; i < sizeof sections / sizeof *sections; i++) {
        size_t length = strlen(sections[i]);
        if (!strncasecmp(key, sections[i], length) && (!key[length] || key[length] == '.')) return true;
    }
    return false;
}

static levee_status bad_value(const option *d, const char *given, const char *wanted, levee_error *error) {
    return error_set(error, LEVEE_USAGE, "%s: '%.60s' does not do; %s is needed", d->key, given, wanted);
}

static bool is_null(const char *given) { return !strcasecmp(given, "null") || !strcmp(given, "~"); }
static bool is_true(const char *given) { return !*given || !strcasecmp(given, "true") || !strcasecmp(given, "yes"); }
static bool is_false(const char *given) {
    return !strcasecmp(given, "false") || !strcasecmp(given, "no") || is_null(given);
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
    snprintf(wanted, sizeof wanted, "a %snumber from %g to %g%s", whole ? "whole " : "", d->least, d->most,
             d->kind == OPTION_BATCHES ? ", or -1 for all" : "");
    bool all = d->kind == OPTION_BATCHES && !strcmp(given, "-1");
    if (!read_double(given, &number) || (number < d->least && !all) || number > d->most ||
        (whole && number != floor(number)))
        return bad_value(d, given, wanted, error);
    unsigned char *field = (unsigned char *)o + d->offset;
    /* A number is cast only to the type whose range was checked: any other cast of it is undefined. */
    if (d->kind == OPTION_NUMBER) {
        memcpy(field, &number, sizeof number);
    } else if (d->kind == OPTION_LAYERS) {
        int64_t layers = (int64_t)number;
        memcpy(field, &layers, sizeof layers);
    } else {
        uint32_t small = all ? UINT32_MAX : (uint32_t)number;
        memcpy(field, &small, sizeof small);
        if (d->offset == AT(batch_size)) o->batch_size_given = true;
    }
    return LEVEE_OK;
}

/* The place of a word among words separated by |, in whatever case, since AdamW and Q8_0 are written so; -1 when it
 * is none of them. */
static int choice_index(const char *words, const char *given) {
    size_t length = strlen(given);
    for (int i = 0; words; i++) {
        const char *end = strchr(words, '|');
        size_t bytes = end ? (size_t)(end - words) : strlen(words);
        if (bytes && bytes == length && !strncasecmp(words, given, bytes)) return i;
        words = end ? end + 1 : NULL;
    }
    return -1;
}

static levee_status set_choice(levee_options *o, const option *d, const char *given, levee_error *error) {
    /* mlx_lm's grad_checkpoint is a flag. */
    if (d->offset == AT(recompute) && is_true(given)) given = "all";
    if (d->offset == AT(recompute) && is_false(given)) given = "auto";
    if (d->offset == AT(optimizer) && is_other_optimizers(given))
        return error_set(
            error, LEVEE_USAGE,
            "optimizer: %s is not supported; adamw and adam are, whose two moments a parameter are planned", given);
    int index = choice_index(d->words, given);
    if (index < 0) return bad_value(d, given, d->words + (*d->words == '|'), error);
    const option_choice chosen = (option_choice)index;
    memcpy((unsigned char *)o + d->offset, &chosen, sizeof chosen);
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
    const char *rest = given;
    for (; next_item(&rest, item); count++) {
        model_projection p = d->kind == OPTION_KEYS ? model_projection_find(item) : PROJECTION_COUNT;
        if (d->kind == OPTION_KEYS && p == PROJECTION_COUNT)
            return bad_value(d, item, "a projection: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj or down_proj",
                             error);
        if (d->kind == OPTION_KEYS)
            projections[p] = true;
        else if (count == SCHEDULE_ARGUMENTS || !read_double(item, &numbers[count]))
            return bad_value(d, given, "a list of numbers", error);
    }
    if (!count || *rest) return bad_value(d, given, "a list of at least one, separated by commas", error);
    if (d->kind == OPTION_KEYS) memcpy(o->projections, projections, sizeof projections);
    if (d->kind == OPTION_ARGUMENTS) {
        memcpy(o->rate.arguments, numbers, sizeof numbers);
        o->rate.argument_count = count;
    }
    if (d->kind == OPTION_BETAS) {
        optimizer_settings *settings = (optimizer_settings *)((unsigned char *)o + d->offset);
        if (count != 2 || !(numbers[0] >= 0 && numbers[0] < 1 && numbers[1] >= 0 && numbers[1] < 1))
            return bad_value(d, given, "two numbers from 0 to below 1", error);
        settings->beta1 = numbers[0];
        settings->beta2 = numbers[1];
    }
    return LEVEE_OK;
}

static levee_status add_drill(levee_options *o, const option *d, const char *given, levee_error *error) {
    exercise list[DRILL_MOST];
    unsigned count;
    const char *at, *wanted = drill_read(given, list, &count, &at);
    size_t length = strlen(o->inject);
    if (is_null(given)) {
        *o->inject = 0;
        return LEVEE_OK;
    }
    if (wanted) return bad_value(d, at, wanted, error);
    if (length + strlen(given) + 2 > sizeof o->inject) return bad_value(d, given, "a shorter text", error);
    snprintf(o->inject + length, sizeof o->inject - length, "%s%s", length ? " " : "", given);
    return LEVEE_OK;
}

/* A name of the hub becomes the directory of its copy on this machine, if there is one. */
static void find_copy(levee_options *o) {
    char directory[FILE_PATH_BYTES];
    *o->model_name = 0;
    if (file_exists(o->model) || !hub_find_model(directory, o->model)) return;
    snprintf(o->model_name, sizeof o->model_name, "%.127s", o->model);
    memcpy(o->model, directory, sizeof directory);
}

static levee_status set_value(levee_options *o, const option *d, const char *given, levee_error *error) {
    unsigned char *field = (unsigned char *)o + d->offset;
    uint64_t bytes;
    char *end;
    switch (d->kind) {
    case OPTION_PATH_OR_AUTO:
        if (is_true(given)) given = "auto";
        if (is_false(given)) given = "";
        /* fall through */
    case OPTION_PATH:
        if (strlen(given) >= FILE_PATH_BYTES) return bad_value(d, given, "a shorter text", error);
        if (is_null(given)) given = "";
        memcpy(field, given, strlen(given) + 1);
        if (d->offset == AT(adapter_path)) o->adapter_path_given = true;
        if (d->offset == AT(model)) find_copy(o);
        return LEVEE_OK;
    case OPTION_FIELD:
        if (!*given || strlen(given) >= FIELD_NAME_BYTES)
            return bad_value(d, given, "a name of 1 to 63 bytes", error);
        memcpy(field, given, strlen(given) + 1);
        return LEVEE_OK;
    case OPTION_DRILL:
        return add_drill(o, d, given, error);
    case OPTION_BYTES:
        if (d->offset == AT(budget_bytes) && !strcmp(given, "auto")) {
            o->budget_given = false;
            return LEVEE_OK;
        }
        if (!bytes_parse(given, &bytes) || (double)bytes < d->least || bytes == UINT64_MAX)
            return bad_value(d, given, "a size like 600MiB or 6GiB", error);
        memcpy(field, &bytes, sizeof bytes);
        if (d->offset == AT(budget_bytes)) o->budget_given = true;
        return LEVEE_OK;
    case OPTION_SEED:
        errno = 0; /* strtoull would take a sign and spaces, and turn what is too large into the largest */
        bytes = strtoull(given, &end, 10);
        if (!isdigit((unsigned char)*given) || *end || errno)
            return bad_value(d, given, "a whole number below 2^64", error);
        o->seed = bytes;
        return LEVEE_OK;
    case OPTION_FLAG:
        if (!is_true(given) && !is_false(given)) return bad_value(d, given, "true or false", error);
        *(bool *)field = is_true(given);
        return LEVEE_OK;
    case OPTION_CHOICE:
        return set_choice(o, d, given, error);
    case OPTION_SCHEDULE:
        o->has_schedule = true;
        return schedule_find(given, &o->rate.kind) ? LEVEE_OK : bad_value(d, given, d->help, error);
    case OPTION_KEYS:
        for (unsigned p = 0; p < PROJECTION_COUNT && is_null(given); p++) o->projections[p] = true;
        return is_null(given) ? LEVEE_OK : set_list(o, d, given, error);
    case OPTION_BETAS:
    case OPTION_ARGUMENTS:
        return set_list(o, d, given, error);
    case OPTION_MAP:
        if (!is_null(given)) return bad_value(d, given, "a map of options", error);
        if (d->offset == AT(rate)) memset(&o->rate, 0, sizeof o->rate), o->has_schedule = false;
        return LEVEE_OK;
    case OPTION_IGNORED:
        return LEVEE_OK;
    case OPTION_REFUSED:
        if (is_false(given)) return LEVEE_OK;
        return error_set(error, LEVEE_USAGE, "%s: %s", d->key, d->words ? d->words : "is not supported");
    default:
        return set_number(o, d, given, error);
    }
}

/* Remembers where a value came from: of every optimizer's (OPTIMIZER_COUNT), or of one's. */
static void note_place(levee_options *o, const option *d, optimizer_choice section) {
    for (unsigned i = 0; i < OPTIMIZER_COUNT; i++)
        if (section == OPTIMIZER_COUNT || section == i)
            o->places[i][d - options_table] = o->line ? o->line : PLACE_COMMAND_LINE;
}

void options_name_file(levee_options *o, const char *path) {
    snprintf(o->config_path, sizeof o->config_path, "%s", path);
    for (unsigned i = 0; i < OPTIMIZER_COUNT; i++)
        for (unsigned k = 0; k < OPTIONS_MOST; k++)
            if (o->places[i][k] && o->places[i][k] != PLACE_COMMAND_LINE) o->places[i][k] = PLACE_EARLIER_FILE;
}

bool options_may_be_list(const char *key) {
    char canonical[128];
    optimizer_choice section;
    canonical_key(canonical, key, &section);
    replace_peer_name(canonical);
    const option *d = find_option(canonical);
    if (!d) return true;
    return d->kind == OPTION_KEYS || d->kind == OPTION_BETAS || d->kind == OPTION_ARGUMENTS ||
           d->kind == OPTION_MAP || d->kind == OPTION_IGNORED || d->kind == OPTION_REFUSED;
}

levee_status options_set(levee_options *o, const char *key, const char *given, levee_error *error) {
    char canonical[128];
    optimizer_choice section;
    canonical_key(canonical, key, &section);
    replace_peer_name(canonical);
    if (!strncmp(canonical, "hf_dataset.", 11)) canonical[10] = 0;
    const option *d = find_option(canonical);
    if (!d && strstr(key, "optimizer_config") && is_other_optimizers(canonical)) return LEVEE_OK;
    if (!d) return unknown_key(canonical, error);
    o->owned_keys[option_owned_by(d)] = d->key;
    note_place(o, d, section);
    if (!option_is_optimizers(d))
        return section == OPTIMIZER_COUNT ? set_value(o, d, given, error) : unknown_key(key, error);
    if (section == OPTIMIZER_ADAM && d->offset == AT(optimizers[0].weight_decay))
        return error_set(error, LEVEE_USAGE, "%.60s: adam has no weight decay; adamw has", key);
    levee_status status = LEVEE_OK;
    for (unsigned i = 0; i < OPTIMIZER_COUNT && status == LEVEE_OK; i++) {
        option part = *d;
        part.offset += i * sizeof *o->optimizers;
        if (section == OPTIMIZER_COUNT || section == i) status = set_value(o, &part, given, error);
    }
    return status;
}

levee_status options_check_model(const levee_options *o, levee_error *error) {
    if (!*o->model) return error_set(error, LEVEE_USAGE, "--model is needed: a Hugging Face model directory");
    bool named = !file_exists(o->model) && hub_is_name(o->model);
    return named ? hub_refuse("--model", o->model, "model", error) : LEVEE_OK;
}

levee_status options_check_verb(const levee_options *o, const char *verb, levee_error *error) {
    for (option_owner owner = OWNER_PLAN; owner < OWNER_COUNT; owner++) {
        const char *verbs = option_owner_verbs(owner), *key = o->owned_keys[owner];
        if (key && !strstr(verbs, verb))
            return error_set(error, LEVEE_USAGE, "--%s is an option of levee %s, not of levee %s", key, verbs, verb);
    }
    return LEVEE_OK;
}

levee_status options_check(const levee_options *o, levee_error *error) {
    const schedule *s = &o->rate;
    const char *wanted = o->has_schedule ? schedule_problem(s) : NULL;
    if (!o->has_schedule && (s->argument_count || s->warmup || s->warmup_init > 0))
        return error_set(error, LEVEE_USAGE,
                         "lr_schedule: a name is needed: constant, linear, cosine, step or exponential");
    if (wanted)
        return error_set(error, LEVEE_USAGE,
                         "lr_schedule.arguments: %s needs %s, rates from 0 to 1000 and updates from 1",
                         schedule_name(s->kind), wanted);
    if (!(o->yellow_at < o->orange_at && o->orange_at < o->red_at))
        return error_set(error, LEVEE_USAGE,
                         "yellow_at %g, orange_at %g, red_at %g: each must be above the one before", o->yellow_at,
                         o->orange_at, o->red_at);
    if ((uint64_t)o->batch_size * o->accumulation > 1000000000)
        return error_set(error, LEVEE_USAGE,
                         "batch_size %u times grad_accumulation_steps %u is more than 1e9 examples", o->batch_size,
                         o->accumulation);
    if (o->deterministic && o->micro_batch_size > 1)
        return error_set(error, LEVEE_USAGE,
                         "micro_batch_size %u: deterministic passes hold one sequence; leave one of the two out",
                         o->micro_batch_size);
    return LEVEE_OK;
}

optimizer_settings options_optimizer(const levee_options *o) {
    optimizer_settings settings = o->optimizers[o->optimizer];
    settings.max_gradient_norm = o->max_gradient_norm;
    if (o->optimizer == OPTIMIZER_ADAM) settings.weight_decay = 0;
    return settings;
}

levee_options *levee_options_create(void) {
    levee_options *o = ledger_alloc(LEVEE_RUNTIME, sizeof *o);
    if (o) options_defaults(o);
    return o;
}

void levee_options_free(levee_options *options) { ledger_free(options); }

levee_status levee_options_set(levee_options *options, const char *key, const char *given, levee_error *error) {
    return options_set(options, key, given, error);
}

void levee_options_ask(levee_options *options, levee_ask *ask, void *context) {
    options->ask = ask;
    options->ask_context = context;
}

void levee_options_show_progress(levee_options *options, levee_show *show, void *context) {
    options->show = show;
    options->show_context = context;
}

levee_status levee_options_read(levee_options *options, const char *path, levee_error *error) {
    return options_read(options, path, error);
}

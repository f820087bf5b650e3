/* Going on where a run stopped: see resume.h. */
#include "train/resume.h"

#include <string.h>

#include "base/error.h"

enum { SAMPLE_BYTES = 4096 };

static bool goes_on_automatically(const levee_options *o) { return !strcmp(o->resume, "auto"); }

static levee_status directory_of(char path[FILE_PATH_BYTES], const levee_options *o, levee_error *error) {
    return run_file_path(path, o->adapter_path, RUN_CHECKPOINTS, error);
}

static levee_status lock_and_list(resumption *r, const levee_options *o, const char *checkpoints,
                                  levee_error *error) {
    levee_status status = directory_lock_take(&r->lock, o->adapter_path, error);
    return status == LEVEE_OK ? checkpoints_open(&r->checkpoints, checkpoints, o->keep_last, error) : status;
}

/* A run that lies in our directory may only be gone on with, and from its end: anything else would overwrite it. */
static levee_status refuse_to_overwrite(const resumption *r, const levee_options *o, levee_error *error) {
    char name[CHECKPOINT_FILE_NAME_BYTES], path[FILE_PATH_BYTES];
    uint64_t newest;
    if (!checkpoints_newest(&r->checkpoints, &newest)) return LEVEE_OK;
    checkpoint_file_name(name, newest);
    if (!*o->resume)
        return error_set(error, LEVEE_USAGE,
                         "%s: a run has come to step %llu there; go on with it by --resume, or start anew: give "
                         "another --adapter-path, or remove that directory",
                         r->checkpoints.path, (unsigned long long)newest);
    if (!goes_on_automatically(o) && !(file_join(path, r->checkpoints.path, name) && file_is_same(path, o->resume)))
        return error_set(
            error, LEVEE_USAGE,
            "%s: a run has come to step %llu there, which going on from %s would overwrite; give another "
            "--adapter-path, or --resume auto",
            r->checkpoints.path, (unsigned long long)newest, o->resume);
    return LEVEE_OK;
}

levee_status resume_find(resumption *r, const levee_options *o, levee_error *error) {
    char path[FILE_PATH_BYTES];
    levee_status status = directory_of(path, o, error);
    if (status == LEVEE_OK && file_exists(path)) status = lock_and_list(r, o, path, error);
    if (status == LEVEE_OK) status = refuse_to_overwrite(r, o, error);
    if (status != LEVEE_OK) return status;
    if (*o->resume && !goes_on_automatically(o)) {
        r->goes_on = true;
        return checkpoint_peek(o->resume, &r->state, error);
    }
    r->goes_on = r->checkpoints.count > 0;
    checkpoints_peek(&r->checkpoints, &r->state); /* if none can be read, resume_load says so */
    return LEVEE_OK;
}

levee_status resume_claim(resumption *r, const levee_options *o, levee_error *error) {
    char path[FILE_PATH_BYTES];
    if (r->lock.held) return LEVEE_OK;
    levee_status status = directory_of(path, o, error);
    if (status == LEVEE_OK) status = file_make_directory(o->adapter_path, error);
    if (status == LEVEE_OK) status = lock_and_list(r, o, path, error);
    if (status == LEVEE_OK) status = refuse_to_overwrite(r, o, error);
    if (status != LEVEE_OK || r->goes_on || !r->checkpoints.count) return status;
    return error_set(error, LEVEE_USAGE, "%s: another run came to be there meanwhile; start again",
                     r->checkpoints.path);
}

void resume_close(resumption *r) { directory_lock_release(&r->lock); }

/* Shapes of all tensors and the beginning of each: another model of the same shape is noticed without reading it. */
static void identify_model(checkpoint_state *state, const session *model) {
    for (uint32_t i = 0; i < safetensors_count(model->tensors); i++) {
        const tensor_view *view = safetensors_at(model->tensors, i);
        checkpoint_identify(state, "model", view->name, strlen(view->name));
        checkpoint_identify(state, "model", &view->type, sizeof view->type);
        checkpoint_identify(state, "model", view->shape, sizeof view->shape);
        checkpoint_identify(state, "model", view->data, view->bytes < SAMPLE_BYTES ? view->bytes : SAMPLE_BYTES);
    }
}

static void identify_trained(checkpoint_state *state, const trainable_set *set, uint32_t model_layers) {
    static const char name[] = "fine-tuning";
    uint32_t layers = set->last_layers < model_layers ? set->last_layers : model_layers;
    checkpoint_identify(state, name, &set->type, sizeof set->type);
    checkpoint_identify(state, name, &layers, sizeof layers);
    if (!fine_tune_is_adapter(set->type)) return;
    checkpoint_identify(state, name, &set->rank, sizeof set->rank);
    checkpoint_identify(state, name, &set->scale, sizeof set->scale);
    checkpoint_identify(state, name, &set->dropout, sizeof set->dropout);
    checkpoint_identify(state, name, set->projections, sizeof set->projections);
}

/* What a run must have in common with one that goes on with it. Rates, schedules and numbers of steps may change. */
static void identify(checkpoint_state *state, const run *common, const training *t, const dataset *data) {
    const levee_options *o = common->options;
    const session *model = &common->model;
    uint64_t examples = (uint64_t)o->batch_size * o->accumulation, rows = dataset_fingerprint(data);
    compute_type compute = model->device->compute(model->state);
    memset(state->identities, 0, sizeof state->identities);
    identify_model(state, model);
    identify_trained(state, &t->settings.trained, model->config.layers);
    checkpoint_identify(state, "data", &rows, sizeof rows);
    checkpoint_identify(state, "batch size", &examples, sizeof examples);
    checkpoint_identify(state, "seed", &o->seed, sizeof o->seed);
    checkpoint_identify(state, "dtype", &compute, sizeof compute);
    checkpoint_identify(state, "--deterministic", &o->deterministic, sizeof o->deterministic);
}

static void find_sections(checkpoint_section sections[RESUME_SECTIONS], const training *t) {
    const optimizer *o = &t->updates;
    uint64_t bytes = o->count * sizeof(float);
    sections[0] = (checkpoint_section){CHECKPOINT_PARAMETERS, o->parameters, bytes};
    sections[1] = (checkpoint_section){CHECKPOINT_FIRST_MOMENTS, o->first_moments, bytes};
    sections[2] = (checkpoint_section){CHECKPOINT_SECOND_MOMENTS, o->second_moments, bytes};
}

static bool same_plans(const plan_sequence *a, const plan_sequence *b) { return !memcmp(a, b, sizeof *a); }

/* What cannot be as it was, and rounds sums in another order. */
static void tell_differences(const resumption *r, const run *common, const training *t) {
    plan_sequence plans = training_plans(t);
    if (!same_plans(&plans, &r->state.plans) && !t->settings.deterministic)
        run_print(common, "the plans are others than before, so numbers may differ by rounding");
    if (r->state.threads != common->options->threads)
        run_print(common, "%u threads instead of %u, so numbers may differ by rounding", common->options->threads,
                  r->state.threads);
}

static levee_status read_state(resumption *r, const run *common, training *t, levee_error *error) {
    const levee_options *o = common->options;
    levee_status status = goes_on_automatically(o)
                              ? checkpoints_load(&r->checkpoints, &r->state, r->sections, RESUME_SECTIONS,
                                                 run_print_text, (void *)common, error)
                              : checkpoint_read(o->resume, &r->state, r->sections, RESUME_SECTIONS, error);
    if (status != LEVEE_OK) return status;
    t->updates.updates = r->state.updates;
    run_print(common, "going on after step %llu", (unsigned long long)r->state.step);
    tell_differences(r, common, t);
    return LEVEE_OK;
}

levee_status resume_load(resumption *r, const run *common, training *t, const dataset *data, levee_error *error) {
    const levee_options *o = common->options;
    identify(&r->state, common, t, data);
    find_sections(r->sections, t);
    levee_status status = LEVEE_OK;
    if (r->goes_on)
        status = read_state(r, common, t, error);
    else if (*o->resume)
        run_print(common, "%s: nothing to go on with; starting anew", r->checkpoints.path);
    r->state.seed = o->seed;
    r->state.rows = dataset_rows(data);
    r->state.compute = common->model.device->compute(common->model.state);
    r->state.threads = o->threads;
    return status;
}

levee_status resume_reload(resumption *r, levee_error *error) {
    char name[CHECKPOINT_FILE_NAME_BYTES], path[FILE_PATH_BYTES];
    checkpoint_file_name(name, r->state.step);
    if (!file_join(path, r->checkpoints.path, name))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", r->checkpoints.path);
    return checkpoint_read(path, &r->state, r->sections, RESUME_SECTIONS, error);
}

uint64_t resume_checkpoint_bytes(const layout *lasting) {
    static const checkpoint_kind kinds[] = {CHECKPOINT_PARAMETERS, CHECKPOINT_FIRST_MOMENTS,
                                            CHECKPOINT_SECOND_MOMENTS};
    checkpoint_section sections[RESUME_SECTIONS];
    for (unsigned i = 0; i < RESUME_SECTIONS; i++)
        sections[i] = (checkpoint_section){.kind = kinds[i], .bytes = lasting->parameters_bytes};
    return checkpoint_bytes(sections, RESUME_SECTIONS);
}

levee_status resume_check_disk(const resumption *r, uint64_t saves, uint64_t result_bytes, levee_error *error) {
    return checkpoints_check_room(&r->checkpoints, checkpoint_bytes(r->sections, RESUME_SECTIONS), saves,
                                  result_bytes, error);
}

levee_status resume_save(resumption *r, const training *t, levee_error *error) {
    r->state.updates = t->updates.updates;
    r->state.plans = training_plans(t);
    return checkpoints_save(&r->checkpoints, &r->state, r->sections, RESUME_SECTIONS, error);
}

/* levee_export: a result in a form that other programs take. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "model/adapter_convert.h"
#include "model/model_files.h"
#include "model/model_gguf.h"
#include "train/run.h"

static levee_status check(const levee_options *o, levee_error *error) {
    const export_options *own = &o->export;
    bool gguf = own->format == EXPORT_GGUF;
    if (!*own->save_path)
        return error_set(error, LEVEE_USAGE, "--save-path is needed: a new %s", gguf ? "file" : "directory");
    if (file_exists(own->save_path))
        return error_set(error, LEVEE_USAGE, "%s: is there already; give another --save-path", own->save_path);
    if (own->adapter_only && !o->adapter_path_given)
        return error_set(error, LEVEE_USAGE, "--adapter-only: --adapter-path is needed, with the adapter");
    if (own->adapter_only && gguf)
        return error_set(error, LEVEE_USAGE,
                         "--adapter-only: gguf holds whole models here; hf and mlx have adapters");
    if (own->outtype != OUTTYPE_DEFAULT && !gguf)
        return error_set(error, LEVEE_USAGE,
                         "--outtype is for --format gguf; hf and mlx keep the types of the model");
    return LEVEE_OK;
}

/* Fills a directory under another name, which becomes its own when all is in it. */
static levee_status fill_directory(const run *r, merged_model *m, const char *directory, levee_error *error) {
    const levee_options *o = r->options;
    adapter_format format = o->export.format == EXPORT_MLX ? ADAPTER_MLX : ADAPTER_PEFT;
    if (o->export.adapter_only)
        return adapter_convert(&m->adapter, m->matrices, &r->model.config, format, directory, error);
    levee_status status = model_files_write_merged(m, o->model, directory, error);
    config_change change = o->export.format == EXPORT_MLX ? CONFIG_OLDER_ROPE : CONFIG_SAME;
    return status == LEVEE_OK ? model_files_copy(o->model, directory, change, error) : status;
}

static levee_status write_directory(const run *r, merged_model *m, levee_error *error) {
    const char *path = r->options->export.save_path;
    char partial[FILE_PATH_BYTES];
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    if (snprintf(partial, sizeof partial, "%.*s.partial", (int)length, path) >= FILE_PATH_BYTES)
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", path);
    if (file_exists(partial))
        return error_set(error, LEVEE_USAGE, "%s: an export that was cut off left this; remove it", partial);
    levee_status status = file_make_directory(partial, error);
    if (status != LEVEE_OK) return status;
    status = fill_directory(r, m, partial, error);
    if (status == LEVEE_OK) {
        char target[FILE_PATH_BYTES];
        snprintf(target, sizeof target, "%.*s", (int)length, path);
        status = file_move(partial, target, error);
    }
    if (status != LEVEE_OK) file_remove_with_files(partial, NULL);
    return status;
}

static levee_status write_result(const run *r, merged_model *m, levee_error *error) {
    static const gguf_storage storages[] = {
        [OUTTYPE_DEFAULT] = GGUF_STORE_F16, [OUTTYPE_F16] = GGUF_STORE_F16,   [OUTTYPE_BF16] = GGUF_STORE_BF16,
        [OUTTYPE_F32] = GGUF_STORE_F32,     [OUTTYPE_Q8_0] = GGUF_STORE_Q8_0, [OUTTYPE_Q4_0] = GGUF_STORE_Q4_0};
    const levee_options *o = r->options;
    if (o->export.format != EXPORT_GGUF) return write_directory(r, m, error);
    return model_gguf_write(m, r->model.tokens, o->model, storages[o->export.outtype], o->export.save_path, error);
}

/* What a reader of GGUF computes otherwise: llama.cpp gives none of these architectures a window. */
static void tell_of_window(const run *r) {
    const model_config *c = &r->model.config;
    uint32_t windowed = model_config_windowed_layers(c);
    if (r->options->export.format != EXPORT_GGUF || !windowed || c->window >= c->max_positions) return;
    run_print(
        r,
        "in %u of %u layers a token sees %u tokens back; llama.cpp lets it see all, so that texts of more than %u "
        "tokens are computed otherwise there",
        windowed, c->layers, c->window, c->window);
}

levee_status levee_export(const levee_options *options, levee_print *print, void *context, levee_error *error) {
    static const char *const programs[] = {
        [EXPORT_HF] = "transformers and PEFT", [EXPORT_GGUF] = "llama.cpp", [EXPORT_MLX] = "mlx-lm"};
    const char *adapter = options->adapter_path_given ? options->adapter_path : NULL;
    run r = {.options = options};
    merged_model m = {0};
    levee_status status = options_check_verb(options, "export", error);
    if (status == LEVEE_OK) status = check(options, error);
    if (status == LEVEE_OK) status = run_open(&r, "export", options, print, context, error);
    if (status == LEVEE_OK) status = merged_open(&m, &r.model.source, adapter, error);
    if (status == LEVEE_OK) status = write_result(&r, &m, error);
    if (status == LEVEE_OK)
        run_print(&r, "%s: %s, for %s", options->export.save_path,
                  options->export.adapter_only ? "the adapter"
                  : adapter                    ? "the model with the adapter merged into it"
                                               : "the model",
                  programs[options->export.format]);
    if (status == LEVEE_OK) tell_of_window(&r);
    merged_close(&m);
    run_close(&r);
    return status;
}

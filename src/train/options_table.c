/* The table of options: see options_table.h. */
#include "train/options_table.h"

#include <math.h>
#include <stddef.h>

#include "train/checkpoint_directory.h"

const option options_table[] = {
    {"model", OPTION_PATH, AT(model), 0, 0, NULL,
     "Hugging Face model directory, or owner/name of a model that its tools have fetched"},
    {"data", OPTION_PATH, AT(data), 0, 0, NULL,
     "directory with train.jsonl, valid.jsonl, test.jsonl; or one .jsonl or .txt file"},
    {"memory", OPTION_BYTES, AT(budget_bytes), 1, 0, NULL,
     "memory budget, as 600MiB or 6GiB; auto (the default): half of what can be had beyond the reserve and is not "
     "promised to another run"},
    {"reserve", OPTION_BYTES, AT(others_bytes), 0, 0, NULL,
     "memory left free for others; default: 1/8 of the machine's, at least 1 GiB and at most 1/4 of it; 1/32 of a "
     "container's limit"},
    {"fine_tune_type", OPTION_CHOICE, AT(type), 0, 0, "|lora|full|head|dora",
     "what trains: lora, dora, full or head"},
    {"num_layers", OPTION_LAYERS, AT(num_layers), -1, 1e6, NULL, "how many of the last layers train; -1: all"},
    {"batch_size", OPTION_WHOLE, AT(batch_size), 1, 1e6, NULL, "examples of a batch"},
    {"iters", OPTION_WHOLE, AT(iterations), 1, 1e9, NULL, "batches to train on"},
    {"grad_accumulation_steps", OPTION_WHOLE, AT(accumulation), 1, 1e6, NULL, "batches that make one optimizer step"},
    {"micro_batch_size", OPTION_WHOLE, AT(micro_batch_size), 0, 1e6, NULL,
     "of the longest sequences, how many one pass holds where the budget allows; 0 (the default): what is fastest"},
    {"learning_rate", OPTION_NUMBER, AT(learning_rate), 0, 1e3, NULL, "learning rate, unless a schedule is given"},
    {"max_seq_length", OPTION_WHOLE, AT(max_sequence_tokens), 2, 1e7, NULL, "longer rows are cut to so many tokens"},
    {"mask_prompt", OPTION_FLAG, AT(mask_prompt), 0, 0, NULL,
     "only what the assistant says counts in the loss; the rows are conversations, or prompts with completions"},
    {"text_feature", OPTION_FIELD, AT(text_feature), 0, 0, NULL, "field of a row that is a text; default: text"},
    {"prompt_feature", OPTION_FIELD, AT(prompt_feature), 0, 0, NULL, "field that is a prompt; default: prompt"},
    {"completion_feature", OPTION_FIELD, AT(completion_feature), 0, 0, NULL,
     "field that is its completion; default: completion"},
    {"chat_feature", OPTION_FIELD, AT(chat_feature), 0, 0, NULL,
     "field that is a list of messages; default: messages"},
    {"adapter_path", OPTION_PATH, AT(adapter_path), 0, 0, NULL, "where the result and the run's files go"},
    {"resume_adapter_file", OPTION_PATH, AT(resume_adapter_file), 0, 0, NULL,
     "adapter of PEFT or mlx-lm to start from: directory or safetensors file"},
    {"rank", OPTION_WHOLE, AT(rank), 1, 4096, NULL, "LoRA rank"},
    {"scale", OPTION_NUMBER, AT(scale), 0, 1e6, NULL, "LoRA scale: alpha / rank"},
    {"dropout", OPTION_NUMBER, AT(dropout), 0, 0.999, NULL, "LoRA dropout"},
    {"keys", OPTION_KEYS, AT(projections), 0, 0, NULL, "LoRA projections, as q_proj,v_proj; default: all"},
    {"optimizer", OPTION_CHOICE, AT(optimizer), 0, 0, "adamw|adam", "adamw, or adam: the same without weight decay"},
    {"betas", OPTION_BETAS, AT(optimizers[0]), 0, 0, NULL, "AdamW's betas"},
    {"eps", OPTION_NUMBER, AT(optimizers[0].epsilon), 0, 1, NULL, "AdamW's epsilon"},
    {"weight_decay", OPTION_NUMBER, AT(optimizers[0].weight_decay), 0, 10, NULL, "AdamW's decoupled decay"},
    {"bias_correction", OPTION_FLAG, AT(optimizers[0].bias_correction), 0, 0, NULL,
     "correct AdamW's moments for their start at zero, as PyTorch does; default: not, as in mlx"},
    {"max_grad_norm", OPTION_NUMBER, AT(max_gradient_norm), 1e-9, INFINITY, NULL,
     "clip gradients to this global norm; default: not"},
    {"grad_checkpoint", OPTION_CHOICE, AT(recompute), 0, 0, "auto|off|all",
     "recompute activations: auto, off or all"},
    {"dtype", OPTION_CHOICE, AT(compute), 0, 0, "auto|f32|bf16", "type of matrix products; auto measures"},
    {"steps_per_report", OPTION_WHOLE, AT(steps_per_report), 1, 1e9, NULL, "steps between progress lines"},
    {"steps_per_eval", OPTION_WHOLE, AT(steps_per_evaluation), 1, 1e9, NULL, "steps between validations"},
    {"val_batches", OPTION_BATCHES, AT(validation_batches), 0, 1e9, NULL, "batches of a validation; -1: all"},
    {"test_batches", OPTION_BATCHES, AT(test_batches), 1, 1e9, NULL, "batches of eval; -1: all"},
    {"train", OPTION_FLAG, AT(train), 0, 0, NULL,
     "train (the default); false, with test: only the loss on the test split, with what is in --adapter-path"},
    {"test", OPTION_FLAG, AT(test), 0, 0, NULL, "after training, the loss on the test split, as eval has it"},
    {"save_every", OPTION_WHOLE, AT(save_every), 1, 1e9, NULL, "steps between saves of result and checkpoint"},
    {"keep_last", OPTION_WHOLE, AT(keep_last), 1, CHECKPOINTS_KEEP_MOST, NULL, "checkpoints that are kept"},
    {"resume", OPTION_PATH_OR_AUTO, AT(resume), 0, 0, NULL,
     "go on from a checkpoint: its file, or auto: from the newest whole one, if there is any"},
    {"deterministic", OPTION_FLAG, AT(deterministic), 0, 0, NULL,
     "the same bits whatever the budget, the split of a batch and changes of plan; slower"},
    {"profile", OPTION_FLAG, AT(profile), 0, 0, NULL,
     "say at the end where the time of the steps went, and write trace.json for Chrome's tracing"},
    {"tensorboard", OPTION_FLAG, AT(tensorboard), 0, 0, NULL,
     "write TensorBoard's event files into the directory tensorboard below --adapter-path"},
    {"most_not_finite_steps", OPTION_WHOLE, AT(most_not_finite_steps), 1, 1e9, NULL,
     "steps in a row whose loss or gradient is not finite before it stops"},
    {"guard", OPTION_CHOICE, AT(guard), 0, 0, "off|warn|act",
     "watch memory while training: off, warn (tell only) or act"},
    {"on_pressure", OPTION_CHOICE, AT(on_pressure), 0, 0, "shrink|pause|stop",
     "what the guard does first when memory is short"},
    {"yellow_at", OPTION_NUMBER, AT(yellow_at), 0.01, 1, NULL, "share of a limit at which the guard trims caches"},
    {"orange_at", OPTION_NUMBER, AT(orange_at), 0.01, 1, NULL, "share at which it takes smaller plans"},
    {"red_at", OPTION_NUMBER, AT(red_at), 0.01, 1, NULL, "share at which it may pause"},
    {"limit_data", OPTION_FLAG, AT(limit_data), 0, 0, NULL,
     "once all memory is taken, have the kernel refuse more (RLIMIT_DATA, 64 MiB above)"},
    {"cgroup", OPTION_BYTES, AT(group_bytes), 1, 0, NULL,
     "run in a memory control group of its own, of this size; needs root or a delegated group"},
    {"cool_down", OPTION_NUMBER, AT(cool_down_seconds), 0, 3600, NULL,
     "seconds of calm before memory that was given back is taken again"},
    {"inject", OPTION_DRILL, AT(inject), 0, 0, NULL,
     "fire drill: leak=1MB/step, hog=2GiB@50, pressure=orange@20, alloc-fail=N, io-error=N, slow-disk=MILLISECONDS"},
    {"seed", OPTION_SEED, AT(seed), 0, 0, NULL, "seed of the data order, LoRA's start and dropout"},
    {"threads", OPTION_WHOLE, AT(threads), 1, 1024, NULL, "threads; default: all processors"},
    {"max_row_bytes", OPTION_BYTES, AT(max_row_bytes), 1, 0, NULL, "longest row of data that is read"},
    {"prompt", OPTION_PATH, AT(prompt), 0, 0, NULL, "text to continue (generate) or to tokenise (tokenize)"},
    {"max_tokens", OPTION_WHOLE, AT(max_new_tokens), 1, 1e6, NULL, "tokens to generate"},
    {"print_config", OPTION_FLAG, AT(print_config), 0, 0, NULL,
     "say which options are in force and where each comes from, and do nothing"},
    {"web", OPTION_PATH_OR_AUTO, AT(web), 0, 0, NULL,
     "show the run on a page, and its metrics to Prometheus; [ADDRESS:PORT], default: 127.0.0.1:8642, or a free "
     "port"},
    {"quiet", OPTION_FLAG, AT(quiet), 0, 0, NULL, "print nothing but errors; log.txt has every line all the same"},
    {"table", OPTION_FLAG, AT(analysis.table), 0, 0, NULL, "peaks by sequences a pass and sequence length"},
    {"explain", OPTION_FLAG, AT(analysis.explain), 0, 0, NULL,
     "what is largest at the peak, and what would lower it"},
    {"curve", OPTION_PATH, AT(analysis.curve), 0, 0, NULL, "draw memory over one pass into FILE.svg or FILE.html"},
    {"json", OPTION_FLAG, AT(analysis.json), 0, 0, NULL, "answer as one JSON object"},
    {"calibrate", OPTION_FLAG, AT(analysis.calibrate), 0, 0, NULL,
     "measure how fast this machine is, so that plan can say how long a step takes"},
    {"probe_file", OPTION_PATH, AT(probe.file), 0, 0, NULL,
     "where the options that were found go; default: probe.yaml, and the picture beside it"},
    {"probe_steps", OPTION_WHOLE, AT(probe.steps), 3, 10000, NULL, "steps at each size; default: 10"},
    {"add_generation_prompt", OPTION_FLAG, AT(tokenize.add_generation_prompt), 0, 0, NULL,
     "end conversations with the beginning of an answer"},
    {"no_special_tokens", OPTION_FLAG, AT(tokenize.no_special_tokens), 0, 0, NULL,
     "texts without the special tokens that begin and end them"},
    {"bos_token", OPTION_FIELD, AT(tokenize.bos_token), 0, 0, NULL, "another token for the beginning"},
    {"eos_token", OPTION_FIELD, AT(tokenize.eos_token), 0, 0, NULL, "another token for the end"},
    {"colour", OPTION_FLAG, AT(tokenize.colour), 0, 0, NULL,
     "for a terminal: the text itself, green where it counts in the loss"},
    {"temp", OPTION_NUMBER, AT(generate.temperature), 0, 1e3, NULL,
     "sampling temperature; 0 (the default): the likeliest token, always"},
    {"top_p", OPTION_NUMBER, AT(generate.top_p), 0, 1, NULL,
     "only the likeliest tokens that have this much together"},
    {"min_p", OPTION_NUMBER, AT(generate.min_p), 0, 1, NULL, "only tokens at least so likely, beside the likeliest"},
    {"top_k", OPTION_WHOLE, AT(generate.top_k), 0, 1e9, NULL, "only so many of the likeliest tokens; 0: all"},
    {"repetition_penalty", OPTION_NUMBER, AT(generate.repetition_penalty), 0, 1e3, NULL,
     "what was said lately is made less likely by this factor; 0 or 1: not"},
    {"repetition_context_size", OPTION_WHOLE, AT(generate.repetition_context), 0, 1e9, NULL,
     "how many tokens are lately; default: 20"},
    {"chat", OPTION_FLAG, AT(generate.chat), 0, 0, NULL,
     "answer the prompt as the chat template has it; without a prompt, a conversation: a line of input is a turn"},
    {"system_prompt", OPTION_PATH, AT(generate.system_prompt), 0, 0, NULL, "what a conversation begins with"},
    {"format", OPTION_CHOICE, AT(export.format), 0, 0, "hf|gguf|mlx",
     "hf (a Hugging Face directory, or PEFT's adapter), gguf (llama.cpp) or mlx (mlx-lm)"},
    {"outtype", OPTION_CHOICE, AT(export.outtype), 0, 0, "|f16|bf16|f32|q8_0|q4_0",
     "how gguf stores matrices: f16 (the default), bf16, f32, q8_0 or q4_0"},
    {"save_path", OPTION_PATH, AT(export.save_path), 0, 0, NULL, "the directory or file to write, which must be new"},
    {"adapter_only", OPTION_FLAG, AT(export.adapter_only), 0, 0, NULL,
     "write the adapter, converted, and not the model with it merged"},
    {"lr_schedule", OPTION_MAP, AT(rate), 0, 0, NULL, NULL},
    {"lr_schedule.name", OPTION_SCHEDULE, AT(rate.kind), 0, 0, NULL, "constant, linear, cosine, step or exponential"},
    {"lr_schedule.warmup", OPTION_WHOLE, AT(rate.warmup), 0, 1e9, NULL, "updates of warm-up"},
    {"lr_schedule.warmup_init", OPTION_NUMBER, AT(rate.warmup_init), 0, 1e3, NULL,
     "rate at the start of the warm-up"},
    {"lr_schedule.arguments", OPTION_ARGUMENTS, AT(rate.arguments), 0, 0, NULL, "the curve's numbers"},
    {"lora_parameters", OPTION_MAP, 0, 0, 0, NULL, NULL},
    {"optimizer_config", OPTION_MAP, 0, 0, 0, NULL, NULL},
    {"clear_cache_threshold", OPTION_IGNORED, 0, 0, 0, NULL, NULL},
    {"trust_remote_code", OPTION_IGNORED, 0, 0, 0, NULL, NULL},
    {"report_to", OPTION_IGNORED, 0, 0, 0, NULL, NULL},
    {"project_name", OPTION_IGNORED, 0, 0, 0, NULL, NULL},
    {"hf_dataset", OPTION_REFUSED, 0, 0, 0,
     "Levee fetches nothing; write the data set's rows as train.jsonl and valid.jsonl (docs/data.md) and give their "
     "directory as data; fields keep their names by text_feature, prompt_feature, completion_feature and "
     "chat_feature",
     NULL},
    {"alpha", OPTION_REFUSED, 0, 0, 0,
     "is not used, by mlx-lm neither; scale is, which is alpha / rank: give that, and leave alpha out", NULL},
    {"device_memory", OPTION_REFUSED, 0, 0, 0,
     "there is no device backend yet, so nothing can be planned for a device; --memory is the host's budget", NULL},
    {NULL, OPTION_IGNORED, 0, 0, 0, NULL, NULL},
};

enum { COUNT = sizeof options_table / sizeof *options_table - 1 };
_Static_assert(sizeof options_table / sizeof *options_table <= (size_t)OPTIONS_MOST, "the place of each is kept");

unsigned levee_option_count(void) { return COUNT; }

const char *levee_option_key(unsigned index) { return index < COUNT ? options_table[index].key : NULL; }

const char *levee_option_help(unsigned index) { return index < COUNT ? options_table[index].help : NULL; }

static bool is_within(const option *d, size_t offset, size_t bytes) {
    return d->offset >= offset && d->offset < offset + bytes;
}

bool option_is_optimizers(const option *d) {
    return is_within(d, AT(optimizers), sizeof((levee_options *)0)->optimizers);
}

option_owner option_owned_by(const option *d) {
    if (d->kind == OPTION_PATH_OR_AUTO && d->offset == AT(web)) return OWNER_TRAIN;
    if (d->kind == OPTION_FLAG && (d->offset == AT(print_config) || d->offset == AT(quiet))) return OWNER_TRAIN;
    if (is_within(d, AT(tokenize), sizeof(tokenize_options))) return OWNER_TOKENIZE;
    if (is_within(d, AT(generate), sizeof(generate_options))) return OWNER_GENERATE;
    if (is_within(d, AT(export), sizeof(export_options))) return OWNER_EXPORT;
    if (is_within(d, AT(probe), sizeof(probe_options))) return OWNER_PROBE;
    if (!is_within(d, AT(analysis), sizeof(analysis_options))) return OWNER_RUNS;
    if (d->offset == AT(analysis.json)) return OWNER_PLAN_DOCTOR_AND_INSPECT;
    return d->offset == AT(analysis.calibrate) ? OWNER_DOCTOR : OWNER_PLAN;
}

const char *option_owner_verbs(option_owner owner) {
    static const char *const verbs[OWNER_COUNT] = {
        NULL, "plan", "doctor", "plan, doctor and inspect", "probe", "tokenize", "export", "generate", "train"};
    return verbs[owner];
}

const char *levee_option_verbs(unsigned index) {
    return index < COUNT ? option_owner_verbs(option_owned_by(&options_table[index])) : NULL;
}

bool levee_option_is_flag(unsigned index) { return index < COUNT && options_table[index].kind == OPTION_FLAG; }

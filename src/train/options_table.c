/* The table of options: see options_table.h. */
#include "train/options_table.h"

#include <math.h>
#include <stddef.h>

const option options_table[] = {
    {"model", OPTION_PATH, AT(model), 0, 0, NULL, "Hugging Face model directory"},
    {"data", OPTION_PATH, AT(data), 0, 0, NULL,
     "directory with train.jsonl, valid.jsonl, test.jsonl; or one .jsonl or .txt file"},
    {"memory", OPTION_BYTES, AT(budget_bytes), 0, 0, NULL,
     "memory budget, as 600MiB or 6GiB; default: half of what is available"},
    {"fine_tune_type", OPTION_CHOICE, AT(type), 0, 0, "|lora|full|head", "what trains: lora, full or head"},
    {"num_layers", OPTION_LAYERS, AT(num_layers), -1, 1e6, NULL, "how many of the last layers train; -1: all"},
    {"batch_size", OPTION_WHOLE, AT(batch_size), 1, 1e6, NULL, "examples of a batch"},
    {"iters", OPTION_WHOLE, AT(iterations), 1, 1e9, NULL, "batches to train on"},
    {"grad_accumulation_steps", OPTION_WHOLE, AT(accumulation), 1, 1e6, NULL, "batches that make one optimizer step"},
    {"learning_rate", OPTION_NUMBER, AT(learning_rate), 0, 1e3, NULL, "learning rate, unless a schedule is given"},
    {"max_seq_length", OPTION_WHOLE, AT(max_sequence_tokens), 2, 1e7, NULL, "longer rows are cut to so many tokens"},
    {"adapter_path", OPTION_PATH, AT(adapter_path), 0, 0, NULL, "where the result and the run's files go"},
    {"resume_adapter_file", OPTION_PATH, AT(resume_adapter_file), 0, 0, NULL,
     "PEFT adapter to start from: directory or safetensors file"},
    {"rank", OPTION_WHOLE, AT(rank), 1, 4096, NULL, "LoRA rank"},
    {"scale", OPTION_NUMBER, AT(scale), 0, 1e6, NULL, "LoRA scale: alpha / rank"},
    {"dropout", OPTION_NUMBER, AT(dropout), 0, 0.999, NULL, "LoRA dropout"},
    {"keys", OPTION_KEYS, AT(projections), 0, 0, NULL, "LoRA projections, as q_proj,v_proj; default: all"},
    {"optimizer", OPTION_CHOICE, AT(optimizer), 0, 0, "adamw|adam", "adamw, or adam: the same without weight decay"},
    {"betas", OPTION_BETAS, AT(optimizers[0]), 0, 0, NULL, "AdamW's betas"},
    {"eps", OPTION_NUMBER, AT(optimizers[0].epsilon), 0, 1, NULL, "AdamW's epsilon"},
    {"weight_decay", OPTION_NUMBER, AT(optimizers[0].weight_decay), 0, 10, NULL, "AdamW's decoupled decay"},
    {"bias_correction", OPTION_FLAG, AT(optimizers[0].bias_correction), 0, 0, NULL, "AdamW's bias correction"},
    {"max_grad_norm", OPTION_NUMBER, AT(max_gradient_norm), 1e-9, INFINITY, NULL,
     "clip gradients to this global norm; default: not"},
    {"grad_checkpoint", OPTION_CHOICE, AT(recompute), 0, 0, "auto|off|all",
     "recompute activations: auto, off or all"},
    {"dtype", OPTION_CHOICE, AT(compute), 0, 0, "auto|f32|bf16", "type of matrix products; auto measures"},
    {"steps_per_report", OPTION_WHOLE, AT(steps_per_report), 1, 1e9, NULL, "steps between progress lines"},
    {"steps_per_eval", OPTION_WHOLE, AT(steps_per_evaluation), 1, 1e9, NULL, "steps between validations"},
    {"val_batches", OPTION_BATCHES, AT(validation_batches), 0, 1e9, NULL, "batches of a validation; -1: all"},
    {"test_batches", OPTION_BATCHES, AT(test_batches), 1, 1e9, NULL, "batches of eval; -1: all"},
    {"save_every", OPTION_WHOLE, AT(save_every), 1, 1e9, NULL, "steps between saves"},
    {"seed", OPTION_SEED, AT(seed), 0, 0, NULL, "seed of the data order, LoRA's start and dropout"},
    {"threads", OPTION_WHOLE, AT(threads), 1, 1024, NULL, "threads; default: all processors"},
    {"max_row_bytes", OPTION_BYTES, AT(max_row_bytes), 0, 0, NULL, "longest row of data that is read"},
    {"prompt", OPTION_PATH, AT(prompt), 0, 0, NULL, "text to continue (generate)"},
    {"max_tokens", OPTION_WHOLE, AT(max_new_tokens), 1, 1e6, NULL, "tokens to generate"},
    {"lr_schedule", OPTION_MAP, AT(rate), 0, 0, NULL, NULL},
    {"lr_schedule.name", OPTION_SCHEDULE, AT(rate.kind), 0, 0, NULL, "constant, linear, cosine, step or exponential"},
    {"lr_schedule.warmup", OPTION_WHOLE, AT(rate.warmup), 0, 1e9, NULL, "updates of warm-up"},
    {"lr_schedule.warmup_init", OPTION_NUMBER, AT(rate.warmup_init), 0, 1e3, NULL,
     "rate at the start of the warm-up"},
    {"lr_schedule.arguments", OPTION_ARGUMENTS, AT(rate.arguments), 0, 0, NULL, "the curve's numbers"},
    {"lora_parameters", OPTION_MAP, 0, 0, 0, NULL, NULL},
    {"optimizer_config", OPTION_MAP, 0, 0, 0, NULL, NULL},
    {"train", OPTION_IGNORED, 0, 0, 0, NULL, NULL},
    {"test", OPTION_IGNORED, 0, 0, 0, NULL, NULL},
    {"clear_cache_threshold", OPTION_IGNORED, 0, 0, 0, NULL, NULL},
    {"trust_remote_code", OPTION_IGNORED, 0, 0, 0, NULL, NULL},
    {"report_to", OPTION_IGNORED, 0, 0, 0, NULL, NULL},
    {"project_name", OPTION_IGNORED, 0, 0, 0, NULL, NULL},
    {"mask_prompt", OPTION_REFUSED, 0, 0, 0, NULL, NULL},
    {"hf_dataset", OPTION_REFUSED, 0, 0, 0, NULL, NULL},
    {NULL, OPTION_IGNORED, 0, 0, 0, NULL, NULL},
};

enum { COUNT = sizeof options_table / sizeof *options_table - 1 };

unsigned levee_option_count(void) { return COUNT; }

const char *levee_option_key(unsigned index) { return index < COUNT ? options_table[index].key : NULL; }

const char *levee_option_help(unsigned index) { return index < COUNT ? options_table[index].help : NULL; }

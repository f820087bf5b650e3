"""A peer: mlx-lm fine-tunes a model directory of Hugging Face on the CPU, by its own `mlx_lm.lora`.

    python peer_mlx.py MODEL_DIR DATA_DIR lora|full bf16|f32 STEPS ADAPTER_DIR

The first 513 tokens of a row: 512 to predict, 4 rows a step. Prints a line "step N SECONDS LOSS" for each step, and
after the first "first SECONDS", from the start of the process, imports included. mlx-lm trains in the type in which
the weights are stored; here they are converted when they are loaded. Its full training is one of the layers: the
embedding stays as it is.
"""
import time

BEGAN = time.clock_gettime(time.CLOCK_MONOTONIC)
with open("/proc/self/stat") as stat:
    started = int(stat.read().rsplit(")", 1)[1].split()[19]) / 100
with open("/proc/uptime") as uptime:
    before = float(uptime.read().split()[0]) - started

import json
import pathlib
import sys

import mlx.core as mx
from mlx_lm import lora


class Told:
    """What mlx-lm calls after each step."""

    def on_train_loss_report(self, report):
        print("step", report["iteration"], 1 / report["iterations_per_second"], report["train_loss"], flush=True)
        if report["iteration"] == 1:
            print("first", time.clock_gettime(time.CLOCK_MONOTONIC) - BEGAN + before, flush=True)

    def on_val_loss_report(self, report):
        pass


def main():
    directory, data, kind, dtype, steps, adapter = sys.argv[1:]
    mx.set_default_device(mx.cpu)
    load = lora.load

    def load_as(*arguments, **options):
        model, tokenizer = load(*arguments, **options)
        model.set_dtype({"f32": mx.float32, "bf16": mx.bfloat16}[dtype])
        return model, tokenizer

    lora.load = load_as
    lora.get_reporting_callbacks = lambda *arguments, **options: Told()
    pathlib.Path(adapter).mkdir(parents=True, exist_ok=True)
    config = pathlib.Path(adapter, "config.yaml")
    config.write_text(json.dumps({"lora_parameters": {"rank": 8, "scale": 2.0, "dropout": 0.0}}))
    sys.argv[1:] = ["--train", "--model", directory, "--data", data, "--adapter-path", adapter, "-c", str(config)]
    sys.argv += ["--fine-tune-type", kind, "--num-layers", "-1", "--optimizer", "adamw", "--learning-rate", "1e-5"]
    sys.argv += ["--batch-size", "4", "--max-seq-length", "513", "--iters", steps, "--val-batches", "0"]
    sys.argv += ["--steps-per-report", "1", "--save-every", "1000000"]
    lora.main()


main()

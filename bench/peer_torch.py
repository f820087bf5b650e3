"""A peer: PyTorch and PEFT fine-tune a model directory of Hugging Face on the CPU.

    python peer_torch.py MODEL_DIR DATA.jsonl lora|full|head f32|bf16 eager|checkpoint|compile STEPS THREADS

Rows of the data ({"text": ...}) are cut to 513 tokens: 512 to predict, 4 rows a step. Prints a line "step N SECONDS
LOSS" for each step, and after the first "first SECONDS", from the start of the process, imports included. Where the
head is tied to the embedding, head-only training gives it a matrix of its own, as Levee does: otherwise the gradient
would go back through all layers to the embedding.
"""
import time

BEGAN = time.clock_gettime(time.CLOCK_MONOTONIC)
with open("/proc/self/stat") as stat:
    started = int(stat.read().rsplit(")", 1)[1].split()[19]) / 100
with open("/proc/uptime") as uptime:
    before = float(uptime.read().split()[0]) - started

import json
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

LENGTH, ROWS = 512, 4


def load(directory, mode, dtype, variant):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype={"f32": torch.float32, "bf16": torch.bfloat16}[dtype])
    model.config.use_cache = False
    if variant == "checkpoint":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if mode == "lora":
        every = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=every, task_type="CAUSAL_LM"))
    if mode == "head":
        head = model.lm_head
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
        for parameter in model.parameters():
            parameter.requires_grad_(parameter is head.weight)
    return model.train()


def batches(directory, path):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    rows = [tokenizer(json.loads(line)["text"])["input_ids"][: LENGTH + 1] for line in open(path)]
    assert all(len(row) == LENGTH + 1 for row in rows), "a row is too short"
    while True:
        for at in range(0, len(rows) - ROWS + 1, ROWS):
            yield torch.tensor(rows[at : at + ROWS])


def main():
    directory, path, mode, dtype, variant, steps, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    model = load(directory, mode, dtype, variant)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)
    forward = torch.compile(model) if variant == "compile" else model
    data = batches(directory, path)
    for step in range(1, int(steps) + 1):
        began = time.perf_counter()
        ids = next(data)
        logits = forward(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        print("step", step, time.perf_counter() - began, loss.item(), flush=True)
        if step == 1:
            print("first", time.clock_gettime(time.CLOCK_MONOTONIC) - BEGAN + before, flush=True)


main()

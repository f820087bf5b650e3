"""Small random models of each family with what PyTorch and PEFT compute on them, for build/golden. Usage: goldens.py DIRECTORY

Prints the directory of each. Of each: logits, loss and every gradient, and trajectories of 20 steps of AdamW: full
fine-tuning, LoRA, DoRA and, where the head is its own, the head alone, all in f32."""
import copy
import json
import math
import os
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

SEQUENCES, LENGTH, STEPS = 3, 40, 20
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SHAPE = dict(vocab_size=272, hidden_size=48, intermediate_size=112, num_hidden_layers=3, num_attention_heads=6,
             num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=None)
FAMILIES = {
    "llama": dict(tie_word_embeddings=False, attention_bias=True,
                  rope_parameters={"rope_type": "llama3", "rope_theta": 50000.0, "factor": 4.0, "low_freq_factor": 1.0,
                                   "high_freq_factor": 4.0, "original_max_position_embeddings": 32}),
    "mistral": dict(tie_word_embeddings=True, head_dim=10, sliding_window=11),
    "qwen2": dict(tie_word_embeddings=False, use_sliding_window=True, sliding_window=9, max_window_layers=1),
    "qwen3": dict(tie_word_embeddings=True, head_dim=14),
}


def make(family, directory):
    torch.manual_seed(sum(map(ord, family)))
    config = AutoConfig.for_model(family, **(SHAPE | FAMILIES[family]))
    # Two ways to compute attention: this one knows windows.
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.copy_(0.1 * torch.randn_like(parameter) + ("norm" in name))
            else:
                parameter.copy_(torch.randn_like(parameter) * 0.6 / math.sqrt(parameter.shape[1]))
    model.save_pretrained(directory)
    return model.eval()


class Golden:
    def __init__(self, model, directory):
        self.model, self.directory = model, directory
        generator = torch.Generator().manual_seed(11)
        self.ids = torch.randint(3, SHAPE["vocab_size"], (SEQUENCES, LENGTH), generator=generator)
        self.labels = self.ids.clone()
        self.labels[0, :10] = -100
        self.labels[1, 30:] = -100
        self.labels[2, ::7] = -100
        self.tensors = {"input_ids": self.ids.int(), "labels": self.labels.int()}
        self.numbers = {}

    def loss(self, model):
        logits = model(input_ids=self.ids).logits.float()
        flat = logits[:, :-1].reshape(-1, logits.shape[-1])
        return logits, torch.nn.functional.cross_entropy(flat, self.labels[:, 1:].reshape(-1), ignore_index=-100)

    def forward(self):
        logits, loss = self.loss(self.model)
        loss.backward()
        self.tensors["logits"] = logits.detach().clone()
        self.numbers["loss"] = loss.item()
        for name, parameter in self.model.named_parameters():
            self.tensors["grad." + name] = parameter.grad.clone()
        self.model.zero_grad(set_to_none=True)

    def trajectory(self, mode, model, trained, lr, weight_decay, prefix=None):
        optimizer = torch.optim.AdamW(trained, lr=lr, betas=(0.9, 0.99), eps=1e-8, weight_decay=weight_decay)
        losses, norms = [], []
        for step in range(STEPS):
            optimizer.zero_grad(set_to_none=True)
            _, loss = self.loss(model)
            loss.backward()
            if prefix and not step:
                for name, parameter in model.named_parameters():
                    if parameter.grad is not None:
                        self.tensors[prefix + name] = parameter.grad.clone()
            norms.append(torch.nn.utils.clip_grad_norm_(trained, 1.0).item())
            optimizer.step()
            losses.append(loss.item())
        self.numbers[mode] = {"optimizer": dict(name="adamw", lr=lr, betas=[0.9, 0.99], eps=1e-8, weight_decay=weight_decay,
                                                clip_norm=1.0), "losses": losses, "grad_norms": norms}

    def adapter(self, mode, dora):
        config = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=PROJECTIONS, task_type="CAUSAL_LM", use_dora=dora)
        model = get_peft_model(copy.deepcopy(self.model), config)
        torch.manual_seed(5)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "magnitude" in name:  # beside the norms that it starts at, or its gradient is a special one
                    parameter.mul_(1 + 0.1 * torch.randn_like(parameter))
                elif "lora_" in name:
                    parameter.copy_(torch.randn_like(parameter) * 0.05)
        model.save_pretrained(f"{self.directory}/{mode}_init")
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.trajectory(mode, model, trained, 5e-3, 0.01, f"{mode}_grad.")
        model.save_pretrained(f"{self.directory}/{mode}_after")
        self.numbers[mode] |= {"init": f"{mode}_init", "after": f"{mode}_after"}

    def run(self):
        self.forward()
        full = copy.deepcopy(self.model)
        self.trajectory("full", full, list(full.parameters()), 1e-3, 0.1)
        self.adapter("lora", False)
        self.adapter("dora", True)
        if not self.model.config.tie_word_embeddings:
            head = copy.deepcopy(self.model)
            for parameter in head.parameters():
                parameter.requires_grad_(False)
            weight = head.get_output_embeddings().weight.requires_grad_(True)
            self.trajectory("head", head, [weight], 1e-2, 0.0)
        save_file({name: tensor.contiguous() for name, tensor in self.tensors.items()}, f"{self.directory}/golden.safetensors")
        with open(f"{self.directory}/golden.json", "w") as file:
            json.dump(self.numbers, file)


for family in FAMILIES:
    directory = os.path.join(sys.argv[1], family)
    Golden(make(family, directory), directory).run()
    print(directory, flush=True)

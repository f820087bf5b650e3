"""GGUF files of random small models, read by the gguf package. Usage: gguf_models.py LEVEE DIRECTORY [MODELS [SEED]]

`levee init` makes models of all families in shapes drawn at random: odd and even widths, one head and many, rows that are
whole blocks and that are not. Some get a head of their own, some another type of weights. Each is exported in every type;
of each file all is compared: every number of its metadata that the model's configuration has, every token, every tensor's
name, shape, place, type and bytes. A byte that differs from what gguf's own quantisation gives ends with status 1."""
import json
import os
import random
import subprocess
import sys

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader, quants
from safetensors.torch import load_file, save_file

levee, work = os.path.abspath(sys.argv[1]), sys.argv[2]
count = int(sys.argv[3]) if len(sys.argv) > 3 else 24
draw = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
os.chdir(work)
OUTTYPES = ["f32", "f16", "bf16", "q8_0", "q4_0"]
PARTS = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
OUTER = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}


def run(*arguments):
    done = subprocess.run([levee, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"levee {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def make(name):
    """A model of a drawn shape; what it was drawn as."""
    family = draw.choice(list(ARCHITECTURES))
    kv_heads = draw.choice([1, 2, 3])
    heads = kv_heads * draw.choice([1, 2, 4])
    head_dim = 2 * draw.randint(2, 24)
    hidden = heads * head_dim if family == "qwen2" or draw.random() < 0.5 else 4 * draw.randint(2, 40)
    shape = ["--hidden-size", hidden, "--intermediate-size", draw.choice([32 * draw.randint(1, 6), draw.randint(5, 150)]),
             "--layers", draw.randint(1, 4), "--heads", heads, "--kv-heads", kv_heads, "--head-dim", head_dim]
    if family != "llama" and draw.random() < 0.5:
        shape += ["--window", draw.randint(1, 40)]
    run("init", name, "--family", family, "--seed", draw.randint(0, 10**6), *shape)
    with open(f"{name}/config.json") as file:
        config = json.load(file)
    weights = load_file(f"{name}/model.safetensors")
    if draw.random() < 0.5:
        config["tie_word_embeddings"] = False
        weights["lm_head.weight"] = torch.randn_like(weights["model.embed_tokens.weight"])
    stored = draw.choice([torch.float32, torch.bfloat16, torch.float16])
    # Values of many sizes, zeros and whole blocks of zeros among them.
    for key, tensor in weights.items():
        tensor = tensor.float() * 10.0 ** torch.randint(-6, 3, tensor.shape)
        tensor[torch.rand(tensor.shape) < 0.1] = 0
        if tensor.ndim == 2:
            tensor[draw.randrange(len(tensor))] = 0
        weights[key] = tensor.clamp(-60000, 60000).to(stored)
    save_file(weights, f"{name}/model.safetensors", metadata={"format": "pt"})
    with open(f"{name}/config.json", "w") as file:
        json.dump(config, file)
    return family, config, {key: tensor.float().numpy() for key, tensor in weights.items()}


def interleaved(tensor, heads):
    """llama.cpp's Llama turns neighbouring elements of a head together, Hugging Face's those of either half."""
    return tensor.reshape(heads, 2, -1, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)


def expected_tensors(family, config, weights):
    tensors = {}
    for name, tensor in weights.items():
        if name in OUTER:
            tensors[OUTER[name]] = tensor
            continue
        _, _, layer, rest = name.split(".", 3)
        part, kind = rest.rsplit(".", 1)
        if ARCHITECTURES[family] == "llama" and part in ("self_attn.q_proj", "self_attn.k_proj"):
            tensor = interleaved(tensor, config["num_attention_heads" if "q_proj" in part else "num_key_value_heads"])
        tensors[f"blk.{layer}.{PARTS[part]}.{kind}"] = tensor
    return tensors


def expected_type(name, tensor, outtype, tied):
    if tensor.ndim == 1:
        return "F32"
    if outtype == "q4_0" and name == ("token_embd.weight" if tied else "output.weight"):
        outtype = "q8_0"
    return "F16" if outtype.startswith("q") and tensor.shape[1] % 32 else outtype.upper()


def expected_numbers(family, config):
    numbers = {"context_length": "max_position_embeddings", "embedding_length": "hidden_size", "block_count": "num_hidden_layers",
               "feed_forward_length": "intermediate_size", "attention.head_count": "num_attention_heads",
               "attention.head_count_kv": "num_key_value_heads", "attention.key_length": "head_dim", "vocab_size": "vocab_size",
               "attention.layer_norm_rms_epsilon": "rms_norm_eps"}
    found = {key: config[name] for key, name in numbers.items() if name in config}
    window = config.get("sliding_window") if family == "mistral" else None
    return found | ({"attention.sliding_window": window} if window else {})


def differences(path, family, config, weights, outtype):
    """What is wrong with a file, in words."""
    reader, wrong = GGUFReader(path), []
    value = lambda key: reader.fields[key].contents() if key in reader.fields else None
    if value("general.architecture") != ARCHITECTURES[family]:
        wrong.append("architecture")
    for key, wanted in expected_numbers(family, config).items():
        found = value(f"{ARCHITECTURES[family]}.{key}")
        if found is None or abs(found - wanted) > 1e-6 * abs(wanted):
            wrong.append(f"{key} {found} instead of {wanted}")
    if family != "mistral" and value(f"{ARCHITECTURES[family]}.attention.sliding_window") is not None and None in windows(config):
        wrong.append("a window for all layers")
    if len(value("tokenizer.ggml.tokens")) != config["vocab_size"]:
        wrong.append("tokens")
    expected = expected_tensors(family, config, weights)
    found = {tensor.name: tensor for tensor in reader.tensors}
    if set(found) != set(expected) or len(found) != len(reader.tensors):
        return wrong + [f"names {sorted(set(found) ^ set(expected))}"]
    end = 0
    for tensor in reader.tensors:
        wanted = np.ascontiguousarray(expected[tensor.name])
        if tensor.data_offset % 32 or tensor.data_offset < end:
            wrong.append(f"{tensor.name}: place")
        end = tensor.data_offset + tensor.n_bytes
        if [int(n) for n in tensor.shape] != list(wanted.shape[::-1]):
            wrong.append(f"{tensor.name}: shape")
        if tensor.tensor_type.name != expected_type(tensor.name, wanted, outtype, config["tie_word_embeddings"]):
            wrong.append(f"{tensor.name}: {tensor.tensor_type.name}")
            continue
        theirs = quants.quantize(wanted, GGMLQuantizationType(tensor.tensor_type)).view(np.uint8).reshape(-1)
        ours = tensor.data.view(np.uint8).reshape(-1)
        if len(theirs) != len(ours) or (theirs != ours).any():
            wrong.append(f"{tensor.name}: {int((theirs != ours).sum())} of {len(theirs)} bytes")
    if not 0 <= os.path.getsize(path) - end < 32:
        wrong.append("bytes behind the last tensor")
    return wrong


def listed_otherwise(path):
    """Whether levee inspect sees another file than gguf does."""
    inspected = {t["name"]: (t["dtype"], t["shape"], t["parameters"], t["bytes"]) for t in json.loads(run("inspect", path, "--json"))["tensors"]}
    read = {t.name: (t.tensor_type.name.lower(), [int(n) for n in t.shape[::-1]], int(t.n_elements), int(t.n_bytes))
            for t in GGUFReader(path).tensors}
    return ["levee inspect lists otherwise"] if inspected != read else []


def windows(config):
    """Of each layer: None where it sees all."""
    layers = config["num_hidden_layers"]
    if not config.get("use_sliding_window"):
        return [None] * layers
    return [config["sliding_window"] if kind == "sliding_attention" else None for kind in config["layer_types"]]


def main():
    failed = tensors = 0
    families = {}
    for number in range(count):
        name = f"random-{number}"
        family, config, weights = make(name)
        families[family] = families.get(family, 0) + 1
        for outtype in OUTTYPES:
            path = f"{name}.{outtype}.gguf"
            run("export", "--model", name, "--format", "gguf", "--outtype", outtype, "--save-path", path)
            wrong = differences(path, family, config, weights, outtype) + listed_otherwise(path)
            tensors += len(weights)
            if wrong:
                print(f"[  FAILED  ] {name} ({family}, {outtype}): {'; '.join(wrong[:5])}", flush=True)
                failed += 1
            os.remove(path)
    said = ", ".join(f"{n} of {family}" for family, n in sorted(families.items()))
    if not failed:
        print(f"[       OK ] gguf of random models: {count} ({said}), each in {len(OUTTYPES)} types; {tensors} tensors to the byte")
    return bool(failed)


torch.manual_seed(draw.randint(0, 10**6))
sys.exit(main())

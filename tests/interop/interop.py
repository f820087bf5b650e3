"""Round trips through PEFT, transformers, safetensors, gguf and mlx-lm. Usage: interop.py LEVEE DIRECTORY

Everything happens on tiny models that `levee init` makes, in f32; each check compares numbers, and one that differs ends
with status 1. llama.cpp is asked too where its Python package is installed."""
import json
import os
import subprocess
import sys

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader, quants
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

levee, work = os.path.abspath(sys.argv[1]), sys.argv[2]
os.chdir(work)
failed = []
LINES = [f"the quick brown fox number {i} jumps over {i + 3} lazy dogs" for i in range(8)]
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def check(name, difference, most):
    good = difference <= most
    print(f"[{'       OK ' if good else '  FAILED  '}] {name}: {difference:.3g} of {most:.3g} allowed", flush=True)
    if not good:
        failed.append(name)


def run(*arguments):
    if arguments[0] != "init":
        arguments += ("--memory", "256MiB")
    done = subprocess.run([levee, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"levee {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def levee_loss(*arguments):
    return float(run("eval", "--data", "data", "--dtype", "f32", *arguments).split(" loss ")[1].split(",")[0])


def export(*arguments):
    run("export", *arguments)


def rows(tokenizer):
    """As levee reads a text: an end token is added."""
    return [tokenizer(line)["input_ids"] + [tokenizer.eos_token_id] for line in LINES]


def torch_logits(model, tokenizer):
    """In f64: with products in f32 the logits of one model, merged and not, lay 1.7e-4 apart on one processor."""
    model.double()
    with torch.no_grad():
        logits = [model(torch.tensor([ids])).logits[0].numpy() for ids in rows(tokenizer)]
    model.float()
    return logits


def loss_of(logits, tokenizer):
    total, count = 0.0, 0
    for row, ids in zip(logits, rows(tokenizer)):
        row = row[:-1].astype(np.float64)
        shifted = row - row.max(-1, keepdims=True)
        likely = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        total -= likely[np.arange(len(ids) - 1), ids[1:]].sum()
        count += len(ids) - 1
    return total / count


def furthest(left, right):
    return max(float(np.abs(a - b).max()) for a, b in zip(left, right))


def base_model(directory="model"):
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()


def merged_by_hand(base, adapter, scale):
    """The weights that merging must give, by numpy, and by how much a name is changed."""
    weights = {name: tensor.astype(np.float32) for name, tensor in load_file(base).items()}
    matrices = load_file(adapter)
    for name, a in matrices.items():
        if name.endswith("lora_A.weight"):
            b = matrices[name.replace("lora_A", "lora_B")]
            weights[name.removeprefix("base_model.model.").replace("lora_A.", "")] += np.float32(scale) * (b @ a)
    return weights


def peft_checks(tokenizer):
    tuned = PeftModel.from_pretrained(base_model(), "adapter").eval()
    logits = torch_logits(tuned, tokenizer)
    check("peft_loads_levee's_adapter: loss", abs(loss_of(logits, tokenizer) - levee_loss("--model", "model", "--adapter-path", "adapter")), 1e-4)
    export("--model", "model", "--adapter-path", "adapter", "--save-path", "merged")
    check("transformers_loads_the_merged_model: logits", furthest(logits, torch_logits(base_model("merged"), tokenizer)), 1e-4)
    expected = merged_by_hand("model/model.safetensors", "adapter/adapter_model.safetensors", 2)
    merged = load_file("merged/model.safetensors")
    check("merged_weights", max(float(np.abs(expected[name] - merged[name]).max()) for name in expected), 1e-6)

    torch.manual_seed(1)
    config = LoraConfig(r=3, lora_alpha=12, target_modules=["q_proj", "v_proj", "down_proj"], layers_to_transform=[1, 2],
                        task_type="CAUSAL_LM")
    training = get_peft_model(base_model(), config)
    optimizer = torch.optim.AdamW([p for p in training.parameters() if p.requires_grad], lr=2e-2)
    for ids in rows(tokenizer)[:4]:
        batch = torch.tensor([ids])
        training(batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    training.save_pretrained("by_peft")
    theirs = torch_logits(training.eval(), tokenizer)
    check("levee_loads_peft's_adapter: loss", abs(loss_of(theirs, tokenizer) - levee_loss("--model", "model", "--adapter-path", "by_peft")), 1e-4)
    resumed("by_peft", ["--rank", "3", "--scale", "4", "--num-layers", "2", "--keys", "q_proj,v_proj,down_proj"], loss_of(theirs, tokenizer))
    return logits


def resumed(adapter, shape, loss):
    """A training from an adapter starts at its loss."""
    out = run("train", "--model", "model", "--data", "data", "--iters", "1", "--dtype", "f32", "--resume-adapter-file", adapter,
              "--adapter-path", "from_" + adapter, *shape)
    before = float(out.split("before training: validation loss ")[1].split()[0])
    check(f"levee_goes_on_from_{adapter}: loss", abs(before - loss), 1e-4)


def mlx_logits(directory, tokenizer, adapter=None):
    import mlx.core as mx
    from mlx_lm import load

    model, _ = load(directory, adapter_path=adapter)
    return [np.array(model(mx.array([ids]))[0].astype(mx.float32)) for ids in rows(tokenizer)]


def mlx_checks(tokenizer, logits):
    export("--model", "model", "--adapter-path", "adapter", "--format", "mlx", "--adapter-only", "--save-path", "adapter_mlx")
    check("mlx_lm_loads_the_adapter: logits", furthest(logits, mlx_logits("model", tokenizer, "adapter_mlx")), 1e-4)
    export("--model", "model", "--adapter-path", "adapter", "--format", "mlx", "--save-path", "merged_mlx")
    check("mlx_lm_loads_the_merged_model: logits", furthest(logits, mlx_logits("merged_mlx", tokenizer)), 1e-4)

    with open("lora.yaml", "w") as file:
        file.write("model: model\ntrain: true\ndata: data\niters: 1\nbatch_size: 1\nnum_layers: 2\nval_batches: 0\n"
                   "learning_rate: 0.02\nadapter_path: by_mlx\nlora_parameters: {rank: 5, scale: 3.0, dropout: 0.0, "
                   "keys: [self_attn.k_proj, mlp.up_proj]}\n")
    subprocess.run([sys.executable, "-m", "mlx_lm", "lora", "-c", "lora.yaml"], check=True, capture_output=True)
    theirs = mlx_logits("model", tokenizer, "by_mlx")
    check("mlx_lm_trained: logits moved", -furthest(theirs, mlx_logits("model", tokenizer)), -1e-3)
    check("levee_loads_mlx_lm's_adapter: loss", abs(loss_of(theirs, tokenizer) - levee_loss("--model", "model", "--adapter-path", "by_mlx")), 1e-4)
    resumed("by_mlx", ["--rank", "5", "--scale", "3", "--num-layers", "2", "--keys", "k_proj,up_proj"], loss_of(theirs, tokenizer))
    export("--model", "model", "--adapter-path", "by_mlx", "--adapter-only", "--save-path", "by_mlx_peft")
    check("peft_loads_mlx_lm's_adapter_converted: logits",
          furthest(theirs, torch_logits(PeftModel.from_pretrained(base_model(), "by_mlx_peft").eval(), tokenizer)), 1e-4)
    run("train", "-c", "lora.yaml", "--adapter-path", "by_levee")  # the same file


def interleaved(weights, heads):
    return weights.reshape(heads, 2, -1, weights.shape[1]).swapaxes(1, 2).reshape(weights.shape)


def gguf_expected(weights, config):
    """Tensors by llama.cpp's names, in its order of rows."""
    parts = dict(zip(PROJECTIONS, ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]))
    parts |= {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    outer = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    tensors = {}
    for name, tensor in weights.items():
        if name in outer:
            tensors[outer[name]] = tensor
            continue
        layer, part = name.split(".")[2], name.split(".")[-2]
        if part in ("q_proj", "k_proj"):
            tensor = interleaved(tensor, config["num_attention_heads" if part == "q_proj" else "num_key_value_heads"])
        tensors[f"blk.{layer}.{parts[part]}.weight"] = tensor
    return tensors


def gguf_checks(config, logits, tokenizer):
    expected = gguf_expected(merged_by_hand("model/model.safetensors", "adapter/adapter_model.safetensors", 2), config)
    for outtype in ["f32", "f16", "bf16", "q8_0", "q4_0"]:
        path = f"{outtype}.gguf"
        export("--model", "model", "--adapter-path", "adapter", "--format", "gguf", "--outtype", outtype, "--save-path", path)
        reader = GGUFReader(path)
        found = {tensor.name: tensor for tensor in reader.tensors}
        check(f"gguf_{outtype}: names", len(set(found) ^ set(expected)), 0)
        bytes_that_differ, worst = 0, 0.0
        for name, tensor in found.items():
            weights = np.ascontiguousarray(expected[name])
            wanted = outtype.upper() if weights.ndim == 2 else "F32"
            if name == "token_embd.weight" and outtype == "q4_0":
                wanted = "Q8_0"  # the head, which is tied
            if tensor.tensor_type.name != wanted:
                bytes_that_differ += tensor.n_bytes
                continue
            theirs = quants.quantize(weights, tensor.tensor_type).view(np.uint8).reshape(-1)
            bytes_that_differ += int((theirs != tensor.data.view(np.uint8).reshape(-1)).sum())
            # Half a step of the format, of what is largest in a block; blocks have a scale that is rounded to f16, too,
            # and the far end of q4_0 is a whole step away. Then what f32 rounds in the merge.
            steps = {"F32": 0, "F16": 2**-11, "BF16": 2**-8, "Q8_0": 0.5 / 127 + 2**-11, "Q4_0": 1 / 8 + 2**-11}[wanted]
            largest = np.abs(weights).reshape(-1, 32 if wanted.startswith("Q") else 1).max(-1, keepdims=True)
            error = np.abs(quants.dequantize(tensor.data, tensor.tensor_type).reshape(weights.shape) - weights)
            worst = max(worst, float((error.reshape(len(largest), -1) / (largest * steps + 2**-22 * np.abs(weights).max())).max()))
        # The sum of a merge may be rounded otherwise here and there, so some bytes may differ; no weight may by more
        # than its format rounds.
        check(f"gguf_{outtype}: rounding, in what the format allows", worst, 1)
        check(f"gguf_{outtype}: bytes that gguf writes otherwise", bytes_that_differ / sum(t.n_bytes for t in reader.tensors),
              0.3 if outtype == "f32" else 0.01)
    llama_checks("f32.gguf", logits, tokenizer)


def llama_checks(path, logits, tokenizer):
    try:
        from llama_cpp import Llama
    except ImportError:
        print("[  SKIPPED ] llama_cpp is not installed")
        return
    model = Llama(path, n_ctx=256, logits_all=True, verbose=False)
    ids = rows(tokenizer)
    check(f"llama.cpp, {path}: tokens", sum(model.tokenize(line.encode(), add_bos=False) != row[:-1] for line, row in zip(LINES, ids)), 0)
    theirs = []
    for row in ids:
        model.reset()
        model.eval(row)
        theirs.append(np.array(model.scores[: len(row)]))
    check(f"llama.cpp, {path}: logits", furthest(logits, theirs), 2e-2)


def sharded_checks(tokenizer):
    """A model of bf16 in shards: they stay, and the merge is rounded to bf16 once."""
    base_model().to(torch.bfloat16).save_pretrained("sharded", max_shard_size="100KB")
    tokenizer.save_pretrained("sharded")
    export("--model", "sharded", "--adapter-path", "adapter", "--save-path", "merged_sharded")
    check("sharded: files", len(set(os.listdir("sharded")) ^ set(os.listdir("merged_sharded"))), 0)
    expected = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("sharded", dtype=torch.bfloat16).float(), "adapter")
    expected = expected.merge_and_unload().to(torch.bfloat16).state_dict()
    found = AutoModelForCausalLM.from_pretrained("merged_sharded", dtype=torch.bfloat16).state_dict()
    differ = sum(int((expected[name] != found[name]).sum()) for name in expected)
    check("sharded: weights that PEFT rounds otherwise", differ / sum(t.numel() for t in expected.values()), 1e-3)


FAMILIES = {
    "llama": {"attention_bias": True, "rope_parameters": {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0,
              "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}},
    "mistral": {"sliding_window": None, "head_dim": 24},
    "qwen2": {},
    "qwen3": {"head_dim": 24},
}


def family_checks(family, tokenizer):
    """A random model of a family with an untied head, and a DoRA adapter that levee trains."""
    from transformers import AutoConfig

    torch.manual_seed(3)
    config = AutoConfig.for_model(family, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
                                  num_key_value_heads=2, vocab_size=258, max_position_embeddings=2048, tie_word_embeddings=False,
                                  bos_token_id=257, eos_token_id=256, pad_token_id=None, **FAMILIES[family])
    base = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():  # norms and biases that do something
        for name, parameter in base.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    base.save_pretrained(family)
    tokenizer.save_pretrained(family)
    run("train", "--model", family, "--data", "data", "--iters", "20", "--learning-rate", "1e-2", "--rank", "4", "--scale", "2",
        "--num-layers", "2", "--dtype", "f32", "--fine-tune-type", "dora", "--adapter-path", family + "_dora")
    arguments = ["--model", family, "--adapter-path", family + "_dora"]
    logits = torch_logits(PeftModel.from_pretrained(base_model(family), family + "_dora").eval(), tokenizer)
    check(f"{family}: adapter moved the logits", -furthest(logits, torch_logits(base_model(family), tokenizer)), -1e-2)
    check(f"{family}: loss", abs(loss_of(logits, tokenizer) - levee_loss(*arguments)), 1e-4)
    export(*arguments, "--save-path", family + "_merged")
    check(f"{family}: merged model in transformers", furthest(logits, torch_logits(base_model(family + "_merged"), tokenizer)), 1e-4)
    export(*arguments, "--format", "mlx", "--adapter-only", "--save-path", family + "_mlx")
    # mlx-lm passes over rope_parameters in some families, so the model too goes through an export for it.
    export("--model", family, "--format", "mlx", "--save-path", family + "_base")
    check(f"{family}: adapter in mlx-lm", furthest(logits, mlx_logits(family + "_base", tokenizer, family + "_mlx")), 1e-4)
    export(*arguments, "--format", "mlx", "--save-path", family + "_merged_mlx")
    check(f"{family}: merged model in mlx-lm", furthest(logits, mlx_logits(family + "_merged_mlx", tokenizer)), 1e-4)
    check(f"{family}: mlx-lm's adapter in levee", abs(loss_of(logits, tokenizer) - levee_loss("--model", family, "--adapter-path", family + "_mlx")), 1e-4)
    export(*arguments, "--format", "gguf", "--outtype", "f32", "--save-path", family + ".gguf")
    llama_checks(family + ".gguf", logits, tokenizer)


def main():
    os.mkdir("data")
    for split in ["train", "valid", "test"]:
        with open(f"data/{split}.jsonl", "w") as file:
            file.writelines(json.dumps({"text": line}) + "\n" for line in LINES)
    run("init", "model", "--hidden-size", "64", "--intermediate-size", "96", "--layers", "3", "--heads", "4", "--kv-heads", "2")
    # Not at 1e-2: that made a model whose logits move by a hundred times what its weights are changed by, so that how
    # PyTorch and mlx-lm round in f32 showed, 5e-4 on one processor.
    run("train", "--model", "model", "--data", "data", "--iters", "20", "--learning-rate", "2e-3", "--rank", "4", "--scale", "2",
        "--num-layers", "2", "--dtype", "f32", "--adapter-path", "adapter")
    tokenizer = AutoTokenizer.from_pretrained("model")
    logits = peft_checks(tokenizer)
    sharded_checks(tokenizer)
    gguf_checks(json.load(open("model/config.json")), logits, tokenizer)
    mlx_checks(tokenizer, logits)
    for family in FAMILIES:
        family_checks(family, tokenizer)
    print(f"{len(failed)} checks failed" if failed else "all checks passed")
    return bool(failed)


sys.exit(main())

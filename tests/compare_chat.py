"""Compares levee tokenize with Hugging Face's transformers: rendered text, ids, and which tokens count in the loss.

    compare_chat.py LEVEE TOKENIZER_DIRECTORY TEMPLATES_DIRECTORY WORK_DIRECTORY

Each template is put beside the tokenizer in a model directory of its own; the conversations are made here. What counts
by --mask-prompt is compared with transformers' own mask where the template has generation blocks, and otherwise, for
conversations that have one answer, with mlx-lm's rule: every token behind the rendering of what precedes the last
message, with the beginning of an answer. Exits with 1 at a difference."""

import json
import pathlib
import shutil
import subprocess
import sys

from transformers import PreTrainedTokenizerFast

LEVEE, TOKENIZER, TEMPLATES, WORK = sys.argv[1], *map(pathlib.Path, sys.argv[2:5])


def turn(role, content):
    return {"role": role, "content": content}


CONVERSATIONS = [
    [turn("user", "What is 2+2?"), turn("assistant", "It is 4.")],
    [turn("user", "Grüße, 你好 \U0001f642"), turn("assistant", "na\u0131ve caf\u00e9\n\n\tdef f(): pass")],
    [turn("user", "  spaces  "), turn("assistant", "\n\nlines\n")],
    [turn("user", "Hi"), turn("assistant", "Hello"), turn("user", "And?"), turn("assistant", "Bye")],
    [turn("system", "Be brief."), turn("user", "Hi"), turn("assistant", "Hello")],
    [turn("user", "only a question")],
]


def expected(tokenizer, messages, generation):
    """What transformers makes of it; None where the template raises."""
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation)
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=generation, return_dict=False)
    except Exception:  # the templates raise what they like
        return None
    return text, list(ids)


def blocks(tokenizer, messages):
    return tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)["assistant_masks"]


def masked(tokenizer, messages, ids):
    prompt = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
    return [int(i >= len(prompt)) for i in range(len(ids))], list(ids[: len(prompt)]) == list(prompt)


def run(model, rows, *options):
    path = WORK / "rows.jsonl"
    path.write_text("".join(json.dumps({"messages": m}) + "\n" for m in rows), encoding="utf-8")
    done = subprocess.run([LEVEE, "tokenize", "--model", str(model), str(path), *options], capture_output=True)
    if done.returncode not in (0, 65):
        raise SystemExit(done.stderr.decode())
    return [json.loads(line) for line in done.stdout.splitlines()]


def make_model(template):
    model = WORK / template.stem
    model.mkdir(parents=True)
    shutil.copy(TOKENIZER / "tokenizer.json", model)
    shutil.copy(template, model / "chat_template.jinja")
    # Only tokens that it has: transformers would add others to its vocabulary.
    added = [token["content"] for token in json.loads((model / "tokenizer.json").read_text())["added_tokens"]]
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    if added:
        config.update(bos_token=added[0], eos_token=added[-1])
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    return model


def compare(template):
    model = make_model(template)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(model))
    counts = {"ids": 0, "masks": 0, "raised": 0, "across": 0}
    differences = []
    for generation in (False, True):
        got = run(model, CONVERSATIONS, *(["--add-generation-prompt"] if generation else []))
        for messages, row in zip(CONVERSATIONS, got):
            wanted = expected(tokenizer, messages, generation)
            counts["raised" if wanted is None else "ids"] += 1
            same = "error" in row if wanted is None else (row.get("rendered"), row.get("ids")) == wanted
            if not same:
                differences.append((messages, wanted, row))
    for messages, row in zip(CONVERSATIONS, run(model, CONVERSATIONS, "--mask-prompt")):
        wanted = expected(tokenizer, messages, False)
        if wanted is None:
            continue
        if "generation %}" in template.read_text():
            mask, within = blocks(tokenizer, messages), True
        elif sum(m["role"] == "assistant" for m in messages) == 1:
            mask, within = masked(tokenizer, messages, wanted[1])
        else:
            continue
        counts["masks" if within else "across"] += 1
        if within and row.get("loss_mask") != mask:
            differences.append((messages, mask, row))
    print(f"{template.stem}: {counts}")
    for difference in differences:
        print("differs:", *difference, sep="\n  ")
    return not differences


if __name__ == "__main__":
    results = [compare(path) for path in sorted(TEMPLATES.glob("*.jinja"))]
    sys.exit(0 if results and all(results) else 1)

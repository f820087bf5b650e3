"""tests/interop/tensorboard_events.py LEVEE DIRECTORY: a run with --tensorboard, stopped and gone on with, as TensorBoard's own
reader reads it: each value is the one in metrics.jsonl, and nothing is left of steps that were done again."""
import glob
import json
import os
import shutil
import subprocess
import sys

import numpy as np
from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator

levee, work = os.path.abspath(sys.argv[1]), sys.argv[2]
os.chdir(work)
failed = []


def check(name, bad):
    print(f"[{'  FAILED  ' if bad else '       OK '}] {name}" + (f": {bad}" if bad else ""))
    if bad:
        failed.append(name)


def train(steps, *arguments):
    command = [levee, "train", "--model", "board_model", "--data", "board_data", "--iters", str(steps), "--learning-rate", "1e-2",
               "--rank", "4", "--num-layers", "1", "--steps-per-eval", "7", "--save-every", "10", "--adapter-path", "board_run",
               "--tensorboard", *arguments]
    subprocess.run(command, check=True, capture_output=True)


def metrics():
    with open("board_run/metrics.jsonl") as file:
        return [json.loads(line) for line in file]


def scalars(reader, tag):
    return {event.step: event.value for event in reader.Scalars(tag)}


def differences(found, lines, key, scale=1.0):
    """The steps where a scalar is not the number in metrics.jsonl, as f32 has it, and that was rounded to nine digits."""
    expected = {line["step"]: line[key] * scale for line in lines if line[key] is not None}

    def differs(step):
        if step not in found or step not in expected:
            return True
        ends = [np.float32(expected[step] * (1 + rounding)) for rounding in (-5e-9, 5e-9)]
        return not ends[0] <= np.float32(found[step]) <= ends[1]

    return [step for step in sorted(set(found) | set(expected)) if differs(step)]


def main():
    os.makedirs("board_data")
    for split in ["train", "valid"]:
        with open(f"board_data/{split}.jsonl", "w") as file:
            file.writelines(json.dumps({"text": f"the ship came to harbour {n} times and left"}) + "\n" for n in range(40))
    subprocess.run([levee, "init", "board_model", "--hidden-size", "32", "--layers", "1", "--heads", "2"], check=True, capture_output=True)
    train(25, "--inject", "pressure=orange@5")
    checkpoints = sorted(glob.glob("board_run/checkpoints/step-*"))
    check("checkpoints: of steps 20 and 25", len(checkpoints) - 2)
    os.remove(checkpoints[-1])  # as if it had been killed behind step 20: steps 21 to 25 come again
    train(40, "--resume", "--learning-rate", "5e-3")
    lines = metrics()
    check("metrics: steps", [line["step"] for line in lines] != list(range(1, 41)))
    check("files: one a process", len(glob.glob("board_run/tensorboard/events.out.tfevents.*")) - 2)
    reader = event_accumulator.EventAccumulator("board_run/tensorboard", size_guidance={event_accumulator.SCALARS: 0})
    reader.Reload()
    for tag, key, scale in [("loss/train", "loss", 1), ("loss/validation", "val_loss", 1), ("training/learning_rate", "learning_rate", 1),
                            ("training/gradient_norm", "grad_norm", 1), ("training/plan_level", "plan_level", 1),
                            ("speed/seconds_per_step", "seconds", 1), ("memory_MiB/held", "held_bytes", 2**-20),
                            ("memory_MiB/peak", "peak_bytes", 2**-20), ("memory_MiB/budget", "budget_bytes", 2**-20)]:
        check(f"{tag}: steps that differ", differences(scalars(reader, tag), lines, key, scale))
    for category in lines[0]["booked_bytes"]:
        if not lines[0]["planned_bytes"][category] and not lines[0]["booked_bytes"][category]:
            continue
        booked = [{"step": line["step"], "bytes": line["booked_bytes"][category]} for line in lines]
        check(f"memory_booked_MiB/{category}: steps that differ", differences(scalars(reader, f"memory_booked_MiB/{category}"), booked, "bytes", 2**-20))
    planned = [{"step": line["step"], "bytes": sum(line["planned_bytes"].values())} for line in lines]
    check("memory_MiB/planned: steps that differ", differences(scalars(reader, "memory_MiB/planned"), planned, "bytes", 2**-20))
    # The reader of the pages, which knows of texts.
    pages = plugin_event_accumulator.EventAccumulator("board_run/tensorboard")
    pages.Reload()
    with open("board_run/events.jsonl") as file:
        events = [json.loads(line) for line in file]
    texts = {event.step: event.tensor_proto.string_val[0].decode() for event in pages.Tensors("guard/done")} if "guard/done" in pages.Tags()["tensors"] else {}
    check("guard: there are decisions", not events)
    check("guard: decisions that TensorBoard does not show", [event["step"] for event in events if event["action"] not in texts.get(event["step"], "")])
    check("guard: shown as texts", pages.SummaryMetadata("guard/done").plugin_data.plugin_name != "text")


try:
    main()
finally:
    for name in ["board_data", "board_model", "board_run"]:
        shutil.rmtree(name, ignore_errors=True)
print(f"{len(failed)} checks failed" if failed else "all checks passed")
sys.exit(bool(failed))

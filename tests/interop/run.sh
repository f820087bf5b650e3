#!/bin/sh
# tests/interop/run.sh LEVEE GOLDEN: what Levee writes is read by PEFT, transformers, gguf and mlx-lm, and what PEFT and mlx-lm write
# is read by Levee, with equal losses and logits; it computes and trains what PyTorch and PEFT do, DoRA too (GOLDEN compares); event
# files are what TensorBoard reads. Needs Python 3.10 or later and, unless LEVEE_PYTHON names a Python that has the
# packages already, access to PyPI and some GB of disk: the packages go into a virtual environment that is thrown away.
set -eu
levee=$1 golden=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${LEVEE_PYTHON:-}
if [ -z "$python" ]; then
    base=$(command -v python3) || { echo "make interop needs python3; make test does not"; exit 1; }
    echo "Installing PEFT, transformers, gguf, mlx-lm and tensorboard into a virtual environment, which is thrown away at the end"
    "$base" -m venv "$work/venv"
    python=$work/venv/bin/python
    "$python" -m pip install --quiet torch --index-url "${LEVEE_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" ||
        "$python" -m pip install --quiet torch
    "$python" -m pip install --quiet transformers peft safetensors gguf numpy 'mlx[cpu]' mlx-lm tensorboard
fi
failed=0
"$python" "$(dirname "$0")/interop.py" "$levee" "$work" || failed=1
mkdir "$work/gguf" "$work/goldens"
"$python" "$(dirname "$0")/gguf_models.py" "$levee" "$work/gguf" || failed=1
if "$python" "$(dirname "$0")/goldens.py" "$work/goldens" >"$work/log" 2>&1; then
    for model in "$work"/goldens/*; do
        if "$golden" "$model" >"$work/log"; then
            echo "[       OK ] golden: $(basename "$model"): $(grep -c ' [0-9.e-]* [0-9.e-]*$' "$work/log") quantities within bounds"
        else
            grep FAIL "$work/log"
            echo "[  FAILED  ] golden: $(basename "$model")"
            failed=1
        fi
    done
else
    cat "$work/log"
    failed=1
fi
if "$python" -c 'import tensorboard' 2>/dev/null; then
    "$python" "$(dirname "$0")/tensorboard_events.py" "$levee" "$work" || failed=1
else
    echo "[  SKIPPED ] tensorboard is not installed"
fi
exit $failed

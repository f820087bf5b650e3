#!/bin/sh
# tests/interop/run.sh LEVEE: what Levee writes is read by PEFT, transformers, gguf and mlx-lm, and what PEFT and mlx-lm write is
# read by Levee, with equal losses and logits; event files are what TensorBoard reads. Needs Python 3.10 or later and, unless LEVEE_PYTHON names a Python that has the
# packages already, access to PyPI and some GB of disk: the packages go into a virtual environment that is thrown away.
set -eu
levee=$1
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
if "$python" -c 'import tensorboard' 2>/dev/null; then
    "$python" "$(dirname "$0")/tensorboard_events.py" "$levee" "$work" || failed=1
else
    echo "[  SKIPPED ] tensorboard is not installed"
fi
exit $failed

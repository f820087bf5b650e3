#!/bin/sh
# Speed and memory of LoRA on a model that levee init makes: tokens a second and the peak, by budget. A shape of 76 million
# parameters; rows of 255 tokens. Takes some minutes.
set -e
levee=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$levee" init "$work/model" --hidden-size 512 --intermediate-size 1536 --layers 24 --heads 8 --kv-heads 4
tools/make-text.sh harbour | awk '{ gsub(/^{"text": "|"}$/, ""); text = text " " $0 }
    NR % 3 == 0 { printf "{\"text\": \"%s\"}\n", text; text = "" }' >"$work/train.jsonl"
for budget in ${BUDGETS:-100MiB 150MiB 250MiB 500MiB 1GiB}; do
    echo "== $budget"
    "$levee" train --model "$work/model" --data "$work/train.jsonl" --num-layers -1 --batch-size 8 --iters 6 \
        --max-seq-length 256 --memory "$budget" --adapter-path "$work/adapter-$budget" --steps-per-report 6 |
        grep -E 'tokens a pass|step 6|peak memory' || echo "does not fit"
done

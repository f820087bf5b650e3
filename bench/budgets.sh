#!/bin/sh
# The time of a step by budget: LoRA on all layers of a model, from the least budget that does to one that needs no
# recomputation. Prints a Markdown table.
#   bench/budgets.sh LEVEE [MODEL_DIR DATA [BUDGET...]]
# Without a model it makes one of 50 MB. Without budgets: the least, and 1.25, 1.6, 2.5 and 4 times it. Each budget runs ROUNDS times (3), in turn, because machines
# drift; the fastest round counts.
set -e
levee=$1; shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ $# -eq 0 ]; then
    "$levee" init "$work/model" --hidden-size 384 --intermediate-size 1024 --layers 8 --heads 6 --kv-heads 2
    tools/make-text.sh harbour >"$work/train.jsonl"
    set -- "$work/model" "$work/train.jsonl"
fi
model=$1 data=$2; shift 2
run() {
    rm -rf "$work/adapter" # what the run before left there could be gone on with, and so is not overwritten
    "$levee" train --model "$model" --data "$data" --num-layers -1 --batch-size 4 --iters 6 --val-batches 0 --dtype f32 \
        --adapter-path "$work/adapter" --memory "$1" >"$work/log" 2>&1
}
if [ $# -eq 0 ]; then
    run 4MiB || true
    least=$(sed -nE 's/.*smallest budget that does is ([0-9]+)\.0 MiB.*/\1/p' "$work/log")
    for percent in 100 125 160 250 400; do set -- "$@" "$((least * percent / 100))MiB"; done
fi
for round in $(seq "${ROUNDS:-3}"); do
    for budget; do
        run "$budget" || { tail -n 1 "$work/log" >&2; continue; }
        plan=$(sed -nE 's/^([0-9]+) tokens a pass, ([0-9]+ of [0-9]+) groups.*/\1 | \2/p' "$work/log")
        awk -F'[:,]' -v budget="$budget" -v plan="$plan" '{
            for (i = 1; i < NF; i++) value[$i] = $(i + 1)
            if (NR > 1) seconds[++n] = value["\"seconds\""] }
            END {
                for (i = 1; i <= n; i++) for (k = i + 1; k <= n; k++)
                    if (seconds[k] < seconds[i]) { t = seconds[i]; seconds[i] = seconds[k]; seconds[k] = t }
                printf "%s\t%.2f\t%.1f | %.1f | %s\n", budget, seconds[int((n + 1) / 2)], value["\"predicted_bytes\""] / 1048576,
                    value["\"peak_bytes\""] / 1048576, plan }' "$work/adapter/metrics.jsonl" >>"$work/rounds"
    done
done
echo '| budget | predicted, MiB | measured, MiB | tokens a pass | recomputed | seconds a step |'
echo '|---|---:|---:|---:|---:|---:|'
for budget; do
    awk -F'\t' -v budget="$budget" '$1 == budget && (least == "" || $2 < least) { least = $2; rest = $3 }
        END { if (least != "") printf "| %s | %s | %s |\n", budget, rest, least }' "$work/rounds"
done

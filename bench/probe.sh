#!/bin/sh
# What probe finds for three budgets, and whether it holds: a training of 500 steps with what it wrote, sampled from outside; and why
# nothing larger was chosen: the next size does not fit the budget, or was not faster. Exits with 1 when one does not hold.
#   bench/probe.sh LEVEE HELD [MODEL_DIR DATA [option of train]...]
# The budgets are for $SIZES (1 3 6) sequences a pass with nothing recomputed, and half of what one more would add. Without a
# model it makes one, and takes rows of 16 tokens, so that larger passes are faster. $STEPS: other than 500.
set -e
levee=$1 held=$2; shift 2
work=$(mktemp -d)
export XDG_RUNTIME_DIR="$work" # budgets of which little is taken: other runs need not make room for them
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
if [ $# -eq 0 ]; then
    "$levee" init "$work/model" --hidden-size 256 --intermediate-size 704 --layers 6 --heads 4 --kv-heads 2
    tools/make-text.sh harbour >"$work/train.jsonl"
    set -- "$work/model" "$work/train.jsonl" --max-seq-length 17 --num-layers -1
fi
model=$1 data=$2; shift 2
job() { verb=$1; shift; "$levee" "$verb" --model "$model" --data "$data" --dtype f32 --val-batches 0 --grad-checkpoint off "$@"; }
planned() { # sequences options...
    size=$1; shift
    job plan "$@" --batch-size "$size" --micro-batch-size "$size" --memory 1TiB --json | sed -E 's/.*"predicted_bytes":([0-9]+).*/\1/'
}
option() { sed -nE "s/^$1: (.*)/\1/p" "$work/probe.yaml"; }
tokens() { sed -nE 's/^([0-9]+) tokens a pass.*/\1/p' "$work/log"; }

echo '| budget, MiB | sizes tried | chosen | tokens/s | held in training, MiB, of the budget | steps | nothing larger, because |'
echo '|---:|---|---:|---:|---:|---:|---|'
failed=0
for size in ${SIZES:-1 3 6}; do
    budget=$((($(planned "$size" "$@") + $(planned $((size + 1)) "$@")) / 2 + 1048576))
    rm -rf "$work/run" "$work/next" "$work/probe.yaml" "$work/probe.svg"
    job probe "$@" --memory $budget --probe-file "$work/probe.yaml" >"$work/probe.log" 2>&1 || { tail -n 1 "$work/probe.log"; exit 1; }
    chosen=$(option micro_batch_size)
    "$held" "$work/most" "$levee" train -c "$work/probe.yaml" --iters "${STEPS:-500}" --adapter-path "$work/run" >"$work/log" 2>&1 ||
        { tail -n 1 "$work/log"; failed=1; }
    steps=$(grep -c '' "$work/run/metrics.jsonl") a_pass=$(tokens) most=$(head -n 1 "$work/most")
    # The next size, in the same budget: a training falls back to smaller passes, or is refused, where it does not fit.
    next=$((chosen + 1))
    job train "$@" --batch-size $next --micro-batch-size $next --memory $budget --iters 1 --adapter-path "$work/next" >"$work/log" 2>&1 && fits=0 || fits=$?
    [ $fits = 0 ] || [ $fits = 69 ] || { tail -n 1 "$work/log"; exit 1; }
    if [ $fits = 69 ] || [ "$(tokens)" -lt $((a_pass / chosen * next)) ]; then because="$next do not fit"
    elif grep -q 'larger sizes were not 3 % faster$' "$work/probe.log"; then because='larger sizes were not 3 % faster'
    else because="unknown: $next fit"; failed=1; fi
    sed -nE 's/^ *([0-9]+) +[0-9]+ +[0-9]+ of .*\) +([0-9.]+) +[0-9.]+ [KMGT]iB.*/\1 \2/p' "$work/probe.log" >"$work/sizes"
    awk -v budget=$budget -v most="$most" -v chosen="$chosen" -v steps="$steps" -v because="$because" '
        { sizes = sizes (NR > 1 ? ", " : "") $1 " (" $2 ")"; if ($1 == chosen) speed = $2 }
        END { printf "| %.1f | %s | %d | %s | %.1f, %.1f %% | %d | %s |\n", budget / 1048576, sizes, chosen, speed, most / 1048576,
            100 * most / budget, steps, because }' "$work/sizes"
    [ "$most" -le $budget ] && [ "$steps" = "${STEPS:-500}" ] || failed=1
done
exit $failed

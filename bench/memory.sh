#!/bin/sh
# Predicted against measured peaks: fine-tune types x tokens a pass x --grad-checkpoint, a line of a Markdown table each.
#   bench/memory.sh LEVEE [MODEL_DIR...]
# Without a model it makes three of 50, 200 and 800 MB. One step each: the plan's memory is taken whole before the first
# step, and the save at the end is measured too. For `auto` the budget lies between what `off` and `all` need.
set -e
levee=$1; shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ $# -eq 0 ]; then
    "$levee" init "$work/50MB" --hidden-size 384 --intermediate-size 1024 --layers 8 --heads 6 --kv-heads 2
    "$levee" init "$work/200MB" --hidden-size 640 --intermediate-size 1728 --layers 11 --heads 10 --kv-heads 5
    "$levee" init "$work/800MB" --hidden-size 1024 --intermediate-size 2816 --layers 17 --heads 16 --kv-heads 8
    set -- "$work/50MB" "$work/200MB" "$work/800MB"
fi
# Two rows, each longer than any length that is asked for.
tools/make-text.sh harbour | awk '{ gsub(/^{"text": "|"}$/, ""); text = text " " $0 }
    END { for (i = 0; i < 4; i++) long = long text; for (i = 0; i < 2; i++) printf "{\"text\": \"%s\"}\n", long }' >"$work/train.jsonl"

measure() { # model type tokens checkpoint budget
    case $2 in
    last-4) type='full --num-layers 4' ;;
    *) type="$2 --num-layers -1" ;;
    esac
    # shellcheck disable=SC2086
    "$levee" train --model "$1" --data "$work/train.jsonl" --fine-tune-type $type --batch-size 1 --iters 1 --val-batches 0 \
        --dtype f32 --max-seq-length $(($3 + 1)) --grad-checkpoint "$4" --memory "$5" --adapter-path "$work/out" >"$work/log" 2>&1 ||
        { tail -n 1 "$work/log" >&2; return 1; }
    # The budget held, or the run says otherwise in its last line.
    tail -n 1 "$work/log" | grep -q ': held$' && verdict=held || verdict='NOT HELD'
    tail -n 1 "$work/out/metrics.jsonl" | awk -F'[:,]' -v verdict="$verdict" '{
        for (i = 1; i < NF; i++) { if ($i == "\"predicted_bytes\"") p = $(i + 1); if ($i == "\"peak_bytes\"") m = $(i + 1) }
        printf "%.1f %.1f %+.1f %+.2f %s", p / 1048576, m / 1048576, (m - p) / 1048576, 100 * (m - p) / p, verdict }'
    rm -rf "$work/out"
}

echo '| model | type | tokens a pass | --grad-checkpoint | budget, MiB | predicted, MiB | measured, MiB | difference, MiB | difference, % | budget |'
echo '|---|---|---:|---|---:|---:|---:|---:|---:|---|'
for model; do
    for type in lora head last-4 full; do
        for tokens in 512 2048; do
            most=0 least=0
            for checkpoint in off all auto; do
                budget=16384
                [ $checkpoint = auto ] && budget=$(((most + least) / 2 + 8))
                result=$(measure "$model" "$type" "$tokens" "$checkpoint" "${budget}MiB") || continue
                # shellcheck disable=SC2086
                set -- $result
                [ $checkpoint = off ] && most=${1%.*}
                [ $checkpoint = all ] && least=${1%.*}
                echo "| $(basename "$model") | $type | $tokens | $checkpoint | $budget | $1 | $2 | $3 | $4 | $5 |"
            done
        done
    done
done

#!/bin/sh
# The time of a step that levee plan estimates, beside what levee train takes: a line of a Markdown table for what trains x
# products x tokens a sequence x sequences a step. Calibrates first, for itself. On a quiet machine: what others do is in both
# figures.
#   bench/estimates.sh LEVEE [MODEL_DIR]
# Without a model it makes one of 50 MB. $STEPS (5) steps each, of which the first is left out. Subsets, to be had sooner:
# $TYPES (lora full head), $PRODUCTS (f32 bf16; bf16 only where the processor has it), $SEQUENCES (64 512), $BATCHES (1 4).
# $MEMORY: 12GiB.
set -e
levee=$1 model=$2
work=$(mktemp -d)
export XDG_CACHE_HOME="$work/cache" XDG_RUNTIME_DIR="$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
if [ -z "$model" ]; then
    model=$work/model
    "$levee" init "$model" --hidden-size 384 --intermediate-size 1024 --layers 8 --heads 6 --kv-heads 2
fi
# Rows that are longer than any length that is asked for, so that each has that length.
tools/make-text.sh harbour | awk '{ gsub(/^{"text": "|"}$/, ""); text = text " " $0 }
    END { for (i = 0; i < 8; i++) printf "{\"text\": \"%s\"}\n", text }' >"$work/train.jsonl"
# What else is bad of the machine is not our matter.
"$levee" doctor --adapter-path "$work" --calibrate >"$work/doctor" || [ $? = 69 ]
sed -n '/^measured with/,/^stored/p' "$work/doctor" | grep -v '^stored'
products=${PRODUCTS:-f32 bf16}
grep -q '^  products in bf16' "$work/doctor" || products=f32

echo
echo '| trains | products | tokens each | sequences a step | estimated, s | measured, s | fastest | slowest | measured / estimated |'
echo '|---|---|---:|---:|---:|---:|---:|---:|---:|'
for type in ${TYPES:-lora full head}; do for product in $products; do for tokens in ${SEQUENCES:-64 512}; do for batch in ${BATCHES:-1 4}; do
    job="--model $model --data $work/train.jsonl --fine-tune-type $type --num-layers -1 --batch-size $batch --micro-batch-size $batch
        --dtype $product --max-seq-length $((tokens + 1)) --val-batches 0 --memory ${MEMORY:-12GiB} --iters ${STEPS:-5}"
    # shellcheck disable=SC2086
    estimated=$("$levee" plan $job --json | sed -nE 's/.*"seconds_step":([0-9.e+-]+).*/\1/p')
    [ -n "$estimated" ] || { echo "no time was estimated" >&2; exit 1; }
    # shellcheck disable=SC2086
    "$levee" train $job --adapter-path "$work/run" >"$work/log" 2>&1 || { tail -n 1 "$work/log" >&2; exit 1; }
    sed -nE '2,$ s/.*"seconds":([0-9.e+-]+).*/\1/p' "$work/run/metrics.jsonl" | sort -g >"$work/seconds"
    rm -rf "$work/run"
    awk -v estimated="$estimated" -v row="$type | $product | $tokens | $batch" '{ s[NR] = $1 }
        END { m = NR % 2 ? s[(NR + 1) / 2] : (s[NR / 2] + s[NR / 2 + 1]) / 2
            printf "| %s | %.3f | %.3f | %.3f | %.3f | %.2f |\n", row, estimated, m, s[1], s[NR], m / estimated }' "$work/seconds" |
        tee -a "$work/rows"
done; done; done; done
echo
awk -F '|' '{ r = $10 + 0; if (NR == 1 || r < least) least = r; if (r > most) most = r; sum += log(r) }
    END { printf "%d trainings: measured / estimated from %.2f to %.2f, geometric mean %.2f\n", NR, least, most, exp(sum / NR) }' "$work/rows"

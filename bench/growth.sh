#!/bin/sh
# Growth of held memory over many steps: fine-tune types, a line of a Markdown table each.
#   bench/growth.sh LEVEE [STEPS [MODEL_DIR DATA_DIR [OPTION...]]]
# Without a model it makes a small one. The kernel's own count is read from outside (smaps_rollup, anonymous and shared memory),
# between steps and within them, in a window after warm-up (two saves included) and in one at the end; what is compared is the least of each window,
# because within a call the library holds memory that it gives back.
set -e
levee=$1 steps=${2:-10000}
[ $# -lt 2 ] && shift 1 || shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ $# -eq 0 ]; then
    "$levee" init "$work/model" --hidden-size 64 --intermediate-size 160 --layers 4 --heads 4 --kv-heads 2
    mkdir "$work/data"
    tools/make-text.sh harbour >"$work/data/train.jsonl"
    set -- "$work/model" "$work/data"
fi
model=$1 data=$2; shift 2
lines() { cat "$work/out/metrics.jsonl" 2>/dev/null | wc -l; }
held() { awk '/^Anonymous:/ { a = $2 } /^Pss_Shmem:/ { s = $2 } END { print (a + s) * 1024 }' "/proc/$program/smaps_rollup" 2>/dev/null; }
window() { # the least of 40 readings
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40; do
        held; sleep 0.05
    done | sort -n | head -n 1
}
wait_for() { while [ "$(lines)" -lt "$1" ] && kill -0 "$program" 2>/dev/null; do sleep 0.2; done; }
number() { sed -n "${1}p" "$work/out/metrics.jsonl" | sed -E "s/.*\"$2\":([-0-9.e+]+).*/\1/"; }
mean_loss() { sed -n "$1,${2}p" "$work/out/metrics.jsonl" | sed -E 's/.*"loss":([-0-9.e+]+).*/\1/' | awk '{ s += $1 } END { printf "%.4f", s / NR }'; }
echo '| type | steps | held after a tenth | at the end | growth, bytes | loss, first 50 steps | last 50 | asked at the outset |'
echo '|---|---:|---:|---:|---:|---:|---:|---:|'
for type in ${TYPES:-lora head last-2 full}; do
    case $type in last-2) kind='full --num-layers 2' ;; *) kind="$type --num-layers -1" ;; esac
    rm -rf "$work/out"
    # shellcheck disable=SC2086
    "$levee" train --model "$model" --data "$data" --fine-tune-type $kind --batch-size 1 --iters "$steps" --learning-rate 1e-4 \
        --save-every $((steps / 20)) --steps-per-eval $((steps / 20)) --adapter-path "$work/out" "$@" >"$work/log" 2>&1 &
    program=$!
    wait_for $((steps / 10)); early=$(window)
    wait_for $((steps - steps / 20)); late=$(window)
    wait $program || { tail -n 2 "$work/log" >&2; exit 1; }
    echo "| $type | $(lines) | $early | $late | $((late - early)) | $(mean_loss 1 50) | $(mean_loss $((steps - 49)) "$steps") | $(number "$steps" predicted_bytes) |"
done

#!/bin/sh
# A random walk of shrinks and grows during a deterministic training, beside the same training left alone.
#   bench/shrinks.sh LEVEE [REQUESTS [MODEL_DIR DATA [OPTION...]]]
# Without a model it makes a small one; without a number, 200 requests. Prints how many changed the plan, the least share of the
# promised bytes that a shrink gave back, the time from request to pages returned (p50, p99, longest), and whether both trainings
# are the same to the bit.
set -e
levee=$1 requests=${2:-200}
[ $# -lt 2 ] && shift 1 || shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ $# -eq 0 ]; then
    "$levee" init "$work/model" --hidden-size 128 --intermediate-size 384 --layers 4 --heads 4 --kv-heads 2
    tools/make-text.sh harbour >"$work/train.jsonl"
    set -- "$work/model" "$work/train.jsonl" --memory 96MiB
fi
model=$1 data=$2; shift 2
train() { exec "$levee" train --model "$model" --data "$data" --num-layers -1 --batch-size 4 --val-batches 0 --deterministic "$@"; }
train --adapter-path "$work/shaken" --iters 1000000 "$@" >"$work/log" 2>&1 &
program=$!
until [ -s "$work/shaken/metrics.jsonl" ]; do sleep 0.1; kill -0 $program; done
awk -v count="$requests" 'BEGIN { srand(11); for (i = 0; i < count; i++) print rand() < 0.5 ? "USR1" : "USR2", 0.02 + 0.3 * rand() }' |
    while read -r signal pause; do kill -"$signal" $program; sleep "$pause"; done
kill -TERM $program
wait $program || [ $? -eq 75 ]
steps=$(wc -l <"$work/shaken/metrics.jsonl")
(train --adapter-path "$work/calm" --iters "$steps" "$@" >"$work/calm.log" 2>&1)
losses() { sed -E 's/.*"step":([0-9]+),"loss":([^,]*),.*"grad_norm":([^,]*),.*/\1 \2 \3/' "$1/metrics.jsonl"; }
losses "$work/shaken" >"$work/a"; losses "$work/calm" >"$work/b"
sed -nE 's/^plan ([0-9]) instead of ([0-9]): ([0-9.]+) ([A-Za-z]+) (given back|taken again), ([0-9.]+) ([A-Za-z]+) promised, in ([0-9.]+) ms.*/\1 \2 \3 \4 \6 \7 \8/p' "$work/log" >"$work/changes"
awk '$1 > $2' "$work/changes" >"$work/shrinks"
echo "$requests requests in $steps steps: $(wc -l <"$work/shrinks") shrinks, $(awk '$1 < $2' "$work/changes" | wc -l) grows, $(grep -c ' stays: ' "$work/log" || true) refused"
awk 'function bytes(n, unit) { return n * (unit == "GiB" ? 1024 : unit == "MiB" ? 1 : unit == "KiB" ? 1 / 1024 : 1 / 1048576) }
    { share = bytes($3, $4) / bytes($5, $6); if (NR == 1 || share < least) least = share } END { printf "given back, of what was promised: at least %.1f %%\n", 100 * least }' "$work/shrinks"
awk '{ print $7 }' "$work/shrinks" | sort -n | awk '{ t[NR] = $1 } END { printf "request to pages returned: p50 %.1f ms, p99 %.1f ms, longest %.1f ms\n", t[int((NR + 1) / 2)], t[int(NR * 0.99 + 0.999)], t[NR] }'
cmp -s "$work/a" "$work/b" && echo "losses and gradient norms of all $steps steps are the same to the bit" || { echo "the trainings differ:"; diff "$work/a" "$work/b" | head -n 4; exit 1; }

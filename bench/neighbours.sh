#!/bin/sh
# A neighbour in the container of a training takes all that there is, at several rates: who lives, how fast memory comes back, and
# whether the training is in the end the one that was left alone. Needs root or a delegated control group.
#   bench/neighbours.sh LEVEE NEIGHBOUR [ATTACKS [MODEL_DIR DATA [OPTION...]]]
# Each attack meets a training of its own (STEPS, 24, of them). Without a model it makes a small one; without a number, 20 attacks at
# each rate (RATES, in GiB/s). A training that the kernel ended is gone on with by --resume auto. At the end it says up to which rate
# the guard can win: what lies above orange, by the time of two looks and of giving memory back.
levee=$1 neighbour=$2 attacks=${3:-20}
[ $# -lt 3 ] && shift 2 || shift 3
work=$(mktemp -d)
skip_all() { echo "neighbours: $1"; rm -rf "$work"; exit 0; }
. tests/checks.sh
. tests/control_groups.sh
if [ $# -eq 0 ]; then
    "$levee" init "$work/model" --hidden-size 64 --intermediate-size 160 --layers 4 --heads 4 --kv-heads 2
    tools/make-text.sh harbour >"$work/train.jsonl"
    # Deterministic passes hold one sequence, so that the memory of a long one makes the plan.
    awk 'BEGIN { printf "{\"text\": \"" } { gsub(/^{"text": "|"}$/, ""); printf "%s ", $0 } END { print "\"}" }' "$work/train.jsonl" |
        cut -c 1-11000 | sed 's/"*}*$/"}/' >>"$work/train.jsonl"
    set -- "$work/model" "$work/train.jsonl" --memory 1GiB --dtype f32 --max-seq-length 4096 --batch-size 8
fi
model=$1 data=$2; shift 2
train="$levee train --model $model --data $data --num-layers -1 --val-batches 0 --cool-down 0.2 --learning-rate 1e-5
    --steps-per-report 1 --save-every 1000 --deterministic --iters ${STEPS:-24} $*"
field() { sed -nE "s/.*\"$2\":([0-9]+).*/\1/p" "$1/metrics.jsonl" | tail -n 1; }
history() { sed -E 's/.*"step":([0-9]+),"loss":([^,]*),.*"grad_norm":([^,]*),.*/\1 \2 \3/' "$1/metrics.jsonl"; }
$train --adapter-path "$work/alone" >"$work/log" 2>&1 || { tail -n 1 "$work/log"; exit 1; }
history "$work/alone" >"$work/left"
peak=$(field "$work/alone" predicted_bytes)
limit_bytes=$((peak / 4 * 5)) reserve_bytes=$((peak / 4 * 5 * 8 / 100))
run() { : >"$work/log"; sh -c "$enter" "$group" $train --adapter-path "$work/run" --resume auto >>"$work/log" 2>&1 & program=$!; }
seconds_of() { # an action
    grep "\"action\":\"$1\"" "$work/events" | sed -E 's/.*"seconds":([-0-9.e]+).*/\1/' | sort -g
}
percentiles() {
    seconds_of "$1" | awk '{ t[NR] = 1000 * $1 } END { if (NR) printf "%d: %.0f, %.0f", NR, t[int((NR + 1) / 2)], t[int(NR * 0.99 + 0.999)]; else printf "0" }'
}
echo "the plan holds $((peak / 1048576)) MiB, the container $((limit_bytes / 1048576)) MiB, of which $((reserve_bytes / 1048576)) MiB lie above orange"
echo '| rate asked, GiB/s | had, median | attacks | neighbours ended | trainings ended, gone on with | same training | shrinks: p50, p99 ms | pauses: p50, p99 ms |'
echo '|---:|---:|---:|---:|---:|---:|---|---|'
: >"$work/all-events"
for rate in ${RATES:-0.1 0.3 1 3 10}; do
    deaths=0 killed=0 same=0
    : >"$work/rates"; : >"$work/events"
    for attack in $(seq "$attacks"); do
        make_group $limit_bytes
        rm -rf "$work/run"
        run
        wait_for $program '^step 2/' || { tail -n 1 "$work/log"; exit 1; }
        sh -c "$enter" "$group" "$neighbour" $((limit_bytes / 100 * 88)) "$(awk "BEGIN { print $rate * 1073741824 }")" 0.3 >>"$work/rates" ||
            deaths=$((deaths + 1))
        wait $program
        status=$?
        while [ $status = 137 ]; do killed=$((killed + 1)); run; wait $program; status=$?; done
        [ $status = 0 ] || { echo "a training ended with $status: $(tail -n 1 "$work/log")"; exit 1; }
        history "$work/run" | cmp -s - "$work/left" && same=$((same + 1))
        cat "$work/run/events.jsonl" >>"$work/events" 2>/dev/null
    done
    echo "| $rate | $(sort -g "$work/rates" | awk '{ r[NR] = $1 } END { printf "%.2f", r[int((NR + 1) / 2)] / 1073741824 }') | $attacks | $deaths | $killed | $same | $(percentiles shrink) | $(percentiles pause) |"
    cat "$work/events" >>"$work/all-events"
done
mv "$work/all-events" "$work/events"
{ seconds_of shrink; seconds_of pause; } | sort -g | awk -v reserve=$reserve_bytes '{ t[NR] = $1 } END { if (NR) {
    worst = t[int(NR * 0.99 + 0.999)]
    printf "the guard can win up to %.2f GiB/s: %.0f MiB in two looks of 10 ms and the %.0f ms (p99) that giving back takes\n",
        reserve / 1073741824 / (0.02 + worst), reserve / 1048576, 1000 * worst } }'

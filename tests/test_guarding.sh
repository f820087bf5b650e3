#!/bin/sh
# The guard of a training, driven by its cause: a neighbour in the same container takes memory. The training gives back by smaller
# plans and, when they are not enough, stores itself, pauses and gives everything back; when the neighbour is gone it goes on, and
# ends as the one that was left alone, to the bit. Speaks cmocka's language to tests/run.sh.
work=$(mktemp -d)
levee=${LEVEE:-build/levee} neighbour=${NEIGHBOUR:-build/neighbour}
. tests/checks.sh
skip_all() { echo "guarding: $1"; echo "[  SKIPPED ] guarding"; rm -rf "$work"; exit 0; }
. tests/control_groups.sh

mebibyte=1048576
"$levee" init "$work/model" --hidden-size 64 --intermediate-size 160 --layers 4 --heads 4 --kv-heads 2 || exit 1
tools/make-text.sh harbour >"$work/train.jsonl"
# Deterministic passes hold one sequence, so that the memory of a long one makes the plan.
awk 'BEGIN { printf "{\"text\": \"" } { gsub(/^{"text": "|"}$/, ""); printf "%s ", $0 } END { print "\"}" }' "$work/train.jsonl" |
    cut -c 1-11000 | sed 's/"*}*$/"}/' >"$work/long"
cat "$work/long" >>"$work/train.jsonl"
steps=120 # long enough that a fast machine is not through before the container is full
train="$levee train --model $work/model --data $work/train.jsonl --num-layers -1 --batch-size 8 --memory 1GiB \
    --max-seq-length 4096 --dtype f32 --deterministic --learning-rate 1e-4 --save-every 1000 --steps-per-report 1000 --cool-down 1"
field() { sed -nE "s/.*\"$2\":([0-9]+).*/\1/p" "$1/metrics.jsonl" | tail -n 1; }
history() { sed -E 's/.*"step":([0-9]+),"loss":([^,]*),.*"grad_norm":([^,]*),.*/\1 \2 \3/' "$1/metrics.jsonl"; }

$train --iters $steps --adapter-path "$work/alone" >"$work/log" 2>&1 || { tail -n 2 "$work/log"; no runs_alone; }
check calm_guard_does_nothing [ ! -s "$work/alone/events.jsonl" ]
peak=$(field "$work/alone" predicted_bytes)
# Where nothing helps for long, a training whose passes are long goes on nevertheless.
cp "$work/long" "$work/long.jsonl"
timeout 120 $train --data "$work/long.jsonl" --batch-size 1 --iters 4 --adapter-path "$work/helpless" \
    --inject pressure=orange@1,for=600 >"$work/log" 2>&1
check goes_on_where_nothing_helps [ $? = 0 ]
limit_bytes=$((peak + 32 * mebibyte))
echo "the plan holds $peak bytes, the container $limit_bytes"
make_group $limit_bytes
: >"$work/log"
sh -c "$enter" "$group" $train --iters $steps --adapter-path "$work/guarded" >"$work/log" 2>&1 &
program=$!
wait_for $program '^step 1/' || { tail -n 2 "$work/log"; no guarded_starts; }
# It fills all that there is, 30 MB a second, keeps it for two seconds and is gone.
sh -c "$enter" "$group" "$neighbour" $((limit_bytes / 100 * 88)) 3e7 2 >/dev/null &
taker=$!
check neighbour_is_seen wait_for $program '^guard: after step .*: shrink: '
check smaller_plan_is_taken wait_for $program '^plan 1 instead of 0: .* given back'
check pauses wait_for $program '^paused after step .* more given back'
wait $taker
check neighbour_lives [ $? -eq 0 ]
check goes_on wait_for $program '^guard: after step .*: resume: '
wait $program
check guarded_run_finishes [ $? -eq 0 ]
check nobody_was_killed [ "$(kills)" = 0 ]
history "$work/alone" >"$work/left"; history "$work/guarded" >"$work/right"
check guarded_run_is_the_same_training cmp "$work/left" "$work/right"
check same_adapter cmp "$work/alone/adapter_model.safetensors" "$work/guarded/adapter_model.safetensors"
check events_say_why grep -q '"action":"pause","rule":".*","carried_out":true,"level":"red".*"source":"control group"' "$work/guarded/events.jsonl"

# The container's limit is lowered while it runs, by a twentieth of the peak at a time, from 110 % to 60 %: the training takes smaller
# plans, pauses when there is none, and goes on when the limit is raised again; or, when it may not pause, it stops and can be gone
# on with elsewhere. A limit below what is held at the moment is no limit that anybody could keep, so it is waited for.
lower() { # bytes
    for try in $(seq 200); do
        [ "$(used)" -gt "$1" ] || { limit "$1" 2>/dev/null && return; }
        kill -0 $program 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}
start_below() { # name options...
    name=$1; shift
    make_group $((peak / 100 * 115))
    : >"$work/log"
    # shellcheck disable=SC2086
    sh -c "$enter" "$group" $train --iters $steps --adapter-path "$work/$name" "$@" >"$work/log" 2>&1 &
    program=$!
    wait_for $program '^step 1/' || { tail -n 2 "$work/log"; no "${name}_starts"; }
}
start_below lowered
lowest=0
for percent in 110 105 100 95 90 85 80 75 70 65 60; do
    if lower $((peak / 100 * percent)); then lowest=$percent; fi
done
check lowered_limit_is_kept [ "$lowest" = 60 ]
check lowered_limit_shrinks grep -q '^guard: after step .*: shrink: ' "$work/log"
check lowered_limit_kills_nobody [ "$(kills)" = 0 ]
limit $((peak / 100 * 115))
wait $program
check lowered_run_finishes [ $? -eq 0 ]
history "$work/lowered" >"$work/right"
check lowered_run_is_the_same_training cmp "$work/left" "$work/right"

start_below stopped --on-pressure stop
for percent in 110 105 100; do lower $((peak / 100 * percent)) || break; done
wait $program
check stops_cleanly_when_limit_is_lowered [ "$? $(kills)" = '75 0' ]
$train --iters $steps --adapter-path "$work/stopped" --resume auto >>"$work/log" 2>&1
check is_gone_on_with_elsewhere [ $? -eq 0 ]
history "$work/stopped" >"$work/right"
check stopped_run_is_the_same_training cmp "$work/left" "$work/right"
[ $failed = 0 ] || cat "$work/log"
exit $failed

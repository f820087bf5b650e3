#!/bin/sh
# Runs that are killed, stopped, resumed and damaged: the end is the one of the run that was left alone. Speaks cmocka's language
# to tests/run.sh. KILLS says how often it kills (12 unless given); MODEL and DATA, another model and data than its own.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
levee=${LEVEE:-build/levee}
kills=${KILLS:-12}
between_validations=5
memory=${MEMORY:-96MiB} steps=${STEPS:-24} longest=${LONGEST:-0.8}
[ -z "$SANITIZE" ] || { memory=4GiB longest=4; }
. tests/checks.sh
expect() { # name status word command...
    name=$1 wanted=$2 word=$3; shift 3
    "$@" >"$work/out" 2>"$work/err"; got=$?
    if [ $got -eq "$wanted" ] && { [ -z "$word" ] || cat "$work/out" "$work/err" | grep -q -- "$word"; }; then ok "$name"; else
        echo "$name: status $got, wanted $wanted; message: $(cat "$work/err")"; no "$name"; fi
}
model=$MODEL data=$DATA
if [ -z "$model" ]; then
    model=$work/model data=$work/data
    "$levee" init "$model" --hidden-size 64 --intermediate-size 160 --layers 2 --heads 4 --kv-heads 2
    mkdir "$data"
    tools/make-text.sh harbour | head -n 50 >"$data/train.jsonl"
    tools/make-text.sh harbour | tail -n 6 >"$data/valid.jsonl"
fi
# Dropout and validation included; a save every third step, so that kills meet saves. Two runs that are compared must compute in the
# same type, which `auto` chooses anew by what is faster at the moment.
train() {
    "$levee" train --model "$model" --data "$data" --num-layers -1 --batch-size 4 --iters "$steps" --learning-rate 1e-3 \
        --dtype f32 --dropout 0.1 --steps-per-eval "$between_validations" --val-batches 1 --save-every 3 --memory "$memory" --max-seq-length 256 "$@"
}
# What a training is, step by step: all of its metrics that no clock has part in.
history() {
    sed -E 's/.*"step":([0-9]+),"loss":([^,]*),"val_loss":([^,]*),"learning_rate":([^,]*),"grad_norm":([^,]*),"tokens":([^,]*),"trained_tokens":([^,]*),.*/\1 \2 \3 \4 \5 \6 \7/' \
        "$1/metrics.jsonl"
}
same_run() { # name directory directory
    history "$2" >"$work/left"; history "$3" >"$work/right"
    if cmp -s "$work/left" "$work/right" && cmp -s "$2/adapter_model.safetensors" "$3/adapter_model.safetensors"; then ok "$1"; else
        diff "$work/left" "$work/right" | head -n 6; no "$1"; fi
}
moment() { awk -v seed="$1" -v most="$longest" 'BEGIN { srand(seed); rand(); printf "%.3f", 0.02 + most * rand() }'; }

train --adapter-path "$work/alone" >"$work/log" 2>&1 || { cat "$work/log"; no runs; }
[ "$(history "$work/alone" | wc -l)" -eq "$steps" ] || no every_step_has_a_line

# Killed at any instant, saves included, and gone on with: bit by bit the run that was never killed.
killed=0 lives=0 runs=0 writing=0
while [ $killed -lt "$kills" ]; do
    rm -rf "$work/killed"
    while :; do
        lives=$((lives + 1))
        train --adapter-path "$work/killed" --resume auto >"$work/log" 2>&1 &
        if [ $killed -lt "$kills" ]; then sleep "$(moment $((lives + ${SEED:-0})))"; pkill -KILL -f "[-]-adapter-path $work/killed "; fi
        wait $!; status=$?
        [ $status -eq 137 ] || break
        killed=$((killed + 1))
        [ -z "$(find "$work/killed" -name '*.partial' 2>/dev/null)" ] || writing=$((writing + 1))
    done
    runs=$((runs + 1))
    [ $status -eq 0 ] || { tail -n 3 "$work/log"; no killed_run_ends; break; }
    same_run killed_and_resumed "$work/alone" "$work/killed"
    [ $failed -eq 0 ] || break
done
echo "$killed kills, $writing of them while a file was being written, in $runs runs of $steps steps"
[ -z "$MODEL" ] || exit $failed

# SIGTERM stores where it stands, with status 75; a second one ends at once. A validation that is cut short is not made up for, so
# there is none but the last.
between_validations=50000
stop() { # directory signal...
    directory=$1; shift
    train --adapter-path "$directory" --iters 100000 --save-every 50000 >"$work/log" 2>"$work/err" &
    until [ -s "$directory/metrics.jsonl" ] && [ "$(wc -l <"$directory/metrics.jsonl")" -ge 4 ]; do sleep 0.02; done
    program=$(pgrep -f "[-]-adapter-path $directory ")
    for signal; do kill -"$signal" "$program"; done
    wait $!
}
stop "$work/stopped" TERM; status=$?
check stopped_with_75 [ $status -eq 75 ]
check says_how_to_go_on grep -q -- '--resume goes on after step' "$work/log"
at=$(history "$work/stopped" | wc -l)
check stopped_is_stored [ -f "$(printf '%s/stopped/checkpoints/step-%08d.checkpoint' "$work" "$at")" ]
steps=$((at + 5))
train --adapter-path "$work/stopped" --resume >"$work/log" 2>&1 || no stopped_goes_on
rm -rf "$work/alone"; train --adapter-path "$work/alone" >"$work/log" 2>&1
same_run stopped_and_resumed "$work/alone" "$work/stopped"
stop "$work/twice" TERM INT; status=$?
check second_signal_ends_at_once [ $status -eq 75 ]
check second_signal_stores_nothing [ -z "$(ls "$work/twice/checkpoints")" ]

# Asked of a directory that holds a run.
files() { cat "$1"/adapter_model.safetensors "$1"/metrics.jsonl "$1"/config.yaml "$1"/checkpoints/* | cksum; }
newest() { ls "$1"/checkpoints/* | tail -n 1; }
before=$(files "$work/stopped")
expect a_new_run_is_refused 2 'go on with it by --resume' train --adapter-path "$work/stopped"
expect another_seed_is_refused 2 'was made with another seed' train --adapter-path "$work/stopped" --resume --seed 7
expect another_dropout_is_refused 2 'another fine-tuning' train --adapter-path "$work/stopped" --resume --dropout 0.3
expect another_batch_is_refused 2 'another batch size' train --adapter-path "$work/stopped" --resume --batch-size 3
expect missing_checkpoint_is_named 66 'nowhere.checkpoint' train --adapter-path "$work/other" --resume "$work/nowhere.checkpoint"
expect an_older_one_is_refused 2 'would overwrite' train --adapter-path "$work/stopped" --resume "$(ls "$work"/stopped/checkpoints/* | head -n 1)"
check refusals_change_nothing [ "$before" = "$(files "$work/stopped")" ]
expect a_finished_run_has_nothing_to_do 0 'nothing is left to do' train --adapter-path "$work/stopped" --resume
check two_checkpoints_are_kept [ "$(ls "$work/stopped/checkpoints" | wc -l)" -eq 2 ]
# A branch: from a checkpoint of another directory, which stays as it is.
steps=$((steps + 4))
train --adapter-path "$work/branch" --resume "$(newest "$work/stopped")" >"$work/log" 2>&1 || { cat "$work/log"; no branch; }
check a_branch_leaves_its_origin [ "$before" = "$(files "$work/stopped")" ]
train --adapter-path "$work/stopped" --resume >"$work/log" 2>&1
check a_branch_is_the_same_training cmp -s "$work/branch/adapter_model.safetensors" "$work/stopped/adapter_model.safetensors"
# A damaged checkpoint is passed over, and told of.
damaged=$(newest "$work/stopped")
printf 'x' | dd of="$damaged" bs=1 seek=5000 conv=notrunc 2>"$work/err"
expect falls_back_and_says_so 0 'not used: .*step-.*damaged' train --adapter-path "$work/stopped" --resume
check fallen_back_is_the_same_training cmp -s "$work/branch/adapter_model.safetensors" "$work/stopped/adapter_model.safetensors"
for file in "$work"/stopped/checkpoints/*; do : >"$file"; done
expect all_damaged_is_refused 65 'none of its checkpoints can be used' train --adapter-path "$work/stopped" --resume
# Two runs in one directory.
train --adapter-path "$work/locked" --iters 100000 >"$work/log" 2>&1 &
until [ -s "$work/locked/metrics.jsonl" ]; do sleep 0.02; done
expect a_second_run_is_kept_out 2 'another run is using' train --adapter-path "$work/locked" --resume
pkill -INT -f "[-]-adapter-path $work/locked "; wait $!
exit $failed

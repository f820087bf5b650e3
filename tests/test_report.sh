#!/bin/sh
# levee report and --tensorboard on real runs: the page has the numbers of metrics.jsonl, a run that goes on begins another event
# file, and what is wrong is said. Speaks cmocka's language to tests/run.sh; tests/test_report_*.c have the rest.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
levee=${LEVEE:-build/levee}
. tests/checks.sh

run init "$work/model" --hidden-size 32 --intermediate-size 64 --layers 1 --heads 2 --kv-heads 1
mkdir "$work/data"
for n in $(seq 20); do echo "{\"text\": \"row $n of the harbour has $n boats\"}"; done >"$work/data/train.jsonl"
head -n 4 "$work/data/train.jsonl" >"$work/data/valid.jsonl"
train() { # directory options...
    directory=$1
    shift
    run train --model "$work/model" --data "$work/data" --num-layers 1 --steps-per-eval 4 --save-every 4 --threads 1 \
        --adapter-path "$work/$directory" "$@" >"$work/log" 2>&1 || cat "$work/log"
}
train one --iters 12 --rank 4 --tensorboard
train two --iters 8 --rank 8 --learning-rate 1e-3

expect report_says_where_it_is 0 "one/report.html: a report of 1 run" report "$work/one"
# Losses as metrics.jsonl has them, which the page tells step by step.
missing=0 steps=0
while IFS=' ' read -r step loss validation; do
    steps=$((steps + 1))
    awk -v step="$step" -v loss="$loss" -v validation="$validation" '
        found && $0 ~ "^loss " loss "(<|$)" { has = 1 }
        found && validation != "null" && $0 ~ "^validation loss " validation "<" { valid = 1 }
        { found = $0 ~ "<title>step " step "$" || (found && /^loss /) }
        END { exit !(has && (validation == "null" || valid)) }' "$work/one/report.html" || {
        echo "step $step: no loss $loss, validation $validation"
        missing=1
    }
done <<END
$(sed -E 's/.*"step":([0-9]+),"loss":([^,]+),"val_loss":([^,]+),.*/\1 \2 \3/' "$work/one/metrics.jsonl")
END
check report_has_the_numbers_of_metrics [ "$missing$steps" = 012 ]
check report_has_plan_and_configuration eval 'grep -q "<code>rank</code>" "$work/one/report.html" && grep -q plan.json "$work/one/report.html"'
expect report_compares_runs 0 "both.html: a report of 2 runs" report "$work/one" "$work/two/" --output="$work/both.html"
check differences_are_named grep -q '<code>learning_rate</code></th><td class="value">1e-05</td><td class="value">0.001</td>' "$work/both.html"
mkdir "$work/empty"
expect report_of_nothing 66 "holds no metrics.jsonl" report "$work/empty"
expect report_without_a_directory 2 "1 to 8" report
expect report_without_such_an_option 2 "has the option --output alone" report "$work/one" --colour
expect report_into_nowhere 74 "nowhere" report "$work/one" --output "$work/nowhere/page.html"

events() { ls "$work/one/tensorboard" | wc -l; }
check event_file_is_written [ "$(events)" = 1 ]
check event_file_is_one grep -aq 'brain.Event:2' "$work"/one/tensorboard/events.out.tfevents.*
check event_file_has_losses grep -aq 'loss/validation' "$work"/one/tensorboard/events.out.tfevents.*
train one --iters 14 --rank 4 --tensorboard --resume
check going_on_begins_another_file [ "$(events)" = 2 ]
check without_the_option_there_is_none [ ! -e "$work/two/tensorboard" ]
touch "$work/file"
ln -s "$work/file" "$work/two/tensorboard"
expect event_files_in_no_place 74 "tensorboard: is a file, not a directory" train --model "$work/model" --data "$work/data" --num-layers 1 \
    --rank 8 --iters 12 --resume --tensorboard --adapter-path "$work/two"

# A program that is watched: memory by what the guard saw.
run watch --run-dir "$work/watched" --tensorboard --sample-every 0.1 --quiet -- sleep 1 >"$work/log" 2>&1
check watched_event_file_has_memory grep -aq 'memory_MiB/held' "$work"/watched/tensorboard/events.out.tfevents.*
expect watched_report 0 "watched/report.html: a report of 1 run" report "$work/watched"
check watched_report_has_memory grep -q '^held [0-9.]* [KM]iB' "$work/watched/report.html"
expect watched_needs_a_directory 2 "needs --run-dir" watch --tensorboard -- true
exit $failed

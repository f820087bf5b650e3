#!/bin/sh
# levee train --web: the page of a real run, and what people may ask of it. Speaks cmocka's language to tests/run.sh.
work=$(mktemp -d)
levee=${LEVEE:-build/levee} http=${HTTP:-build/http}
memory=96MiB steps=240
[ -z "$SANITIZE" ] || memory=4GiB steps=60
. tests/checks.sh
process=
trap 'kill -KILL $process 2>/dev/null; rm -rf "$work"' EXIT
"$levee" init "$work/model" --hidden-size 64 --intermediate-size 160 --layers 2 --heads 4 --kv-heads 2
mkdir "$work/data"
tools/make-text.sh harbour | head -n 50 >"$work/data/train.jsonl"
tools/make-text.sh harbour | tail -n 6 >"$work/data/valid.jsonl"
launch= # exec: in the background the process is then levee's own
train() {
    $launch "$levee" train --model "$work/model" --data "$work/data" --num-layers -1 --batch-size 4 --iters "$steps" --learning-rate 1e-3 \
        --dropout 0.1 --steps-per-eval 30 --val-batches 1 --save-every 1000 --memory "$memory" --max-seq-length 256 "$@"
}
# begin DIRECTORY OPTIONS...: starts a run with a page; says its port and token.
begin() {
    directory=$work/$1
    shift
    launch=exec
    train --adapter-path "$directory" --web 127.0.0.1:0 "$@" >"$work/log" 2>&1 &
    launch= process=$!
    wait_for $process '^page: http' || { cat "$work/log"; return 1; }
    port=$(sed -n 's/^page: .*:\([0-9]*\)\/.*/\1/p' "$work/log")
    token=$(sed -n 's/^page: .*token=\([^ ]*\).*/\1/p' "$work/log")
}
state() { "$http" "$port" GET /state.json | tail -n 1; }
# in_state WORD: until the page shows it; false when the run ends before, or after a minute.
in_state() {
    for try in $(seq 600); do
        state | grep -q "\"state\":\"$1\"" && return
        kill -0 $process 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}
order() { "$http" "$port" POST "/$1" "$token" >"$work/answer"; }
ends_with() { wait $process; got=$?; process=; [ $got -eq "$1" ] || { echo "status $got"; tail -n 5 "$work/log"; return 1; }; }
history() {
    sed -E 's/.*"step":([0-9]+),"loss":([^,]*),"val_loss":([^,]*),"learning_rate":([^,]*),"grad_norm":([^,]*),"tokens":([^,]*),"trained_tokens":([^,]*),.*/\1 \2 \3 \4 \5 \6 \7/' \
        "$1/metrics.jsonl"
}
same_run() {
    history "$1" >"$work/left"; history "$2" >"$work/right"
    cmp "$work/left" "$work/right" && cmp "$1/adapter_model.safetensors" "$2/adapter_model.safetensors"
}
lines() { wc -l <"$directory/metrics.jsonl"; }

train --adapter-path "$work/alone" >"$work/log" 2>&1 || { cat "$work/log"; no runs; }

# What is shown at a step is the line of metrics.jsonl at that step, to the letter.
shows_the_line() {
    for try in $(seq 100); do
        shown=$(state | sed -n 's/.*"step":\({"step".*}\),"validation".*/\1/p')
        [ -n "$shown" ] && break
        sleep 0.1
    done
    for try in $(seq 100); do
        grep -qxF -- "$shown" "$directory/metrics.jsonl" && return
        sleep 0.1
    done
    echo "not in metrics.jsonl: $shown"
    return 1
}
# A scrape belongs together: its loss is the one of its step.
shows_metrics() {
    "$http" "$port" GET /metrics >"$work/metrics"
    step=$(sed -n 's/^levee_steps_total //p' "$work/metrics") loss=$(sed -n 's/^levee_loss //p' "$work/metrics")
    for try in $(seq 100); do
        grep -q "\"step\":$step,\"loss\":$loss," "$directory/metrics.jsonl" && return
        sleep 0.1
    done
    echo "step $step, loss $loss"
    return 1
}
# Paused behind some step, whatever the speed of this machine.
pause_somewhere() {
    order pause && in_state paused || return 1
    until state | grep -q '"step":{"step"'; do
        order resume && sleep 0.1 && order pause && in_state paused || return 1
    done
}
refuses_others() { ! "$http" "$port" POST /resume && ! "$http" "$port" POST /resume wrong-wrong-wrong-wrong && in_state paused; }
# Paused, it trains nothing, is stored, and holds less than in the step before.
gives_memory_back() {
    before=$(lines) held=$(state | sed 's/.*"step":{"step".*"held_bytes":\([0-9]*\),"peak.*/\1/')
    now=$(($(sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$process/status") * 1024))
    sleep 1
    [ "$before" = "$(lines)" ] && [ "$before" -lt "$steps" ] && [ -n "$(ls "$directory/checkpoints")" ] || return 1
    [ -n "$SANITIZE" ] || [ "$now" -lt "$((held - 1048576))" ] || { echo "$now bytes of $held"; return 1; }
}
begin watched && pause_somewhere || no page_is_there
check values_are_those_of_metrics_jsonl shows_the_line
check a_scrape_belongs_together shows_metrics
check others_give_no_orders refuses_others
check pause_gives_memory_back gives_memory_back
check checkpoint_can_be_asked_for order checkpoint
order resume || no resume_is_asked
check run_ends ends_with 0
check checkpoint_is_saved grep -q 'is saved, as asked' "$work/log"
check paused_and_resumed_is_the_same_run same_run "$work/alone" "$work/watched"
check token_is_in_no_file sh -c '! grep -rqF -- "$1" "$2"' - "$token" "$work/watched"

# A stop stores where it stands; so does one that comes in a pause. Gone on with, it is the same run.
begin stopped && pause_somewhere && order stop || no stop_is_asked
check stop_while_paused ends_with 75
begin stopped --resume auto && order stop || no stop_is_asked_again
check stop_while_running ends_with 75
train --adapter-path "$work/stopped" --resume auto >"$work/log" 2>&1
check stopped_and_resumed_is_the_same_run same_run "$work/alone" "$work/stopped"

# A pause that comes before the first step.
begin early && order pause && in_state paused && order resume || no early_pause
check paused_early_ends ends_with 0
check paused_early_is_the_same_run same_run "$work/alone" "$work/early"

token=abcdefghijklmnop-0123
uses_given_token() { LEVEE_WEB_TOKEN=$token begin given && grep -q "token=$token" "$work/log" && order stop; }
check token_can_be_given uses_given_token
ends_with 75 || no given_ends
expect address_is_checked 2 'is no address' train --model "$work/model" --data "$work/data" --adapter-path "$work/x" --web somewhere:80
LEVEE_WEB_TOKEN=short
export LEVEE_WEB_TOKEN
expect token_is_checked 2 'LEVEE_WEB_TOKEN' train --model "$work/model" --data "$work/data" --adapter-path "$work/x" --web
unset LEVEE_WEB_TOKEN
expect plan_has_no_page 2 'web' plan --model "$work/model" --data "$work/data" --web
exit $failed

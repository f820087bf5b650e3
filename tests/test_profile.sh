#!/bin/sh
# levee train --profile: a table of where the time of the steps went, and the last pass as a trace. Its shares add up, its memory
# is planned, and the training is the same. Speaks cmocka's language to tests/run.sh.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
levee=${LEVEE:-build/levee}
. tests/checks.sh
"$levee" init "$work/model" --hidden-size 64 --intermediate-size 160 --layers 3 --heads 4 --kv-heads 2 || exit 1
tools/make-text.sh harbour >"$work/train.jsonl"
train() { # directory option...
    directory=$1; shift
    run train --model "$work/model" --data "$work/train.jsonl" --num-layers -1 --batch-size 4 --iters 5 --memory 200MiB --dtype f32 \
        --adapter-path "$work/$directory" "$@" >"$work/$directory.log" 2>&1
}
XDG_CACHE_HOME=$work/no-cache
export XDG_CACHE_HOME
check profiled_run_finishes train profiled --profile
check plain_run_finishes train plain
# "  linear   210   0.123  12.3 %  45.6   1.2": seconds of the operators, of all passes, and of the rest; shares.
rows() { sed -n '/^  operator /,/^  update/p' "$work/profiled.log" | tail -n +2; }
check operators_are_named [ "$(rows | grep -c -E '^  (linear and lora|attention|attention gradient|linear and lora gradient|head, loss and gradient) +[0-9]+ ')" = 5 ]
check calls_are_counted [ "$(rows | awk '/^  linear and lora  / { print $4 }')" = 105 ] # 3 layers, 7 weights, 5 passes
check seconds_add_up [ "$(rows | awk '/^  passes/ { passes = $2; next } /^  update/ { next } { sub(/^  [a-z ,]+ /, ""); sum += $2 }
    END { print (sum - passes < 0.02 && passes - sum < 0.02 && sum > 0) ? "yes" : sum " " passes }')" = yes ]
check says_how_to_know_the_machine grep -q 'levee doctor --calibrate measures it' "$work/profiled.log"
check no_profile_unless_asked [ ! -e "$work/plain/trace.json" ]
check trace_has_every_operator [ "$(grep -c '"ph":"X"' "$work/profiled/trace.json")" -gt 60 ]
check trace_names_layers grep -q '"name":"linear and lora".*"layer":2,"operations":[1-9]' "$work/profiled/trace.json"
if command -v python3 >/dev/null; then
    check trace_is_json python3 -c 'import json, sys
events = json.load(open(sys.argv[1]))["traceEvents"]
assert all(a["ts"] + a["dur"] <= b["ts"] + 0.002 for a, b in zip(events, events[1:]))' "$work/profiled/trace.json"
else skip trace_is_json "there is no python3"; fi
check profile_is_planned grep -q ': held$' "$work/profiled.log"
losses() { sed -E 's/.*"step":([0-9]+),"loss":([^,]*),.*/\1 \2/' "$work/$1/metrics.jsonl"; }
check same_training [ "$(losses profiled)" = "$(losses plain)" ]
# With what this machine can do: the share of it.
run doctor --calibrate >"$work/out" 2>&1 || cat "$work/out"
check profiled_run_finishes_again train known --profile
check share_of_the_machine grep -q -E '^  linear and lora .* [0-9.]+ +[0-9]+ %$' "$work/known.log"
exit $failed

#!/bin/sh
# Fire drills (--inject), and what the guard does about each: trouble that really happens to a training. Speaks cmocka's language to
# tests/run.sh.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
levee=${LEVEE:-build/levee}
. tests/checks.sh
"$levee" init "$work/model" --hidden-size 64 --intermediate-size 160 --layers 4 --heads 4 --kv-heads 2 || exit 1
tools/make-text.sh harbour >"$work/train.jsonl"
memory=64MiB
[ -z "$SANITIZE" ] || memory=256MiB # of which a sanitizer's own is a part
# drill NAME DRILL OPTIONS...: runs, says nothing, and keeps the status.
drill() {
    name=$1 exercises=$2
    shift 2
    "$levee" train --model "$work/model" --data "$work/train.jsonl" --num-layers -1 --batch-size 4 --dtype f32 --val-batches 0 \
        --learning-rate 1e-4 --deterministic --memory $memory --steps-per-report 1000 --adapter-path "$work/$name" \
        --inject "$exercises" "$@" >"$work/log" 2>&1
    status=$?
}
history() { sed -E 's/.*"step":([0-9]+),"loss":([^,]*),.*/\1 \2/' "$work/$1/metrics.jsonl"; }
# The step of the first event of an action, by a rule.
event_step() { grep "\"action\":\"$2\".*$3" "$work/$1/events.jsonl" | head -n 1 | sed -E 's/.*"step":([0-9]+).*/\1/'; }

drill calm '' --iters 70
check calm_runs [ $status = 0 ]
if [ -n "$SANITIZE" ]; then
    for name in leak_is_told leak_is_suspected leak_is_acted_on_in_time leak_stops leak_resumes leak_resumed_is_the_same_training; do
        skip $name "a sanitizer's own memory fills the budget"
    done
else
    # A leak that is there from the first step.
    drill leak leak=1MB/step --iters 70
    check leak_is_told grep -Eq '^leak suspected: (total|unaccounted) memory grows by 9[0-9]{2}\.[0-9] KiB a step \(.* to .*\), since step [0-4];' "$work/log"
    check leak_is_suspected [ "$(event_step leak trim suspected)" -le 8 ]
    # A plan is given up, or the run when there is no smaller one, at least 10 steps before the budget is passed.
    held=$(grep -E '"action":"(shrink|stop)"' "$work/leak/events.jsonl" | head -n 1 | sed -E 's/.*"process_anonymous_bytes":([0-9]+).*/\1/')
    check leak_is_acted_on_in_time [ "$(((64 * 1024 * 1024 - held) / 1000000))" -ge 10 ]
    check leak_stops [ $status = 75 ]
    drill leak '' --iters 70 --resume auto
    check leak_resumes [ $status = 0 ]
    history calm >"$work/left"; history leak >"$work/right"
    check leak_resumed_is_the_same_training cmp "$work/left" "$work/right"
fi

# The kernel's own limit, when nobody looks: the leak is refused memory, and what was done is not lost.
if [ -n "$SANITIZE" ]; then skip limit_data_refuses_a_leak "a sanitizer takes addresses by itself"; else
    drill limited leak=8MB/step --iters 70 --guard off --limit-data --save-every 5
    check limit_data_refuses_a_leak [ "$status $(($(grep -c '' "$work/limited/metrics.jsonl") < 12))" = '69 1' ]
fi

# What is booked may not grow by a byte.
for category in activations runtime; do
    drill $category "leak=64KiB/step,category=$category,from=3" --iters 20
    check booked_leak_of_${category}_is_an_error_at_once [ "$status $(grep -c '' "$work/$category/metrics.jsonl")" = '70 3' ]
    check booked_leak_of_${category}_is_named grep -q "^levee: stopped after step 3: $category grew by" "$work/log"
    check booked_leak_of_${category}_is_stored ls "$work/$category/checkpoints/"*3* >/dev/null 2>&1
done
drill warned leak=64KiB/step,category=io --iters 3 --guard warn
check booked_leak_is_told_when_warning [ "$status $(grep -c 'io grew by' "$work/log")" = '0 3' ]

drill pressure pressure=red@3,for=1 --iters 20 --cool-down 0.2
check pressure_pauses_and_resumes [ "$status $(grep -c '^guard: .*: pause: ' "$work/log") $(grep -c ': resume: ' "$work/log")" = '0 1 1' ]
history calm | head -n 20 >"$work/left"; history pressure >"$work/right"
check pressure_is_the_same_training cmp "$work/left" "$work/right"

drill hog hog=100MiB@3,for=1 --iters 20
check hog_is_there grep -q '^fire drill: process [0-9]* takes 100.0 MiB' "$work/log"
number=$(sed -n 's/^fire drill: process \([0-9]*\) takes .*/\1/p' "$work/log")
check hog_is_gone_with_the_run [ "$status" = 0 -a ! -e "/proc/$number/stat" ]

drill refused alloc-fail=1 --iters 3
check refused_memory_ends_the_run [ $status = 69 ]
check refused_memory_is_told grep -q '^fire drill: request 1 for memory was refused' "$work/log"
# The calls of a save: one that fails is told, and what was saved before stays.
drill files '' --iters 4 --save-every 2
drill slow slow-disk=3 --iters 4 --save-every 2
check slow_disk_changes_nothing cmp "$work/files/adapter_model.safetensors" "$work/slow/adapter_model.safetensors"
refused=0
for call in 40 60 80 100 120; do
    drill "call-$call" io-error=$call --iters 4 --save-every 2
    case $status in 0) ;; 65 | 66 | 69 | 74) refused=$((refused + 1)) ;; *) tail -n 1 "$work/log"; no "file_call_$call" ;; esac
    grep -q "^fire drill: call $call on a file failed" "$work/log" || { tail -n 1 "$work/log"; no "file_call_${call}_is_told"; }
done
check some_file_call_ends_a_run [ $refused -gt 0 ]

for wrong in leak=1MB hog=1MiB pressure=blue@3 alloc-fail=0 leak=1MB/step,for=3 fire=1 leak=1MB/step,category=none; do
    drill wrong "$wrong" --iters 1
    grep -q '^levee: inject: .* does not do; .* is needed' "$work/log" && [ $status = 2 ] || no "refuses_$wrong"
done
exit $failed

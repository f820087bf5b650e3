#!/bin/sh
# levee probe: it climbs under guard, ends for each of its reasons by that reason's cause, leaves nothing behind, and writes a
# file that levee train keeps to. Speaks cmocka's language to tests/run.sh.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
levee=${LEVEE:-build/levee} held=${HELD:-build/held} neighbour=${NEIGHBOUR:-build/neighbour}
. tests/checks.sh
run init "$work/model" --hidden-size 64 --intermediate-size 160 --layers 4 --heads 4 --kv-heads 2 || exit 1
tools/make-text.sh harbour >"$work/train.jsonl"
mkdir "$work/tmp"
# Nothing is recomputed, so that each size has a peak of its own.
job="--model $work/model --data $work/train.jsonl --num-layers -1 --dtype f32 --val-batches 0 --grad-checkpoint off"
probe() { # file options...
    name=$1
    shift
    TMPDIR=$work/tmp run probe $job --probe-steps 4 --probe-file "$work/$name.yaml" "$@" >"$work/log" 2>&1
    status=$?
}
# "SEQUENCES PREDICTED MEASURED TOKENS/S" of each line of the table, in MiB.
table() {
    sed -nE 's/^#? *([0-9]+) +[0-9]+ +[0-9]+ of [0-9]+ +([0-9.]+) MiB +([0-9.]+) MiB .*\) +([0-9.]+) +[0-9.]+ [KMGT]iB.*/\1 \2 \3 \4/p' "$1"
}
option() { sed -nE "s/^$2: (.*)/\1/p" "$work/$1.yaml"; }
planned() { # sequences: what a pass of so many takes, in bytes
    run plan $job --batch-size "$1" --micro-batch-size "$1" --memory 1GiB --json | sed -E 's/.*"predicted_bytes":([0-9]+).*/\1/'
}
tokens_a_pass() { sed -nE 's/^([0-9]+) tokens a pass.*/\1/p' "$work/trained"; }
ls -lR --time-style=full-iso "$work/model" >"$work/before"

if [ -n "$SANITIZE" ]; then
    for name in budget_ends_it tries_what_lies_between measures_what_was_predicted leaves_nothing_between_sizes next_larger_does_not_fit \
        file_is_kept_to leak_ends_it leak_is_shown smaller_sizes_are_safe leak_from_the_start; do
        skip $name "a sanitizer's own memory is in no plan"
    done
else
    # A budget for three sequences a pass and not for four: 1, 2 and 3 are tried. A training keeps 1 MiB free beside its plan.
    budget=$((($(planned 3) + $(planned 4)) / 2 + 1048576))
    probe three --memory $budget
    check budget_ends_it [ "$status $(grep -cE '^ended: a micro-batch of 4 (needs .* at least, and the budget is|does not fit) ' "$work/log")" = '0 1' ]
    table "$work/log" >"$work/sizes"
    check tries_what_lies_between [ "$(cut -d ' ' -f 1 "$work/sizes" | tr '\n' ' ')" = '1 2 3 ' ]
    check measures_what_was_predicted awk '{ d = $3 - $2; if (d > 0.5 || d < -0.5) bad = 1 } END { exit bad || NR != 3 }' "$work/sizes"
    # The third size holds what a training of it alone holds.
    "$held" "$work/most" "$levee" train $job --batch-size 3 --micro-batch-size 3 --memory $budget --iters 3 --adapter-path "$work/three" >"$work/trained" 2>&1
    alone=$(sed -nE 's/.*"peak_bytes":([0-9]+).*/\1/p' "$work/three/metrics.jsonl" | tail -n 1)
    check leaves_nothing_between_sizes awk -v alone="$alone" '$1 == 3 { d = $3 - alone / 1048576; exit d > 0.5 || d < -0.5 }' "$work/sizes"
    run train $job --batch-size 4 --micro-batch-size 4 --memory $budget --iters 1 --adapter-path "$work/four" >"$work/trained" 2>&1
    check next_larger_does_not_fit [ $? = 69 -o "$(tokens_a_pass)" -lt 500 ]

    # The file: what it says is what was found, and a training with it holds its budget, as seen from outside.
    chosen=$(option three micro_batch_size)
    check chooses_the_smallest_of_the_fast awk -v chosen="$chosen" '{ size[NR] = $1; speed[NR] = $4; if ($4 > most) most = $4 }
        END { for (i = 1; i <= NR && speed[i] * 1.031 < most; i++); exit size[i] != chosen }' "$work/sizes"
    check file_says_it [ "$(option three batch_size) $(option three memory) $(option three inject)" = "$chosen $budget null" ]
    "$held" "$work/most" "$levee" train -c "$work/three.yaml" --iters 40 --adapter-path "$work/kept" >"$work/trained" 2>&1
    check file_is_kept_to [ "$? $(tokens_a_pass) $(($(head -n 1 "$work/most") <= budget))" = "0 $((chosen * 125)) 1" ]

    # A leak: from the middle of the second size on, and from the start.
    probe leak --memory 64MiB --probe-steps 10 --inject leak=1MB/step,from=12
    check leak_ends_it [ "$status $(grep -c '^ended: held memory grows by 9[0-9][0-9]\.[0-9] KiB a step (.* to .*)' "$work/log")" = '0 1' ]
    check leak_is_shown grep -Eq '^ +2 .* 9[0-9]{2}\.[0-9] KiB \(.* to .*\) .* ended early$' "$work/log"
    check smaller_sizes_are_safe [ "$(option leak micro_batch_size) $(option leak inject)" = '1 null' ]
    probe none --memory 64MiB --probe-steps 10 --inject leak=1MB/step
    check leak_from_the_start [ "$status $(grep -c '^levee: no size is known to be safe: held memory grows' "$work/log")" = '75 1' ]
    check no_file_without_a_safe_size [ ! -e "$work/none.yaml" -a ! -e "$work/none.svg" ]
fi

# With a batch size that was given, that is the training; only how it is split is asked.
probe given --memory 1GiB --batch-size 2 --grad-accumulation-steps 2
check whole_step_ends_it grep -Eq '^ended: (a pass of 4 holds the whole step|2 larger sizes)' "$work/log"
check given_batch_stays [ "$status $(option given batch_size) $(option given grad_accumulation_steps)" = '0 2 2' ]
check nothing_larger_is_tried [ "$(sed -nE 's/^ +([0-9]+) +[0-9]+ +0 of .*/\1/p' "$work/log" | tail -n 1)" -le 4 ]

# The guard: red at the first size, and at the second.
probe red --memory 1GiB --inject pressure=red@2
check pressure_before_any_size_was_safe [ "$status $(grep -c '^levee: no size is known to be safe: stopped by the guard after step 2' "$work/log")" = '75 1' ]
probe later --memory 1GiB --inject pressure=red@6
check pressure_ends_it [ "$status $(grep -c '^ended: stopped by the guard after step 6' "$work/log") $(option later micro_batch_size)" = '0 1 1' ]

# Files: what a probe wrote is written again, what is not ours is not; the picture.
probe later --memory 1GiB --batch-size 1
check own_file_is_replaced [ "$status" = 0 ]
echo 'batch_size: 2' >"$work/mine.yaml"
probe mine --memory 1GiB -c "$work/mine.yaml"
check others_file_is_kept [ "$status $(cat "$work/mine.yaml")" = '2 batch_size: 2' ]
check picture_is_one grep -q '^<svg .*viewBox' "$work/given.svg"
if command -v xmllint >/dev/null; then check picture_is_well_formed xmllint --noout "$work/given.svg"; else skip picture_is_well_formed "there is no xmllint"; fi
[ -n "$SANITIZE" ] || expect does_not_fit 69 'smallest budget that does' probe $job --memory 4MiB --probe-file "$work/small.yaml"
expect needs_data 2 'data is needed' probe --model "$work/model" --probe-file "$work/no.yaml"
expect deterministic_has_one_size 2 'nothing to probe' probe $job --deterministic --probe-file "$work/no.yaml"
expect deterministic_has_no_size 2 'deterministic passes hold one sequence' train $job --deterministic --micro-batch-size 2 --adapter-path "$work/no"
expect file_is_of_probe 2 'option of levee probe, not of levee train' train $job --probe-file "$work/no.yaml"

# Ctrl-C, before a size is done and after one.
interrupt() { # file pattern steps
    : >"$work/log"
    TMPDIR=$work/tmp "$levee" probe $job --memory 1GiB --probe-steps "$3" --probe-file "$work/$1.yaml" >"$work/log" 2>&1 &
    program=$!
    wait_for $program "$2"
    kill -INT $program
    wait $program
    status=$?
}
interrupt early '^batch ' 10000
check interrupted_at_once [ "$status $(grep -c 'no size is known to be safe: stopped as asked' "$work/log")" = '75 1' ]
check interrupted_writes_nothing [ ! -e "$work/early.yaml" ]
if [ -n "$SANITIZE" ]; then skip interrupted_later "what a sanitizer keeps of freed blocks looks like a leak"; else
    interrupt late '^ *1 ' 150
    check interrupted_later [ "$status $(grep -c '^ended: stopped as asked' "$work/log") $(option late micro_batch_size)" = '75 1 1' ]
fi
check leaves_no_files [ -z "$(ls -A "$work/tmp")" ]
ls -lR --time-style=full-iso "$work/model" >"$work/after"
check model_is_untouched cmp -s "$work/before" "$work/after"

# A neighbour takes the container's memory while the second size runs: it gets it, the probe gives its own back and says what it
# knows; nobody is killed.
skip_all() { echo "container: $1"; echo "[  SKIPPED ] container"; exit $failed; }
. tests/control_groups.sh
limit_bytes=$((64 * 1048576))
make_group $limit_bytes
: >"$work/log"
TMPDIR=$work/tmp sh -c "$enter" "$group" "$levee" probe $job --memory 48MiB --probe-steps 300 --probe-file "$work/hog.yaml" >"$work/log" 2>&1 &
program=$!
wait_for $program '^ *1 ' || { tail -n 2 "$work/log"; no first_size_is_done; }
sh -c "$enter" "$group" "$neighbour" $((limit_bytes / 100 * 88)) 2e7 1 >/dev/null &
taker=$!
wait $program
check neighbour_ends_it [ "$? $(grep -c '^ended: .*control group' "$work/log")" = '0 1' ]
wait $taker
check neighbour_lives [ "$? $(kills)" = '0 0' ]
check file_has_what_was_safe [ "$(option hog micro_batch_size)" -ge 1 ]
[ $failed = 0 ] || cat "$work/log"
exit $failed

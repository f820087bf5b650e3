#!/bin/sh
# What a run tells, as a user meets it: the files of its directory, one line on a terminal, and levee top; of a training and of a
# command that is watched. Speaks cmocka's language to tests/run.sh.
work=$(mktemp -d)
levee=${LEVEE:-build/levee}
. tests/checks.sh
trap 'rm -rf "$work"' EXIT
memory=96MiB
[ -z "$SANITIZE" ] || memory=4GiB
"$levee" init "$work/model" --hidden-size 64 --intermediate-size 160 --layers 2 --heads 4 --kv-heads 2 || exit 1
mkdir "$work/data"
tools/make-text.sh harbour | head -n 50 >"$work/data/train.jsonl"
tools/make-text.sh harbour | tail -n 6 >"$work/data/valid.jsonl"
options="--model $work/model --data $work/data --num-layers -1 --batch-size 4 --memory $memory --max-seq-length 256 --threads 2 --dtype f32"
train() { timeout 120 "$levee" train $options "$@"; } # shellcheck disable=SC2086
value() { sed -E "s/.*\"$1\":([^,}]*).*/\1/"; } # key

# The directory. A fire drill makes the guard decide something.
train --adapter-path "$work/run" --iters 30 --save-every 10 --steps-per-eval 15 --inject pressure=orange@20,for=600 >"$work/out" 2>&1 ||
    { tail -n 3 "$work/out"; no run_with_a_drill; }
for file in metrics.jsonl events.jsonl samples.jsonl plan.json config.yaml log.txt; do check "has_$file" [ -s "$work/run/$file" ]; done
check metrics_have_every_step [ "$(wc -l <"$work/run/metrics.jsonl")" = 30 ]
check samples_have_every_step [ "$(wc -l <"$work/run/samples.jsonl")" = 30 ]
event=$(grep -m 1 '"level":"orange"' "$work/run/events.jsonl") # a sanitizer's memory looks like a leak, and is decided on before
echo "$event" | grep -q '^{"time":[0-9.]*,"step":20,"action":"[a-z]*","rule":"[^"]*","carried_out":true,"level":"orange",.*"expected_bytes":[0-9]*,"moved_bytes":-\?[0-9]*,' &&
    ok events_say_what_was_done || { echo "$event"; no events_say_what_was_done; }
# The steps of the samples before it: the last eight, of which the last shows the pressure.
before=$(echo "$event" | sed -E 's/.*"before":\[([^]]*)\].*/\1/' | tr '{' '\n' | grep '"step"')
check evidence_is_of_the_steps_before [ "$(echo "$before" | value step | tr '\n' ' ')" = '13 14 15 16 17 18 19 20 ' ]
check evidence_shows_how_it_came [ "$(echo "$before" | value level | tr '\n' ' ')" = '"green" "green" "green" "green" "green" "green" "green" "orange" ' ]
check evidence_has_figures [ "$(echo "$before" | grep -cE '"held_bytes":[0-9]+,"machine_available_bytes":[0-9]+,"stall_some_microseconds":([0-9]+|null),')" = 8 ]
cut -c 22- "$work/run/log.txt" >"$work/log"
check log_is_what_was_printed cmp "$work/log" "$work/out"
timeout 60 "$levee" plan $options --iters 30 --save-every 10 --json >"$work/planned" || no plans
part() { sed -E 's/"runtime":[0-9]+//; s/"predicted_bytes":[0-9]+//; s/.*("model".*),"largest_pass".*/\1/' "$1"; }
check plan_is_the_one_of_levee_plan [ "$(part "$work/run/plan.json")" = "$(part "$work/planned")" ]
check plan_knows_what_it_does_not_know grep -q '"largest_pass":{"sequences":null,"tokens":null},"budgets":{"least_bytes":null' "$work/run/plan.json"

# Going on cuts metrics.jsonl back to the checkpoint: here to step 30, behind which lines were added by hand.
head -n 30 "$work/run/metrics.jsonl" >"$work/thirty"
sed -n '29,30p' "$work/thirty" | sed 's/"step":../"step":99/' >>"$work/run/metrics.jsonl"
train --adapter-path "$work/run" --iters 33 --resume >"$work/out" 2>&1 || no goes_on
head -n 30 "$work/run/metrics.jsonl" >"$work/cut"
check metrics_are_cut_back cmp "$work/thirty" "$work/cut"
check metrics_go_on [ "$(tail -n 1 "$work/run/metrics.jsonl" | value step) $(wc -l <"$work/run/metrics.jsonl")" = '33 33' ]
check log_goes_on grep -q 'going on after step 30' "$work/run/log.txt"

# levee top, of a run that has ended: each value is that of the last line.
last=$(tail -n 1 "$work/run/metrics.jsonl")
COLUMNS=100 "$levee" top --once "$work/run" >"$work/whole" || no top
grep -v '^20[0-9][0-9]-' "$work/whole" >"$work/top" # the end of the log has figures too
check top_has_the_end_of_the_log grep -q '^20.*Z step 33/33  loss' "$work/whole"
check top_says_that_it_ended grep -q '^levee top  has ended' "$work/top"
check top_has_the_step grep -q '^step 33/33  100 %' "$work/top"
check top_has_the_loss grep -q "loss $(echo "$last" | value loss | xargs printf '%.4f')  " "$work/top"
check top_has_the_speed grep -q "  $(echo "$last" | value tokens_per_second | xargs printf '%.0f') tokens/s" "$work/top"
check top_has_the_norm grep -q "gradient norm $(echo "$last" | value grad_norm | xargs printf '%.3g')  " "$work/top"
mib() { echo "$1" | awk '{ printf "%.1f MiB", $1 / 1048576 }'; }
held=$(mib "$(echo "$last" | value held_bytes)") planned=$(mib "$(echo "$last" | value predicted_bytes)") peak=$(mib "$(echo "$last" | value peak_bytes)")
check top_has_the_memory grep -q "^held $held of .*  planned $planned  peak $peak" "$work/top"
activations=$(mib "$(echo "$last" | sed -E 's/.*booked_bytes.*"activations":([0-9]*).*/\1/')")
check top_has_the_categories grep -qE "^activations +$activations " "$work/top"
check top_has_the_guard grep -q '^guard [a-z]* (.* at [0-9]* %)  breaker closed  leak none' "$work/top"
check top_has_the_decision grep -q "step 20 [a-z]*: $(echo "$event" | value rule | tr -d '"' | cut -c 1-30)" "$work/top"
for columns in 40 57 80 200; do
    LC_ALL=C COLUMNS=$columns "$levee" top "$work/run" | awk -v most=$columns 'length($0) > most { print; bad = 1 } END { exit bad }' ||
        no "top_fits_$columns"
done
ok top_fits_its_width
expect top_of_no_run 66 'no run has written there' top "$work/data"
expect top_of_nothing 66 'is no directory of a run' top "$work/none"
expect top_needs_a_directory 2 'needs the directory' top
expect quiet_is_of_train 2 'quiet' plan $options --quiet

# Quiet: nothing is printed, and the log has it all.
train --adapter-path "$work/quiet" --iters 3 --quiet >"$work/out" 2>&1 || no quiet_run
check quiet_prints_nothing [ ! -s "$work/out" ]
check quiet_is_logged grep -q 'step 3/3  loss' "$work/quiet/log.txt"
expect quiet_tells_errors 2 'a run has come to step 3' train $options --adapter-path "$work/quiet" --iters 3 --quiet

# A command that is watched.
"$levee" watch --run-dir "$work/watched" --step-pattern 'step (\d+)' --memory 1GiB --quiet -- \
    sh -c 'for i in 1 2 3 4 5; do echo step $i; sleep 0.1; done' >/dev/null 2>"$work/err" || no watched
check watched_has_samples [ "$(wc -l <"$work/watched/samples.jsonl")" -ge 3 ]
check watched_samples_have_figures grep -q '"step":[1-5],"held_bytes":[0-9]' "$work/watched/samples.jsonl"
COLUMNS=80 "$levee" top "$work/watched" >"$work/top"
check top_of_a_watched_command grep -q '^guard green' "$work/top"
check top_of_a_watched_step grep -q '^step [1-5]$' "$work/top"
# One that takes more than it may: the decision is there, and the watch holds its directory meanwhile.
"$levee" watch --run-dir "$work/greedy" --memory 20MiB --grace 0.2 -- sh -c 'sleep 1.5; x=a; while :; do x=$x$x; done' >/dev/null 2>"$work/err" &
watcher=$!
for try in $(seq 400); do [ -s "$work/greedy/samples.jsonl" ] && break; sleep 0.02; done
"$levee" top --once "$work/greedy" >"$work/top"
check top_of_a_run_that_goes_on grep -q "^levee top  runs, process [0-9]*  $work/greedy" "$work/top"
expect a_second_watch_is_kept_out 2 'another run is using' watch --run-dir "$work/greedy" -- true
wait $watcher
check greedy_is_stopped [ $? = 75 ]
check greedy_is_told grep -q '"action":"stop",.*"before":\[{' "$work/greedy/events.jsonl"
check greedy_is_logged grep -q 'stop' "$work/greedy/log.txt"

# On a terminal.
if ! command -v script >/dev/null || ! script -qec true /dev/null </dev/null >/dev/null 2>&1; then
    skip on_a_terminal "script of util-linux is not here"
    exit $failed
fi
# on_terminal COLUMNS COMMAND: what a terminal of this width gets goes to $work/seen.
on_terminal() {
    columns=$1 command=$2
    printf '%s\n' "stty cols $columns rows 30" "$command" >"$work/terminal.sh"
    SHELL=/bin/sh timeout 120 script -qec "sh $work/terminal.sh" "$work/seen" </dev/null >/dev/null 2>&1
}
escape=$(printf '\033')
export TERM=xterm LC_ALL=C.UTF-8
unset NO_COLOR
on_terminal 100 "$levee train $options --adapter-path $work/shown --iters 12 --steps-per-eval 6 --steps-per-report 1"
check terminal_run_ends [ $? = 0 ]
tr '\r' '\n' <"$work/seen" >"$work/lines"
check a_line_is_redrawn grep -q "^${escape}\[Kstep [0-9]*/12  loss [0-9.]*  [0-9]* tokens/s  left .*  [0-9.]* MiB of .*${escape}\[32mgreen" "$work/lines"
check the_last_step_is_shown grep -q "^${escape}\[Kstep 12/12  loss $(tail -n 1 "$work/shown/metrics.jsonl" | value loss | xargs printf '%.4f')  " "$work/lines"
check other_lines_stand_above grep -q "^${escape}\[Kstep 6  validation loss [0-9.]*$" "$work/lines"
check no_plain_lines_beside [ -z "$(grep -E '^step [0-9]+/12 .* rate ' "$work/lines")" ]
check the_log_has_plain_lines [ "$(grep -c 'step [0-9]*/12  loss .* rate ' "$work/shown/log.txt")" = 12 ]
# Colours taken off, no line is wider than the terminal.
widest() { sed "s/${escape}\[[0-9;?]*[a-zA-Z]//g" "$work/lines" | awk 'length($0) > most { most = length($0) } END { print most + 0 }'; }
for columns in 10 40 60; do
    on_terminal $columns "LC_ALL=C $levee train $options --adapter-path $work/narrow$columns --iters 6 >/dev/tty"
    tr '\r' '\n' <"$work/seen" | grep "^${escape}\[Kstep [0-9]*/" >"$work/lines"
    check "a_line_is_drawn_in_$columns" [ "$(wc -l <"$work/lines")" -gt 0 ]
    check "the_line_fits_$columns" [ "$(widest)" -lt $columns ]
done
on_terminal 100 "NO_COLOR=1 $levee train $options --adapter-path $work/plain --iters 3"
tr '\r' '\n' <"$work/seen" >"$work/lines"
check no_color_is_respected [ "$(grep -c "${escape}\[32m" "$work/lines") $(grep -c "${escape}\[Kstep" "$work/lines" | sed 's/[1-9][0-9]*/n/')" = '0 n' ]
on_terminal 100 "TERM=dumb $levee train $options --adapter-path $work/dumb --iters 3"
check a_dumb_terminal_gets_plain_lines [ "$(grep -c "$escape" "$work/seen") $(grep -c '^step 3/3  loss .* rate ' "$work/seen")" = '0 1' ]
# Top takes the screen and gives it back: by its key, and by signals.
(sleep 1.5; printf q) | SHELL=/bin/sh timeout 60 script -qec "$levee top $work/run" "$work/seen" >/dev/null 2>&1
check top_ends_by_q [ $? = 0 ]
check top_takes_the_screen grep -q "${escape}\[?1049h.*${escape}\[?25l" "$work/seen"
check top_gives_the_screen_back [ "$(grep -c "${escape}\[?25h${escape}\[?1049l" "$work/seen")" -ge 1 ]
# The terminal gets narrower meanwhile: what is drawn behind that fits. In ASCII, because not every awk counts characters.
printf '%s\n' "stty cols 120 rows 40; tty >$work/tty; echo \$\$ >$work/pid; LC_ALL=C exec $levee top $work/run" >"$work/terminal.sh"
rm -f "$work/pid" "$work/seen"
SHELL=/bin/sh timeout 60 script -qefc "sh $work/terminal.sh" "$work/seen" </dev/null >/dev/null 2>&1 &
shown=$!
for try in $(seq 500); do grep -q '1049h' "$work/seen" 2>/dev/null && break; sleep 0.02; done
before=$(wc -c <"$work/seen")
stty cols 50 <"$(cat "$work/tty")"
# Two frames: one may be half drawn.
frames() { tail -c +$((before + 1)) "$work/seen" | tr -d '\n' | sed "s/${escape}\[H/\n/g" | wc -l; }
for try in $(seq 500); do [ "$(frames)" -ge 3 ] && break; sleep 0.02; done
kill -TERM "$(cat "$work/pid")"
wait $shown
tail -c +$((before + 1)) "$work/seen" | sed "1,/${escape}\[H/d; /^Script done/d; s/${escape}\[H/\n/g" | tr -d '\r' | sed "s/${escape}\[[0-9;?]*[a-zA-Z]//g" >"$work/lines"
check top_draws_after_a_resize grep -q '^step 33/33' "$work/lines"
check top_follows_the_width [ "$(awk 'length($0) > most { most = length($0) } END { print most + 0 }' "$work/lines")" -le 50 ]
for signal in TERM INT HUP; do
    cat >"$work/terminal.sh" <<SCRIPT
stty -g >$work/before
sh -c 'echo \$\$ >$work/pid; exec $levee top $work/run'
stty -g >$work/after
SCRIPT
    rm -f "$work/pid"
    SHELL=/bin/sh timeout 60 script -qec "sh -c '. $work/terminal.sh'" "$work/seen" </dev/null >/dev/null 2>&1 &
    shown=$!
    for try in $(seq 500); do grep -q '1049h' "$work/seen" 2>/dev/null && [ -s "$work/pid" ] && break; sleep 0.02; done
    kill -$signal "$(cat "$work/pid")"
    wait $shown
    check "top_gives_the_screen_back_at_$signal" grep -q "${escape}\[?25h${escape}\[?1049l" "$work/seen"
    check "top_leaves_the_terminal_as_it_was_at_$signal" cmp "$work/before" "$work/after"
done
exit $failed

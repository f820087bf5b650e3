#!/bin/sh
# levee watch, each part by its real cause: leaks of real programs and programs without one, exit codes, signals, the terminal,
# whole process trees, and the way a command ends that nothing else helps. Speaks cmocka's language to tests/run.sh.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
levee=${LEVEE:-build/levee} program=${PROGRAM:-build/program} neighbour=${NEIGHBOUR:-build/neighbour}
. tests/checks.sh
case $SANITIZE in *thread*) skip watch "watch has one thread, and ThreadSanitizer's memory is not the program's"; exit 0 ;; esac
has() { command -v "$1" >/dev/null; }
watch() { timeout 120 "$levee" watch "$@" 2>"$work/err"; }
said() { grep -q -- "$1" "$work/err"; }
ended() { ! kill -0 "$1" 2>/dev/null; }
exits() { # name code command...
    name=$1 wanted=$2; shift 2
    watch "$@" >"$work/out"; got=$?
    [ $got -eq "$wanted" ] || echo "$name: status $got, wanted $wanted; $(cat "$work/err")"
    check "$name" [ $got -eq "$wanted" ]
}
eventually() { # command...
    for try in $(seq 200); do "$@" 2>/dev/null && return; sleep 0.05; done
    return 1
}
# The most that a log's samples say was held, in MiB.
peak() { sed -nE 's/.*"held_bytes":([0-9]+).*/\1/p' "$1" | sort -n | tail -n 1 | awk '{ print int($1 / 1048576) }'; }
# The confirmed rate, in whole KiB.
rate() { sed -nE 's/.*leak confirmed: memory grows by ([0-9.]+) ([KM])iB a .*/\1 \2/p' "$work/err" | awk '{ print int($1 * ($2 == "M" ? 1024 : 1)) }'; }
within() { [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]; }
state() { sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null; }

# Exit codes are the command's.
exits passes_success_on 0 -- true
exits passes_failure_on 7 -- sh -c 'exit 7'
exits passes_a_signal_on 137 -- sh -c 'kill -9 $$'
exits command_not_found 127 -- "$work/nothing-here"
check says_what_is_not_found said "nothing-here: command not found"
: >"$work/text"
exits command_not_executable 126 -- "$work/text"
exits needs_a_command 2 --quiet
exits unknown_option 2 --leaks true
check names_the_unknown_option said 'leaks is no option of watch'
exits wrong_pattern 2 --step-pattern 'step (\d+' -- true
check names_the_place_in_the_pattern said "step (.d+': at character 9"
exits wrong_size 2 --memory lots -- true
exits options_end_at_the_command 3 --quiet sh -c 'exit 3' --memory lots

# Input and output.
head -c 300000 /dev/urandom >"$work/bytes"
watch -- cat <"$work/bytes" >"$work/copy"
check standard_input_reaches_it cmp "$work/bytes" "$work/copy"
timeout 60 "$levee" watch --quiet --step-pattern x -- sh -c 'cat; cat "$0" >&2' "$work/bytes" <"$work/bytes" >"$work/copy" 2>"$work/copy2"
check output_passes_unchanged cmp "$work/bytes" "$work/copy"
check errors_pass_unchanged cmp "$work/bytes" "$work/copy2"
{ timeout 60 "$levee" watch --quiet --step-pattern x -- sh -c 'while echo y; do :; done; exit 5'; echo $? >"$work/code"; } 2>/dev/null | head -n 1 >/dev/null
check a_reader_that_goes_ends_it within "$(cat "$work/code")" 5 141
timeout 60 "$levee" watch --quiet --step-pattern x -- head -c 150000 "$work/bytes" 2>/dev/null | { sleep 2; cat; } | cmp - "$work/bytes" >"$work/out" 2>&1
check a_slow_reader_gets_all grep -q 'EOF on - after byte 150000' "$work/out"
watch --quiet -- sh -c '[ -n "$LEVEE_WATCH" ] && cat /proc/self/oom_score_adj' >"$work/out"
check volunteers [ "$(cat "$work/out")" = 1000 ]
before=$(cat /proc/self/oom_score_adj)
watch --quiet --no-volunteer -- cat /proc/self/oom_score_adj >"$work/out"
check volunteers_only_if_wanted [ "$(cat "$work/out")" = "$before" ]

# Signals: what is sent to watch alone reaches the command, and what is sent to the group reaches it once.
cat >"$work/counts.sh" <<'SCRIPT'
trap 'echo term >>"$0.got"; count=$((count + 1))' TERM
trap 'echo usr1 >>"$0.got"' USR1
count=0
echo $$ >"$0.pid"
for try in $(seq 400); do [ $count -eq 0 ] || { sleep 0.3; exit 9; }; sleep 0.02; done
SCRIPT
signals() { # target: the number of watch, or of its group
    rm -f "$work/counts.sh.got" "$work/counts.sh.pid"
    setsid "$levee" watch --quiet -- sh "$work/counts.sh" 2>"$work/err" &
    watcher=$!
    eventually [ -s "$work/counts.sh.pid" ]
    [ "$2" != usr1 ] || { kill -USR1 $watcher; eventually grep -q usr1 "$work/counts.sh.got"; }
    # The group's number is that of setsid's process, which became watch.
    env kill -TERM -- "$1$watcher"
    wait $watcher
    code=$?
}
signals '' usr1
check signals_are_passed_on [ "$code $(tr '\n' ' ' <"$work/counts.sh.got")" = "9 usr1 term " ]
signals -
check a_signal_to_the_group_comes_once [ "$code $(tr '\n' ' ' <"$work/counts.sh.got")" = "9 term " ]

# A terminal: an interactive program, its ctrl-C, and a shell's job control.
if has script && has bash; then
    # script starts its command by $SHELL, of which not every one makes way for the last command it is given: hence exec.
    # Types each key when the terminal shows that the one before has had its effect.
    shows() { eventually grep -q -- "$1" "$work/out"; }
    : >"$work/out"
    { shows ready; printf 'hello\n'; shows 'got hello'; printf '\003'; shows interrupted; } |
        script -qec "exec $levee watch --quiet -- sh -c 'trap \"echo interrupted; exit 6\" INT; echo ready; read line; echo got \$line; while :; do sleep 0.1; done'" /dev/null >"$work/out" 2>&1
    code=$?
    check reads_from_the_terminal grep -q 'got hello' "$work/out"
    check ctrl_c_reaches_it [ "$code $(grep -c interrupted "$work/out")" = "6 1" ]
    cat >"$work/job.sh" <<'SCRIPT'
trap 'echo goes on' CONT
echo is ready
while :; do sleep 0.1; done
SCRIPT
    : >"$work/out"
    { printf '%s\n' "$levee watch --quiet -- sh $work/job.sh"; shows 'is ready'; printf '\032'; shows Stopped; printf 'fg\n'; shows 'goes on'
        printf '\003'; printf 'echo ended with $?\n'; shows 'ended with [0-9]'; printf 'exit\n'; } |
        script -qec 'exec bash --norc --noediting -i' /dev/null >"$work/out" 2>&1
    check ctrl_z_stops_the_job grep -q 'Stopped.*levee watch' "$work/out"
    check foreground_continues_it grep -q 'ended with 130' "$work/out"
else skip terminal "script and bash are needed"; fi

# Leaks.
watch --log "$work/log" --step-pattern 'step (\d+)' -- "$program" leaks 1000000 480 13 >"$work/out"
check native_leak_is_suspected said 'leak suspected: memory grows by .* a step'
check native_leak_is_confirmed said 'leak confirmed: memory grows by .* a step .*, since step [0-9]*, .* left, for .*; try: '
check its_rate_is_true within "$(rate)" 880 1080 # 1,000,000 bytes are 976.6 KiB
check native_leak_changes_no_output [ "$(wc -l <"$work/out")" -eq 480 ]
check log_has_a_sample_a_step within "$(grep -c '"held_bytes"' "$work/log")" 330 490
check log_knows_the_leak grep -q '"step":4[678][0-9],.*"leak":"confirmed"' "$work/log"
watch --sample-every 0.02 -- "$program" leaks-without-saying 200000 1500 5
check leak_by_the_clock said 'leak confirmed: memory grows by .* MiB a second'
for kind in stays saws; do
    watch --step-pattern 'step (\d+)' -- "$program" $kind 50000000 400 11 >"$work/out"
    code=$?
    said 'leak confirmed' && cat "$work/err"
    check "${kind}_is_no_leak" [ "$code $(grep -c 'leak confirmed' "$work/err")" = "0 0" ]
    [ $kind = saws ] || check ${kind}_is_not_suspected [ "$(grep -c 'leak suspected' "$work/err")" = 0 ]
done
if has python3; then
    cat >"$work/grows.py" <<'SCRIPT'
import time
kept = []
for step in range(480):
    kept.append(bytearray(1000000))
    print("loss", 1 / (step + 1), flush=True)
    time.sleep(0.013)
SCRIPT
    watch --step-pattern '^loss ' -- python3 "$work/grows.py" >"$work/out"
    check python_list_is_suspected said 'leak suspected'
    check python_list_is_confirmed said 'leak confirmed: memory grows by .*iB a step'
else skip python_list "there is no python3"; fi

# The tree: memory of a grandchild, of an orphan; what a fork and sharing do not double.
"$levee" watch --quiet --log "$work/grandchild" -- sh -c "sh -c '$neighbour 60000000 1e9 3; true'; true"
check grandchild_is_counted within "$(peak "$work/grandchild")" 57 70
"$levee" watch --quiet --log "$work/orphan" -- sh -c "( $neighbour 60000000 1e9 1.5 & ) ; sleep 2"
check orphan_is_counted within "$(peak "$work/orphan")" 57 70
"$levee" watch --quiet --sample-every 0.1 --log "$work/forks" -- "$program" forks 60000000 20 100 >/dev/null
check forked_memory_is_counted_once within "$(tail -n 5 "$work/forks" >"$work/tail"; peak "$work/tail")" 57 75
"$levee" watch --quiet --sample-every 0.1 --log "$work/shares" -- "$program" shares 60000000 20 100 >/dev/null
check shared_memory_is_counted_once within "$(tail -n 5 "$work/shares" >"$work/tail"; peak "$work/tail")" 57 75
watch -- sh -c 'sleep 3 >/dev/null 2>&1 & exit 4'
check what_is_left_behind_is_said said 'leaves behind, not watched any more: 1 of its processes'

# The end. It grows by 50 MB a second; each process of the tree is gone afterwards.
grow="echo \$\$ >$work/pid; $neighbour 100000000 5e7 60 & echo \$! >$work/pid2; wait"
exits stopped_at_the_budget 75 --memory 60MiB --log "$work/log" -- sh -c "$grow"
check stop_says_why said 'stop: memory is nearly used up'
check sigterm_was_enough sh -c '! grep -q SIGKILL.to "$0"' "$work/err"
check the_tree_is_gone ended "$(cat "$work/pid")"
check its_children_are_gone ended "$(cat "$work/pid2")"
check log_has_the_decision grep -q '"action":"stop","rule":".*","carried_out":true,.*"source":"budget"' "$work/log"
exits sigkill_when_sigterm_is_ignored 75 --memory 60MiB --grace 1 -- sh -c "trap '' TERM; $neighbour 62000000 5e7 60"
check sigkill_is_said said 'SIGKILL to [12] process'
exits no_grace_to_go_on_growing 75 --memory 60MiB --grace 100 -- sh -c "trap '' TERM; $neighbour 100000000 2e7 60"
exits warn_does_not_act 0 --memory 60MiB --guard warn -- "$neighbour" 70000000 1e8 1
check warn_warns said 'not acted on: stop: memory is nearly used up'
hook="sed -n 's/^State:.\\(.\\).*/\\1/p' /proc/\$LEVEE_WATCH_PID/status >$work/hook; echo \$LEVEE_WATCH_HELD_BYTES \$LEVEE_WATCH_REASON >>$work/hook"
exits hook_before_the_end 75 --memory 60MiB --hook "$hook" -- sh -c "$grow"
check hook_finds_it_frozen [ "$(head -n 1 "$work/hook")" = T ]
check hook_hears_why grep -qE '^[0-9]+ memory is nearly' "$work/hook"
exits a_hook_that_hangs 75 --memory 60MiB --grace 1 --hook 'sleep 100' -- "$neighbour" 70000000 1e8 60
check a_hook_has_its_time said 'the hook did not end within 1 s'
exits asked_by_signal 75 --memory 60MiB --ask-signal -- sh -c "trap 'echo asked >$work/asked; kill \$!; exit 0' USR1; $neighbour 70000000 1e8 60 & wait"
check signal_was_heard [ "$(cat "$work/asked")" = asked ]
check asked_before_sigterm sh -c 'grep -q "asked to end by itself" "$0" && ! grep -q "SIGTERM to" "$0"' "$work/err"

# Memory that the hook gets back: the command goes on.
if has python3; then
    cat >"$work/gives.py" <<'SCRIPT'
import os, signal, sys, time
kept = [bytearray(1000000) for _ in range(30)]
child = os.fork()
if not child:
    more = []
    for _ in range(40):
        more.append(bytearray(1000000)); time.sleep(0.02)
    time.sleep(60); os._exit(0)
open(sys.argv[1], "w").write(str(child))
os.waitpid(child, 0)
time.sleep(0.5)
sys.exit(11)
SCRIPT
    exits hook_that_helps 11 --memory 64MiB --hook "kill -KILL \$(cat $work/child); sleep 0.3" -- python3 "$work/gives.py" "$work/child"
    check hook_that_helps_is_said said 'memory is to be had again after the hook'
else skip hook_that_helps "there is no python3"; fi

# The memory of a GPU, by a library in NVML's place: what it says of a program that keeps a megabyte of each step there.
ln -s "$(realpath "$(dirname "$program")/tests/libnvidia-ml-fake.so")" "$work/libnvidia-ml.so.1"
cat >"$work/device.sh" <<'SCRIPT'
used=0
for step in $(seq $1); do
    used=$((used + $2))
    echo "80000000000 $used $$ $used" >"$FAKE_NVML.new" && mv "$FAKE_NVML.new" "$FAKE_NVML"
    echo "step $step"
    sleep 0.011
done
sleep 0.3
SCRIPT
on_device() {
    timeout 120 env LD_LIBRARY_PATH="$work" FAKE_NVML="$work/device" "$levee" watch --log "$work/log" --step-pattern 'step (\d+)' "$@" 2>"$work/err" >"$work/out"
}
on_device -- sh "$work/device.sh" 400 1000000
check device_leak_ends_nothing [ $? -eq 0 ]
check device_leak_is_confirmed said 'leak confirmed: GPU memory grows by 9[789][0-9]\..* KiB a step'
check device_peak_is_said said ', and 381.5 MiB on the GPU; leak: confirmed'
check device_is_logged grep -q '"device_process_bytes":400000000' "$work/log"
on_device --device-memory 100MB --grace 5 -- sh "$work/device.sh" 1000 1000000
check device_budget_is_kept [ "$? $(($(wc -l <"$work/out") < 100))" = "75 1" ]
check device_budget_is_named said 'device at'
timeout 20 "$levee" watch --device 9 -- true 2>"$work/err"
check a_device_that_is_not_there_is_refused [ "$? $(said 'no NVIDIA GPU of number 9' && echo said)" = "2 said" ]

# Watch is killed while the command is frozen: it goes on.
"$levee" watch --quiet --memory 60MiB --hook "echo \$PPID >$work/watcher; sleep 60" --grace 60 -- \
    sh -c "echo \$\$ >$work/pid; $neighbour 62000000 1e8 20; true" 2>/dev/null &
watcher=$!
eventually [ -s "$work/watcher" ]
frozen=$(state "$(cat "$work/pid")")
kill -KILL $watcher
thawed() { [ "$(state "$(cat "$work/pid")")" = S ]; }
check nothing_stays_frozen eventually thawed
check it_was_frozen [ "$frozen" = T ]
for child in $(cat "/proc/$(cat "$work/pid")/task/$(cat "$work/pid")/children" 2>/dev/null); do kill "$child"; done
kill "$(cat "$work/pid")"

# A control group of its own.
watch --cgroup 80MiB -- sh -c 'cat /proc/self/cgroup' >"$work/out"
if said '^levee watch: control group'; then
    group=$(sed -nE 's/^levee watch: control group (.*) of 80.0 MiB$/\1/p' "$work/err")
    check runs_in_its_own_group grep -q levee- "$work/out"
    check the_group_is_removed [ ! -e "$group" ]
    exits the_group_is_a_limit 75 --cgroup 60MiB -- "$neighbour" 100000000 2e7 60
    check the_group_is_named said 'control group at 9[0-9] %'
else
    check says_that_there_is_no_group said 'no control group of its own'
    skip own_group "no control group can be made here"
fi
exit $failed

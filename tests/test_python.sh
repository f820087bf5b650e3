#!/bin/sh
# The Python module: installed without a network, it does nothing without levee watch; under it a loop tells its steps, halves
# its batch when it is asked to, pauses and goes on, and ends by itself. Speaks cmocka's language to tests/run.sh.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
levee=${LEVEE:-build/levee} neighbour=${NEIGHBOUR:-build/neighbour}
. tests/checks.sh
case $SANITIZE in *thread*) skip python "watch has one thread, and ThreadSanitizer's memory is not the program's"; exit 0 ;; esac
command -v python3 >/dev/null || { skip python "there is no python3"; exit 0; }
watch() { timeout 120 "$levee" watch "$@" 2>"$work/err"; }
said() { grep -q -- "$1" "$work/err"; }

PYTHONPATH=$(pwd)/python PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH PYTHONDONTWRITEBYTECODE
if python3 -m pip --version >/dev/null 2>&1; then
    cp -r python "$work/source"
    python3 -m pip install --quiet --no-index --no-deps --target "$work/installed" "$work/source" >"$work/log" 2>&1 ||
        { tail -n 3 "$work/log"; no installs_without_a_network; }
    check installed_module_is_typed [ -e "$work/installed/levee/py.typed" ]
    check installed_module_is_found env PYTHONPATH="$work/installed" python3 -c 'import levee.watch; assert not levee.watch.watched()'
else skip installs_without_a_network "there is no pip"; fi

check does_nothing_alone python3 -c '
import levee.watch as w
assert not w.watched() and w.step() is None and w.wait() == "resume"
w.refuse(); w.can_pause()'
check nobody_at_the_socket env LEVEE_WATCH=@nobody-is-here python3 -c '
import levee.watch as w
assert not w.watched() and w.step() is None'
watch -- python3 -c '
import sys, levee.watch as w
sys.exit(0 if w.watched() and w.step() is None else 1)'
check knows_that_it_is_watched [ $? -eq 0 ]

# A list that grows, told by the module.
cat >"$work/leaks.py" <<'SCRIPT'
import time, levee.watch
kept = []
for number in range(480):
    kept.append(bytearray(1000000))
    levee.watch.step()
    time.sleep(0.013)
SCRIPT
watch -- python3 "$work/leaks.py"
check leak_is_confirmed said 'leak confirmed: memory grows by .*iB a step'

# A batch that is too large for the budget: it is halved, and the run ends as it should.
cat >"$work/shrinks.py" <<'SCRIPT'
import sys, time, levee.watch
batch = 200
for number in range(24):
    held = None
    held = bytearray(batch * 1000000)
    time.sleep(0.05)
    if levee.watch.step() == "shrink":
        batch //= 2
print(batch)
SCRIPT
watch --memory 400MiB -- python3 "$work/shrinks.py" >"$work/out"
code=$?
batch=$(cat "$work/out")
check loop_with_room_keeps_its_batch [ "$code $batch" = "0 200" ]
watch --memory 208MiB -- python3 "$work/shrinks.py" >"$work/out"
code=$?
check loop_halves_its_batch_once [ "$code $(cat "$work/out")" = "0 100" ]
check shrink_is_carried_out said 'the program carried out: shrink'

# One that cannot shrink says so, and is asked to stop; it ends by itself.
cat >"$work/stops.py" <<'SCRIPT'
import sys, time, levee.watch
kept = []
while True:
    kept.append(bytearray(1000000))
    time.sleep(0.01)
    wish = levee.watch.step()
    if wish == "shrink":
        levee.watch.refuse()
    if wish == "stop":
        print("saved")
        sys.exit(0)
SCRIPT
watch --memory 64MiB --grace 5 -- python3 "$work/stops.py" >"$work/out"
check loop_is_asked_to_stop [ "$? $(cat "$work/out")" = "75 saved" ]
check no_signal_was_needed sh -c '! grep -q "SIGTERM to" "$0"' "$work/err"

# It pauses while a process of its tree takes memory, and goes on when that is gone.
cat >"$work/pauses.py" <<'SCRIPT'
import subprocess, sys, time, levee.watch
levee.watch.can_pause()
held = bytearray(20000000)
child = subprocess.Popen([sys.argv[1], "60000000", "1e9", "2"], stdout=subprocess.PIPE)
child.stdout.readline() # it has taken all: between two steps, where a busy machine would make a growth over many of it
for number in range(400):
    time.sleep(0.01)
    wish = levee.watch.step()
    if wish == "shrink":
        levee.watch.refuse()
    elif wish == "pause":
        held = None
        print("pauses", flush=True)
        print(levee.watch.wait(), flush=True)
        held = bytearray(20000000)
    elif wish == "stop":
        sys.exit(3)
child.wait()
SCRIPT
watch --memory 70MiB --cool-down 1 -- python3 "$work/pauses.py" "$neighbour" >"$work/out"
code=$?
check loop_pauses_and_goes_on [ "$code $(tr '\n' ' ' <"$work/out")" = "0 pauses resume " ]
[ $failed = 0 ] || cat "$work/err" "$work/out"
exit $failed

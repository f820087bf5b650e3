#!/bin/sh
# levee doctor on the machine that runs the tests: what is made to be wrong is found, and nothing is left behind. Speaks cmocka's
# language to tests/run.sh; tests/test_doctor.c has the verdicts on made kernels.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
levee=${LEVEE:-build/levee}
. tests/checks.sh
export XDG_CACHE_HOME="$work/cache"
doctor() { timeout 60 "$levee" doctor --adapter-path "$work/runs/new" "$@" 2>&1; }
# The verdict of a matter in $work/out, its figure behind it.
said() { sed -nE "s/^(good|look|bad) +$1  +(.*)/\1 \2/p" "$work/out"; }
expect() { # name pattern matter: what was said of it
    if said "$3" | grep -q -e "$2"; then ok "$1"; else
        echo "$1: no '$2' in '$(said "$3")'"
        no "$1"
    fi
}

doctor >"$work/out"
status=$?
cat "$work/out"
bad=$(grep -c '^bad ' "$work/out")
check exit_status_says_whether_something_is_bad [ "$status" = "$([ "$bad" = 0 ] && echo 0 || echo 69)" ]
check thirteen_matters [ "$(grep -cE '^(good|look|bad) ' "$work/out")" = 13 ]
counts="$(grep -c '^good ' "$work/out") good, $(grep -c '^look ' "$work/out") to look at, $bad bad"
check the_summary_counts grep -q "^$counts$" "$work/out"
# A remedy stands below each line that is not good, and below no other.
check remedies_where_not_good awk '/^(good|look|bad) / { if (owed) exit 1; owed = $1 != "good" }
    /^      +/ { if (!owed) exit 1; owed = 0 } END { if (owed) exit 1 }' "$work/out"
total=$(awk '/^MemTotal:/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo)
if awk '/^MemTotal:/ { exit $2 < 1048576 }' /proc/meminfo; then expect memory_of_the_machine "^[a-z]* $total, available" memory; fi
expect disk_of_the_nearest_directory "^[a-z]* $work: free " disk
check nothing_is_left_behind [ -z "$(ls -A "$work" | grep -v '^out$')" ]
expect we_volunteer 'oom_score_adj 1000' 'first victim'

doctor --json >"$work/json"
check json_is_one_line [ "$(grep -c '^{"findings":\[.*"bad":[0-9]*}$' "$work/json")" = 1 ]
if command -v jq >/dev/null; then
    check json_is_json sh -c "head -n 1 '$work/json' | jq -e '.good + .look + .bad == (.findings | length)' >/dev/null"
fi

# A program of this name, not a line in a file that the doctor is given.
cp "$(command -v sleep)" "$work/earlyoom"
"$work/earlyoom" 60 &
killer=$!
sleep 0.2
doctor >"$work/out"
expect a_killer_that_runs "^look .*earlyoom (process $killer)" 'oom killers'
kill $killer
wait $killer 2>/dev/null
rm "$work/earlyoom"

if [ -z "$SANITIZE" ]; then # a sanitizer reserves more addresses than any limit allows
    sh -c "ulimit -v 8000000 && '$levee' doctor --adapter-path '$work'" >"$work/out" 2>&1
    expect a_limit_on_addresses '^look addresses (-v) 7.6 GiB' limits
fi
doctor --reserve 1000TiB >"$work/out"
check nothing_beside_the_reserve [ $? = 69 ]
expect nothing_beside_the_reserve_is_bad '^bad .* 0 B can be had' memory
check bad_is_named grep -q '^levee: this machine: memory is bad' "$work/out"
timeout 60 "$levee" doctor --adapter-path /proc/nowhere >"$work/out" 2>&1
check a_disk_that_cannot_be_written [ $? = 69 ]
expect a_disk_that_cannot_be_written_is_bad '^bad /proc: .*cannot be written' disk
timeout 60 "$levee" doctor --adapter-path /dev/shm/x >"$work/out" 2>&1
if grep -q '^tmpfs /dev/shm\|^[^ ]* /dev/shm tmpfs' /proc/self/mounts; then expect a_disk_in_memory 'it is memory (tmpfs)' disk; fi

# Measured once, a plan has a time; for other threads it has none.
"$levee" init "$work/model" --hidden-size 64 --intermediate-size 160 --layers 2 --heads 4 --kv-heads 2 || exit 1
plan() { timeout 60 "$levee" plan --model "$work/model" --memory 300MiB --max-seq-length 128 --dtype f32 "$@" 2>&1; }
plan >"$work/out"
check not_calibrated_is_said grep -q 'time: not calibrated (levee doctor --calibrate)$' "$work/out"
check not_calibrated_is_null sh -c "'$levee' plan --model '$work/model' --memory 300MiB --json | grep -q '\"seconds_step\":null'"
doctor --calibrate >"$work/out"
tail -n 7 "$work/out"
check measures_and_stores grep -q "^stored in $work/cache/levee/calibration.yaml$" "$work/out"
check stores_whole_entries [ "$(grep -cE '^  (products_f32|products_thin|attention|bytes): [0-9.]+e\+[0-9]+$' "$work/cache/levee/calibration.yaml")" = 4 ]
check leaves_nothing_else [ "$(ls "$work/cache/levee")" = calibration.yaml ]
plan >"$work/out"
grep '^a step' "$work/out"
check plan_has_a_time grep -qE '^a step .* about [0-9.]+ s for 508 tokens, [0-9.]+ (s|min) in all$' "$work/out"
plan --json >"$work/json"
check plan_has_a_time_in_json grep -qE '"seconds_step":[0-9.e-]+,"tokens_step":508}' "$work/json"
plan --threads 3 >"$work/out"
check other_threads_have_none grep -q 'time: not calibrated' "$work/out"
XDG_CACHE_HOME=/proc/nowhere timeout 60 "$levee" doctor --calibrate --adapter-path "$work" >"$work/out" 2>&1
check a_place_that_cannot_be_written [ $? = 74 ]
check tells_its_findings_all_the_same grep -q '^good ' "$work/out"

doctor --table >"$work/out"
check options_of_plan_are_refused [ $? = 2 ]
doctor --table --json >"$work/out"
check options_of_plan_are_refused_beside_its_own [ $? = 2 ]
"$levee" doctor --help >"$work/out"
check help_shows_json grep -q -e '--json' "$work/out"
check help_shows_no_table sh -c "! grep -q -e '--table' '$work/out'"

skip_all() { echo "container_is_seen: $1"; echo "[  SKIPPED ] container_is_seen"; exit $failed; }
. tests/control_groups.sh
make_group $((40 * 1024 * 1024))
inside "$levee" doctor --adapter-path "$work" >"$work/out" 2>&1
check container_exit_status [ $? = 69 ]
expect container_is_seen '^bad .*limit 40.0 MiB' 'control group'
check nobody_was_killed [ "$(kills)" = 0 ]
exit $failed

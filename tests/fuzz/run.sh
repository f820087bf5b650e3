#!/bin/sh
# Runs each fuzz harness for $FUZZ_SECONDS; an input that takes longer than $FUZZ_TIMEOUT (10 seconds by the clock: more where
# processes are stopped now and then) is a finding. It starts from its corpus, which stays as it is. Says per harness how often it ran,
# what it covered (cov: edges, ft: features) and what it found; inputs that were found stay in the directory of the harnesses.
here=$(dirname "$0")
corpus=$(mktemp -d)
memory=$(mktemp -d -p "$([ -d /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
trap 'rm -rf "$corpus" "$memory"' EXIT
trap 'exit 1' INT TERM
failed=0
for program in "$@"; do
    name=$(basename "$program")
    found=$program.found log=$program.log
    rm -rf "$found" && mkdir -p "$found" "$corpus/$name"
    dictionary=$here/$name.dict
    [ -f "$dictionary" ] && dictionary=-dict=$dictionary || dictionary=
    # shellcheck disable=SC2086
    TMPDIR=$memory UBSAN_OPTIONS=print_stacktrace=1 "$program" -max_total_time="${FUZZ_SECONDS:-60}" -timeout="${FUZZ_TIMEOUT:-10}" \
        -report_slow_units="${FUZZ_TIMEOUT:-10}" -rss_limit_mb=1024 -jobs=0 -print_final_stats=1 -artifact_prefix="$found/" $dictionary \
        "$corpus/$name" "$here/corpus/$name" >"$log" 2>&1
    status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(grep -o 'cov: [0-9]* ft: [0-9]*' "$log" | tail -n 1)
    findings=$(find "$found" -type f | wc -l)
    echo "$name: ${runs:-no} executions, ${covered:-no coverage}, $findings findings"
    if [ $status -ne 0 ]; then
        failed=1
        grep -E 'BROKEN|ERROR|SUMMARY|runtime error' "$log" | head -n 5
        echo "  see $log and $found/"
    fi
done
exit $failed

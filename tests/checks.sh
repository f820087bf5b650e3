# How shell tests tell what they found, in cmocka's language, which tests/run.sh counts: read in by ". tests/checks.sh". A test
# ends with "exit $failed".
failed=0
ok() { echo "[       OK ] $1"; }
no() { echo "[  FAILED  ] $1"; failed=1; }
check() { name=$1; shift; if "$@"; then ok "$name"; else no "$name"; fi; } # name command...
skip() { echo "$1: $2"; echo "[  SKIPPED ] $1"; } # name why
run() { timeout 120 "$levee" "$@"; }
# expect NAME STATUS PATTERN ARGUMENTS...: runs levee; the pattern, read by grep with $patterns, is looked for in both outputs.
patterns=
expect() {
    name=$1 status=$2 pattern=$3
    shift 3
    run "$@" >"$work/out" 2>&1
    got=$?
    # shellcheck disable=SC2086
    if [ $got = "$status" ] && grep -q $patterns -e "$pattern" "$work/out"; then ok "$name"; else
        echo "$name: status $got instead of $status, or no '$pattern' in:"
        head -n 30 "$work/out"
        no "$name"
    fi
}
# wait_for PROCESS PATTERN: until the log has it; false when the process ends before, or after a minute.
wait_for() {
    for try in $(seq 1200); do
        grep -q "$2" "$work/log" && return
        kill -0 "$1" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}

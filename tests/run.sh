#!/bin/sh
# Runs the given test programs and the shell tests; ends with "N passed, N failed, N skipped". A program that ends without a
# summary counts as one failure. Test data that is not in this repository is looked for in $LEVEE_SHARED.
export OMP_WAIT_POLICY=passive # as levee sets it for itself; spinning threads make the tests slow where something else runs
limit=300
[ -z "$SANITIZE" ] || limit=1800 # sanitizers take ten times as long, and more
passed=0 failed=0 skipped=0
output=$(mktemp)
reports=$(mktemp -d)
trap 'rm -rf "$output" "$reports"' EXIT
export XDG_RUNTIME_DIR=$reports # what other runs on this machine were promised is none of the tests' business
export XDG_CACHE_HOME=$reports/cache # nor is what it was measured to be
# What a sanitizer reports of any process is a failure, whatever becomes of that process and whoever starts it. gcc's UBSan
# writes to no file; it ends the process instead.
export ASAN_OPTIONS="log_path=$reports/asan:$ASAN_OPTIONS" TSAN_OPTIONS="log_path=$reports/tsan:$TSAN_OPTIONS"
export UBSAN_OPTIONS="print_stacktrace=1:$UBSAN_OPTIONS"
for program in "$@" tests/test_*.sh; do
    case $SANITIZE$program in
    *thread*/test_install.sh) echo "skip   $program: the libraries use libgomp, whose synchronisation ThreadSanitizer does not see"; continue ;;
    esac
    begun=$(date +%s)
    timeout $limit "$program" >"$output" 2>&1
    status=$?
    seconds=$(($(date +%s) - begun))
    if cat "$reports"/*san* >>"$output" 2>/dev/null || grep -q ': runtime error: ' "$output"; then
        rm -f "$reports"/*san*
        [ $status -ne 0 ] || status='0, but a sanitizer reports'
    fi
    p=$(grep -c '^\[       OK \]' "$output")
    # cmocka lists failures and skips again in its summary.
    f=$(grep '^\[  FAILED  \] [a-z_0-9]*$' "$output" | sort -u | wc -l)
    s=$(grep '^\[  SKIPPED \] [a-z_0-9]*$' "$output" | sort -u | wc -l)
    if [ "$status" != 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    if [ "$status" != 0 ]; then
        echo "FAILED $program (status $status, $seconds s)"
        grep -B 1 '^\[  FAILED  \] [a-z_0-9]*$' "$output"
        tail -n 40 "$output"
    else
        echo "ok     $program ($p passed, $s skipped, $seconds s)"
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
[ $((passed + failed)) -gt 0 ] || { echo "no test ran"; failed=1; }
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]

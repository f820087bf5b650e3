#!/bin/sh
# Runs the given test programs and the shell tests; ends with "N passed, N failed, N skipped". A program that ends without a
# summary counts as one failure. Test data that is not in this repository is looked for in $LEVEE_SHARED.
export OMP_WAIT_POLICY=passive # as levee sets it for itself; spinning threads make the tests slow where something else runs
passed=0 failed=0 skipped=0
count() { grep -c "$1" "$2"; }
output=$(mktemp)
trap 'rm -f "$output"' EXIT
for program in "$@" tests/test_*.sh; do
    case $SANITIZE$program in
    *thread*.sh) echo "skip   $program: the programs use libgomp, whose synchronisation ThreadSanitizer does not see"; continue ;;
    esac
    timeout 300 "$program" >"$output" 2>&1
    status=$?
    p=$(count '^\[       OK \]' "$output") f=$(count '^\[  FAILED  \] [a-z_0-9]*$' "$output")
    s=$(count '^\[  SKIPPED \] [a-z_0-9]*$' "$output")
    # cmocka lists failures and skips again in its summary.
    f=$(grep '^\[  FAILED  \] [a-z_0-9]*$' "$output" | sort -u | wc -l)
    s=$(grep '^\[  SKIPPED \] [a-z_0-9]*$' "$output" | sort -u | wc -l)
    if [ $status -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    if [ $status -ne 0 ]; then
        echo "FAILED $program (status $status)"
        grep -B 1 '^\[  FAILED  \] [a-z_0-9]*$' "$output"
        tail -n 40 "$output"
    else
        echo "ok     $program ($p passed, $s skipped)"
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
[ $((passed + failed)) -gt 0 ] || { echo "no test ran"; failed=1; }
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]

# Control groups for shell tests, version 1 or 2: read in by ". tests/control_groups.sh". Who reads it has a directory $work of its
# own and a function skip_all REASON, which ends the test.
group=
remove_group() {
    [ -n "$group" ] || return
    while read -r process; do kill -9 "$process"; done <"$group/cgroup.procs" 2>/dev/null
    for try in 1 2 3 4 5 6 7 8 9 10; do rmdir "$group" 2>/dev/null && break; sleep 0.05; done
    group=
}
trap 'remove_group; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

[ -z "$SANITIZE" ] || skip_all "a sanitizer takes more memory than any plan says"

# Where a group can be made: below our own, which is the tidy place, or at the root, which version 2 may demand.
version=1
mount=$(awk '$3 == "cgroup" && ("," $4 ",") ~ /,memory,/ { print $2; exit }' /proc/self/mounts)
own=$(sed -nE 's/^[0-9]+:([^:]*,)?memory(,[^:]*)?:(.*)/\3/p' /proc/self/cgroup)
if [ -z "$mount" ]; then
    version=2
    mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
    own=$(sed -n 's/^0:://p' /proc/self/cgroup)
fi
[ $version = 1 ] && limit_file=memory.limit_in_bytes || limit_file=memory.max
parent=
for candidate in "$mount$own" "$mount"; do
    [ -n "$mount" ] && mkdir "$candidate/levee-test-$$" 2>/dev/null || continue
    [ $version = 1 ] || echo +memory >"$candidate/cgroup.subtree_control" 2>/dev/null
    if [ -w "$candidate/levee-test-$$/$limit_file" ]; then parent=$candidate; fi
    rmdir "$candidate/levee-test-$$"
    [ -z "$parent" ] || break
done
[ -n "$parent" ] || skip_all "no memory control group can be made here; run as root, or in a delegated group"

limit() { echo "$1" >"$group/$limit_file"; }
# A new group, so that its counters begin at 0.
make_group() { # limit
    remove_group
    group=$parent/levee-test-$$
    mkdir "$group" && limit "$1"
    [ $version = 1 ] || echo 0 >"$group/memory.swap.max" 2>/dev/null
}
# sh -c "$enter" GROUP COMMAND... becomes the command in the group; in the background its number is the command's.
enter='echo $$ >"$0/cgroup.procs" && exec "$@"'
inside() { sh -c "$enter" "$group" "$@"; }
kills() { sed -n 's/^oom_kill //p' "$group/memory.$([ $version = 1 ] && echo oom_control || echo events)"; }
used() { cat "$group/memory.$([ $version = 1 ] && echo usage_in_bytes || echo current)"; }
hits() { if [ $version = 1 ]; then cat "$group/memory.failcnt"; else sed -n 's/^max //p' "$group/memory.events"; fi; }
# What is cached already is charged to whoever read it first, so it is dropped.
forget() { dd if="$1" iflag=nocache count=0 status=none; }


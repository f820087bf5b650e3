#!/bin/sh
# In control groups of its own, version 1 or 2: a run that fits its container runs, one that does not is refused before
# the kernel kills anybody, a neighbour that takes the memory meanwhile keeps it, and if all else fails the run dies and
# the neighbour does not. Speaks cmocka's language to tests/run.sh.
work=$(mktemp -d)
levee=${LEVEE:-build/levee}
. tests/checks.sh
skip_all() { echo "containers: $1"; echo "[  SKIPPED ] containers"; rm -rf "$work"; exit 0; }

. tests/control_groups.sh

"$levee" init "$work/model" --hidden-size 512 --intermediate-size 1408 --layers 5 --heads 8 --kv-heads 4 || exit 1
for i in 1 2 3 4 5 6 7 8; do
    echo '{"text": "the tide comes in and the tide goes out, and the boat waits at the pier for the morning"}'
    echo '{"text": "one gull, two gulls, three gulls over the harbour wall, and a fourth that does not come back"}'
done >"$work/train.jsonl"
train="$levee train --model $work/model --data $work/train.jsonl --num-layers -1 --learning-rate 1e-4 --dtype f32"
field() { sed -nE "s/.*\"$2\":([0-9]+).*/\1/p" "$1/metrics.jsonl" | tail -n 1; }

# The container as large as 110, 100 and 90 % of the peak that the plan says. The budget stays, so the plan does too.
for type in lora full; do
    options="--fine-tune-type $type --batch-size 8 --iters 2 --memory 1GiB"
    # shellcheck disable=SC2086
    $train $options --adapter-path "$work/$type" >"$work/log" 2>&1 || tail -n 2 "$work/log"
    peak=$(field "$work/$type" predicted_bytes)
    for percent in 110 100 90; do
        make_group $((peak / 100 * percent))
        forget "$work/model/model.safetensors"
        # shellcheck disable=SC2086
        inside $train $options --adapter-path "$work/$type-$percent" >"$work/log" 2>&1
        status=$?
        echo "$type, $percent % of $peak bytes: status $status, $(hits) times at the limit, $(kills) killed," \
            "held $(field "$work/$type-$percent" held_bytes 2>/dev/null)"
        case $percent:$status in
        110:0 | 100:0) grep -q ': held$' "$work/log" && [ "$(kills)" = 0 ] ;;
        100:69 | 90:69) grep -q "^levee: control group $group ($limit_file): .* more are needed.*raise this limit" \
            "$work/log" && [ "$(kills)" = 0 ] && [ ! -e "$work/$type-$percent/metrics.jsonl" ] ;;
        *) tail -n 1 "$work/log"; false ;;
        esac
        check container_${type}_$percent [ $? = 0 ]
    done
done
# Too small for anything: refused while the model is opened.
make_group $((6 * 1024 * 1024))
# shellcheck disable=SC2086
inside $train --iters 1 --memory 1GiB --adapter-path "$work/x" >"$work/log" 2>&1
check container_too_small_to_open [ "$? $(kills)" = "69 0" ]

# A run that has given memory back asks for it again when it is somebody else's: it is refused, and goes on as it is. No guard
# helps it: that would give back more, and pause.
"$levee" init "$work/small" --hidden-size 64 --intermediate-size 160 --layers 2 --heads 4 --kv-heads 2 || exit 1
walk="$levee train --model $work/small --data $work/train.jsonl --num-layers -1 --dtype f32 --batch-size 128 --memory 1GiB \
    --save-every 100000 --guard off"
$walk --iters 1 --adapter-path "$work/walk" >/dev/null
peak=$(field "$work/walk" predicted_bytes)
steps() { wc -l <"$work/walk-$1/metrics.jsonl"; }
start_walk() {
    make_group $((peak / 100 * 130))
    : >"$work/log"
    sh -c "$enter" "$group" $walk --iters 100000 --adapter-path "$work/walk-$1" >"$work/log" 2>&1 &
    walker=$!
    wait_for $walker '^step 1/' || { no "$1_starts"; tail -n 1 "$work/log"; }
}
shrink() {
    kill -USR1 $walker
    wait_for $walker '^plan 1 instead of 0: .* given back' || no "$1_shrinks"
}
# It goes on for two steps more, and is then told to stop.
refuse_growth() {
    kill -USR2 $walker
    check "$1_is_refused" wait_for $walker "^plan 1 stays: control group $group ($limit_file): .* more are needed"
    enough=$(($(steps "$1") + 2))
    for try in $(seq 1200); do [ "$(steps "$1")" -lt $enough ] && kill -0 $walker && sleep 0.05 || break; done
    kill -TERM $walker
    wait $walker
    check "$1_goes_on" [ "$? $(kills) $(($(steps "$1") >= enough))" = "75 0 1" ]
}
start_walk growth_under_a_lowered_limit
shrink growth_under_a_lowered_limit
limit $(($(used) + 4 * 1024 * 1024))
refuse_growth growth_under_a_lowered_limit

neighbour() { # bytes
    : >"$work/neighbour"
    sh -c "$enter" "$group" "${NEIGHBOUR:-build/neighbour}" "$1" 2e8 1000 >>"$work/neighbour" &
}
neighbour_has_them() { for try in $(seq 1200); do [ -s "$work/neighbour" ] && return || sleep 0.05; done; return 1; }
start_walk growth_beside_a_neighbour
shrink growth_beside_a_neighbour
room=$((peak / 100 * 130 - $(used)))
neighbour $((room - room / 6))
check neighbour_has_its_memory neighbour_has_them
refuse_growth growth_beside_a_neighbour

# The kernel's own choice, when a run takes what no plan knew of: the run, though its neighbour is larger. (Who takes memory
# at the moment of a kill may die too, whoever it is: the kernel chooses again while the first is still on its way out.)
make_group $((peak / 100 * 280))
neighbour $((peak / 100 * 150))
neighbour_has_them || no neighbour_before_the_victim
: >"$work/log"
sh -c "$enter" "$group" $walk --inject leak=4MB/step --iters 100000 --adapter-path "$work/victim" >"$work/log" 2>&1 &
victim=$!
wait_for $victim '^step 1/' || { no victim_starts; tail -n 1 "$work/log"; }
check volunteers [ "$(cat /proc/$victim/oom_score_adj)" = 1000 ]
wait $victim
check dies_first [ "$? $(kills)" = "137 1" ]
check neighbour_lives grep -qx neighbour $(sed 's,.*,/proc/&/comm,' "$group/cgroup.procs")
remove_group

# In a group of its own, which is as a container around it, and is removed.
alone() { # name, percent of the peak, option...
    name=$1 percent=$2; shift 2
    $walk --cgroup $((peak / 100 * percent)) --adapter-path "$work/$name" "$@" >"$work/log" 2>&1
    status=$?
    own=$(sed -n 's/^control group \(.*\) of .*/\1/p' "$work/log")
}
alone fits 130 --iters 2
check own_group_is_entered_and_removed [ "$status ${own:+made} $(test -e "$own" && echo left)" = "0 made " ]
alone refused 100 --iters 2
check own_group_refuses [ "$status $(grep -c "^levee: control group $own .* more are needed" "$work/log")" = "69 1" ]
alone leaks 140 --iters 100000 --inject leak=4MB/step
check own_group_is_a_limit [ "$status $(test -d "$own" && echo left)" = "137 left" ]
left=$own
alone after 130 --iters 2
check own_group_of_the_dead_is_removed [ "$status $(test -e "$left" && echo left)" = "0 " ]
exit $failed

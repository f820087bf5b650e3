#!/bin/sh
# What the benches work out of what they measured: goals beside the peers, exponents of growth. Speaks cmocka's
# language to tests/run.sh.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
plot=${PLOT:-build/bench/scaling_plot}
. tests/checks.sh

# Steps of 1, 2, 3 ... seconds are easy to reckon with: a step has 2048 tokens.
cat >"$work/facts" <<'END'
kind lora
kind full
run lora levee f32 400MiB 1 2 104857600 209715200 - 2 2 8
run lora levee bf16 16GiB 1 3 1048576000 1153433600 50 1.9 1.9 1.9
run lora torch f32 eager 1 20 2097152000 2202009600 100 8 8 8
run lora torch bf16 checkpoint 1 10 1048576000 1153433600 - 9 9 10
run lora mlx bf16 - 1 40 2097152000 2202009600 - 20 20
run lora levee f32 400MiB 2 4 104857600 209715200 - 2 2 2
run lora levee bf16 16GiB 2 3 1048576000 1153433600 70 1.9 1.9 1.9
run lora torch f32 eager 2 20 2097152000 2202009600 100 4 4 4
run full levee f32 16GiB 1 5 2097152000 2202009600 - 4
rate 1 bf16 1000
rate 2 bf16 2000
rate 1 f32 500
work 0.5
remark no counters for mlx
END
awk -f bench/peers.awk "$work/facts" >"$work/out"
said() { check "$1" grep -qF -e "$2" "$work/out"; } # name text
# The median of six steps, the least and the most of single ones.
said table_of_a_competitor '| Levee f32, 400MiB | 1024.0 | 256.0, 1024.0 | 100 | 200 | 3.00 | 2.00, 4.00 | - |'
said instructions_where_they_were_counted '| Levee bf16, 16GiB | 1077.9 | 1077.9, 1077.9 | 1000 | 1100 | 3.00 | 3.00, 3.00 | 60 |'
# 8 / 1.9 and 4 / 1.9, against the peer that is fastest over all rounds.
said speed_by_rounds '| the fastest PyTorch: PyTorch f32, eager | at least 2.5 | 3.16: Levee bf16, 16GiB | 2.11 to 4.21 | yes |'
# The leanest of Levee that keeps nine tenths of its speed, against the leanest peer.
said memory_of_the_leanest '| the leanest PyTorch: PyTorch bf16, checkpoint | at most 0.15 | 0.1: Levee f32, 400MiB | one round | yes |'
said resident_memory '| at most 0.25 | 0.182: Levee f32, 400MiB |'
said its_speed "| at a speed of | Levee's fastest: Levee bf16, 16GiB | at least 0.9 | 0.95: Levee f32, 400MiB | 0.95 to 0.95 | yes |"
said beside_mlx '| the fastest mlx-lm: mlx-lm bf16 | at least 3 | 10.5: Levee bf16, 16GiB | one round | yes |'
said first_step_not_reached '| the soonest PyTorch: PyTorch bf16, checkpoint | at most 0.1 | 0.2: Levee f32, 400MiB |'
said what_is_missing_is_said '| full: tokens/s | the fastest PyTorch | at least 2 | not measured | | |'
# 1077.9 tokens a second of 0.5 GFLOP each, of 1000 and of 2000 GFLOP/s.
said share_of_products '| products in bf16: 1500 GFLOP/s | at least 0.75 | 0.404: Levee bf16, 16GiB | 0.269 to 0.539 | no |'
said remarks '- no counters for mlx'

if [ -x "$plot" ]; then
    result=$(printf '%s\n' '1 0.5 1000' '2 2 1000' '4 8 1000' '8 16 2000' | "$plot" "$work/picture.svg" Title 'a & b' layers)
    check exponents [ "$result" = '1.700 0.300 1.000 1.000' ]
    check picture grep -q 'a &#38; b' "$work/picture.svg"
    check picture_has_all_points [ "$(grep -o '<circle' "$work/picture.svg" | wc -l)" = 8 ]
    for points in '1 1 1' '1 1 1
1 2 2' '1 1 1
2 0 1' '1 1 1
2 x 1'; do
        echo "$points" | "$plot" "$work/none.svg" T S x >"$work/out" 2>&1
        check "refuses_$(echo "$points" | tr ' \n' '__')" [ $? = 65 ]
    done
    check refused_draws_nothing [ ! -e "$work/none.svg" ]
else skip plot "$plot is not built"; fi
exit $failed

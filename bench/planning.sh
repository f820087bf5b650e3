#!/bin/sh
# How tightly plans are packed: the arena of a pass over the most bytes that are live at once, which no packing can be below, for
# each way of training and three ways of recomputing. And what planning takes: seconds, and memory held from outside. By shapes
# alone, no weights: the three of bench/accuracy.sh, Llama 3 8B and 70B. Exits with 1 when an arena is more than 1.02 of its bound.
#   bench/planning.sh LEVEE HELD
set -e
levee=$1 held=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
shape() { # name hidden intermediate layers heads kv_heads vocabulary
    mkdir -p "$work/$1"
    echo "{\"model_type\": \"llama\", \"hidden_size\": $2, \"intermediate_size\": $3, \"num_hidden_layers\": $4,
        \"num_attention_heads\": $5, \"num_key_value_heads\": $6, \"vocab_size\": $7, \"rms_norm_eps\": 1e-5, \"hidden_act\": \"silu\",
        \"max_position_embeddings\": 8192, \"rope_theta\": 500000.0, \"tie_word_embeddings\": false, \"torch_dtype\": \"bfloat16\"}" \
        >"$work/$1/config.json"
}
shape 50MB 384 1024 8 6 2 258
shape 200MB 640 1728 11 10 5 258
shape 800MB 1024 2816 17 16 8 258
shape 8B 4096 14336 32 32 8 128256
shape 70B 8192 28672 80 64 8 128256

field() { sed -nE "s/.*\"$1\":([0-9]+).*/\1/p" "$work/plan"; }
# Plans; the budget of `auto` is in the middle between what `off` and `all` need. Status 69 is an answer too.
plan() { # model type checkpoint budget
    case $2 in last-2) trained='full --num-layers 2' ;; *) trained="$2 --num-layers -1" ;; esac
    # shellcheck disable=SC2086
    "$held" "$work/most" "$levee" plan --model "$work/$1" --fine-tune-type $trained --batch-size 4 --micro-batch-size 4 --max-seq-length 513 \
        --grad-checkpoint "$3" --dtype f32 --memory "$4" --json >"$work/plan" 2>"$work/log" || [ $? = 69 ]
}
echo '| model | trains | --grad-checkpoint | arena, bytes | live at once, bytes | ratio |'
echo '|---|---|---|---:|---:|---:|'
for model in 50MB 200MB 800MB 8B 70B; do
    for type in lora head last-2 full; do
        for checkpoint in off all auto; do
            budget=16TiB
            [ $checkpoint = auto ] && budget=$(((most + least) / 2))
            plan $model $type $checkpoint $budget
            [ $checkpoint = off ] && most=$(field predicted_bytes)
            [ $checkpoint = all ] && least=$(field predicted_bytes)
            echo "$model $type $checkpoint $(field arena_bytes) $(field arena_live_bytes)" >>"$work/rows"
            tail -n 1 "$work/rows" | awk '{ printf "| %s | %s | %s | %s | %s | %.5f |\n", $1, $2, $3, $4, $5, $4 / $5 }'
        done
    done
done
echo
failed=0
awk '{ ratio = $4 / $5; sum += ratio; if (ratio > worst) worst = ratio }
    END { printf "%d plans: worst %.5f, mean %.5f\n", NR, worst, sum / NR; exit worst > 1.02 }' "$work/rows" || failed=1
echo
echo '| model | seconds, by the clock | of the processor | held, MiB |'
echo '|---|---:|---:|---:|'
for model in 8B 70B; do
    for run in 1 2 3; do
        begun=$(date +%s%N)
        # The times of a shell's children, in minutes and seconds.
        (plan $model lora auto 64GiB; times) | tail -n 1 >"$work/times"
        ended=$(date +%s%N)
        awk -v model=$model -v wall=$((ended - begun)) -v held="$(head -n 1 "$work/most")" '
            { for (i = 1; i <= 2; i++) { split($i, part, /[ms]/); seconds += 60 * part[1] + part[2] } }
            END { printf "| %s | %.2f | %.2f | %.1f |\n", model, wall / 1e9, seconds, held / 1048576 }' "$work/times"
    done
done
exit $failed

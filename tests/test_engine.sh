#!/bin/sh
# End to end on a model that levee init makes: it learns, inside the budget; the adapter does what training said; bad input is
# refused with the promised status and overwrites nothing. Speaks cmocka's language to tests/run.sh.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
levee=${LEVEE:-build/levee}
failed=0
ok() { echo "[       OK ] $1"; }
no() { echo "[  FAILED  ] $1"; failed=1; }
check() { name=$1; shift; if "$@"; then ok "$name"; else no "$name"; fi; }
expect() { # name status word command...
    name=$1 wanted=$2 word=$3; shift 3
    "$@" >"$work/out" 2>"$work/err"; got=$?
    if [ $got -eq "$wanted" ] && { [ -z "$word" ] || grep -q -- "$word" "$work/err"; }; then ok "$name"; else
        echo "$name: status $got, wanted $wanted; message: $(cat "$work/err")"; no "$name"; fi
}
for i in 1 2 3 4 5 6 7 8; do
    echo '{"text": "the tide comes in and the tide goes out, and the boat waits at the pier"}'
    echo '{"text": "one gull, two gulls, three gulls over the harbour wall"}'
done >"$work/train.jsonl"
"$levee" init "$work/model" --hidden-size 64 --intermediate-size 160 --layers 2 --heads 4 --kv-heads 2

train() { "$levee" train --model "$work/model" --data "$work/train.jsonl" --num-layers -1 --batch-size 4 "$@"; }
field() { sed -n "${2}p" "$1/metrics.jsonl" | sed -E "s/.*\"$3\":([-0-9.e+]+).*/\1/"; }
less() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }'; }

train --fine-tune-type full --iters 40 --learning-rate 3e-3 --memory 64MiB --adapter-path "$work/full" --save-every 40 >"$work/log"
check full_fine_tuning_learns less "$(field "$work/full" 40 loss)" 1.5
check full_budget_held grep -q ': held$' "$work/log"
train --iters 30 --learning-rate 1e-2 --scale 2 --memory 64MiB --adapter-path "$work/lora" --dtype f32 >"$work/log"
check lora_learns less "$(field "$work/lora" 30 loss)" "$(field "$work/lora" 1 loss)"
train --fine-tune-type head --iters 10 --learning-rate 1e-2 --memory 64MiB --adapter-path "$work/head" >"$work/log"
check head_learns less "$(field "$work/head" 10 loss)" "$(field "$work/head" 1 loss)"
check held_never_grows [ "$(field "$work/lora" 5 held_bytes)" = "$(field "$work/lora" 25 held_bytes)" ]

# The same training in as many passes as rows: rounding only.
train --iters 3 --learning-rate 1e-2 --memory 64MiB --dtype f32 --adapter-path "$work/wide" >/dev/null
train --iters 3 --learning-rate 1e-2 --memory 14MiB --dtype f32 --adapter-path "$work/narrow" >"$work/log" 2>&1
near() { awk -v a="$1" -v b="$2" -v r="$3" 'BEGIN { d = a - b; if (d < 0) d = -d; exit !(a != "" && d <= r * a) }'; }
check split_first_step near "$(field "$work/wide" 1 loss)" "$(field "$work/narrow" 1 loss)" 1e-6
check split_third_step near "$(field "$work/wide" 3 loss)" "$(field "$work/narrow" 3 loss)" 1e-4
train --iters 3 --learning-rate 1e-2 --memory 64MiB --dtype f32 --grad-checkpoint all --adapter-path "$work/again" >/dev/null
check recomputed_is_the_same near "$(field "$work/wide" 3 loss)" "$(field "$work/again" 3 loss)" 1e-6

base=$("$levee" eval --model "$work/model" --data "$work/train.jsonl" | sed -E 's/.*loss ([0-9.]+),.*/\1/')
tuned=$("$levee" eval --model "$work/model" --adapter-path "$work/lora" --data "$work/train.jsonl" | sed -E 's/.*loss ([0-9.]+),.*/\1/')
check eval_reads_the_adapter less "$tuned" "$base"
check generate_writes [ -n "$("$levee" generate --model "$work/full" --prompt 'the tide' --max-tokens 20)" ]

expect budget_too_small 69 'smallest budget' train --iters 1 --memory 4MiB --adapter-path "$work/x"
expect help_after_a_verb 0 '' "$levee" train --help
expect unknown_option 2 'did you mean batch_size' train --batchsize 3
expect missing_model 66 'config.json' "$levee" train --model "$work/none" --data "$work/train.jsonl"
expect other_shape 2 'another shape' train --rank 4 --iters 1 --adapter-path "$work/lora"
printf '{"text": "fine"}\nnot json\n' >"$work/bad.jsonl"
expect row_not_json 65 'line 2' "$levee" train --model "$work/model" --data "$work/bad.jsonl" --adapter-path "$work/x"
printf '{"text": "\377"}\n' >"$work/utf.jsonl"
expect bad_utf8 65 'utf.jsonl' "$levee" train --model "$work/model" --data "$work/utf.jsonl" --adapter-path "$work/x"
: >"$work/empty.jsonl"
expect empty_data 65 'empty.jsonl' "$levee" train --model "$work/model" --data "$work/empty.jsonl" --adapter-path "$work/x"
cp -r "$work/model" "$work/cut"; head -c 5000 "$work/model/model.safetensors" >"$work/cut/model.safetensors"
expect truncated_model 65 'model.safetensors' "$levee" eval --model "$work/cut" --data "$work/train.jsonl"
cp -r "$work/model" "$work/other"; sed -i 's/"llama"/"gemma"/' "$work/other/config.json"
expect other_family 65 'gemma' "$levee" eval --model "$work/other" --data "$work/train.jsonl"

shared=${LEVEE_SHARED:-../shared/data}
if [ -d "$shared/models/stories260k" ]; then
    for m in stories260k tiny-llama-gqa-untied tiny-llama31-rope-tied; do
        check "golden_$(echo $m | tr -- -. __)" "${GOLDEN:-build/golden}" "$shared/models/$m"
    done
    cp -r "$shared/models/stories260k" "$work/perturbed"; chmod -R u+w "$work/perturbed"
    printf '\077\200\000\000' | dd of="$work/perturbed/model.safetensors" bs=1 seek=500002 conv=notrunc 2>/dev/null
    expect golden_notices_a_changed_weight 1 '' "${GOLDEN:-build/golden}" "$work/perturbed"
else
    echo "golden fixtures: $shared/models is not here"
    echo "[  SKIPPED ] golden"
fi
exit $failed

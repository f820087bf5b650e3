#!/bin/sh
# End to end on a model that levee init makes: it learns, inside the budget; the adapter does what training said; bad input is
# refused with the promised status and overwrites nothing. Speaks cmocka's language to tests/run.sh.
# What the process holds is sampled from outside by $HELD. Under a sanitizer no small budget can hold, so those checks skip.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
levee=${LEVEE:-build/levee}
held=${HELD:-build/held}
small=64MiB
[ -z "$SANITIZE" ] || small=4GiB
. tests/checks.sh
skip() { echo "$1: a sanitizer takes more memory than the budget"; echo "[  SKIPPED ] $1"; }
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

train --fine-tune-type full --iters 40 --learning-rate 3e-3 --memory $small --adapter-path "$work/full" --save-every 40 >"$work/log"
check full_fine_tuning_learns less "$(field "$work/full" 40 loss)" 1.5
if [ -n "$SANITIZE" ]; then skip full_budget_held; else check full_budget_held grep -q ': held$' "$work/log"; fi
train --iters 30 --learning-rate 1e-2 --scale 2 --memory $small --adapter-path "$work/lora" --dtype f32 >"$work/log"
check lora_learns less "$(field "$work/lora" 30 loss)" "$(field "$work/lora" 1 loss)"
train --fine-tune-type head --iters 10 --learning-rate 1e-2 --memory $small --adapter-path "$work/head" >"$work/log"
check head_learns less "$(field "$work/head" 10 loss)" "$(field "$work/head" 1 loss)"
# Not by a page of ours; but where the library's calls of two threads meet, the heap's top moves, by a pad of 64 KiB at most.
grown=$(($(field "$work/lora" 25 held_bytes) - $(field "$work/lora" 5 held_bytes)))
if [ -n "$SANITIZE" ]; then skip held_never_grows; else check held_never_grows [ "${grown#-}" -le 65536 ]; fi
near() { awk -v a="$1" -v b="$2" -v r="$3" 'BEGIN { d = a - b; if (d < 0) d = -d; exit !(a != "" && d <= r * a) }'; }
train --iters 3 --learning-rate 1e-2 --memory $small --dtype f32 --adapter-path "$work/wide" >/dev/null
train --iters 3 --learning-rate 1e-2 --memory $small --dtype f32 --grad-checkpoint all --adapter-path "$work/again" >/dev/null
check recomputed_is_the_same near "$(field "$work/wide" 3 loss)" "$(field "$work/again" 3 loss)" 1e-6

# within NAME BUDGET COMMAND...: succeeds, and never held more than the budget, from its start to its exit.
within() {
    name=$1 budget=$2; shift 2
    "$held" "$work/most" "$@" --memory "$budget" >"$work/log" 2>&1 || { tail -n 1 "$work/log"; no "$name"; return; }
    if [ "$(head -n 1 "$work/most")" -le $((${budget%MiB} * 1024 * 1024)) ]; then ok "$name"; else
        echo "$name: held $(head -n 1 "$work/most") bytes of $budget"; no "$name"; fi
}
run="$levee train --model $work/model --data $work/train.jsonl --num-layers -1 --batch-size 4"
if [ -n "$SANITIZE" ]; then
    for name in split_first_step split_third_step named_budget held_lora held_full held_head held_eval held_generate; do skip $name; done
else
    # The budget that a refusal names is enough; with it the same training takes more passes: rounding only.
    least() { "$@" --memory 4MiB 2>&1 | sed -nE 's/.*smallest budget that does is ([0-9]+)\.0 MiB.*/\1/p'; }
    options="--iters 3 --learning-rate 1e-2 --dtype f32 --save-every 2"
    # shellcheck disable=SC2086
    named=$(least $run $options --adapter-path "$work/x")
    # shellcheck disable=SC2086
    within held_lora "${named}MiB" $run $options --adapter-path "$work/narrow"
    check split_first_step near "$(field "$work/wide" 1 loss)" "$(field "$work/narrow" 1 loss)" 1e-6
    check split_third_step near "$(field "$work/wide" 3 loss)" "$(field "$work/narrow" 3 loss)" 1e-4
    # shellcheck disable=SC2086
    expect named_budget 69 'smallest budget' $run $options --adapter-path "$work/x" --memory $((named - 2))MiB
    for type in full head; do
        # shellcheck disable=SC2086
        named=$(least $run $options --fine-tune-type $type --adapter-path "$work/x")
        # shellcheck disable=SC2086
        within held_$type "${named}MiB" $run $options --fine-tune-type $type --adapter-path "$work/narrow-$type"
    done
    within held_eval 12MiB "$levee" eval --model "$work/model" --data "$work/train.jsonl"
    within held_generate 12MiB "$levee" generate --model "$work/model" --prompt tide --max-tokens 200
fi

# Shrinks and grows at any time: the same training in other passes. Every shrink gives back what it promised.
if [ -n "$SANITIZE" ]; then skip shrinks_and_grows; else
    walk="--iters 150 --batch-size 16 --learning-rate 1e-3 --bias-correction --memory 64MiB --dtype f32 --save-every 1000"
    # shellcheck disable=SC2086
    train $walk --adapter-path "$work/calm" >/dev/null
    # shellcheck disable=SC2086
    $run $walk --adapter-path "$work/shaken" >"$work/log" 2>&1 & # not by train: the signals are for the program itself
    walker=$!
    while kill -0 $walker 2>/dev/null && ! grep -q '^  budget' "$work/log"; do sleep 0.01; done
    while kill -0 $walker 2>/dev/null; do
        for signal in USR1 USR1 USR2 USR1 USR2 USR2; do kill -$signal $walker 2>/dev/null; sleep 0.1; done
        sleep 0.5 # a growth waits for the end of its pass, and a shrink that comes before takes its place
    done
    wait $walker
    check shaken_run_finishes [ "$(wc -l <"$work/shaken/metrics.jsonl")" = 150 ]
    check shaken_run_changed_plans grep -q '^plan 1 instead of 0: .* given back' "$work/log"
    check shaken_run_grew_again grep -q '^plan 0 instead of 1: .* taken again' "$work/log"
    check shaken_first_step near "$(field "$work/calm" 1 loss)" "$(field "$work/shaken" 1 loss)" 1e-6
    check shaken_step_20 near "$(field "$work/calm" 20 loss)" "$(field "$work/shaken" 20 loss)" 1e-4
fi

base=$("$levee" eval --model "$work/model" --data "$work/train.jsonl" | sed -E 's/.*loss ([0-9.]+),.*/\1/')
tuned=$("$levee" eval --model "$work/model" --adapter-path "$work/lora" --data "$work/train.jsonl" | sed -E 's/.*loss ([0-9.]+),.*/\1/')
check eval_reads_the_adapter less "$tuned" "$base"
check generate_writes [ -n "$("$levee" generate --model "$work/full" --prompt 'the tide' --max-tokens 20)" ]

expect budget_too_small 69 'smallest budget' train --iters 1 --memory 4MiB --adapter-path "$work/x"
expect help_after_a_verb 0 '' "$levee" train --help
"$levee" --help | sed -nE 's/^  (-c, )?(--[a-z.-]+) .*/\2/p' >"$work/options"
for shell in levee.bash _levee levee.fish; do
    while read -r option; do
        grep -q -e "$option" -e "-l ${option#--} " "completions/$shell" || echo "$option is not completed by $shell"
    done <"$work/options"
done >"$work/log"
check completions_know_every_option [ -s "$work/options" -a ! -s "$work/log" ]
expect unknown_option 2 'did you mean batch_size' train --batchsize 3
expect missing_model 66 'config.json' "$levee" train --model "$work/none" --data "$work/train.jsonl"
rm -r "$work/lora/checkpoints" "$work/full/checkpoints" # else what is there would be a run to go on with
expect other_shape 2 'another shape' train --rank 4 --iters 1 --adapter-path "$work/lora"
printf '{"text": "fine"}\nnot json\n' >"$work/bad.jsonl"
expect row_not_json 65 'line 2' "$levee" train --model "$work/model" --data "$work/bad.jsonl" --adapter-path "$work/x"
printf '{"text": "\377"}\n' >"$work/utf.jsonl"
expect bad_utf8 65 'utf.jsonl' "$levee" train --model "$work/model" --data "$work/utf.jsonl" --adapter-path "$work/x"
: >"$work/empty.jsonl"
expect empty_data 65 'empty.jsonl' "$levee" train --model "$work/model" --data "$work/empty.jsonl" --adapter-path "$work/x"

# Damaged models. copy NAME makes one; patch NAME SED changes bytes of its weights' header without changing their number.
copy() { rm -rf "${work:?}/$1"; cp -r "$work/model" "$work/$1"; }
patch() { LC_ALL=C sed -i "$2" "$work/$1/model.safetensors"; }
evaluate() { "$levee" eval --model "$work/$1" --data "$work/train.jsonl"; }
copy cut; head -c 5000 "$work/model/model.safetensors" >"$work/cut/model.safetensors"
expect truncated_model 65 'model.safetensors' evaluate cut
copy overlap; patch overlap '1s/\("model.layers.1.input_layernorm.weight":[^]]*],"data_offsets":\[\)[0-9]*,[0-9]*/\1'"$(LC_ALL=C sed -nE '1s/.*"model.layers.0.input_layernorm.weight":[^]]*],"data_offsets":\[([0-9]*,[0-9]*).*/\1/p' "$work/model/model.safetensors")"/
expect overlapping_tensors 65 'overlap' evaluate overlap
copy type; patch type '1s/"dtype":"F32"/"dtype":"I32"/'
expect wrong_type 65 'model.embed_tokens.weight' evaluate type
copy shape; sed -i 's/"intermediate_size": 160/"intermediate_size": 176/' "$work/shape/config.json"
expect wrong_shape 65 'gate_proj.weight' evaluate shape
copy shards; mv "$work/shards/model.safetensors" "$work/shards/model-00001-of-00002.safetensors"
LC_ALL=C grep -aoE '"model[a-z_.0-9]*":\{"dtype"' "$work/model/model.safetensors" | cut -d: -f1 |
    awk 'BEGIN { printf "{\"weight_map\": {" } { printf "%s%s: \"model-0000%d-of-00002.safetensors\"", (NR > 1 ? ", " : ""), $0, (NR == 3 ? 2 : 1) }
         END { print "}}" }' >"$work/shards/model.safetensors.index.json"
expect missing_shard 66 'model-00002-of-00002.safetensors' evaluate shards
sed -i 's/model-00002-of/model-00001-of/' "$work/shards/model.safetensors.index.json"
expect one_shard_is_enough 0 '' evaluate shards
copy words; head -c 3000 "$work/model/tokenizer.json" >"$work/words/tokenizer.json"
expect malformed_tokenizer 65 'tokenizer.json: line' evaluate words
copy other; sed -i 's/"llama"/"gemma"/' "$work/other/config.json"
expect other_family 65 'gemma' evaluate other

# What is there is not overwritten: neither by a run that is refused nor by one of another kind.
sum() { find "$1" -type f -exec cksum {} + | sort; }
before=$(sum "$work/lora"; sum "$work/full")
expect adapter_over_a_model 2 'holds a model' train --iters 1 --adapter-path "$work/full"
expect model_over_an_adapter 2 'or an adapter' train --fine-tune-type full --iters 1 --adapter-path "$work/lora"
expect other_layers 2 'other layers' train --num-layers 1 --iters 1 --adapter-path "$work/lora"
expect other_keys 2 'projections' train --keys q_proj --iters 1 --adapter-path "$work/lora"
expect budget_too_small_here 69 'smallest budget' train --iters 1 --memory 4MiB --adapter-path "$work/lora"
expect no_data_here 66 'none' "$levee" train --model "$work/model" --data "$work/none" --adapter-path "$work/lora"
check nothing_overwritten [ "$before" = "$(sum "$work/lora"; sum "$work/full")" ]
cp -r "$work/lora" "$work/broken"; head -c 2000 "$work/lora/adapter_model.safetensors" >"$work/broken/adapter_model.safetensors"
expect broken_adapter 65 'adapter_model.safetensors' "$levee" eval --model "$work/model" --adapter-path "$work/broken" --data "$work/train.jsonl"
expect resume_from_a_broken_adapter 65 'broken' train --scale 2 --resume-adapter-file "$work/broken" --iters 1 --adapter-path "$work/y"
"$levee" init "$work/large" --hidden-size 96 --intermediate-size 160 --layers 2 --heads 4 --kv-heads 2
expect adapter_of_another_model 65 'another shape or model' "$levee" eval --model "$work/large" --adapter-path "$work/lora" --data "$work/train.jsonl"
expect no_adapter 66 'adapter_config.json' "$levee" eval --model "$work/model" --adapter-path "$work/none" --data "$work/train.jsonl"

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

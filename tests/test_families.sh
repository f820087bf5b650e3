#!/bin/sh
# Each family by the command line, on models that levee init makes: it learns by LoRA and DoRA, what is planned is what train takes,
# a killed DoRA goes on bit by bit, eval and generate read the adapter, inspect says what is in the files. Speaks cmocka's language
# to tests/run.sh; tests/test_train_families.c has the numbers.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
levee=${LEVEE:-build/levee}
memory=64MiB
[ -z "$SANITIZE" ] || memory=4GiB
. tests/checks.sh

tools/make-text.sh harbour | head -n 24 >"$work/train.jsonl"
shape="--hidden-size 32 --intermediate-size 80 --layers 2 --heads 4 --kv-heads 2"
# shellcheck disable=SC2086
{
    run init "$work/llama" $shape &&
        run init "$work/mistral" --family mistral --window 9 --head-dim 12 $shape &&
        run init "$work/qwen2" --family qwen2 --window 9 $shape &&
        run init "$work/qwen3" --family qwen3 --head-dim 16 $shape
} || exit 1
field() { sed -n "${2}p" "$1/metrics.jsonl" | sed -E "s/.*\"$3\":([-0-9.e+]+).*/\1/"; }
less() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a != "" && a < b) }'; }
loss() { run eval --data "$work/train.jsonl" "$@" | sed -E 's/.*loss ([0-9.]+),.*/\1/'; }
places() { grep -o '"planned_bytes":{[^}]*}' "$1" | head -n 1 | sed 's/,"runtime".*//'; }
of() { # model type options...
    model=$1 type=$2; shift 2
    echo "--model $work/$model --data $work/train.jsonl --fine-tune-type $type --num-layers -1 --batch-size 8 --dtype f32 --memory $memory $*"
}
for family in llama mistral qwen2 qwen3; do
    for type in lora dora; do
        # shellcheck disable=SC2046
        run train $(of $family $type --iters 8 --learning-rate 2e-2 --scale 2 --adapter-path "$work/$family-$type") >"$work/log" 2>&1
        check "${family}_learns_by_$type" less "$(field "$work/$family-$type" 8 loss)" "$(field "$work/$family-$type" 1 loss)"
        # shellcheck disable=SC2046
        run plan $(of $family $type --json) >"$work/planned" 2>&1
        check "${family}_${type}_as_planned" [ -n "$(places "$work/planned")" -a \
            "$(places "$work/planned")" = "$(places "$work/$family-$type/metrics.jsonl")" ]
        grep -q "\"family\":\"$family\"" "$work/planned" || no "${family}_is_named"
    done
    base=$(loss --model "$work/$family") tuned=$(loss --model "$work/$family" --adapter-path "$work/$family-dora")
    check "${family}_eval_reads_dora" less "$tuned" "$base"
    check "${family}_generates" [ -n "$(run generate --model "$work/$family" --adapter-path "$work/$family-dora" --prompt 'the tide' --max-tokens 20)" ]
    # shellcheck disable=SC2046
    expect "${family}_full" 0 '' train $(of $family full --iters 2 --adapter-path "$work/$family-full")
    check "${family}_full_is_whole" cmp -s "$work/$family/config.json" "$work/$family-full/config.json"
    run inspect "$work/$family" | sed -n '/^tensor/,/^$/p' | awk '{ print $1, $3, $4 }' >"$work/names"
    run inspect "$work/$family-full" | sed -n '/^tensor/,/^$/p' | awk '{ print $1, $3, $4 }' >"$work/names-full"
    check "${family}_full_has_its_tensors" cmp -s "$work/names" "$work/names-full"
done

# A DoRA that was stopped after any of its saves goes on as if it had not been.
# shellcheck disable=SC2046
{
    run train $(of qwen2 dora --iters 3 --save-every 3 --dropout 0.1 --adapter-path "$work/half") >"$work/log" 2>&1
    run train $(of qwen2 dora --iters 6 --save-every 3 --dropout 0.1 --adapter-path "$work/half" --resume auto) >>"$work/log" 2>&1
    run train $(of qwen2 dora --iters 6 --save-every 3 --dropout 0.1 --adapter-path "$work/one") >>"$work/log" 2>&1
    check dora_goes_on_bit_by_bit cmp "$work/half/adapter_model.safetensors" "$work/one/adapter_model.safetensors"
    check it_went_on grep -q 'going on after step 3' "$work/log"
    expect dora_is_no_lora 2 'DoRA of rank 8, this run.s is LoRA' train $(of llama lora --adapter-path "$work/llama-dora") --resume auto
    rm -rf "$work/llama-dora/checkpoints"
    expect lora_over_dora 2 'DoRA of rank 8, this run.s is LoRA' train $(of llama lora --adapter-path "$work/llama-dora")
    expect dora_from_lora 2 'it goes on with --fine-tune-type lora --rank 8' train \
        $(of llama dora --iters 1 --adapter-path "$work/x" --resume-adapter-file "$work/llama-lora")
    expect dora_from_dora 0 '' train $(of llama dora --iters 1 --scale 2 --adapter-path "$work/y" --resume-adapter-file "$work/llama-dora")
}
check peft_reads_it_as_dora grep -q '"use_dora": true' "$work/qwen3-dora/adapter_config.json"

expect inspect_model 0 '^qwen3: 2 layers of 32, 80 in the feed-forward part; 4 heads of 16, 2 for keys and values$' inspect "$work/qwen3"
check inspect_lists_norms grep -qE '^model.layers.1.self_attn.q_norm.weight +f32 +\[16\] +16 +64 B$' "$work/out"
expect inspect_window 0 'a window of 9 rows in 2 of 2 layers' inspect "$work/mistral"
expect inspect_half_of_the_layers 0 'biases of 3 projections, a window of 9 rows in 1 of 2 layers' inspect "$work/qwen2"
expect inspect_adapter 0 'DoRA of rank 8, alpha 16, dropout 0, on q_proj' inspect "$work/qwen3-dora"
check inspect_lists_magnitudes grep -qE 'layers.0.self_attn.k_proj.lora_magnitude_vector +f32 +\[32\]' "$work/out"
expect inspect_json 0 '"kind":"model","family":"qwen2",.*"biased":\["q_proj","k_proj","v_proj"\],"windows":\[null,9\]' inspect --json "$work/qwen2"
if command -v jq >/dev/null; then
    check inspect_json_adds_up sh -c "jq -e '.bytes == ([.tensors[].bytes] | add) and .parameters == ([.tensors[].parameters] | add)' '$work/out' >/dev/null"
fi
mkdir "$work/odd"; cp "$work/llama/model.safetensors" "$work/odd"; echo '{"model_type": "mamba"}' >"$work/odd/config.json"
expect inspect_unknown_family 0 "'mamba' is not supported; supported: llama, mistral, qwen2, qwen3" inspect "$work/odd"
check inspect_shows_it_all_the_same grep -q '^model.norm.weight' "$work/out"
# Types that no weight has are shown, and a model of them is refused by the name of the type.
header='{"position_ids":{"dtype":"I64","shape":[1,2],"data_offsets":[0,16]},"model.embed_tokens.weight":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}}'
mkdir "$work/types"; cp "$work/llama"/*.json "$work/types"
{ printf "\\$(printf %03o ${#header})\\0\\0\\0\\0\\0\\0\\0%s" "$header"; printf 0123456789abcdefxyz; } >"$work/types/model.safetensors"
expect inspect_other_types 0 '^position_ids  *i64  *\[1, 2\]  *2  *16 B$' inspect "$work/types"
check inspect_counts_them grep -q '^2 tensors, 5 parameters, 19 B; u8: 3 in 1; i64: 2 in 1$' "$work/out"
expect other_types_do_not_train 65 'tensor model.embed_tokens.weight has type u8; only f32, f16 and bf16' eval --model "$work/types" --data "$work/train.jsonl"

expect gguf_of_a_window 0 'in 2 of 2 layers a token sees 9 tokens back; llama.cpp lets it see all' export --model "$work/mistral" --format gguf --save-path "$work/window.gguf"
check window_is_in_the_file grep -aq llama.attention.sliding_window "$work/window.gguf"
expect gguf_of_half_a_window 0 'in 1 of 2 layers a token sees 9' export --model "$work/qwen2" --format gguf --save-path "$work/half.gguf"
check one_window_for_all_is_not_said sh -c "! grep -aq attention.sliding_window '$work/half.gguf'"
run export --model "$work/llama" --format gguf --save-path "$work/none.gguf" >"$work/out" 2>&1
check no_window_no_word sh -c "! grep -q 'sees' '$work/out' && ! grep -aq sliding_window '$work/none.gguf'"
expect inspect_nothing 66 'holds neither model.safetensors' inspect "$work"
expect inspect_needs_a_directory 2 'directory of a model or an adapter' inspect

expect init_of_a_word 2 "hidden-size: .wide. does not do; a whole number" init "$work/z" --hidden-size wide
expect init_of_two 2 "one directory is made" init "$work/z" "$work/zz"
expect init_unknown_family 2 "family 'gemma' is none of llama, mistral, qwen2, qwen3" init "$work/z" --family gemma
expect init_window_of_llama 2 'llama has no window' init "$work/z" --window 8
expect init_odd_heads 2 'must be an even multiple' init "$work/z" --head-dim 7
expect init_few_tokens 2 'a vocabulary of 257: the tokenizer has 258 tokens' init "$work/z" --vocab-size 257
check init_wrote_nothing [ ! -e "$work/z" ]
# Rows beyond the tokenizer's: they are in the matrix, and no text asks for them.
# shellcheck disable=SC2086
run init "$work/padded" $shape --vocab-size 300
expect init_vocabulary 0 '^model.embed_tokens.weight  *f32  *\[300, 32\]' inspect "$work/padded"
expect padded_vocabulary_trains 0 'budget .*: held' train --model "$work/padded" --data "$work/train.jsonl" --iters 2 --val-batches 0 --memory 40MiB \
    --adapter-path "$work/padded-lora"
expect padded_vocabulary_generates 0 '' generate --model "$work/padded" --prompt boat --max-tokens 40 --temp 2

shared=${LEVEE_SHARED:-../shared/data}
for model in tiny-mistral-window tiny-qwen2 tiny-qwen3; do
    if [ -d "$shared/models/$model" ]; then
        check "golden_$(echo $model | tr -- -. __)" "${GOLDEN:-build/golden}" "$shared/models/$model"
    else
        skip "golden_$model" "$shared/models/$model is not here"
    fi
done
exit $failed

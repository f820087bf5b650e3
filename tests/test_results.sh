#!/bin/sh
# What the command line makes of a training: exports, adapters of mlx-lm, the card, text that is sampled, conversations, names of
# the hub, and mlx-lm's example configuration.
levee=${LEVEE:-build/levee}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. tests/checks.sh
levee=$(cd "$(dirname "$levee")" && pwd)/$(basename "$levee")
shared=${LEVEE_SHARED:-../shared/data}
held=$(cd "$(dirname "${HELD:-build/held}")" && pwd)/$(basename "${HELD:-build/held}")
case $shared in /*) ;; *) shared=$PWD/$shared ;; esac
cd "$work" || exit 1 # whose files have short names
"$levee" init model --hidden-size 64 --intermediate-size 96 --layers 3 --heads 4 --kv-heads 2
mkdir data
for i in 1 2 3 4 5 6 7 8; do echo "{\"text\": \"line $i is like line $((i + 1))\"}"; done >data/train.jsonl
head -n 3 data/train.jsonl >data/test.jsonl
template='{%- for m in messages %}<{{ m.role }}>{{ m.content }}{%- endfor %}{%- if add_generation_prompt %}<assistant>{%- endif %}'
printf '%s' "$template" >model/chat_template.jinja

expect trains_and_tests 0 'test loss .*, over 63 tokens of 3 rows' train --model model --data data --iters 12 --learning-rate 1e-2 \
    --rank 4 --scale 2 --num-layers 2 --dtype f32 --adapter-path adapter --test
test_loss=$(grep '^test loss' out)
# The card.
check card_has_the_steps grep -q '^| steps | 12 of 12' adapter/README.md
check card_has_the_memory grep -Eq '^\| memory \| predicted [0-9.]+ MiB, measured peak [0-9.]+ MiB' adapter/README.md
echo "mine" >adapter/README.md
expect goes_on 0 'step 14' train --model model --data data --iters 14 --learning-rate 1e-2 --rank 4 --scale 2 --num-layers 2 \
    --dtype f32 --adapter-path adapter --resume
check card_of_another_stays grep -qx mine adapter/README.md
test_loss=$("$levee" eval --model model --adapter-path adapter --data data --dtype f32)

# Exports.
same_loss() { name=$1; shift; check "$name" [ "$("$levee" eval --data data --dtype f32 "$@")" = "$test_loss" ]; }
expect exports_hf 0 'merged into it, for transformers' export --model model --adapter-path adapter --save-path merged
same_loss merged_model_has_the_same_loss --model merged
check tokenizer_and_template_are_copied cmp -s model/chat_template.jinja merged/chat_template.jinja
expect exports_mlx_adapter 0 'the adapter, for mlx-lm' export --model model --adapter-path adapter --format mlx --adapter-only --save-path mlx/
same_loss mlx_adapter_has_the_same_loss --model model --adapter-path mlx
expect exports_peft_adapter 0 'the adapter, for transformers' export --model model --adapter-path mlx --adapter-only --save-path peft
check adapter_comes_back cmp -s adapter/adapter_model.safetensors peft/adapter_model.safetensors
expect exports_mlx_model 0 'for mlx-lm' export --model model --adapter-path mlx --format mlx --save-path merged_mlx
check merged_models_are_the_same cmp -s merged/model.safetensors merged_mlx/model.safetensors
for type in f32 f16 bf16 q8_0 q4_0; do
    expect "exports_gguf_$type" 0 'for llama.cpp' export --model model --adapter-path adapter --format gguf --outtype $type --save-path $type.gguf
done
check smaller_types_are_smaller [ "$(wc -c <q4_0.gguf)" -lt "$(wc -c <q8_0.gguf)" ]
# Each result can be looked at.
expect inspects_mlx_adapters 0 'LoRA of rank 4, alpha 8, dropout 0, on .* of the last 2 layers' inspect mlx
check mlx_tensors_are_listed grep -q '^model.layers.2.mlp.up_proj.lora_b  *f32  *\[4, 96\]' out
expect inspects_mlx_adapters_as_json 0 '"format":"mlx","layers":null,"last_layers":2' inspect mlx --json
expect inspects_files 0 '^model.layers.0.mlp.up_proj.weight  *f32  *\[96, 64\]' inspect merged/model.safetensors
expect inspects_gguf 0 '^GGUF of architecture llama, named model: 258 tokens, 3 layers, 64 wide' inspect q4_0.gguf
check gguf_tensors_are_listed grep -Eq '^blk.2.ffn_up.weight +q4_0 +\[96, 64\] +6144 +3.4 KiB$' out
check gguf_types_are_counted grep -Eq 'q8_0: 16512 in 1' out
head -c 1000 q4_0.gguf >cut.gguf
expect inspect_of_a_cut_file 65 'cut.gguf: byte [0-9]*: the file is cut off' inspect cut.gguf
expect inspect_of_nothing 66 'nowhere: is not there; inspect takes' inspect nowhere
expect refuses_an_existing_target 2 'merged: is there already' export --model model --adapter-path adapter --save-path merged
expect refuses_an_existing_file 2 'f16.gguf: is there already' export --model model --format gguf --save-path f16.gguf
expect needs_a_target 2 'save-path is needed' export --model model
expect adapter_only_needs_one 2 'adapter-path is needed' export --model model --adapter-only --save-path new
expect gguf_has_no_adapters 2 'hf and mlx have adapters' export --model model --adapter-path adapter --adapter-only --format gguf --save-path new
expect outtype_is_for_gguf 2 'outtype is for --format gguf' export --model model --outtype f16 --save-path new
mkdir cut.partial
expect tells_of_a_cut_export 2 'cut.partial: an export that was cut off left this' export --model model --save-path cut
cp -r adapter wider && sed -i 's/"r": 4/"r": 5/' wider/adapter_config.json
expect refuses_a_misshapen_adapter 65 'lora_A' export --model model --adapter-path wider --save-path new
check leaves_nothing_behind [ ! -e new ] && check leaves_no_part_behind [ ! -e new.partial ]
expect goes_on_from_mlx 0 'step 1/1' train --model model --data data --iters 1 --rank 4 --scale 2 --num-layers 2 \
    --resume-adapter-file mlx --adapter-path from_mlx
# An adapter of another scale has the same shapes, so its configuration decides.
for from in adapter mlx mlx/adapters.safetensors; do
    expect "refuses_another_scale_of_$(echo $from | tr / _)" 2 'in its scale; it goes on with --fine-tune-type lora --rank 4 --scale 2 --num-layers 2 --keys q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj$' \
        train --model model --data data --iters 1 --rank 4 --num-layers 2 --resume-adapter-file $from --adapter-path from_mlx2
done
expect refuses_other_layers 2 'rank 4 --scale 2 --num-layers 2' train --model model --data data --iters 1 --rank 4 --scale 2 \
    --num-layers 3 --resume-adapter-file adapter --adapter-path from_mlx2
expect refuses_other_projections 2 'keys q_proj,k_proj' train --model model --data data --iters 1 --rank 4 --scale 2 \
    --num-layers 2 --keys q_proj --resume-adapter-file adapter --adapter-path from_mlx2
expect full_starts_from_no_adapter 2 'is for --fine-tune-type lora and dora' train --model model --data data --iters 1 \
    --fine-tune-type full --resume-adapter-file adapter --adapter-path from_mlx2
cp -r adapter first
tr -d '\n' <adapter/adapter_config.json | sed 's/"layers_to_transform": \[[^]]*\]/"layers_to_transform": [0, 1]/' >first/adapter_config.json
expect refuses_first_layers 2 'on layers 0 to 1 of 3, but only the last ones train here; merge it' train --model model --data data \
    --iters 1 --rank 4 --scale 2 --num-layers 2 --resume-adapter-file first --adapter-path from_mlx2
expect nothing_to_start_from 66 '^levee: --resume-adapter-file: nowhere: is not there' train --model model --data data --iters 1 \
    --resume-adapter-file nowhere --adapter-path from_mlx2
expect no_adapter_to_start_from 66 'model: holds neither adapter_model.safetensors nor adapters.safetensors' train --model model \
    --data data --iters 1 --resume-adapter-file model --adapter-path from_mlx2
mkdir bare && cp adapter/adapter_model.safetensors bare/
expect without_a_configuration_shapes_decide 0 'step 1/1' train --model model --data data --iters 1 --rank 4 --num-layers 2 \
    --resume-adapter-file bare/adapter_model.safetensors --adapter-path from_bare
check nothing_was_begun [ ! -e from_mlx2 ]
expect protects_an_mlx_adapter 2 'holds an mlx-lm adapter' train --model model --data data --iters 1 --rank 4 --num-layers 2 --adapter-path mlx
# A model of 25 MiB, of which one matrix has 1 MiB.
"$levee" init wide --hidden-size 256 --intermediate-size 1024 --layers 6 --heads 4 --kv-heads 4
expect trains_a_wider_model 0 'step 1/1' train --model wide --data data --iters 1 --num-layers -1 --adapter-path wide_adapter
for format in hf gguf; do
    if [ -n "$SANITIZE" ]; then skip "export_streams_$format" "sanitizers take memory of their own"; continue; fi
    "$held" most "$levee" export --model wide --adapter-path wide_adapter --format $format --save-path wide.$format >out
    check "export_streams_$format" [ "$(head -n 1 most)" -lt $((10 << 20)) ]
done

# Text.
expect generates 0 . generate --model merged --prompt line --max-tokens 12 --dtype f32
greedy=$(cat out)
expect generates_the_same_with_the_adapter 0 . generate --model model --adapter-path adapter --prompt line --max-tokens 12 --dtype f32
expect samples 0 . generate --model merged --prompt line --max-tokens 12 --dtype f32 --temp 1.5 --seed 1
sampled=$(cat out)
expect samples_again 0 . generate --model merged --prompt line --max-tokens 12 --dtype f32 --temperature 1.5 --seed 1
check same_seed_same_text [ "$(cat out)" = "$sampled" ]
expect samples_otherwise 0 . generate --model merged --prompt line --max-tokens 12 --dtype f32 --temp 1.5 --seed 2
check other_seed_other_text [ "$(cat out)" != "$sampled" ]
expect top_1_is_greedy 0 . generate --model merged --prompt line --max-tokens 12 --dtype f32 --temp 1.5 --top-k 1
check likeliest_token [ "$(cat out)" = "$greedy" ]
expect sampling_is_generates 2 'temp is an option of levee generate' train --model model --temp 1
# A conversation: the second answer is what the whole conversation as a text gives, though only its end is computed.
printf 'one\ntwo\n' | "$levee" generate --model merged --chat --system-prompt S --max-tokens 4 --dtype f32 >talk
check has_two_answers [ "$(wc -l <talk)" -ge 2 ]
first=$(head -n 1 talk)
whole=$("$levee" generate --model merged --dtype f32 --max-tokens 4 --prompt "<system>S<user>one<assistant>$first<user>two<assistant>")
check remembers_the_conversation [ "$first
$whole" = "$(cat talk)" ]
expect chat_answers_a_prompt 0 . generate --model merged --chat --system-prompt S --prompt one --max-tokens 4 --dtype f32
check same_answer [ "$(cat out)" = "$first" ]
printf 'one\n%0200d\n' 7 | "$levee" generate --model merged --chat --max-seq-length 64 --max-tokens 4 >out 2>&1
check long_conversations_are_refused [ $? = 2 ]
check long_conversation_message grep -q 'larger --max-seq-length' out

# The hub's copies.
copy=cache/hub/models--some--model
mkdir -p $copy/refs $copy/snapshots && printf 0123abc >$copy/refs/main && cp -r merged $copy/snapshots/0123abc
export HF_HOME="$PWD/cache"
unset HF_HUB_CACHE HUGGINGFACE_HUB_CACHE
expect finds_a_fetched_model 0 . generate --model some/model --prompt line --max-tokens 12 --dtype f32
check it_is_that_model [ "$(cat out)" = "$greedy" ]
expect says_how_to_fetch 66 'hf download no/such' generate --model no/such --prompt line
expect says_how_to_fetch_data 66 'repo-type dataset no/such' train --model some/model --data no/such --adapter-path new
expect card_names_the_base 0 'step 1/1' train --model some/model --data data --iters 1 --adapter-path named
check base_model_of_the_card grep -qx 'base_model: some/model' named/README.md

# mlx-lm's example, as it is but for the two paths.
if [ -r "$shared/mlx-lm/lora_config.yaml" ]; then
    sed -e 's|mlx-community/Llama-3.2-1B-Instruct-bf16|some/model|; s|mlx-community/WikiSQL|data|' "$shared/mlx-lm/lora_config.yaml" >lora.yaml
    expect mlx_lm_example_runs 0 'step 2/2' train -c lora.yaml --iters 2
    # What an earlier training left is tested, and nothing is trained.
    grep -v '^train:' lora.yaml >bare.yaml && sed 's/^train: true/train: false/; s/^test: false/test: true/' lora.yaml >test.yaml
    cp adapters/metrics.jsonl before
    expect train_false_tests 0 '^test loss .*, over 63 tokens of 3 rows' train -c test.yaml
    tested=$(cat out)
    check train_false_trains_nothing cmp -s before adapters/metrics.jsonl
    check it_is_evals_loss [ "$tested" = "$("$levee" eval -c test.yaml)" ]
    expect without_an_adapter_path_the_model_is_tested 0 '^test loss' train -c test.yaml --adapter-path ''
    check it_is_the_models_loss [ "$(cat out)" = "$("$levee" eval --model some/model --data data)" ]
    expect nothing_to_do 2 'train is false and test is too' train -c test.yaml --test false
    expect train_is_said 0 '^train: false  *# test.yaml:5$' train -c test.yaml --print-config
    expect train_is_usual 0 '^train: true  *# default$' train -c bare.yaml --print-config
    expect tests_need_a_split 66 '^levee: --test: data/train.jsonl holds no test.jsonl' train -c test.yaml --data data/train.jsonl
    expect print_config 0 '^learning_rate: 1e-05  *# lora.yaml:38$' train -c lora.yaml --print-config
else
    skip mlx_lm_example_runs "$shared is missing"
fi
exit $failed

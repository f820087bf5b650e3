#!/bin/sh
# Conversations, prompts with completions, and --mask-prompt: what trains, what counts, and what is said when a row cannot be
# used. Speaks cmocka's language to tests/run.sh; tests/test_data_example.c has the borders token by token.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
levee=${LEVEE:-build/levee}
shared=${LEVEE_SHARED:-../shared/data}
. tests/checks.sh
patterns=-F

run init "$work/bare" --hidden-size 32 --intermediate-size 64 --layers 2 --heads 2 --kv-heads 1 || exit 1
cp -r "$work/bare" "$work/model"
cat >"$work/model/chat_template.jinja" <<'END'
{%- for message in messages %}{{ '<' + message.role + '>\n' + message.content + '<|end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<assistant>\n' }}{% endif %}
END
cp -r "$work/bare" "$work/raw" # a template that writes what it is given, and nothing else
printf '{%% for message in messages %%}{{ message.content }}{%% endfor %%}' >"$work/raw/chat_template.jinja"

# Each shape trains.
printf '{"messages": [{"role": "user", "content": "Hi %s"}, {"role": "assistant", "content": "Hello"}]}\n' 1 2 3 4 >"$work/chat.jsonl"
printf '{"prompt": "Say %s", "completion": "said"}\n' 1 2 3 4 >"$work/prompt.jsonl"
printf '{"text": "A text, number %s."}\n' 1 2 3 4 >"$work/text.jsonl"
printf '{"question": "Say %s", "answer": "said"}\n' 1 2 3 4 >"$work/named.jsonl"
few="--iters 3 --batch-size 2 --num-layers 1 --dtype f32 --val-batches 0 --threads 1"
train() { rm -rf "$work/adapter" && run train --model "$work/model" $few --adapter-path "$work/adapter" "$@"; }
train_shape() { # shape options...
    shape=$1
    shift
    train --data "$work/$shape.jsonl" "$@" >"$work/out" 2>&1 && grep -q 'peak memory: .*: held$' "$work/out"
}
check trains_on_chats train_shape chat
check trains_on_prompts train_shape prompt
check trains_on_texts train_shape text
check trains_on_masked_chats train_shape chat --mask-prompt
check trains_on_masked_prompts train_shape prompt --mask-prompt
check trains_on_named_fields train_shape named --mask-prompt --prompt-feature question --completion-feature answer
# "Hello<|end|>" and a line end: seven tokens of each of the 4 rows.
train --data "$work/chat.jsonl" --mask-prompt >"$work/out" 2>&1
check says_what_counts grep -q '^28 of 1[0-9]* tokens count in the loss; 0 rows' "$work/out"
check metrics_count_what_is_trained grep -q '"step":1,.*"tokens":14,"trained_tokens":14,' "$work/adapter/metrics.jsonl"
run plan --model "$work/model" --data "$work/chat.jsonl" $few --mask-prompt --json >"$work/out" 2>&1
check plans_with_a_mask grep -q '"fits":true' "$work/out"

# The masked loss by hand: what is predicted in the whole, less what is predicted in the prompt, over the rest. A model of
# random weights gives each token another loss, so that one token too many or too few shows.
first_loss() { # model rows options...: tokens and loss of the first step
    rows=$2 model=$1
    shift 2
    rm -rf "$work/adapter"
    run train --model "$work/$model" --data "$rows" --iters 1 --batch-size 1 --num-layers 1 --dtype f32 --val-batches 0 \
        --threads 1 --adapter-path "$work/adapter" "$@" >"$work/log" 2>&1 || { tail -n 2 "$work/log"; return 1; }
    sed -nE 's/.*"loss":([0-9.e+-]+),.*"tokens":([0-9]+),"trained.*/\2 \1/p' "$work/adapter/metrics.jsonl"
}
echo '{"messages": [{"role": "user", "content": "What is 2+2?"}, {"role": "assistant", "content": "It is four."}]}' >"$work/one.jsonl"
printf '{"messages": [{"role": "user", "content": "<user>\\nWhat is 2+2?<|end|>\\n<assistant>\\n"}]}\n' >"$work/before.jsonl"
masked=$(first_loss model "$work/one.jsonl" --mask-prompt)
whole=$(first_loss model "$work/one.jsonl")
before=$(first_loss raw "$work/before.jsonl")
echo "tokens and loss: masked $masked, whole $whole, before $before"
check masked_loss_is_that_by_hand sh -c "echo '$masked $whole $before' | awk '{
    by_hand = (\$3 * \$4 - \$5 * \$6) / (\$3 - \$5); difference = by_hand - \$2
    print \"by hand\", by_hand; exit !(\$1 == 13 && \$3 - \$5 == 13 && difference < 1e-5 && difference > -1e-5) }'"
evaluated=$(run eval --model "$work/model" --data "$work/one.jsonl" --mask-prompt --dtype f32 | sed -nE 's/.* loss ([0-9.]+),.*/\1/p')
echo "eval: $evaluated"
check eval_counts_the_same sh -c "awk 'BEGIN { d = $evaluated - ${masked#* }; exit !(d < 1e-3 && d > -1e-3) }'"

# The split of a batch into passes changes nothing of a masked training but rounding.
check passes_weigh_tokens sh -c "
    cat '$work/chat.jsonl' '$work/prompt.jsonl' '$work/one.jsonl' >'$work/mixed.jsonl'
    for mode in '' --deterministic; do
        rm -rf '$work/adapter'
        '$levee' train --model '$work/model' --data '$work/mixed.jsonl' --mask-prompt --iters 4 --batch-size 9 --dtype f32 \
            --val-batches 0 --learning-rate 1e-3 --adapter-path '$work/adapter' \$mode >/dev/null 2>&1
        sed -nE 's/.*\"loss\":([0-9.]+),.*/\1/p' '$work/adapter/metrics.jsonl' >'$work/losses'\$mode
    done
    paste '$work/losses' '$work/losses--deterministic' | awk '
        { n++; d = \$1 - \$2; if (d > 1e-4 || d < -1e-4) bad = 1 } END { exit bad || n != 4 }'"

# What cannot be used is named by file and line, with the remedy.
expect no_template 65 "chat.jsonl: line 1: a row of a prompt or of messages needs a chat template" \
    train --model "$work/bare" --data "$work/chat.jsonl" --adapter-path "$work/x" $few
expect no_template_for_prompts 65 "put the model's chat_template.jinja into its directory" \
    train --model "$work/bare" --data "$work/prompt.jsonl" --adapter-path "$work/x" $few
expect masks_no_texts 65 'text.jsonl: line 1: a row of text has no prompt that --mask-prompt' \
    train --model "$work/model" --data "$work/text.jsonl" --mask-prompt --adapter-path "$work/x" $few
{ cat "$work/chat.jsonl"; echo '{"prompt": "no answer"}'; } >"$work/half.jsonl"
expect half_a_pair 65 'half.jsonl: line 5: the row has "prompt" without "completion"' \
    train --model "$work/model" --data "$work/half.jsonl" --adapter-path "$work/x" $few
echo '{"messages": [{"role": "user", "content": "q"}]}' >"$work/asks.jsonl"
expect nothing_to_learn 65 'none of its 1 rows has a token to learn' \
    train --model "$work/model" --data "$work/asks.jsonl" --mask-prompt --adapter-path "$work/x" $few
cp -r "$work/model" "$work/raises"
echo "{{ raise_exception('roles must alternate') }}" >"$work/raises/chat_template.jinja"
expect template_raises 65 'chat.jsonl: line 1: ' train --model "$work/raises" --data "$work/chat.jsonl" --adapter-path "$work/x" $few
check says_what_the_template_raised grep -q 'chat_template.jinja: line 1, column [0-9]*: roles must alternate' "$work/out"

# levee tokenize.
cat "$work/one.jsonl" "$work/asks.jsonl" >"$work/both.jsonl"
expect tokenizes 0 '"rendered": "<user>\nWhat is 2+2?<|end|>\n<assistant>\nIt is four.<|end|>\n", "ids": [60, 117,' \
    tokenize --model "$work/model" "$work/both.jsonl"
expect marks_the_answer 0 '0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], "text": ' \
    tokenize --model "$work/model" --mask-prompt "$work/one.jsonl"
expect begins_an_answer 0 'q<|end|>\n<assistant>\n", "ids"' \
    tokenize --model "$work/model" --add-generation-prompt "$work/asks.jsonl"
expect tokenizes_a_prompt 0 '"ids": [72, 105, 256]' tokenize --model "$work/model" --prompt Hi
expect without_special_tokens 0 '"ids": [72, 105]' tokenize --model "$work/model" --prompt Hi --no-special-tokens
expect with_another_end 0 '"ids": [72, 105, 257]' tokenize --model "$work/model" --prompt Hi --eos-token '<|begin|>'
expect with_no_such_end 2 "'<none>' is no token" tokenize --model "$work/model" --prompt Hi --eos-token '<none>'
expect colours 0 "$(printf '\033[32mIt is four.<|end|>')" tokenize --model "$work/model" --mask-prompt --colour "$work/one.jsonl"
{ echo '{"prompt": 1, "completion": "a"}'; echo nonsense; cat "$work/one.jsonl"; } >"$work/bad.jsonl"
expect goes_on_after_bad_rows 65 'bad.jsonl: line 2: is not JSON' tokenize --model "$work/model" "$work/bad.jsonl"
check bad_rows_keep_their_places sh -c "sed -n '1p;2p' '$work/out' | grep -c '^{\"error\": ' | grep -qx 2 &&
    sed -n 3p '$work/out' | grep -q '^{\"rendered\": '"
awk 'BEGIN { printf "{\"text\": \""; for (i = 0; i < 200000; i++) printf "long "; print "\"}" }' >"$work/long.jsonl"
cat "$work/one.jsonl" >>"$work/long.jsonl"
expect goes_on_after_a_long_row 65 '"rendered": "<user>' tokenize --model "$work/model" --max-row-bytes 1000 "$work/long.jsonl"
check names_the_long_row grep -q 'long.jsonl: line 1: the row has more than 1000 bytes' "$work/out"
check long_row_is_one [ "$(grep -c '"error"' "$work/out")" = 1 ]
expect tokenize_needs_rows 2 'a file of rows is needed' tokenize --model "$work/model"
expect not_an_option_of_train 2 'option of levee tokenize' train --model "$work/model" --colour

# Beside Hugging Face's own, where there is one: LEVEE_PYTHON is a Python that has transformers.
python=${LEVEE_PYTHON:-python3}
if [ ! -d "$shared/chat_templates" ] || ! "$python" -c 'import transformers' 2>/dev/null; then
    echo "chat templates in $shared, or transformers in $python, are not there; set LEVEE_SHARED and LEVEE_PYTHON"
    echo "[  SKIPPED ] same_as_transformers"
else
    for tokenizer in bpe-qwen2 bpe-llama3 phi-3-mini; do
        mkdir "$work/$tokenizer"
        check "same_as_transformers_$(echo "$tokenizer" | tr - _)" \
            "$python" tests/compare_chat.py "$levee" "$shared/tokenizers/$tokenizer" "$shared/chat_templates" "$work/$tokenizer"
    done
fi
exit $failed

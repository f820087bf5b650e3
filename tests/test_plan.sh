#!/bin/sh
# levee plan: it says what train then does, names budgets and settings that do, and leaves everything as it was. Speaks cmocka's
# language to tests/run.sh; tests/test_train_analysis.c has what is asked by the public call.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
levee=${LEVEE:-build/levee}
. tests/checks.sh

run init "$work/model" --hidden-size 64 --intermediate-size 160 --layers 4 --heads 4 --kv-heads 2 || exit 1
tools/make-text.sh harbour >"$work/train.jsonl"
job="--model $work/model --data $work/train.jsonl --dtype f32 --val-batches 0"
places() { grep -o '"planned_bytes":{[^}]*}' "$1" | head -n 1 | sed 's/,"runtime".*//'; }
runtime() { grep -o '"planned_bytes":{[^}]*}' "$1" | head -n 1 | sed -E 's/.*"runtime":([0-9]+).*/\1/'; }
table() { sed -n '/^  memory/,/^  budget/p' "$1" | grep -vE '^  (runtime|total)'; }
# What was wrapped at the edge of the screen, in one line again.
unwrapped() { awk '/^              [^ ]/ { sub(/^ +/, " "); printf "%s", $0; next } { printf "%s%s", (NR > 1 ? "\n" : ""), $0 } END { print "" }' "$1"; }
ls -lR --time-style=full-iso "$work/model" >"$work/before"

# Prediction against measurement: what was held at most is what was predicted, to half a MiB; the bound to keep is 2 MiB. A
# sanitizer's memory is in no plan.
drifted_little() {
    predicted=$(sed -nE 's/.*"predicted_bytes":([0-9]+).*/\1/p' "$1" | tail -n 1) peak=$(sed -nE 's/.*"peak_bytes":([0-9]+).*/\1/p' "$1" | tail -n 1)
    echo "predicted $predicted, measured $peak: $((peak - predicted))"
    [ -n "$SANITIZE" ] || { [ $((peak - predicted)) -lt 524288 ] && [ $((predicted - peak)) -lt 524288 ]; }
}
# What is planned is what train plans, prints and writes: to the byte, but for the runtime, which both measure.
sum=0 jobs=0
same_as_train() { # label options...
    label=$1
    shift
    rm -rf "$work/adapter"
    run train $job "$@" --memory 200MiB --iters 1 --adapter-path "$work/adapter" >"$work/trained" 2>&1
    run plan $job "$@" --memory 200MiB --json >"$work/planned" 2>&1
    run plan $job "$@" --memory 200MiB >"$work/planned_text" 2>&1
    a=$(runtime "$work/planned") b=$(runtime "$work/adapter/metrics.jsonl")
    echo "$label: runtime planned $a, of train $b"
    sum=$((sum + b - a)) jobs=$((jobs + 1))
    [ -n "$(places "$work/planned")" ] && [ "$(places "$work/planned")" = "$(places "$work/adapter/metrics.jsonl")" ] &&
        [ -n "$(table "$work/trained")" ] && [ "$(table "$work/trained")" = "$(table "$work/planned_text")" ] &&
        { [ -n "$SANITIZE" ] || { [ $((a - b)) -lt 524288 ] && [ $((b - a)) -lt 524288 ]; }; } &&
        drifted_little "$work/adapter/metrics.jsonl" &&
        grep -q "^$(sed -nE 's/^a pass +([0-9]+) tokens.*/\1/p' "$work/planned_text") tokens a pass" "$work/trained"
}
check same_as_train_lora same_as_train lora
check same_as_train_head same_as_train head --fine-tune-type head
check same_as_train_full same_as_train full --fine-tune-type full
check same_as_train_last_2 same_as_train last-2 --fine-tune-type full --num-layers 2
check same_as_train_recomputed same_as_train recomputed --grad-checkpoint all --batch-size 8
check same_as_train_deterministic same_as_train deterministic --deterministic
# What a training has and a plan has not would show in all of them; a single one moves by chance. Else the budgets that the two
# name are a MiB apart more often than chance has it.
echo "runtime: a training has $((sum / jobs)) bytes more on average"
if [ -n "$SANITIZE" ]; then skip runtime_is_the_same_on_average "a sanitizer's memory moves by more"; else
    check runtime_is_the_same_on_average [ $((sum / jobs)) -lt 49152 -a $((sum / jobs)) -gt -49152 ]
fi

# Without a budget: the least one, and those from which nothing is recomputed.
run plan $job >"$work/out" 2>&1
unwrapped "$work/out" >"$work/lines"
least=$(sed -nE 's/^budgets +least ([0-9]+)MiB.*/\1/p' "$work/lines")
one=$(sed -nE 's/^budgets.* recomputed: ([0-9]+)MiB with one.*/\1/p' "$work/lines")
whole=$(sed -nE 's/^budgets.*, ([0-9]+)MiB with the whole.*/\1/p' "$work/lines")
echo "least $least MiB; nothing recomputed from $one MiB, in one pass from $whole MiB"
check says_what_can_be_had_now grep -q '^here, now .* can be had' "$work/out"
if [ -z "$SANITIZE" ]; then # no small budget holds with a sanitizer
    expect least_budget_does 0 'held' train $job --memory "${least}MiB" --iters 1 --adapter-path "$work/least"
    # Both measure what the process holds beside the plan, and round up: they may fall on two sides of a whole MiB.
    expect below_it_does_not 69 "budget that does is \\($((least - 1))\\|$least\\|$((least + 1))\\).0 MiB" train $job --memory "$((least - 2))MiB" --adapter-path "$work/x"
    expect nothing_recomputed_one 0 ' 0 of' train $job --memory "${one}MiB" --grad-checkpoint off --iters 1 --adapter-path "$work/one"
    expect nothing_recomputed_whole 0 ' 0 of' train $job --memory "${whole}MiB" --iters 1 --adapter-path "$work/whole"

    # What fits is not below the least: neither of a small job whose opening decides, nor for a budget that is just enough.
    for length in 64 100 126; do
        run train $job --max-seq-length $length --memory 4MiB --adapter-path "$work/x" >"$work/out" 2>&1
        named=$(sed -nE 's/.*budget that does is ([0-9]+)\.0 MiB.*/\1/p' "$work/out")
        run plan $job --max-seq-length $length --memory 1GiB >"$work/out" 2>&1
        echo "sequences of $length: $(grep -o '^budgets *least [0-9]*MiB' "$work/out"), named by a refusal $named"
        found=$(sed -nE 's/^budgets +least ([0-9]+)MiB.*/\1/p' "$work/out")
        check least_of_$length [ "$found" -le $((named + 1)) -a "$found" -ge $((named - 1)) ]
        run plan $job --max-seq-length $length --memory "$((named + 1))MiB" >"$work/out" 2>&1
        check enough_is_not_below_the_least_$length [ "$? $(($(sed -nE 's/^budgets +least ([0-9]+)MiB.*/\1/p' "$work/out") <= named + 1))" = '0 1' ]
    done
    # A sequence has two tokens at least, whatever is tried.
    expect tells_of_short_sequences_too 69 '^tried' plan $job --max-seq-length 64 --memory 4MiB

    # What does not fit, by so many MiB, is told with settings that do: each of them is trained with.
    awk 'BEGIN { printf "{\"text\": \"" } { gsub(/^{"text": "|"}$/, ""); printf "%s ", $0 } END { print "\"}" }' "$work/train.jsonl" |
        cut -c 1-3000 | sed 's/"*}*$/"}/' >"$work/long.jsonl"
    settings_do() { # MIB options...
        count=0 failures=0 missing=$1; shift
        near="--data $work/long.jsonl --model $work/model --dtype f32 --val-batches 0 --max-seq-length 1024 --batch-size 1 $*"
        run plan $near >"$work/out" 2>&1
        least=$(unwrapped "$work/out" | sed -nE 's/^budgets +least ([0-9]+)MiB.*/\1/p')
        near="$near --memory $((least - missing))MiB"
        run plan $near >"$work/out" 2>&1
        [ $? = 69 ] || return 1
        sed -nE 's/^  (--[a-z-]+ [a-z0-9]+) .* at least$/\1/p' "$work/out" >"$work/settings"
        while read -r setting; do # it comes last: of an option that is given twice, that counts
            count=$((count + 1))
            rm -rf "$work/near"
            run train $near --iters 1 --adapter-path "$work/near" $setting >"$work/near.log" 2>&1 </dev/null ||
                { failures=$((failures + 1)); echo "$setting does not: $(tail -n 1 "$work/near.log")"; }
        done <"$work/settings"
        echo "$near: $count settings that fit: $(tr '\n' ';' <"$work/settings")"
        [ $failures = 0 ] && [ $count -ge 1 ]
    }
    check settings_that_are_named_do settings_do 1
    check settings_of_full_do settings_do 2 --fine-tune-type full --num-layers -1
    check settings_of_off_do settings_do 6 --grad-checkpoint off
fi
expect tells_in_json_too 69 '"fits":false' plan --model "$work/model" --dtype f32 --max-seq-length 1000000 --batch-size 1 --memory 400MiB --json

# Analysis without files: config.json alone.
mkdir "$work/alone"
cp "$work/model/config.json" "$work/alone"
expect config_alone 0 'no weights are here, so all of them f32' plan --model "$work/alone" --memory 200MiB --max-seq-length 128
check config_alone_says_no_tokenizer grep -q '^assumed: no tokenizer.json' "$work/out"
check config_alone_says_no_data grep -q '^assumed: no --data, so sequences of --max-seq-length 128' "$work/out"
check config_alone_stays_alone [ "$(ls -A "$work/alone")" = config.json ]
run plan --model "$work/alone" --memory 200MiB --max-seq-length 128 --dtype f32 --json >"$work/without" 2>&1
run plan --model "$work/model" --memory 200MiB --max-seq-length 128 --dtype f32 --json >"$work/with" 2>&1
check weights_change_nothing [ "$(places "$work/with")" = "$(places "$work/without")" ]
expect data_need_a_tokenizer 66 'holds no tokenizer.json' plan --model "$work/alone" --data "$work/train.jsonl"

# One screen: an answer with its table, for a model of 8 billion parameters, is at most 80 columns wide and 49 lines long.
mkdir "$work/8b"
echo '{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 128256, "torch_dtype": "bfloat16", "max_position_embeddings": 8192}' >"$work/8b/config.json"
one_screen() { # lines status options...
    most=$1 wanted=$2
    shift 2
    run plan --model "$work/8b" --num-layers -1 --dtype f32 "$@" 2>"$work/err" >"$work/out"
    [ $? = "$wanted" ] && awk -v most="$most" 'NR > 1 { if (length($0) > 80) { wide = 1; print } } END { print NR " lines"; exit wide || NR > most || NR < 20 }' "$work/out"
}
check answer_is_one_screen one_screen 49 0 --memory 48GB --table
check answer_says_what_weights_take_beside sh -c "grep -q '^weights .* GiB in all' '$work/out'"
check explanation_is_as_wide one_screen 60 0 --memory 48GB --explain
check refusal_is_one_screen one_screen 49 69 --memory 1500MiB

# The picture.
expect draws_svg 0 '' plan $job --memory 200MiB --curve "$work/curve.svg"
expect draws_page 0 '' plan $job --memory 200MiB --curve "$work/curve.html"
check svg_is_one grep -q '^<svg .*viewBox' "$work/curve.svg"
check svg_ends [ "$(tail -n 1 "$work/curve.svg")" = '</svg>' ]
check svg_names_operators grep -q '<title>linear and lora gradient of layer 3' "$work/curve.svg"
check svg_follows_the_reader grep -q 'prefers-color-scheme:dark' "$work/curve.svg"
check page_is_one grep -q '^<!DOCTYPE html>' "$work/curve.html"
columns=$(grep -c 'class="hover"' "$work/curve.svg")
echo "$columns operators"
check svg_has_every_operator [ "$columns" -gt 100 ]
if command -v xmllint >/dev/null; then check svg_is_well_formed xmllint --noout "$work/curve.svg"; fi
expect curve_needs_a_place 74 'nowhere' plan $job --memory 200MiB --curve "$work/nowhere/curve.svg"

# Refusals.
expect missing_model 66 'holds no config.json' plan --model "$work/nothing"
mkdir "$work/broken" "$work/unknown" "$work/damaged"
echo '{"model_type": "llama", ' >"$work/broken/config.json"
expect broken_config 65 'broken/config.json' plan --model "$work/broken"
sed 's/"llama"/"mamba"/' "$work/model/config.json" >"$work/unknown/config.json"
expect unknown_family 65 "'mamba' is not supported" plan --model "$work/unknown"
cp "$work/model/config.json" "$work/damaged"
head -c 100 "$work/model/model.safetensors" >"$work/damaged/model.safetensors"
expect damaged_weights 65 'model.safetensors' plan --model "$work/damaged"
expect no_model 2 'model is needed' plan
expect table_is_plans 2 'option of levee plan, not of levee train' train $job --table --adapter-path "$work/y"
expect no_device_yet 2 'no device backend yet' plan $job --device-memory 8GiB
expect table_of_one_sequence 2 'deterministic passes hold one' plan $job --memory 200MiB --table --deterministic
check train_took_no_directory [ ! -e "$work/y" ]
expect help_shows_its_options 0 '--curve' plan --help
check help_of_others_does_not sh -c "! '$levee' train --help | grep -q -e --curve"
expect peers_name_of_rank 0 'lora of rank 2' plan $job --memory 200MiB --lora-rank 2

ls -lR --time-style=full-iso "$work/model" >"$work/after"
check model_directory_is_untouched cmp -s "$work/before" "$work/after"
exit $failed

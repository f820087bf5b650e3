#!/bin/sh
# Predicted against measured peaks: what trains x sequences a pass x their length x --grad-checkpoint, a line of a Markdown table
# each, then the worst and the mean error of each model. Exits with 1 when one is above the bound (2 MiB below 200 MiB in
# all, 1 % from there on), when a budget did not hold, as sampled from outside, or when a run failed.
#   bench/accuracy.sh LEVEE HELD [MODEL_DIR...]
# Without a model it makes those of $FAMILIES (llama mistral qwen2 qwen3) and $MODELS (50 200 800: megabytes of f32 weights). $TYPES (lora
# head last-2 full), $MICRO_BATCHES (1 3 8), $SEQUENCES (64 512) and $CHECKPOINTS (off all auto) are subsets to be had sooner; auto needs
# the two before it. One step each: the plan's memory is taken whole before the first step, and the save at the end is measured too. For
# auto the budget lies in the middle between what off and all need.
set -e
levee=$1 held=$2; shift 2
work=$(mktemp -d)
export XDG_RUNTIME_DIR="$work" # budgets of which little is taken: other runs need not make room for them
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
make_model() { # family megabytes
    family=$1; shift
    case $1 in
    50) set -- "$1" 384 1024 8 6 2 ;;
    200) set -- "$1" 640 1728 11 10 5 ;;
    800) set -- "$1" 1024 2816 17 16 8 ;;
    *) echo "MODELS: $1 is none of 50, 200 and 800" >&2; exit 2 ;;
    esac
    "$levee" init "$work/$family-${1}MB" --family "$family" --hidden-size "$2" --intermediate-size "$3" --layers "$4" --heads "$5" --kv-heads "$6"
}
if [ $# -eq 0 ]; then
    for size in ${MODELS:-50 200 800}; do
        for name in ${FAMILIES:-llama mistral qwen2 qwen3}; do make_model "$name" "$size"; set -- "$@" "$work/$name-${size}MB"; done
    done
fi
# Rows that are longer than any length that is asked for.
tools/make-text.sh harbour | awk '{ gsub(/^{"text": "|"}$/, ""); text = text " " $0 }
    END { for (i = 0; i < 8; i++) printf "{\"text\": \"%s\"}\n", text }' >"$work/train.jsonl"

# Writes: predicted, measured, and most from outside, in bytes.
measure() { # model type micro-batch tokens checkpoint budget
    case $2 in
    last-2) type='full --num-layers 2' ;;
    *) type="$2 --num-layers -1" ;;
    esac
    # shellcheck disable=SC2086
    "$held" "$work/most" "$levee" train --model "$1" --data "$work/train.jsonl" --fine-tune-type $type --batch-size "$3" \
        --micro-batch-size "$3" --iters 1 --val-batches 0 --dtype f32 --max-seq-length $(($4 + 1)) --grad-checkpoint "$5" \
        --memory "$6" --adapter-path "$work/out" >"$work/log" 2>&1 || { tail -n 1 "$work/log" >&2; return 1; }
    sed -nE 's/.*"predicted_bytes":([0-9]+).*/\1/p' "$work/out/metrics.jsonl" | tail -n 1
    sed -nE 's/.*"peak_bytes":([0-9]+).*/\1/p' "$work/out/metrics.jsonl" | tail -n 1
    head -n 1 "$work/most"
    rm -rf "$work/out"
}

echo '| model | trains | sequences a pass | tokens each | --grad-checkpoint | budget, MiB | predicted, MiB | measured, MiB | difference, MiB | % | held from outside, MiB | |'
echo '|---|---|---:|---:|---|---:|---:|---:|---:|---:|---:|---|'
for model; do
    for type in ${TYPES:-lora head last-2 full}; do
        for tokens in ${SEQUENCES:-64 512}; do
            for micro in ${MICRO_BATCHES:-1 3 8}; do
                most=0 least=0
                for checkpoint in ${CHECKPOINTS:-off all auto}; do
                    budget=16384
                    [ "$checkpoint" = auto ] && budget=$(((most + least) / 2097152 + 3))
                    if ! result=$(measure "$model" "$type" "$micro" "$tokens" "$checkpoint" "${budget}MiB"); then
                        echo "$(basename "$model") failed" >>"$work/rows"
                        continue
                    fi
                    predicted=$(echo "$result" | sed -n 1p)
                    [ "$checkpoint" = off ] && most=$predicted
                    [ "$checkpoint" = all ] && least=$predicted
                    echo $(basename "$model") $type $micro $tokens $checkpoint $budget $result >>"$work/rows"
                    tail -n 1 "$work/rows" | awk '{ MiB = 1048576; d = ($8 - $7) / MiB; p = 100 * ($8 - $7) / $7; a = d < 0 ? -d : d
                        verdict = $9 > $6 * MiB ? "NOT HELD" : ($8 < 200 * MiB ? a > 2 : a * MiB > $8 / 100) ? "ABOVE THE BOUND" : "held"
                        printf "| %s | %s | %d | %d | %s | %d | %.1f | %.1f | %+.2f | %+.2f | %.1f | %s |\n",
                            $1, $2, $3, $4, $5, $6, $7 / MiB, $8 / MiB, d, p, $9 / MiB, verdict }'
                done
            done
        done
    done
done
echo
awk 'function take(name, error) { sum[name] += error; if (error > worst[name]) worst[name] = error; n[name]++ }
    { MiB = 1048576; if (NF == 2) { failed++; next }
      error = $8 > $7 ? $8 - $7 : $7 - $8
      if (!($1 in seen)) { seen[$1] = 1; order[++models] = $1 }
      if ($8 < 200 * MiB) { take($1 "small", error / MiB); above += error > 2 * MiB }
      else { take($1 "large", 100 * error / $8); above += error > $8 / 100 }
      not_held += $9 > $6 * MiB }
    END { print "| model | below 200 MiB: runs | worst, MiB | mean, MiB | from 200 MiB: runs | worst, % | mean, % |"
      print "|---|---:|---:|---:|---:|---:|---:|"
      for (i = 1; i <= models; i++) { s = order[i] "small"; l = order[i] "large"
          printf "| %s | %d | %.2f | %.2f | %d | %.3f | %.3f |\n", order[i], n[s], worst[s], n[s] ? sum[s] / n[s] : 0,
              n[l], worst[l], n[l] ? sum[l] / n[l] : 0 }
      printf "\n%d runs; %d above the bound, %d not held, %d failed\n", NR, above, not_held, failed
      exit above + not_held + failed > 0 }' "$work/rows"

#!/bin/sh
# How the time and the memory of a step grow with the work: with the tokens of a pass, the length of a sequence (as
# many tokens a step, so what grows is attention's share), layers, vocabulary, and LoRA's rank; a table and a picture
# each, with the exponent that fits best.
#   bench/scaling.sh LEVEE PLOT
# Models are made by levee init, of hidden size 256; LoRA of all layers in f32 on random weights, one pass a step,
# nothing recomputed. All points of an axis are measured ROUNDS times (3), forwards and backwards, because machines
# drift, STEPS steps each (6), of which the first does not count; a time is the median. AXES (tokens sequence layers
# vocabulary rank) chooses, THREADS (all) too. scaling.md and scaling-AXIS.svg go to $RESULTS (build/bench).
levee=$1 plot=$2
results=${RESULTS:-build/bench} rounds=${ROUNDS:-3} steps=${STEPS:-6} threads=${THREADS:-$(nproc)}
axes=${AXES:-tokens sequence layers vocabulary rank}
[ "$steps" -ge 2 ] || { echo "STEPS is 2 at least: the first does not count" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir -p "$results" || exit 1
# Rows of more tokens, which are bytes here, than any length that is asked for.
{ tools/make-text.sh harbour; tools/make-text.sh garden; } | awk '{ gsub(/^{"text": "|"}$/, ""); text = text " " $0 }
    length(text) > 2200 && ++rows <= 32 { printf "{\"text\": \"%s\"}\n", text; text = "" }' >"$work/train.jsonl"
[ "$(wc -l <"$work/train.jsonl")" -eq 32 ] || { echo "there are fewer than 32 rows" >&2; exit 1; }

# A point appends to $work/$axis a line for each step after the first: X, seconds, bytes held, attention's share of
# the run in per cent.
point() { # layers vocabulary rank length sequences X
    model=$work/model-$1-$2
    [ -d "$model" ] || "$levee" init "$model" --hidden-size 256 --intermediate-size 768 --heads 4 --kv-heads 2 --layers "$1" --vocab-size "$2" || exit 1
    rm -rf "$work/run"
    "$levee" train --model "$model" --data "$work/train.jsonl" --num-layers -1 --rank "$3" --max-seq-length $(($4 + 1)) --batch-size "$5" \
        --micro-batch-size "$5" --iters "$steps" --grad-checkpoint off --dtype f32 --memory 16GiB --threads "$threads" --val-batches 0 \
        --save-every 100000 --profile --adapter-path "$work/run" >"$work/log" 2>&1 || { tail -n 2 "$work/log" >&2; exit 1; }
    grep -q "^$(($4 * $5)) tokens a pass" "$work/log" ||
        { echo "$axis $6: a pass is not of $(($4 * $5)) tokens: $(grep 'tokens a pass' "$work/log")" >&2; exit 1; }
    sed -nE 's/.*"seconds":([0-9.e+-]+),.*"peak_bytes":([0-9]+).*/\1 \2/p' "$work/run/metrics.jsonl" |
        awk -v x="$6" -v share="$(awk '$1 == "attention" { sum += $2 == "gradient" ? $5 : $4 } END { print sum }' "$work/log")" \
            'NR > 1 { print x, $1, $2, share }' >>"$work/$axis"
}
points() {
    case $axis in
    tokens) for n in 1 2 4 8 16 32; do echo "4 4096 8 128 $n $((128 * n))"; done ;;
    sequence) for n in 64 128 256 512 1024 2048; do echo "4 4096 8 $n $((2048 / n)) $n"; done ;;
    layers) for n in 2 4 8 16 32; do echo "$n 4096 8 256 4 $n"; done ;;
    vocabulary) for n in 1024 4096 16384 65536; do echo "4 $n 8 256 4 $n"; done ;;
    rank) for n in 4 8 16 32 64 128; do echo "4 4096 $n 256 4 $n"; done ;;
    *) echo "AXES: $axis is none of tokens, sequence, layers, vocabulary, rank" >&2; exit 2 ;;
    esac
}
describe() {
    case $axis in
    tokens) what='tokens a pass' how='sequences of 128 tokens, 4 layers, vocabulary 4096, rank 8' ;;
    sequence) what='tokens of a sequence' how='2048 tokens a step, 4 layers, vocabulary 4096, rank 8' ;;
    layers) what=layers how='4 sequences of 256 tokens, vocabulary 4096, rank 8' ;;
    vocabulary) what='rows of the vocabulary' how='4 sequences of 256 tokens, 4 layers, rank 8' ;;
    rank) what="LoRA's rank" how='4 sequences of 256 tokens, 4 layers, vocabulary 4096' ;;
    esac
}
for axis in $axes; do points >"$work/points-$axis" || exit; done
for round in $(seq "$rounds"); do
    for axis in $axes; do
        if [ $((round % 2)) -eq 1 ]; then cat "$work/points-$axis"; else sed '1!G;h;$!d' "$work/points-$axis"; fi >"$work/order"
        # shellcheck disable=SC2086
        while read -r numbers <&3; do point $numbers; done 3<"$work/order"
    done
done
# The power of the first column that the product of two columns of the medians grows with.
power() {
    awk -v a="$1" -v b="$2" '{ x = log($1); y = log($a * $b); n++; sx += x; sy += y; sxx += x * x; sxy += x * y }
        END { print (n * sxy - sx * sy) / (n * sxx - sx * sx) }' "$work/medians"
}
{
    echo "# How a step grows, $(date -u '+%Y-%m-%d %H:%M') UTC"
    echo
    echo "\`make bench-scaling\`: hidden size 256, LoRA of all layers in f32, one pass a step, nothing recomputed; $threads threads of"
    echo "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1); $rounds rounds of $steps steps. The exponent is that of the power that fits best,"
    echo "and between the last two points."
} >"$results/scaling.md"
for axis in $axes; do
    describe
    sort -g -k 1,1 -k 2,2 "$work/$axis" | awk '
        function end(    k) { k = n % 2 ? t[(n + 1) / 2] : (t[n / 2] + t[n / 2 + 1]) / 2; if (n) print x, k, bytes, t[1], t[n], share / n }
        $1 != x { end(); n = 0; bytes = 0; share = 0; x = $1 }
        { t[++n] = $2; share += $4; if ($3 > bytes) bytes = $3 }
        END { end() }' >"$work/medians"
    awk '{ print $1, $2, $3 }' "$work/medians" |
        "$plot" "$results/scaling-$axis.svg" "A step by $what" "$how; the line is the power that fits best" "$what" >"$work/exponents" || exit 1
    {
        echo
        echo "| $what | ms a step | least, most | held, MiB | attention's share of the time |"
        echo '|---:|---:|---|---:|---:|'
        awk '{ printf "| %d | %.1f | %.1f, %.1f | %.1f | %.1f %% |\n", $1, 1e3 * $2, 1e3 * $4, 1e3 * $5, $3 / 1048576, $6 }' "$work/medians"
        echo
        awk -v how="$how" -v attention="$(power 2 6)" '{ printf "(%s.) Time grows with the power %.2f, at the end %.2f, attention alone with %.2f; held memory with %.2f, at the end %.2f.\n",
            how, $1, $3, attention, $2, $4 }' "$work/exponents"
        echo
        echo "![A step by $what](scaling-$axis.svg)"
    } >>"$results/scaling.md"
done
cat "$results/scaling.md"
echo
echo "stored in $results/scaling.md and scaling-*.svg beside it"

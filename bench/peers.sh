#!/bin/sh
# Levee beside PyTorch and PEFT on the same model, rows and tokens: 4 rows of 512 tokens a step, as many threads, in turn, all in one
# run. Prints for each kind of training tokens a second (the median of the steps after the first, over all rounds, with the least and the
# most), the peak of held memory and of all resident memory, seconds from the start of the process to the end of its first step, and
# Levee's ratio to the fastest and the leanest.
#   bench/peers.sh LEVEE HELD MODEL_DIR [ROUNDS]
# KINDS (lora full head) and VARIANTS (f32:eager f32:checkpoint; also bf16:, :compile), STEPS (4), THREADS (all), BUDGETS choose. The peers
# live in an environment of their own, in PEERS (made when it is missing, which needs the network); where that cannot be had Levee runs
# alone.
levee=$1 held=$2 model=$3 rounds=${4:-2}
kinds=${KINDS:-lora full head} variants=${VARIANTS:-f32:eager f32:checkpoint} steps=${STEPS:-4} threads=${THREADS:-$(nproc)}
peers=${PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/levee/peers}
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
[ -x "$peers/bin/python" ] || { python3 -m venv "$peers" && "$peers/bin/pip" install --quiet torch transformers peft; }
"$peers/bin/python" -c 'import torch, peft, transformers' 2>/dev/null || { echo "no peers here: Levee alone"; variants=; }
# 8 rows of at least 513 tokens.
"$here/../tools/make-text.sh" harbour | awk '{ gsub(/^{"text": "|"}$/, ""); text = text $0 " " }
    NR % 40 == 0 && ++rows <= 8 { print "{\"text\": \"" text "\"}"; text = "" } NR % 40 == 0 { text = "" }' >"$work/train.jsonl"

# Appends "seconds" of the steps after the first to NAME.steps; the first lines of NAME.first and NAME.held stay those of the last round.
run_peer() { # kind dtype variant
    name=$1-$2-$3
    "$held" "$work/held" "$peers/bin/python" "$here/peer_torch.py" "$model" "$work/train.jsonl" "$1" "$2" "$3" "$steps" "$threads" \
        >"$work/out" 2>"$work/err" || { echo "$name: $(tail -n 1 "$work/err")"; return; }
    awk '$1 == "step" && $2 > 1 { print $3 }' "$work/out" >>"$work/$name.steps"
    awk '$1 == "ready" { ready = $2 } $1 == "step" && $2 == 1 { print ready + $3 }' "$work/out" >>"$work/$name.first"
    cat "$work/held" >"$work/$name.held"
}
run_levee() { # kind dtype budget
    name=$1-levee-$2-$3
    rm -rf "$work/run"
    begun=$(date +%s.%N)
    { while ! [ -s "$work/run/metrics.jsonl" ] && [ -e "$work" ]; do sleep 0.01; done; date +%s.%N >"$work/first"; } &
    watcher=$!
    if "$held" "$work/held" "$levee" train --model "$model" --data "$work/train.jsonl" --fine-tune-type "$1" --num-layers -1 --rank 8 \
        --batch-size 4 --max-seq-length 513 --iters "$steps" --memory "$3" --dtype "$2" --threads "$threads" --val-batches 0 \
        --save-every 100000 --adapter-path "$work/run" >"$work/out" 2>&1; then
        wait $watcher
        sed -E 's/.*"step":([0-9]+),.*"seconds":([0-9.e+-]+).*/\1 \2/' "$work/run/metrics.jsonl" |
            awk '$1 > 1 { print $2 }' >>"$work/$name.steps"
        awk -v begun="$begun" '{ print $1 - begun }' "$work/first" >>"$work/$name.first"
        cat "$work/held" >"$work/$name.held"
    else
        kill $watcher
        echo "$name: $(tail -n 1 "$work/out")"
    fi
}
for round in $(seq "$rounds"); do
    for kind in $kinds; do
        for budget in ${BUDGETS:-400MiB 16GiB}; do
            for dtype in ${DTYPES:-f32}; do run_levee "$kind" "$dtype" "$budget"; done
        done
        for variant in $variants; do run_peer "$kind" "${variant%:*}" "${variant#*:}"; done
    done
done

# NAME TOKENS/S LEAST MOST HELD RESIDENT FIRST of everything that ran.
for file in "$work"/*.steps; do
    name=$(basename "$file" .steps)
    sort -g "$file" | awk -v name="$name" -v first="$(sort -g "$work/$name.first" | head -n 1)" -v held="$(paste -s -d ' ' "$work/$name.held")" '
        { t[NR] = 2048 / $1 } END { split(held, bytes, " ")
        print name, t[int((NR + 1) / 2)], t[NR], t[1], bytes[1] / 1048576, bytes[2] / 1048576, first }'
done >"$work/all"
for kind in $kinds; do
    echo
    echo "| $kind | tokens/s | least, most | held, MiB | resident, MiB | first step done after, s |"
    echo '|---|---:|---|---:|---:|---:|'
    grep "^$kind-" "$work/all" | sed "s/^$kind-//" |
        awk '{ printf "| %s | %.1f | %.1f, %.1f | %.0f | %.0f | %.1f |\n", $1, $2, $3, $4, $5, $6, $7 }'
    grep "^$kind-" "$work/all" | awk '
        $1 ~ /-levee-/ { if ($2 > fast) { fast = $2; first = $7 } if (!lean || $5 < lean) { lean = $5; total = $6; speed = $2 } next }
        { if ($2 > peer) peer = $2; if (!small || $5 < small) small = $5; if (!rss || $6 < rss) rss = $6; if (!begin || $7 < begin) begin = $7 }
        END { if (peer && fast) printf "\nLevee is %.2f times as fast as the fastest peer, holds %.3f of the leanest (%.3f of its resident memory)\n" \
            "at %.2f of its own speed, and has finished its first step in %.3f of the time.\n", fast / peer, lean / small, total / rss, speed / fast, first / begin }'
done

#!/bin/sh
# Levee beside its peers on the same model, rows and tokens: 4 rows of 512 tokens a step, as many threads, all in one
# run, round by round, every second round backwards, because machines drift. The peers are PyTorch with PEFT
# (peer_torch.py) and mlx-lm (peer_mlx.py).
#   bench/peers.sh LEVEE HELD [MODEL_DIR [ROUNDS]]
# Without a model levee init makes one of SmolLM2-135M's shape, of random f32 weights. Prints, and stores in $RESULTS
# (build/bench), for each kind of training a table (bench/peers.awk) of tokens a second, peaks of memory, seconds from
# the start of the process to the end of its first step, and instructions a token after it where there are counters;
# then the goals, a line each, and where they stand. All single figures lie beside it as JSON. The last line says
# where.
#
# What is run, to have less of it:
#   KINDS     lora full head
#   VARIANTS  of PyTorch: f32:eager f32:checkpoint f32:compile bf16:eager bf16:checkpoint bf16:compile; "": none
#   MLX       types of mlx-lm: bf16; also f32, minutes a step; "": none. It has no head-only training, and its full
#             training is one of the layers alone: so MLX_KINDS is lora
#   MLX_PRELOAD  a library that is loaded before mlx-lm's own, as libopenblas.so.0: the BLAS in its package is slow
#   DTYPES    of Levee: f32 bf16
#   BUDGETS   of Levee; without: one that is tight for SmolLM2-135M, and one for which nothing has to be recomputed
#   STEPS     4, of which the first does not count for speed; MLX_STEPS, 3, because they take ten times as long
#   THREADS   all
# PEERS and MLX_PEERS are their environments, made by pip when they lack the packages; where these cannot be had Levee
# runs alone.
levee=$1 held=$2 model=$3 rounds=${4:-2}
kinds=${KINDS-lora full head} variants=${VARIANTS-f32:eager f32:checkpoint f32:compile bf16:eager bf16:checkpoint bf16:compile}
mlx=${MLX-bf16} mlx_kinds=${MLX_KINDS-lora} dtypes=${DTYPES-f32 bf16} steps=${STEPS:-4} mlx_steps=${MLX_STEPS:-3}
threads=${THREADS:-$(nproc)} results=${RESULTS:-build/bench} counter=${COUNTER:-instructions:u}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/levee
export HELD_MILLISECONDS=20 # a training holds what it holds for longer
peers=${PEERS:-$cache/peers} mlx_peers=${MLX_PEERS:-$cache/peers-mlx}
here=$(dirname "$0")
work=$(mktemp -d) runner='' load=$(cut -d ' ' -f 1 /proc/loadavg)
child() { tr -d ' ' <"/proc/$runner/task/$runner/children" 2>/dev/null; } # it has one
stop() { [ -z "$runner" ] || kill "$(child)" 2>/dev/null; }
trap 'stop; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
if [ "$steps" -lt 2 ] || [ "$mlx_steps" -lt 2 ]; then echo "STEPS and MLX_STEPS are 2 at least: the first does not count" >&2; exit 2; fi
say() { echo "$*" >&2; }

# An environment in which Python can import what is asked for: what is there, or what pip can fetch.
has() { "$1/bin/python" -c "import $2" 2>"$work/err"; } # directory modules
make_torch() {
    has "$peers" torch,peft,transformers && return
    say "installing PyTorch and PEFT into $peers"
    python3 -m venv "$peers" 2>"$work/err" || return
    fetch="$peers/bin/pip install --quiet --retries 1 --timeout 20"
    { $fetch torch --index-url "${LEVEE_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" || $fetch torch; } 2>"$work/err" &&
        $fetch transformers peft 2>"$work/err" && has "$peers" torch,peft,transformers
}
make_mlx() {
    has "$mlx_peers" mlx_lm.lora && return
    say "installing mlx-lm into $mlx_peers"
    python3 -m venv "$mlx_peers" 2>"$work/err" &&
        "$mlx_peers/bin/pip" install --quiet --retries 1 --timeout 20 mlx-lm 'mlx[cpu]' 2>"$work/err" && has "$mlx_peers" mlx_lm.lora
}
alone() { echo "$1 cannot be had here ($(tail -n 1 "$work/err" | cut -c 1-160)): not measured"; }
: >"$work/remarks"
if [ -n "$variants" ]; then
    make_torch || { alone PyTorch | tee -a "$work/remarks"; variants=; }
fi
if [ -n "$mlx" ] && [ -n "$mlx_kinds" ]; then
    make_mlx || { alone mlx-lm | tee -a "$work/remarks"; mlx=; }
fi
[ -n "$variants$mlx" ] || say "Levee alone"

if [ -z "$model" ]; then
    say "making a model of SmolLM2-135M's shape"
    model=$work/model
    "$levee" init "$model" --hidden-size 576 --intermediate-size 1536 --layers 30 --heads 9 --kv-heads 3 --vocab-size 49152 || exit 1
    named="one that levee init makes of SmolLM2-135M's shape, random weights in f32"
else
    named=$(basename "$model")
fi
# 8 rows of at least 513 tokens.
mkdir "$work/data"
"$here/../tools/make-text.sh" harbour | awk '{ gsub(/^{"text": "|"}$/, ""); text = text $0 " " }
    NR % 40 == 0 && ++rows <= 8 { print "{\"text\": \"" text "\"}"; text = "" } NR % 40 == 0 { text = "" }' >"$work/data/train.jsonl"

perf stat -x , -e "$counter" true 2>&1 | grep -q '^[0-9]' || { counter=; echo "instructions: no counters here" >>"$work/remarks"; }

# Runs a command beside HELD, its output in $work/out. What is counted begins when FILE has PATTERN, which is the end
# of the first step.
watch() { # FILE PATTERN COMMAND...
    file=$1 pattern=$2; shift 2
    rm -f "$work/count" "$work/most"
    "$held" "$work/most" "$@" >"$work/out" 2>"$work/err" &
    runner=$!
    counting=
    if [ -n "$counter" ]; then
        {
            until grep -q "$pattern" "$file" 2>/dev/null; do
                sleep 0.02
                kill -0 $runner 2>/dev/null || exit
            done
            exec perf stat -x , -e "$counter" -o "$work/count" -p "$(child)"
        } 2>/dev/null &
        counting=$!
    fi
    wait $runner
    status=$?
    runner=
    [ -z "$counting" ] || wait $counting
    return $status
}
# A run has a line: kind, who, type, variant, round, first step, bytes held and resident, what was counted for a
# token, then the seconds of its other steps.
record() { # kind who type variant FIRST SECONDS...
    kind=$1 who=$2 type=$3 variant=$4 first=$5; shift 5
    counted=$(awk -F, -v tokens=$(($# * 2048)) '$1 + 0 > 0 { printf "%.6g", $1 / tokens }' "$work/count" 2>/dev/null)
    echo "$kind $who $type $variant $round $first $(paste -s -d ' ' "$work/most") ${counted:--} $*" >>"$work/runs"
    say "round $round: $kind $who $type $variant: $(echo "$*" | awk '{ for (i = 1; i <= NF; i++) printf "%s%.1f", (i > 1 ? ", " : ""), 2048 / $i }') tokens/s"
}
failed() { # kind who type variant
    [ -z "$stopped" ] || return
    echo "$1 $2 $3 $4: $(grep -v '^ *$' "$work/err" | tail -n 1 | cut -c 1-300)" >>"$work/remarks"
    say "$(tail -n 1 "$work/remarks")"
}
seconds_of() { awk '$1 == "step" && $2 > 1 { print $3 }' "$work/out"; }
first_of() { awk '$1 == "first" { print $2 }' "$work/out"; }
# shellcheck disable=SC2046
run_torch() { # kind type variant
    # The first round finds nothing compiled yet.
    if ! watch "$work/out" '^step 1 ' env TORCHINDUCTOR_CACHE_DIR="$work/inductor" OMP_NUM_THREADS="$threads" "$peers/bin/python" \
        "$here/peer_torch.py" "$model" "$work/data/train.jsonl" "$1" "$2" "$3" "$steps" "$threads"; then
        failed "$1" torch "$2" "$3"
        return
    fi
    record "$1" torch "$2" "$3" "$(first_of)" $(seconds_of)
}
# shellcheck disable=SC2046
run_mlx() { # kind type
    rm -rf "$work/run"
    if ! watch "$work/out" '^step 1 ' env LD_PRELOAD="$MLX_PRELOAD" OMP_NUM_THREADS="$threads" OPENBLAS_NUM_THREADS="$threads" "$mlx_peers/bin/python" \
        "$here/peer_mlx.py" "$model" "$work/data" "$1" "$2" "$mlx_steps" "$work/run"; then
        failed "$1" mlx "$2" -
        return
    fi
    record "$1" mlx "$2" - "$(first_of)" $(seconds_of)
}
number() { sed -nE "s/.*\"$1\":([0-9.e+-]+).*/\1/p" "$work/run/metrics.jsonl"; }
train() { # kind type budget OPTION...
    kind=$1 type=$2 budget=$3; shift 3
    rm -rf "$work/run"
    watch "$work/run/metrics.jsonl" '"step":1,' "$levee" train --model "$model" --data "$work/data/train.jsonl" --fine-tune-type "$kind" \
        --num-layers -1 --rank 8 --batch-size 4 --max-seq-length 513 --iters "$steps" --memory "$budget" --dtype "$type" \
        --threads "$threads" --val-batches 0 --save-every 100000 --adapter-path "$work/run" "$@"
}
# A step of metrics.jsonl says when it was finished.
# shellcheck disable=SC2046
run_levee() { # kind type budget
    begun=$(date +%s.%N)
    train "$1" "$2" "$3" || { failed "$1" levee "$2" "$3"; return; }
    record "$1" levee "$2" "$3" "$(number time | awk -v begun="$begun" 'NR == 1 { print $1 - begun }')" $(number seconds | tail -n +2)
}
budgets_of() { # kind
    case $1 in lora) tight=480MiB ;; full) tight=2560MiB ;; *) tight= ;; esac
    echo "${BUDGETS-$tight 16GiB}"
}
list_jobs() {
    for kind in $kinds; do
        for budget in $(budgets_of "$kind"); do for type in $dtypes; do echo "levee $kind $type $budget"; done; done
        for variant in $variants; do echo "torch $kind ${variant%:*} ${variant#*:}"; done
        case " $mlx_kinds " in *" $kind "*) for type in $mlx; do echo "mlx $kind $type"; done ;; esac
    done
}
# What products reach here; of Levee's own measurement, which its runs do not look at.
calibrate() {
    XDG_CACHE_HOME=$work/cache "$levee" doctor --calibrate --threads "$threads" 2>/dev/null |
        awk -v round="$round" '$1 == "products" && $2 == "in" && $4 > 0 { print round, $3, $4 }' >>"$work/rates"
}
# What there is when it is stopped is told all the same.
stopped=
trap 'stopped=$round; stop' INT TERM
round=1
: >"$work/runs"
: >"$work/rates"
list_jobs >"$work/jobs"
for round in $(seq "$rounds"); do
    [ -z "$stopped" ] || break
    calibrate
    if [ $((round % 2)) -eq 1 ]; then cat "$work/jobs"; else sed '1!G;h;$!d' "$work/jobs"; fi >"$work/order"
    # On descriptor 3, so that what runs does not read it.
    while read -r who kind type variant <&3; do
        [ -z "$stopped" ] || break
        "run_$who" "$kind" "$type" "$variant"
    done 3<"$work/order"
done
[ -z "$stopped" ] || echo "stopped in round $stopped of $rounds" >>"$work/remarks"
grep -q ' levee ' "$work/runs" || { echo "no run of Levee came to its end" >&2; cat "$work/remarks" >&2; exit 1; }

# The operations of a step, as Levee counts them.
: >"$work/work"
if [ -z "$stopped" ] && grep -q '^lora levee ' "$work/runs"; then
    train lora "${dtypes%% *}" 16GiB --profile
    awk -v tokens=$((steps * 2048)) '$1 == "passes" { print $5 * $2 / tokens }' "$work/out" >"$work/work"
fi

mkdir -p "$results" || exit 1
result=$results/peers-$(date +%Y%m%d-%H%M%S)
version_of() { "$1/bin/pip" list --format=freeze 2>/dev/null | grep -E "^($2)==" | sed 's/==/ /' | paste -s -d , | sed 's/,/, /g'; }
processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
{
    echo "# Levee beside its peers, $(date -u '+%Y-%m-%d %H:%M') UTC"
    echo
    echo "$named; 4 x 512 tokens a step, LoRA of rank 8 on all linear layers, AdamW; $threads threads of $processor; $rounds rounds of $steps"
    echo "steps (mlx-lm: $mlx_steps). $("$levee" --version)$([ -z "$variants" ] || echo "; $(version_of "$peers" 'torch|transformers|peft')")$([ -z "$mlx" ] ||
        echo "; $(version_of "$mlx_peers" 'mlx|mlx-lm')")."
    echo "Load when it began: $load; when it ended: $(cut -d ' ' -f 1 /proc/loadavg)."
    {
        for kind in $kinds; do echo "kind $kind"; done
        sed 's/^/run /' "$work/runs"
        sed 's/^/rate /' "$work/rates"
        sed 's/^/work /' "$work/work"
        sort -u "$work/remarks" | sed 's/^/remark /'
    } | awk -f "$here/peers.awk"
} | tee "$result.md"
awk -v processor="$processor" -v threads="$threads" -v model="$named" '
    BEGIN { printf "{\"model\": \"%s\", \"processor\": \"%s\", \"threads\": %d, \"tokens_step\": 2048, \"runs\": [", model, processor, threads }
    { printf "%s\n{\"kind\": \"%s\", \"who\": \"%s\", \"type\": \"%s\", \"variant\": \"%s\", \"round\": %d, \"first_step_seconds\": %s, ", \
        (NR > 1 ? "," : ""), $1, $2, $3, $4, $5, $6
      printf "\"held_bytes\": %s, \"resident_bytes\": %s, \"instructions_token\": %s, \"step_seconds\": [", $7, $8, ($9 == "-" ? "null" : $9)
      for (i = 10; i <= NF; i++) printf "%s%s", (i > 10 ? ", " : ""), $i
      printf "]}" }
    END { print "\n]}" }' "$work/runs" >"$result.json"
echo
echo "stored in $result.md and $result.json"

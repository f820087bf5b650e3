#!/bin/sh
# tests/interop/prometheus.sh LEVEE HTTP: what a run answers to a scrape is read by Prometheus' own Python library, and by promtool
# where that is installed. Needs Python; LEVEE_PYTHON may name one that has prometheus_client.
set -eu
levee=$1 http=$2
work=$(mktemp -d)
run=
trap 'kill $run 2>/dev/null || true; rm -rf "$work"' EXIT
python=${LEVEE_PYTHON:-}
if [ -z "$python" ]; then
    base=$(command -v python3) || { echo "make interop needs python3; make test does not"; exit 1; }
    "$base" -m venv "$work/venv"
    python=$work/venv/bin/python
    "$python" -m pip install --quiet prometheus_client
fi
model="$work/a \"quoted\" \\ päth"
"$levee" init "$model" --hidden-size 64 --intermediate-size 160 --layers 2 --heads 4 --kv-heads 2
mkdir "$work/data"
tools/make-text.sh harbour | head -n 50 >"$work/data/train.jsonl"
tools/make-text.sh harbour | tail -n 6 >"$work/data/valid.jsonl"
LEVEE_WEB_TOKEN=abcdefghijklmnop-0123
export LEVEE_WEB_TOKEN
"$levee" train --model "$model" --data "$work/data" --batch-size 4 --iters 100000 --steps-per-eval 20 --val-batches 1 \
    --memory 96MiB --adapter-path "$work/result" --web 127.0.0.1:0 >"$work/log" 2>&1 &
run=$!
for try in $(seq 600); do
    port=$(sed -n 's/^page: .*:\([0-9]*\)\/.*/\1/p' "$work/log")
    [ -n "$port" ] && "$http" "$port" GET /metrics >"$work/answer" 2>/dev/null && grep -q '^levee_validation_loss ' "$work/answer" && break
    sleep 0.1
done
tail -n +2 "$work/answer" >"$work/metrics.txt"
"$python" "$(dirname "$0")/prometheus_text.py" "$work/metrics.txt" "$(dirname "$0")/../../docs/prometheus.md"
if command -v promtool >/dev/null; then promtool check metrics <"$work/metrics.txt"; else echo "promtool is not installed: not asked"; fi

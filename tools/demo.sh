#!/bin/sh
# The main job on a model and data that this repository makes: train a small model from scratch on a text of our own until it
# has visibly learned, fine-tune it by LoRA on another inside a small budget, and show what it writes before and after.
set -e
levee=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
here=$(dirname "$0")
mkdir "$work/harbour" "$work/garden"
for place in harbour garden; do
    "$here/make-text.sh" $place >"$work/all.jsonl"
    head -n 40 "$work/all.jsonl" >"$work/$place/valid.jsonl"
    tail -n +41 "$work/all.jsonl" >"$work/$place/train.jsonl"
done

say() { printf '\n== %s\n' "$*"; }
say "A new model of random weights"
"$levee" init "$work/new" --hidden-size 128 --intermediate-size 384 --layers 3 --heads 4 --kv-heads 2
say "What it writes before training"
"$levee" generate --model "$work/new" --prompt "The boat" --max-tokens 40 | tr -cd '[:print:]\n'

say "Training it from scratch on sentences about a harbour, inside 96 MiB"
"$levee" train --model "$work/new" --data "$work/harbour" --fine-tune-type full --num-layers -1 --batch-size 8 \
    --iters 80 --bias-correction --learning-rate 2e-3 --max-grad-norm 1 --steps-per-report 20 --steps-per-eval 40 --save-every 1000 \
    --memory 96MiB --adapter-path "$work/trained"
say "What it writes now"
"$levee" generate --model "$work/trained" --prompt "The boat" --max-tokens 60

say "Fine-tuning it by LoRA on sentences about a garden, inside 40 MiB"
"$levee" train --model "$work/trained" --data "$work/garden" --fine-tune-type lora --num-layers -1 --batch-size 8 \
    --iters 80 --bias-correction --learning-rate 3e-3 --rank 16 --scale 2 --steps-per-report 20 --steps-per-eval 40 --save-every 1000 \
    --memory 40MiB --adapter-path "$work/adapter"
say "What it writes with the adapter"
"$levee" generate --model "$work/trained" --adapter-path "$work/adapter" --prompt "The gardener" --max-tokens 60
say "Its loss on the garden, without and with the adapter"
"$levee" eval --model "$work/trained" --data "$work/garden"
"$levee" eval --model "$work/trained" --adapter-path "$work/adapter" --data "$work/garden"

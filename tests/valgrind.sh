#!/bin/sh
# Trains, evaluates and generates on a tiny model under valgrind, and runs the given test programs there:
#   tests/valgrind.sh LEVEE [TEST...]
# An error counts unless its code was generated at run time (valgrind names no function and no file for it): oneDNN's AVX2
# products read up to 64 bytes past buffers of their own, whose content they then ignore. valgrind knows no AVX-512, so
# oneDNN and our kernels take their AVX2 paths here. A block that is definitely lost counts too.
levee=$1; shift
export OMP_WAIT_POLICY=passive # so that levee does not start itself once more, outside of valgrind
command -v valgrind >/dev/null || { echo "valgrind is not installed"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
examine() { # name command...
    name=$1; shift
    valgrind --error-limit=no --leak-check=full --show-leak-kinds=definite --log-file="$work/log" "$@" >"$work/out" 2>&1
    status=$?
    ours=$(awk '/==[0-9]+== (Invalid|Conditional|Use of|Syscall|Source and|Argument|Mismatched)/ { kind = $0; next }
        kind && / at 0x/ { if ($0 !~ /\?\?\?$/) { print kind; print $0 } kind = "" }' "$work/log")
    lost=$(sed -nE 's/.*definitely lost: ([0-9,]+) bytes.*/\1/p' "$work/log")
    if [ $status -eq 0 ] && [ -z "$ours" ] && [ "${lost:-0}" = 0 ]; then
        echo "ok     $name"
    else
        echo "FAILED $name: status $status, ${lost:-0} bytes definitely lost"
        echo "$ours" | head -n 20
        [ $status -eq 0 ] || tail -n 5 "$work/out"
        failed=1
    fi
}
for i in 1 2 3 4; do echo '{"text": "the tide comes in and the tide goes out"}'; done >"$work/train.jsonl"
"$levee" init "$work/model" --hidden-size 32 --intermediate-size 48 --layers 2 --heads 4 --kv-heads 2
for type in lora full head; do
    examine "train $type" "$levee" train --model "$work/model" --data "$work/train.jsonl" --fine-tune-type $type --num-layers -1 \
        --batch-size 2 --iters 2 --dropout 0.1 --memory 1GiB --dtype f32 --adapter-path "$work/$type"
done
examine eval "$levee" eval --model "$work/model" --adapter-path "$work/lora" --data "$work/train.jsonl" --memory 1GiB
examine generate "$levee" generate --model "$work/model" --adapter-path "$work/lora" --prompt tide --max-tokens 5 --memory 1GiB
for test; do examine "$(basename "$test")" "$test"; done
exit $failed

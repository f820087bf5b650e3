#!/bin/sh
# bench/web_load.sh LEVEE WEB_LOAD: what many clients of the page cost a training. A small model trains on one processor with its
# page; another processor has 200 clients, 20 of whom never read. They come and go, ROUNDS times (8) for SECONDS each (10), so that
# what else happens on the machine falls on both. Says by how much a step takes longer, how much of the processor the page's thread
# used, and what was held. Needs two processors, and quiet ones.
levee=$1 load=$2
rounds=${ROUNDS:-8} seconds=${SECONDS_EACH:-10} clients=${CLIENTS:-200} never=${NEVER:-20}
work=$(mktemp -d)
process=
trap 'kill $process 2>/dev/null; rm -rf "$work"' EXIT
"$levee" init "$work/model" --hidden-size 256 --intermediate-size 768 --layers 4 --heads 4 --kv-heads 2
mkdir "$work/data"
tools/make-text.sh harbour >"$work/data/train.jsonl"
export LEVEE_WEB_TOKEN=abcdefghijklmnop-0123
taskset -c 0 "$levee" train --model "$work/model" --data "$work/data" --num-layers -1 --batch-size 4 --iters 1000000 --save-every 1000000 \
    --threads 1 --dtype f32 --memory 96MiB --adapter-path "$work/run" --web 127.0.0.1:0 >"$work/log" 2>&1 &
process=$!
until grep -q '^step 10/' "$work/log"; do kill -0 $process || { cat "$work/log"; exit 1; }; sleep 0.2; done
port=$(sed -n 's/^page: .*:\([0-9]*\)\/.*/\1/p' "$work/log")
page_ticks() { # user and system time of the page's thread, in hundredths
    for task in /proc/$process/task/*; do
        grep -q levee-page "$task/comm" && sed 's/.*) //' "$task/stat" | awk '{ print $12 + $13 }'
    done
}
mark() { echo "$1 $(date +%s.%N) $(page_ticks)"; }
for round in $(seq "$rounds"); do
    mark off; sleep "$seconds"; mark end
    mark on; taskset -c 1 "$load" "$port" "$clients" "$never" "$seconds" >>"$work/clients"; mark end
done >"$work/marks"
kill -INT $process; wait $process; process=
sort "$work/clients" | tail -n 1
# Steps wholly inside a period, half a second from its ends; the middle step of each, and the means.
awk -v file="$work/marks" '
    BEGIN { while ((getline line < file) > 0) { split(line, f, " ")
              if (f[1] != "end") { n++; kind[n] = f[1]; from[n] = f[2]; ticks[n] = f[3] } else { to[n] = f[2]; used[f0 = kind[n]] += f[3] - ticks[n]; wall[f0] += f[2] - from[n] } } }
    { match($0, /"seconds":[0-9.e-]+/); s = substr($0, RSTART + 10, RLENGTH - 10) + 0; match($0, /"time":[0-9.]+/); t = substr($0, RSTART + 7, RLENGTH - 7) + 0
      for (i = 1; i <= n; i++) if (t - s > from[i] + 0.5 && t < to[i] - 0.5) { c[i]++; v[i, c[i]] = s + 0 } }
    function middle(i,    j, k, x) { for (j = 2; j <= c[i]; j++) { x = v[i, j]; for (k = j - 1; k && v[i, k] > x; k--) v[i, k + 1] = v[i, k]; v[i, k + 1] = x }
      return v[i, int((c[i] + 1) / 2)] }
    END { for (i = 1; i < n; i += 2) { a = middle(i); b = middle(i + 1); d[++pairs] = b / a - 1; off += a; on += b; printf "round %d: %.3f ms alone, %.3f ms with clients, %+.2f %%\n", pairs, 1e3 * a, 1e3 * b, 100 * d[pairs] }
      for (i = 2; i <= pairs; i++) { x = d[i]; for (k = i - 1; k && d[k] > x; k--) d[k + 1] = d[k]; d[k + 1] = x }
      printf "a step: %.3f ms alone, %.3f ms with clients; the middle of the rounds %+.2f %%, from %+.2f to %+.2f %%\n", 1e3 * off / pairs, 1e3 * on / pairs, 100 * d[int((pairs + 1) / 2)], 100 * d[1], 100 * d[pairs]
      printf "the page'"'"'s thread: %.3f %% of a processor alone, %.3f %% with clients\n", used["off"] / wall["off"], used["on"] / wall["on"] }' "$work/run/metrics.jsonl"
grep '^peak memory' "$work/log"

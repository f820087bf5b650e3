# Tables and goals of bench/peers.sh. Reads a line a fact, told apart by their first word:
#   kind NAME                                 in the order of the tables
#   run KIND WHO TYPE VARIANT ROUND FIRST HELD RESIDENT COUNTED SECONDS...
#                                             of one process: seconds to the end of its first step, bytes, instructions
#                                             a token or -, and the steps after the first
#   rate ROUND TYPE GFLOPS                    what products of this type reach on this machine
#   work GFLOP                                of a token's LoRA step, as Levee counts them
#   remark TEXT
# A speed is of the median step; least and most are of single steps. A goal's figure is the median over the rounds, in
# each of which what is compared ran within minutes of each other; who is the fastest or leanest is said of all rounds
# together.
function sort_values(values, n,    i, k, v) {
    for (i = 2; i <= n; i++) {
        v = values[i]
        for (k = i - 1; k >= 1 && values[k] > v; k--) values[k + 1] = values[k]
        values[k + 1] = v
    }
}
function median_of(values, n) { sort_values(values, n); return n % 2 ? values[(n + 1) / 2] : (values[n / 2] + values[n / 2 + 1]) / 2 }
# Fills `pool` with the steps of a competitor, of one round or (0) of all; gives how many.
function steps_of(id, round, pool,    r, n, i) {
    n = 0
    for (r = 1; r <= runs; r++)
        if (whose[r] == id && (!round || round_of[r] == round))
            for (i = 1; i <= count[r]; i++) pool[++n] = seconds[r, i]
    return n
}
function speed(id, round,    pool, n) { n = steps_of(id, round, pool); return n ? TOKENS / median_of(pool, n) : 0 }
# The same of a figure that a run has once.
function figures_of(figure, id, round, pool,    r, n) {
    n = 0
    for (r = 1; r <= runs; r++)
        if (whose[r] == id && (!round || round_of[r] == round) && figure[r] != "-") pool[++n] = figure[r] + 0
    return n
}
function middle(figure, id, round,    pool, n) { n = figures_of(figure, id, round, pool); return n ? median_of(pool, n) : 0 }
function value_of(what, id, round) {
    if (what == "speed") return speed(id, round)
    return what == "held" ? middle(held, id, round) : what == "resident" ? middle(resident, id, round) : middle(first, id, round)
}
# Which run of Levee, or of one peer, has most (or least) of something in a kind of training; 0: there is none.
function best(kind, who, what, most,    id, v, found, good) {
    found = 0
    for (id = 1; id <= ids; id++) {
        if (kind_of[id] != kind || who_of[id] != who) continue
        v = value_of(what, id, 0)
        if (!found || (most ? v > good : v < good)) { found = id; good = v }
    }
    return found
}
# Levee's least held memory among what is fast enough; when nothing is, among all.
function leanest(kind, share,    id, found, top) {
    top = speed(best(kind, "levee", "speed", 1), 0)
    for (id = 1; id <= ids; id++)
        if (kind_of[id] == kind && who_of[id] == "levee" && speed(id, 0) >= share * top &&
            (!found || value_of("held", id, 0) < value_of("held", found, 0))) found = id
    return found
}
function range(pool, n, format) { if (n < 2) return n ? "one round" : "no round had both"; sort_values(pool, n); return sprintf(format " to " format, pool[1], pool[n]) }
# A line of the goals: the ratio of two competitors in something.
function compare(goal, against, bound, what, mine, other, at_least,    ratio, pool, n, r, a, b) {
    if (!mine || !other) { printf "| %s | %s | %s | not measured | | |\n", goal, against, asked(bound, at_least); return }
    n = 0
    for (r = 1; r <= rounds; r++) {
        a = value_of(what, mine, r); b = value_of(what, other, r)
        if (a && b) pool[++n] = a / b
    }
    ratio = n ? median_of(pool, n) : value_of(what, mine, 0) / value_of(what, other, 0)
    printf "| %s | %s: %s | %s | %.3g: %s | %s | %s |\n", goal, against, name[other], asked(bound, at_least), ratio, name[mine], range(pool, n, "%.3g"),
        ((at_least ? ratio >= bound : ratio <= bound) ? "yes" : "no")
}
function asked(bound, at_least) { return (at_least ? "at least " : "at most ") bound }
# How much of a measured rate Levee's fastest LoRA keeps busy.
function ceiling(goal, bound,    id, type, r, v, n, pool, all, share) {
    id = best("lora", "levee", "speed", 1)
    if (!id || !work) { printf "| %s | products of this machine | %s | not measured | | |\n", goal, asked(bound, 1); return }
    type = type_of[id]
    n = 0
    for (r = 1; r <= rounds; r++)
        if (rate[r, type] && (v = speed(id, r))) { all[++n] = rate[r, type]; pool[n] = v * work / rate[r, type] }
    if (!n) { printf "| %s | products of this machine | %s | not measured | | |\n", goal, asked(bound, 1); return }
    share = median_of(pool, n)
    printf "| %s | products in %s: %.0f GFLOP/s | %s | %.3g: %s | %s | %s |\n", goal, type, median_of(all, n), asked(bound, 1), share, name[id],
        range(pool, n, "%.3g"), (share >= bound ? "yes" : "no")
}
BEGIN { TOKENS = 2048; MIB = 1048576 }
$1 == "kind" { kinds[++kind_count] = $2 }
$1 == "rate" { rate[$2, $3] = $4 }
$1 == "work" { work = $2 }
$1 == "remark" { sub(/^remark /, ""); remarks[++remark_count] = $0 }
$1 == "run" {
    key = $2 " " $3 " " $4 " " $5
    if (!(key in id_of)) {
        id_of[key] = ++ids
        kind_of[ids] = $2; who_of[ids] = $3; type_of[ids] = $4
        name[ids] = ($3 == "levee" ? "Levee" : $3 == "torch" ? "PyTorch" : "mlx-lm") " " $4 ($5 == "-" ? "" : ", " $5)
    }
    runs++
    whose[runs] = id_of[key]; round_of[runs] = $6; first[runs] = $7; held[runs] = $8; resident[runs] = $9; counted[runs] = $10
    if ($6 > rounds) rounds = $6
    count[runs] = NF - 10
    for (i = 1; i <= count[runs]; i++) seconds[runs, i] = $(10 + i)
}
END {
    for (k = 1; k <= kind_count; k++) {
        printf "\n| %s | tokens/s | least, most | held, MiB | resident, MiB | first step done after, s | least, most | instructions a token |\n", kinds[k]
        print "|---|---:|---|---:|---:|---:|---|---:|"
        for (id = 1; id <= ids; id++) {
            if (kind_of[id] != kinds[k]) continue
            n = steps_of(id, 0, pool); sort_values(pool, n)
            f = figures_of(first, id, 0, firsts); sort_values(firsts, f)
            c = middle(counted, id, 0)
            printf "| %s | %.1f | %.1f, %.1f | %.0f | %.0f | %.2f | %.2f, %.2f | %s |\n", name[id], speed(id, 0), TOKENS / pool[n], TOKENS / pool[1],
                middle(held, id, 0) / MIB, middle(resident, id, 0) / MIB, middle(first, id, 0), firsts[1], firsts[f], (c ? sprintf("%.3g", c) : "-")
        }
    }
    print "\n| goal | against | asked | figure | over the rounds | reached |"
    print "|---|---|---|---|---|---|"
    fast = best("lora", "levee", "speed", 1)
    lean = leanest("lora", 0.9)
    if (!lean) lean = best("lora", "levee", "held", 0)
    spare = best("lora", "torch", "held", 0)
    compare("LoRA: tokens/s", "the fastest PyTorch", 2.5, "speed", fast, best("lora", "torch", "speed", 1), 1)
    ceiling("or, where that is less: of what products allow", 0.85)
    compare("LoRA: held memory", "the leanest PyTorch", 0.15, "held", lean, spare, 0)
    compare("LoRA: resident, file pages included", "the same", 0.25, "resident", lean, spare, 0)
    compare("at a speed of", "Levee's fastest", 0.9, "speed", lean, fast, 1)
    fast = best("full", "levee", "speed", 1); peer = best("full", "torch", "speed", 1)
    compare("full: tokens/s", "the fastest PyTorch", 2, "speed", fast, peer, 1)
    compare("full: held memory", "the same", 0.5, "held", fast, peer, 0)
    compare("head: tokens/s", "the fastest PyTorch", 2, "speed", best("head", "levee", "speed", 1), best("head", "torch", "speed", 1), 1)
    for (k = 1; k <= kind_count; k++)
        if (best(kinds[k], "mlx", "speed", 1) || kinds[k] == "lora")
            compare(kinds[k] ": tokens/s", "the fastest mlx-lm", 3, "speed", best(kinds[k], "levee", "speed", 1), best(kinds[k], "mlx", "speed", 1), 1)
    for (k = 1; k <= kind_count; k++)
        compare(kinds[k] ": start to first step finished", "the soonest PyTorch", 0.1, "first", best(kinds[k], "levee", "first", 0), best(kinds[k], "torch", "first", 0), 0)
    ceiling("whole step: of what products allow", 0.75)
    if (remark_count) print ""
    for (i = 1; i <= remark_count; i++) print "- " remarks[i]
}

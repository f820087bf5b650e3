/* Recomputation and plans: what is computed again, and that in a plan every value that is read still lies where it
 * was written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "graph/occupancy.h"
#include "graph/plan.h"
#include "memory/ledger.h"
#include "scratch.h"
#include "small_model.h"

enum { TRIALS = 7 };

/* Flags for the activations of the forward part, each set with a probability in 256ths. */
static bool *choose(const graph *g, uint32_t probability, uint32_t trial) {
    bool *flags = calloc(g->value_count, sizeof *flags);
    assert_non_null(flags);
    for (value_id v = 0; v < g->value_count; v++) {
        const value *described = &g->values[v];
        if (described->role == VALUE_ACTIVATION && !g->nodes[described->producer].backward)
            flags[v] = random_bits(3, trial, v, 0, 0) % 256 < probability;
    }
    return flags;
}

/* Without its recomputed nodes the result is the source, node by node; those repeat forward nodes and are read. */
static void assert_recomputation(const graph *result, const graph *source, const bool *flags) {
    uint32_t next = 0;
    bool *read = calloc(result->value_count, sizeof *read);
    assert_non_null(read);
    for (uint32_t i = result->node_count; i-- > 0;) {
        const node *n = &result->nodes[i];
        bool used = !n->recomputed;
        for (unsigned k = 0; k < KERNEL_OUTPUTS; k++) used = used || (n->out[k] != NO_VALUE && read[n->out[k]]);
        if (!used) fail_msg("node %u, %s, is computed again for nothing", i, operator_name(n->kind));
        for (unsigned k = 0; k < KERNEL_INPUTS; k++)
            if (n->in[k] != NO_VALUE) read[n->in[k]] = true;
    }
    free(read);
    for (uint32_t i = 0; i < result->node_count; i++) {
        const node *n = &result->nodes[i];
        if (n->recomputed) {
            bool found = false;
            for (uint32_t s = 0; s < source->node_count && !source->nodes[s].backward; s++) {
                const node *original = &source->nodes[s];
                found = found || (original->kind == n->kind && original->layer == n->layer &&
                                  !memcmp(&original->parameters, &n->parameters, sizeof n->parameters));
            }
            assert_true(found && !n->backward);
            continue;
        }
        const node *original = &source->nodes[next++];
        assert_int_equal(n->kind, original->kind);
        assert_memory_equal(n->out, original->out, sizeof n->out);
        for (unsigned k = 0; k < KERNEL_INPUTS; k++) {
            value_id in = original->in[k];
            bool later = n->backward && n->kind != OPERATOR_HEAD_LOSS_GRADIENT && in != NO_VALUE && flags[in];
            if (later)
                assert_true(n->in[k] >= source->value_count); /* what was let go is not read */
            else
                assert_int_equal(n->in[k], in);
        }
    }
    assert_int_equal(next, source->node_count);
}

/* Walks the plan with the owner of every word of memory: a second opinion on lifetimes, sharing and packing at once.
 */
static void assert_plan_holds(const plan *p, const layout *lasting) {
    enum { WORD = 4, NOBODY = UINT32_MAX };
    const graph *g = &p->g;
    uint64_t base = lasting->total_bytes[SPACE_HOST], end = base + p->arena_bytes[SPACE_HOST];
    uint32_t *owner = malloc((end / WORD + 1) * sizeof *owner);
    assert_non_null(owner);
    memset(owner, 0xff, (end / WORD + 1) * sizeof *owner);
    for (uint32_t i = 0; i <= g->node_count; i++) {
        const node *n = i < g->node_count ? &g->nodes[i] : NULL;
        for (value_id v = 0; v < g->value_count; v++) {
            const value *described = &g->values[v];
            bool read = !n && described->role == VALUE_OUTPUT, given = i == 0 && described->role == VALUE_INPUT;
            for (unsigned k = 0; n && k < KERNEL_INPUTS; k++) read = read || n->in[k] == v;
            if (layout_is_lasting(described->role) || described->space != SPACE_HOST || !(read || given)) continue;
            uint64_t bytes = graph_value_bytes(described, p->capacity_tokens);
            assert_true(p->offsets[v] % 64 == 0 && p->offsets[v] >= base && p->offsets[v] + bytes <= end);
            for (uint64_t w = p->offsets[v] / WORD; w < (p->offsets[v] + bytes) / WORD; w++) {
                if (given) owner[w] = v;
                if (owner[w] != v) fail_msg("node %u reads %s, which was overwritten", i, described->name);
            }
        }
        for (uint64_t b = 0; n && b < p->scratch_bytes[i]; b += WORD) {
            assert_true(p->scratch_offsets[i] >= base && p->scratch_offsets[i] + p->scratch_bytes[i] <= end);
            uint32_t *word = &owner[(p->scratch_offsets[i] + b) / WORD];
            for (unsigned k = 0; k < KERNEL_INPUTS; k++) assert_true(n->in[k] == NO_VALUE || *word != n->in[k]);
            *word = NOBODY;
        }
        for (unsigned k = 0; n && k < KERNEL_OUTPUTS; k++) {
            if (n->out[k] == NO_VALUE || layout_is_lasting(g->values[n->out[k]].role)) continue;
            unsigned shared;
            sharing how = operator_sharing(n->kind, k, &shared);
            uint64_t bytes = graph_value_bytes(&g->values[n->out[k]], p->capacity_tokens);
            for (uint64_t w = p->offsets[n->out[k]] / WORD; w < (p->offsets[n->out[k]] + bytes) / WORD; w++) {
                for (unsigned in = 0; in < KERNEL_INPUTS; in++)
                    assert_true(n->in[in] == NO_VALUE || owner[w] != n->in[in] || (how && in == shared));
                for (unsigned other = 0; other < k; other++)
                    assert_true(n->out[other] == NO_VALUE || owner[w] != n->out[other]);
                owner[w] = n->out[k];
            }
        }
    }
    free(owner);
}

/* What people are told of a plan adds up to it: the highest node has what packing cannot go below. */
static void assert_occupancy(const plan *p) {
    enum { ROOM = 4096 };
    levee_error error;
    uint64_t(*live)[LEVEE_CATEGORY_COUNT] = calloc(p->g.node_count, sizeof *live), most = 0, listed = 0;
    occupant *list = calloc(ROOM, sizeof *list);
    uint32_t count;
    assert_int_equal(occupancy_by_node(live, p, &error), LEVEE_OK);
    for (uint32_t i = 0; i < p->g.node_count; i++) {
        uint64_t total = 0;
        for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) total += live[i][c];
        if (total > most) most = total;
    }
    assert_int_equal(most, p->lower_bound_bytes[SPACE_HOST]);
    assert_int_equal(occupancy_at(list, ROOM, &count, p, p->peak_node, &error), LEVEE_OK);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(!i || list[i].bytes <= list[i - 1].bytes);
        assert_true(list[i].made_by == NO_NODE || list[i].made_by <= p->peak_node);
        listed += list[i].bytes;
    }
    assert_int_equal(listed, most);
    assert_int_equal(occupancy_at(list, 3, &count, p, p->peak_node, &error), LEVEE_OK);
    assert_int_equal(count, 3);
    free(list);
    free(live);
}

static uint64_t assert_plans(const fixture *f, const graph *g, const layout *lasting) {
    static const uint32_t capacities[] = {1, 7, 64, 150};
    uint64_t arena_bytes = 0;
    for (size_t c = 0; c < sizeof capacities / sizeof *capacities; c++) {
        plan made;
        plan_bound bound;
        levee_error error;
        levee_status status = plan_make(&made, g, lasting, capacities[c], cpu_backend.kernels, f->state, &error);
        scratch_expect("plan", LEVEE_OK, "", status, &error);
        assert_plan_holds(&made, lasting);
        assert_occupancy(&made);
        status = plan_estimate(&bound, g, capacities[c], cpu_backend.kernels, f->state, &error);
        scratch_expect("estimate", LEVEE_OK, "", status, &error);
        uint32_t head = graph_head(g);
        assert_int_equal(plan_bound_bytes(&bound, made.scratch_bytes[head]), made.lower_bound_bytes[SPACE_HOST]);
        assert_true(made.lower_bound_bytes[SPACE_HOST] <= made.arena_bytes[SPACE_HOST]);
        assert_true(made.arena_bytes[SPACE_HOST] > arena_bytes);
        arena_bytes = made.arena_bytes[SPACE_HOST];
        uint64_t sum = 0;
        for (unsigned k = 0; k < LEVEE_CATEGORY_COUNT; k++) sum += made.category_bytes[k];
        assert_int_equal(sum, arena_bytes);
        plan_close(&made);
    }
    return arena_bytes;
}

/* Keeps what the layers hand on. */
static void keep_residuals(const graph *g, bool *flags) {
    for (value_id v = 0; v < g->value_count; v++) {
        uint32_t producer = g->values[v].producer;
        if (producer == NO_NODE) continue;
        operator_kind kind = g->nodes[producer].kind;
        if (kind == OPERATOR_ADD || kind == OPERATOR_EMBEDDING || kind == OPERATOR_ROPE_TABLE) flags[v] = false;
    }
}

static void recomputes_and_plans(void **state) {
    const fixture *f = *state;
    const trainable_set sets[] = {small_model_lora(UINT32_MAX, "1111111", 0.1f),
                                  small_model_lora(2, "1010000", 0),
                                  small_model_lora(3, "0001001", 0),
                                  small_model_whole(FINE_TUNE_FULL, UINT32_MAX),
                                  small_model_whole(FINE_TUNE_FULL, 2),
                                  small_model_whole(FINE_TUNE_HEAD, UINT32_MAX)};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        graph g = small_model_differentiated(f, sets[i], NULL);
        layout lasting;
        assert_int_equal(layout_make(&lasting, &g, true, NULL), LEVEE_OK);
        uint64_t arena_bytes[TRIALS];
        for (uint32_t trial = 0; trial < TRIALS; trial++) {
            graph again;
            levee_error error;
            static const uint32_t probability[TRIALS] = {0, 256, 256, 16, 64, 128, 200};
            bool *flags = choose(&g, probability[trial], trial);
            if (trial == 1) keep_residuals(&g, flags);
            scratch_expect("recompute", LEVEE_OK, "", graph_recompute(&again, &g, flags, &error), &error);
            graph_assert_sound(&again);
            assert_recomputation(&again, &g, flags);
            if (!trial) assert_int_equal(again.node_count, g.node_count);
            arena_bytes[trial] = assert_plans(f, &again, &lasting);
            graph_close(&again);
            free(flags);
        }
        /* The residuals kept, each layer is computed again by itself, and no other layer's values live meanwhile. */
        if (sets[i].last_layers > LAYERS && sets[i].type != FINE_TUNE_HEAD)
            assert_true(arena_bytes[1] < arena_bytes[0] * 3 / 4);
        layout_close(&lasting);
        graph_close(&g);
    }
}

/* Whatever allocation is refused, the error says so and nothing is kept. */
static void survives_refused_memory(void **state) {
    const fixture *f = *state;
    const trainable_set trained = small_model_lora(1, "1000000", 0);
    uint64_t before = ledger_booked(LEVEE_CATEGORY_COUNT);
    unsigned refused = 0;
    levee_status status = LEVEE_DOES_NOT_FIT;
    for (uint64_t budget = 0; status != LEVEE_OK; budget += 512, refused += status != LEVEE_OK) {
        graph g, again = {0};
        layout lasting = {0};
        plan made = {0};
        levee_error error;
        assert_true(budget < 4 << 20);
        ledger_set_budget(before + budget);
        graph_open(&g, SPACE_HOST);
        status = model_build_loss(&g, &f->source, &trained, &error);
        if (status == LEVEE_OK) status = graph_differentiate(&g, &error);
        bool *flags = status == LEVEE_OK ? choose(&g, 128, 1) : NULL;
        if (status == LEVEE_OK) status = graph_recompute(&again, &g, flags, &error);
        if (status == LEVEE_OK) status = layout_make(&lasting, &again, true, &error);
        if (status == LEVEE_OK) status = plan_make(&made, &again, &lasting, 9, cpu_backend.kernels, f->state, &error);
        if (status != LEVEE_OK) scratch_expect("refused", LEVEE_DOES_NOT_FIT, "", status, &error);
        plan_close(&made);
        layout_close(&lasting);
        graph_close(&again);
        graph_close(&g);
        free(flags);
        assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), before);
    }
    ledger_set_budget(UINT64_MAX);
    assert_true(refused > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recomputes_and_plans),
        cmocka_unit_test(survives_refused_memory),
    };
    return cmocka_run_group_tests(tests, small_model_setup, small_model_teardown);
}

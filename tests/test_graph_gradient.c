/* Differentiation of a small model's graphs: what is appended for what trains, and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scratch.h"
#include "small_model.h"

static uint32_t count_kind(const graph *g, operator_kind kind) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < g->node_count; i++) count += g->nodes[i].kind == kind;
    return count;
}

static void assert_no_weight_gradients(const graph *g) {
    assert_int_equal(count_kind(g, OPERATOR_LINEAR_GRADIENT_WEIGHT), 0);
    assert_int_equal(count_kind(g, OPERATOR_RMSNORM_GRADIENT_WEIGHT), 0);
    assert_int_equal(count_kind(g, OPERATOR_EMBEDDING_GRADIENT), 0);
}

/* The lowest layer with a backward node, NO_LAYER when no layer has any. */
static int32_t lowest_backward_layer(const graph *g) {
    int32_t lowest = NO_LAYER;
    for (uint32_t i = 0; i < g->node_count; i++) {
        const node *n = &g->nodes[i];
        if (n->backward && n->layer != NO_LAYER && (lowest == NO_LAYER || n->layer < lowest)) lowest = n->layer;
    }
    return lowest;
}

static void lora_trains_adapters_only(void **state) {
    const fixture *f = *state;
    graph g = small_model_differentiated(f, small_model_lora(UINT32_MAX, "1111111", 0.1f), NULL);
    graph_assert_sound(&g);
    assert_no_weight_gradients(&g);
    assert_int_equal(count_kind(&g, OPERATOR_LORA), LAYERS * PROJECTION_COUNT);
    assert_int_equal(count_kind(&g, OPERATOR_LORA_GRADIENT), LAYERS * PROJECTION_COUNT);
    assert_int_equal(graph_count_role(&g, VALUE_PARAMETER), 2 * LAYERS * PROJECTION_COUNT);
    assert_int_equal(count_kind(&g, OPERATOR_HEAD_LOSS), 0);
    /* Nothing trains below the first layer: what its q, k and v read needs no gradient. */
    assert_int_equal(count_kind(&g, OPERATOR_LINEAR_GRADIENT_INPUT), 0);
    assert_int_equal(count_kind(&g, OPERATOR_RMSNORM_GRADIENT_INPUT), 2 * LAYERS + 1 - 1);
    uint32_t without_input = 0;
    for (uint32_t i = 0; i < g.node_count; i++) {
        const node *n = &g.nodes[i];
        if (n->kind == OPERATOR_HEAD_LOSS_GRADIENT) assert_int_equal(n->out[2], NO_VALUE);
        if (n->kind == OPERATOR_LORA_GRADIENT) {
            without_input += n->out[0] == NO_VALUE;
            assert_true(n->in[7] != NO_VALUE && n->in[8] != NO_VALUE); /* the mask of the forward part, again */
            if (n->out[0] == NO_VALUE) assert_int_equal(n->layer, 0);
            assert_true((n->in[1] == NO_VALUE) == (n->out[0] == NO_VALUE)); /* the weight, for its product */
        }
    }
    assert_int_equal(without_input, 3);
    graph_close(&g);

    /* Only v: the first adapted layer's queries and keys are not turned back. */
    g = small_model_differentiated(f, small_model_lora(2, "0010000", 0), NULL);
    graph_assert_sound(&g);
    assert_int_equal(lowest_backward_layer(&g), LAYERS - 2);
    uint32_t turned = 0;
    for (uint32_t i = 0; i < g.node_count; i++)
        if (g.nodes[i].kind == OPERATOR_ROPE && g.nodes[i].backward) {
            turned++;
            assert_true(g.nodes[i].parameters.inverse);
            assert_int_equal(g.nodes[i].layer, LAYERS - 1);
        }
    assert_int_equal(turned, 2);
    graph_close(&g);
}

/* How many values of bf16 a kind of operator writes, in the forward or in the backward part. */
static uint32_t count_stored(const graph *g, operator_kind kind, bool backward) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < g->node_count; i++)
        for (unsigned k = 0; k < KERNEL_OUTPUTS && g->nodes[i].kind == kind && g->nodes[i].backward == backward;
             k++) {
            value_id v = g->nodes[i].out[k];
            count += v != NO_VALUE && g->values[v].type == DTYPE_BF16;
        }
    return count;
}

static graph stored_and_differentiated(const fixture *f, trainable_set trained) {
    graph g;
    levee_error error;
    graph_open(&g, SPACE_HOST);
    scratch_expect("build", LEVEE_OK, "", model_build_loss(&g, &f->source, &trained, &error), &error);
    scratch_expect("store", LEVEE_OK, "", graph_store_operands(&g, DTYPE_BF16, &error), &error);
    scratch_expect("differentiate", LEVEE_OK, "", graph_differentiate(&g, &error), &error);
    graph_assert_sound(&g);
    return g;
}

static uint32_t count_all_stored(const graph *g) {
    uint32_t count = 0;
    for (value_id v = 0; v < g->value_count; v++)
        count += g->values[v].role == VALUE_ACTIVATION && g->values[v].type == DTYPE_BF16;
    return count;
}

/* Where nothing but frozen products read a value it is stored as they round it; all else stays f32. */
static void operands_of_frozen_products_are_stored_in_bf16(void **state) {
    const fixture *f = *state;
    graph g = stored_and_differentiated(f, small_model_lora(UINT32_MAX, "1111111", 0));
    assert_int_equal(count_stored(&g, OPERATOR_RMSNORM, false), 2 * LAYERS);
    assert_int_equal(count_stored(&g, OPERATOR_SWIGLU, false), LAYERS);
    assert_int_equal(count_stored(&g, OPERATOR_LORA, false), 2 * LAYERS); /* gate and up */
    assert_int_equal(count_stored(&g, OPERATOR_SWIGLU_GRADIENT, true), 2 * LAYERS);
    assert_int_equal(count_all_stored(&g), 7 * LAYERS);
    graph_close(&g);

    /* Half of the layers without adapters: a linear operator's are stored like an adapted one's. */
    g = stored_and_differentiated(f, small_model_lora(LAYERS - 1, "1010000", 0));
    assert_int_equal(count_stored(&g, OPERATOR_LINEAR, false), 2 * LAYERS);
    assert_int_equal(count_stored(&g, OPERATOR_RMSNORM, false), 2 * LAYERS);
    graph_close(&g);

    /* DoRA's magnitudes go on from projections in f32. */
    trainable_set dora = small_model_lora(UINT32_MAX, "1111111", 0);
    dora.type = FINE_TUNE_DORA;
    g = stored_and_differentiated(f, dora);
    assert_int_equal(count_all_stored(&g), 2 * LAYERS);
    graph_close(&g);

    /* Gradients of weights are summed from what products read. */
    g = stored_and_differentiated(f, small_model_whole(FINE_TUNE_FULL, UINT32_MAX));
    assert_int_equal(count_all_stored(&g), 0);
    graph_close(&g);
}

static void head_stops_at_the_head(void **state) {
    const fixture *f = *state;
    uint32_t forward_count;
    graph g = small_model_differentiated(f, small_model_whole(FINE_TUNE_HEAD, UINT32_MAX), &forward_count);
    graph_assert_sound(&g);
    assert_int_equal(g.node_count, forward_count);
    const node *head = &g.nodes[g.node_count - 1];
    assert_int_equal(head->kind, OPERATOR_HEAD_LOSS_GRADIENT);
    assert_int_equal(head->out[1], NO_VALUE);
    assert_int_equal(head->out[2], g.values[head->in[1]].gradient);
    assert_int_equal(graph_count_role(&g, VALUE_PARAMETER), 1);
    graph_close(&g);
}

static void last_layers_stop_below(void **state) {
    const fixture *f = *state;
    for (uint32_t last = 1; last < LAYERS; last++) {
        const trainable_set sets[] = {small_model_lora(last, "1111111", 0), small_model_lora(last, "0000001", 0),
                                      small_model_whole(FINE_TUNE_FULL, last)};
        for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
            graph g = small_model_differentiated(f, sets[i], NULL);
            graph_assert_sound(&g);
            assert_int_equal(lowest_backward_layer(&g), LAYERS - last);
            assert_int_equal(count_kind(&g, OPERATOR_EMBEDDING_GRADIENT), 0);
            for (value_id v = 0; v < g.value_count; v++)
                if (g.values[v].role == VALUE_PARAMETER) assert_true(g.values[v].layer >= (int32_t)(LAYERS - last));
            graph_close(&g);
        }
    }
}

static void full_trains_everything(void **state) {
    const fixture *f = *state;
    graph g = small_model_differentiated(f, small_model_whole(FINE_TUNE_FULL, UINT32_MAX), NULL);
    graph_assert_sound(&g);
    assert_int_equal(graph_count_role(&g, VALUE_WEIGHT), 0);
    assert_int_equal(count_kind(&g, OPERATOR_LINEAR_GRADIENT_WEIGHT), LAYERS * PROJECTION_COUNT);
    assert_int_equal(count_kind(&g, OPERATOR_RMSNORM_GRADIENT_WEIGHT), 2 * LAYERS + 1);
    assert_int_equal(count_kind(&g, OPERATOR_EMBEDDING_GRADIENT), 1);
    /* The head is tied, so the table's one gradient is added to from both ends. */
    value_id table = NO_VALUE;
    for (uint32_t i = 0; i < g.node_count; i++) {
        const node *n = &g.nodes[i];
        if (n->kind == OPERATOR_HEAD_LOSS_GRADIENT) table = n->out[2];
        if (n->kind == OPERATOR_EMBEDDING_GRADIENT) assert_int_equal(n->out[0], table);
    }
    assert_int_not_equal(table, NO_VALUE);
    graph_close(&g);
}

static void refuses_other_graphs(void **state) {
    const fixture *f = *state;
    graph g;
    levee_error error;
    graph_open(&g, SPACE_HOST);
    scratch_expect("empty", LEVEE_INTERNAL, "head", graph_differentiate(&g, &error), &error);
    scratch_expect("head", LEVEE_OK, "", model_build_head(&g, &f->source, &error), &error);
    scratch_expect("logits", LEVEE_INTERNAL, "head", graph_differentiate(&g, &error), &error);
    graph_close(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lora_trains_adapters_only), cmocka_unit_test(operands_of_frozen_products_are_stored_in_bf16),
        cmocka_unit_test(head_stops_at_the_head),    cmocka_unit_test(last_layers_stop_below),
        cmocka_unit_test(full_trains_everything),    cmocka_unit_test(refuses_other_graphs),
    };
    return cmocka_run_group_tests(tests, small_model_setup, small_model_teardown);
}

/* A small model for tests: see small_model.h. */
#include "small_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "memory/pool.h"
#include "scratch.h"

int small_model_setup(void **state) {
    static fixture f;
    char path[FILE_PATH_BYTES];
    pool_hook_json();
    if (scratch_setup(&f.directory) || !file_join(path, f.directory, "model")) return -1;
    const levee_shape shape = {
        .hidden_size = 32, .intermediate_size = 48, .layers = LAYERS, .heads = 4, .kv_heads = 2};
    const backend_options options = {.threads = 1, .compute = COMPUTE_F32};
    if (levee_init(path, &shape, 1, NULL) != LEVEE_OK || model_config_read(&f.config, path, NULL) != LEVEE_OK ||
        safetensors_open_model(&f.tensors, path, NULL) != LEVEE_OK ||
        cpu_backend.open(&f.state, &options, NULL) != LEVEE_OK)
        return -1;
    f.source = (model_source){.config = &f.config, .tensors = f.tensors};
    *state = &f;
    return 0;
}

int small_model_teardown(void **state) {
    fixture *f = *state;
    cpu_backend.close(f->state);
    safetensors_close(f->tensors);
    return scratch_teardown(&f->directory);
}

trainable_set small_model_lora(uint32_t last_layers, const char *projections, float dropout) {
    trainable_set set = {
        .type = FINE_TUNE_LORA, .last_layers = last_layers, .rank = 3, .scale = 2, .dropout = dropout};
    for (unsigned p = 0; p < PROJECTION_COUNT; p++) set.projections[p] = projections[p] == '1';
    return set;
}

trainable_set small_model_whole(fine_tune_type type, uint32_t last_layers) {
    return (trainable_set){.type = type, .last_layers = last_layers};
}

/* The graph before and after; *forward_count is the number of nodes that there were before. */
graph small_model_differentiated(const fixture *f, trainable_set trained, uint32_t *forward_count) {
    graph g;
    levee_error error;
    graph_open(&g, SPACE_HOST);
    scratch_expect("build", LEVEE_OK, "", model_build_loss(&g, &f->source, &trained, &error), &error);
    uint32_t count = g.node_count;
    scratch_expect("differentiate", LEVEE_OK, "", graph_differentiate(&g, &error), &error);
    for (uint32_t i = 0; i < g.node_count; i++) assert_int_equal(g.nodes[i].backward, i + 1 >= count);
    if (forward_count) *forward_count = count;
    return g;
}

uint32_t graph_count_role(const graph *g, value_role role) {
    uint32_t count = 0;
    for (value_id v = 0; v < g->value_count; v++) count += g->values[v].role == role;
    return count;
}

/* Each activation has one writer, which stands before all readers; nothing frozen is written; each parameter has a
 * gradient of its shape, and some node adds to it. */
void graph_assert_sound(const graph *g) {
    bool *written = calloc(g->value_count, sizeof *written);
    assert_non_null(written);
    for (uint32_t i = 0; i < g->node_count; i++) {
        const node *n = &g->nodes[i];
        for (unsigned k = 0; k < KERNEL_INPUTS; k++)
            if (n->in[k] != NO_VALUE && g->values[n->in[k]].role == VALUE_ACTIVATION && !written[n->in[k]])
                fail_msg("node %u, %s, reads %s first", i, operator_name(n->kind), g->values[n->in[k]].name);
        for (unsigned k = 0; k < KERNEL_OUTPUTS; k++) {
            if (n->out[k] == NO_VALUE) continue;
            const value *v = &g->values[n->out[k]];
            bool gradient = v->role == VALUE_GRADIENT;
            assert_true(gradient || v->role == VALUE_ACTIVATION || v->role == VALUE_OUTPUT);
            assert_int_equal(gradient, operator_accumulates(n->kind, k));
            if (!gradient && written[n->out[k]]) fail_msg("node %u writes %s again", i, v->name);
            if (!gradient) assert_int_equal(v->producer, i);
            written[n->out[k]] = true;
        }
    }
    for (value_id v = 0; v < g->value_count; v++) {
        const value *p = &g->values[v];
        if (p->role == VALUE_ACTIVATION || p->role == VALUE_OUTPUT) assert_true(written[v]);
        if (p->role != VALUE_PARAMETER) continue;
        if (p->gradient == NO_VALUE) fail_msg("%s has no gradient", p->name);
        const value *gradient = &g->values[p->gradient];
        assert_int_equal(gradient->role, VALUE_GRADIENT);
        assert_int_equal(gradient->rows, p->rows);
        assert_int_equal(gradient->cols, p->cols);
        assert_true(written[p->gradient]);
    }
    assert_int_equal(graph_count_role(g, VALUE_GRADIENT), graph_count_role(g, VALUE_PARAMETER));
    free(written);
}

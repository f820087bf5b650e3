/* Statements: see jinja_call.h. */

#include "text/jinja_call.h"
#include "text/jinja_generated.h"
#include "text/jinja_text.h"

jinja_scope *jinja_scope_make(jinja_run *run, jinja_scope *outer) {
    jinja_scope *scope = jinja_take(run, 1, sizeof *scope);
    if (scope) scope->outer = outer;
    return scope;
}

jinja_builder *jinja_capture(jinja_run *run, jinja_builder *output) {
    jinja_builder *before = run->output;
    run->output = output;
    return before;
}

static void unpack(jinja_run *run, const jinja_nodes *targets, jinja_value value) {
    if (!jinja_is_iterable(value)) {
        jinja_fail(run, "cannot unpack non-iterable %s object", jinja_type_name(value));
        return;
    }
    const jinja_list *items = jinja_items(run, value);
    if (!items) return;
    if (items->count > targets->count) {
        jinja_fail(run, "too many values to unpack (expected %llu)", (unsigned long long)targets->count);
        return;
    }
    if (items->count < targets->count) {
        jinja_fail(run, "not enough values to unpack (expected %llu, got %llu)", (unsigned long long)targets->count,
                   (unsigned long long)items->count);
        return;
    }
    uint64_t i = 0;
    for (const jinja_node *t = targets->first; t && !jinja_failed(run); t = t->next)
        jinja_assign(run, t, items->items[i++]);
}

static void assign_attribute(jinja_run *run, const jinja_node *target, jinja_value value) {
    jinja_value space = jinja_look_up(run, target->part.variable);
    const jinja_string *name = target->part.name.string;
    run->place = target->offset;
    if (space.kind != JINJA_NAMESPACE)
        jinja_fail(run, "cannot assign attribute on non-namespace object");
    else if (name->bytes && *name->text == '_')
        jinja_fail(run, "an attribute of a namespace cannot begin with an underscore");
    else
        jinja_dict_set(run, space.dict, target->part.name, value);
}

/* Nested targets are as deep as the parser allows. */
void jinja_assign(jinja_run *run, const jinja_node *target, jinja_value value) {
    if (!target || jinja_failed(run)) return;
    if (target->kind == NODE_NAME)
        jinja_set_variable(run, run->scope, target->constant.string, value);
    else if (target->kind == NODE_TUPLE)
        unpack(run, &target->items, value);
    else
        assign_attribute(run, target, value);
}

static jinja_value macro_value(jinja_run *run, const jinja_macro_node *node) {
    jinja_macro *macro = jinja_take(run, 1, sizeof *macro);
    if (!macro) return jinja_nothing();
    *macro = (jinja_macro){.node = node, .name = node->name, .outer = run->scope};
    return (jinja_value){.kind = JINJA_MACRO, .macro = macro};
}

/* A macro whose text is printed as it is writes where the print stands, so that generation blocks in it keep their
 * place. */
static bool print_macro(jinja_run *run, const jinja_node *call) {
    if (!call || call->kind != NODE_CALL) return false;
    jinja_value callee = jinja_evaluate(run, call->call.callee);
    if (callee.kind != JINJA_MACRO) return false;
    jinja_arguments arguments = jinja_evaluate_arguments(run, &call->call.arguments, jinja_none());
    run->place = call->offset;
    if (!jinja_failed(run)) jinja_run_macro(run, callee.macro, &arguments);
    return true;
}

/* Looking at the callee twice is safe where it is a name: names have no effects. */
static void print(jinja_run *run, const jinja_node *node) {
    const jinja_node *value = node->operand;
    bool named = value && value->kind == NODE_CALL && value->call.callee && value->call.callee->kind == NODE_NAME;
    if (named && print_macro(run, value)) return;
    jinja_value result = jinja_evaluate(run, value);
    if (!jinja_failed(run)) jinja_put_text(run, run->output, result);
}

static void execute_if(jinja_run *run, const jinja_node *node) {
    for (const jinja_branch *b = node->branches; b && !jinja_failed(run); b = b->next) {
        if (b->condition && !jinja_truth(run, jinja_evaluate(run, b->condition))) continue;
        if (!jinja_failed(run)) jinja_execute(run, &b->body);
        break;
    }
}

/* The items that pass a loop's filter. It sees the loop's targets, but no `loop`. */
static const jinja_list *filter_items(jinja_run *run, const jinja_node *node, const jinja_list *items) {
    if (!node->loop.filter || !items) return items;
    jinja_value kept = jinja_list_make(run, JINJA_LIST, 0);
    jinja_scope *outer = run->scope;
    for (uint64_t i = 0; i < items->count && jinja_step(run, 1); i++) {
        run->scope = jinja_scope_make(run, outer);
        jinja_assign(run, node->loop.target, items->items[i]);
        if (jinja_truth(run, jinja_evaluate(run, node->loop.filter))) jinja_list_add(run, kept.list, items->items[i]);
    }
    run->scope = outer;
    return jinja_failed(run) ? NULL : kept.list;
}

static void execute_items(jinja_run *run, jinja_loop *loop) {
    jinja_value value = {.kind = JINJA_LOOP, .loop = loop};
    jinja_value name = jinja_text(run, "loop", 4);
    for (; loop->index0 < loop->items->count && jinja_step(run, 1); loop->index0++) {
        run->scope = jinja_scope_make(run, loop->outer);
        if (!run->scope) break;
        jinja_set_variable(run, run->scope, name.string, value);
        jinja_assign(run, loop->node->loop.target, loop->items->items[loop->index0]);
        jinja_execute(run, &loop->node->loop.body);
        if (run->flow == FLOW_BREAK) break;
        run->flow = FLOW_ON;
    }
    run->flow = FLOW_ON;
}

void jinja_execute_loop(jinja_run *run, const jinja_node *node, jinja_scope *outer, jinja_value iterable,
                        uint64_t depth0) {
    jinja_scope *before = run->scope;
    run->scope = outer;
    jinja_loop *loop = jinja_take(run, 1, sizeof *loop);
    const jinja_list *items = filter_items(run, node, jinja_items(run, iterable));
    if (loop && items && !jinja_failed(run)) {
        *loop = (jinja_loop){.node = node, .outer = outer, .items = items, .depth0 = depth0};
        execute_items(run, loop);
        if (!items->count) {
            run->scope = jinja_scope_make(run, outer);
            jinja_execute(run, &node->loop.otherwise);
        }
    }
    run->scope = before;
}

static void execute_for(jinja_run *run, const jinja_node *node) {
    jinja_value iterable = jinja_evaluate(run, node->loop.iterable);
    if (!jinja_failed(run)) jinja_execute_loop(run, node, run->scope, iterable, 0);
}

/* Executes a body in a scope of its own, and writes to `output`. */
static void execute_within(jinja_run *run, const jinja_nodes *body, jinja_builder *output) {
    jinja_scope *outer = run->scope;
    jinja_builder *before = jinja_capture(run, output);
    run->scope = jinja_scope_make(run, outer);
    jinja_execute(run, body);
    run->scope = outer;
    jinja_capture(run, before);
}

static void execute_set_block(jinja_run *run, const jinja_node *node) {
    jinja_builder text = {0};
    execute_within(run, &node->set.body, &text);
    if (jinja_failed(run) || run->flow != FLOW_ON) return;
    jinja_value value = jinja_text_built(run, &text);
    jinja_assign(run, node->set.target, jinja_evaluate_filters(run, node->set.value, value));
}

static void execute_filter_block(jinja_run *run, const jinja_node *node) {
    jinja_builder text = {0};
    execute_within(run, &node->filter_block.body, &text);
    if (jinja_failed(run) || run->flow != FLOW_ON) return;
    jinja_value value = jinja_evaluate_filters(run, node->filter_block.filter, jinja_text_built(run, &text));
    if (!jinja_failed(run)) jinja_put_text(run, run->output, value);
}

/* The values are those of the scope around it. */
static void execute_with(jinja_run *run, const jinja_node *node) {
    jinja_scope *outer = run->scope, *inner = jinja_scope_make(run, outer);
    const jinja_node *value = node->with.values.first;
    for (const jinja_node *t = node->with.targets.first; t && value && !jinja_failed(run);
         t = t->next, value = value->next) {
        jinja_value v = jinja_evaluate(run, value);
        run->scope = inner;
        jinja_assign(run, t, v);
        run->scope = outer;
    }
    run->scope = inner;
    jinja_execute(run, &node->with.body);
    run->scope = outer;
}

static void execute_generation(jinja_run *run, const jinja_node *node) {
    uint64_t begin = run->output->bytes;
    execute_within(run, &node->macro->body, run->output);
    if (jinja_failed(run)) return;
    if (run->output == run->whole)
        jinja_note_generated(run, begin, run->output->bytes - begin);
    else
        run->captured_generations++;
}

static void execute_call_block(jinja_run *run, const jinja_node *node) {
    const jinja_node *call = node->call_block.call;
    jinja_value callee = jinja_evaluate(run, call->call.callee);
    if (jinja_failed(run) || jinja_refuse_undefined(run, callee)) return;
    jinja_value caller = macro_value(run, node->call_block.caller);
    jinja_arguments arguments = jinja_evaluate_arguments(run, &call->call.arguments, caller);
    run->place = call->offset;
    if (jinja_failed(run)) return;
    if (callee.kind == JINJA_MACRO) {
        jinja_run_macro(run, callee.macro, &arguments);
        return;
    }
    jinja_value result = jinja_call_value(run, callee, &arguments);
    if (!jinja_failed(run)) jinja_put_text(run, run->output, result);
}

static void execute_one(jinja_run *run, const jinja_node *node) {
    switch (node->kind) {
    case NODE_TEXT:
        jinja_put_text(run, run->output, node->constant);
        break;
    case NODE_PRINT:
        print(run, node);
        break;
    case NODE_IF:
        execute_if(run, node);
        break;
    case NODE_FOR:
        execute_for(run, node);
        break;
    case NODE_SET:
        jinja_assign(run, node->set.target, jinja_evaluate(run, node->set.value));
        break;
    case NODE_SET_BLOCK:
        execute_set_block(run, node);
        break;
    case NODE_WITH:
        execute_with(run, node);
        break;
    case NODE_MACRO:
        jinja_set_variable(run, run->scope, node->macro->name.string, macro_value(run, node->macro));
        break;
    case NODE_CALL_BLOCK:
        execute_call_block(run, node);
        break;
    case NODE_FILTER_BLOCK:
        execute_filter_block(run, node);
        break;
    case NODE_GENERATION:
        execute_generation(run, node);
        break;
    case NODE_BREAK:
        run->flow = FLOW_BREAK;
        break;
    case NODE_CONTINUE:
        run->flow = FLOW_CONTINUE;
        break;
    default:
        jinja_fail(run, "this is no statement");
        break;
    }
}

void jinja_execute(jinja_run *run, const jinja_nodes *body) {
    if (!jinja_enter(run)) return;
    for (const jinja_node *node = body->first; node && run->flow == FLOW_ON && jinja_step(run, 1);
         node = node->next) {
        run->place = node->offset;
        execute_one(run, node);
    }
    jinja_leave(run);
}

/* Expressions to values: see jinja_call.h. */
#include <string.h>

#include "text/jinja_call.h"
#include "text/jinja_text.h"

void jinja_set_variable(jinja_run *run, jinja_scope *scope, const jinja_string *name, jinja_value value) {
    if (!scope || jinja_failed(run)) return;
    for (jinja_variable *v = scope->first; v; v = v->next) {
        if (v->name->bytes != name->bytes || memcmp(v->name->text, name->text, name->bytes)) continue;
        v->value = value;
        return;
    }
    jinja_variable *variable = jinja_take(run, 1, sizeof *variable);
    if (!variable) return;
    *variable = (jinja_variable){.next = scope->first, .name = name, .value = value};
    scope->first = variable;
}

jinja_value jinja_look_up(jinja_run *run, jinja_value name) {
    if (name.kind != JINJA_STRING) return jinja_nothing();
    for (const jinja_scope *scope = run->scope; scope; scope = scope->outer) {
        uint64_t passed = 1;
        for (const jinja_variable *v = scope->first; v; v = v->next, passed++)
            if (v->name->bytes == name.string->bytes && !memcmp(v->name->text, name.string->text, v->name->bytes))
                return v->value;
        if (!jinja_step(run, passed / 8)) return jinja_nothing();
    }
    const jinja_builtin *function = jinja_find_builtin(jinja_functions, name);
    if (function) return (jinja_value){.kind = JINJA_FUNCTION, .function = function};
    return jinja_undefined_name(run, NULL, name);
}

static jinja_value evaluate_list(jinja_run *run, const jinja_node *node) {
    jinja_value list = jinja_list_make(run, node->kind == NODE_LIST ? JINJA_LIST : JINJA_TUPLE, node->items.count);
    for (const jinja_node *item = node->items.first; item && !jinja_failed(run); item = item->next)
        jinja_list_add(run, list.list, jinja_evaluate(run, item));
    return list;
}

static jinja_value evaluate_dict(jinja_run *run, const jinja_node *node) {
    jinja_value dict = jinja_dict_make(run, JINJA_DICT, node->items.count / 2);
    for (const jinja_node *key = node->items.first; key && key->next && !jinja_failed(run); key = key->next->next) {
        jinja_value k = jinja_evaluate(run, key), v = jinja_evaluate(run, key->next);
        jinja_dict_set(run, dict.dict, k, v);
    }
    return dict;
}

static jinja_value evaluate_sign(jinja_run *run, const jinja_node *node) {
    jinja_value v = jinja_evaluate(run, node->operand);
    bool negate = node->kind == NODE_NEGATE;
    if (jinja_failed(run) || jinja_refuse_undefined(run, v)) return jinja_nothing();
    if (v.kind == JINJA_FLOAT) return jinja_float(negate ? -v.real : v.real);
    if (v.kind == JINJA_BOOLEAN) v = jinja_integer(v.boolean);
    if (v.kind == JINJA_INTEGER && negate)
        return jinja_arithmetic_value(run, ARITHMETIC_SUBTRACT, jinja_integer(0), v);
    if (v.kind != JINJA_INTEGER)
        jinja_fail(run, "bad operand type for unary %s: '%s'", negate ? "-" : "+", jinja_type_name(v));
    return v;
}

/* Gives one of its operands, as Python does. */
static jinja_value evaluate_logic(jinja_run *run, const jinja_node *node) {
    jinja_value left = jinja_evaluate(run, node->binary.left);
    if (jinja_failed(run) || jinja_truth(run, left) == (node->kind == NODE_OR)) return left;
    return jinja_evaluate(run, node->binary.right);
}

static jinja_value evaluate_arithmetic(jinja_run *run, const jinja_node *node) {
    jinja_value left = jinja_evaluate(run, node->binary.left), right = jinja_evaluate(run, node->binary.right);
    return jinja_failed(run) ? jinja_nothing() : jinja_arithmetic_value(run, node->binary.operation, left, right);
}

/* The parts are evaluated first, so that the text grows in one place. */
static jinja_value evaluate_concatenation(jinja_run *run, const jinja_node *node) {
    jinja_builder rest = {0};
    jinja_value parts = evaluate_list(run, node);
    for (uint64_t i = 1; !jinja_failed(run) && i < parts.list->count; i++)
        jinja_put_text(run, &rest, parts.list->items[i]);
    if (jinja_failed(run) || !parts.list->count) return jinja_text(run, "", 0);
    jinja_value first = jinja_to_text(run, parts.list->items[0]);
    return jinja_failed(run) ? first : jinja_text_append(run, first.string, rest.data, rest.bytes);
}

static bool compare(jinja_run *run, jinja_comparison comparison, jinja_value a, jinja_value b) {
    switch (comparison) {
    case COMPARE_EQUAL:
        return jinja_equal(run, a, b);
    case COMPARE_NOT_EQUAL:
        return !jinja_equal(run, a, b);
    case COMPARE_IN:
        return jinja_contains(run, b, a);
    case COMPARE_NOT_IN:
        return !jinja_contains(run, b, a);
    default:
        return jinja_ordered(run, (jinja_order)comparison, a, b);
    }
}

static jinja_value evaluate_comparison(jinja_run *run, const jinja_node *node) {
    jinja_value left = jinja_evaluate(run, node->compare.left);
    for (const jinja_comparison_node *next = node->compare.first; next && !jinja_failed(run); next = next->next) {
        jinja_value right = jinja_evaluate(run, next->operand);
        if (jinja_failed(run) || !compare(run, next->comparison, left, right)) return jinja_boolean(false);
        left = right;
    }
    return jinja_boolean(true);
}

static jinja_value evaluate_condition(jinja_run *run, const jinja_node *node) {
    bool yes = jinja_truth(run, jinja_evaluate(run, node->condition.test));
    if (yes) return jinja_evaluate(run, node->condition.yes);
    if (node->condition.no) return jinja_evaluate(run, node->condition.no);
    return jinja_undefined_because(run,
                                   "the inline if-expression evaluated to false and no else section was defined.");
}

static jinja_value evaluate_slice(jinja_run *run, const jinja_node *node) {
    jinja_value object = jinja_evaluate(run, node->slice.object), bounds[3];
    const jinja_node *const parts[] = {node->slice.start, node->slice.stop, node->slice.step};
    for (unsigned i = 0; i < 3; i++) bounds[i] = parts[i] ? jinja_evaluate(run, parts[i]) : jinja_missing();
    return jinja_failed(run) ? jinja_nothing() : jinja_slice(run, object, bounds[0], bounds[1], bounds[2]);
}

static void add_named(jinja_run *run, jinja_named_value *named, uint64_t *count, jinja_value name,
                      jinja_value value) {
    for (uint64_t i = 0; i < *count && jinja_step(run, 1); i++)
        if (jinja_equal(run, named[i].name, name))
            jinja_fail(run, "there are several values for one keyword argument");
    if (name.kind != JINJA_STRING) jinja_fail(run, "keywords must be strings");
    if (named) named[(*count)++] = (jinja_named_value){.name = name, .value = value};
}

/* What **expression gives; an empty dict after a failure. */
static const jinja_dict *evaluate_named_rest(jinja_run *run, const jinja_node *node) {
    static const jinja_dict none = {0};
    jinja_value rest = node ? jinja_evaluate(run, node) : jinja_nothing();
    if (!node || jinja_failed(run)) return &none;
    if (rest.kind == JINJA_DICT) return rest.dict;
    jinja_fail(run, "argument after ** must be a mapping, not %s", jinja_type_name(rest));
    return &none;
}

jinja_arguments jinja_evaluate_arguments(jinja_run *run, const jinja_argument_nodes *nodes, jinja_value caller) {
    jinja_arguments none = {0};
    jinja_value positional = jinja_list_make(run, JINJA_LIST, nodes->positional.count);
    for (const jinja_node *n = nodes->positional.first; n && !jinja_failed(run); n = n->next)
        jinja_list_add(run, positional.list, jinja_evaluate(run, n));
    const jinja_list *rest = nodes->rest ? jinja_items(run, jinja_evaluate(run, nodes->rest)) : NULL;
    if (rest) jinja_list_extend(run, positional.list, rest->items, rest->count);
    const jinja_dict *named_rest = evaluate_named_rest(run, nodes->named_rest);
    uint64_t count = 0, most = nodes->named.count + named_rest->count + 1;
    jinja_named_value *named = most > 1 || caller.kind == JINJA_MACRO ? jinja_take(run, most, sizeof *named) : NULL;
    if (jinja_failed(run)) return none;
    for (const jinja_named_node *n = nodes->named.first; n && !jinja_failed(run); n = n->next)
        add_named(run, named, &count, n->name, jinja_evaluate(run, n->node));
    for (uint64_t i = 0; i < named_rest->count && !jinja_failed(run); i++)
        add_named(run, named, &count, named_rest->entries[i].key, named_rest->entries[i].value);
    if (caller.kind == JINJA_MACRO && !jinja_failed(run))
        add_named(run, named, &count, jinja_text(run, "caller", 6), caller);
    if (jinja_failed(run)) return none;
    return (jinja_arguments){positional.list->items, positional.list->count, named, count};
}

static jinja_value evaluate_call(jinja_run *run, const jinja_node *node) {
    jinja_value callee = jinja_evaluate(run, node->call.callee);
    if (jinja_failed(run) || jinja_refuse_undefined(run, callee)) return jinja_nothing();
    jinja_arguments arguments = jinja_evaluate_arguments(run, &node->call.arguments, jinja_none());
    return jinja_failed(run) ? jinja_nothing() : jinja_call_value(run, callee, &arguments);
}

static jinja_value evaluate_filter(jinja_run *run, const jinja_node *node, jinja_value subject) {
    jinja_arguments arguments = jinja_evaluate_arguments(run, &node->call.arguments, jinja_none());
    return jinja_failed(run) ? jinja_nothing() : jinja_apply_filter(run, node->call.name, subject, &arguments);
}

jinja_value jinja_evaluate_filters(jinja_run *run, const jinja_node *filter, jinja_value subject) {
    if (!filter || !jinja_enter(run)) return subject;
    subject = jinja_evaluate_filters(run, filter->call.callee, subject);
    run->place = filter->offset;
    jinja_value result = jinja_failed(run) ? jinja_nothing() : evaluate_filter(run, filter, subject);
    jinja_leave(run);
    return result;
}

static jinja_value evaluate_test(jinja_run *run, const jinja_node *node) {
    jinja_value subject = jinja_evaluate(run, node->call.callee);
    jinja_arguments arguments = jinja_evaluate_arguments(run, &node->call.arguments, jinja_none());
    return jinja_boolean(!jinja_failed(run) && jinja_apply_test(run, node->call.name, subject, &arguments));
}

static jinja_value evaluate_within(jinja_run *run, const jinja_node *node) {
    jinja_value object, index;
    switch (node->kind) {
    case NODE_CONSTANT:
        return node->constant;
    case NODE_NAME:
        return jinja_look_up(run, node->constant);
    case NODE_LIST:
    case NODE_TUPLE:
        return evaluate_list(run, node);
    case NODE_DICT:
        return evaluate_dict(run, node);
    case NODE_NEGATE:
    case NODE_PLUS:
        return evaluate_sign(run, node);
    case NODE_NOT:
        return jinja_boolean(!jinja_truth(run, jinja_evaluate(run, node->operand)));
    case NODE_AND:
    case NODE_OR:
        return evaluate_logic(run, node);
    case NODE_ARITHMETIC:
        return evaluate_arithmetic(run, node);
    case NODE_CONCATENATE:
        return evaluate_concatenation(run, node);
    case NODE_COMPARE:
        return evaluate_comparison(run, node);
    case NODE_CONDITION:
        return evaluate_condition(run, node);
    case NODE_ATTRIBUTE:
        object = jinja_evaluate(run, node->part.object);
        return jinja_failed(run) ? object : jinja_attribute(run, object, node->part.name);
    case NODE_SUBSCRIPT:
        object = jinja_evaluate(run, node->part.object);
        index = jinja_evaluate(run, node->part.index);
        return jinja_failed(run) ? object : jinja_element(run, object, index);
    case NODE_SLICE:
        return evaluate_slice(run, node);
    case NODE_CALL:
        return evaluate_call(run, node);
    case NODE_FILTER:
        object = jinja_evaluate(run, node->call.callee);
        return jinja_failed(run) ? object : evaluate_filter(run, node, object);
    case NODE_TEST:
        return evaluate_test(run, node);
    default:
        jinja_fail(run, "this is no expression");
        return jinja_nothing();
    }
}

/* The place is kept while parts are evaluated, for the failure of the whole: a part sets its own and puts this back.
 */
jinja_value jinja_evaluate(jinja_run *run, const jinja_node *node) {
    if (!node || !jinja_enter(run)) return jinja_nothing();
    uint32_t outer = run->place;
    run->place = node->offset;
    jinja_value value = evaluate_within(run, node);
    run->place = outer;
    jinja_leave(run);
    return jinja_failed(run) ? jinja_nothing() : value;
}

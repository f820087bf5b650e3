/* Calls: arguments to parameters, of what is built in and of macros. See jinja_call.h. */
#include <string.h>

#include "text/jinja_call.h"
#include "text/jinja_text.h"

const jinja_builtin *jinja_find_builtin(const jinja_builtin *table, jinja_value name) {
    for (const jinja_builtin *b = table; b->name; b++)
        if (jinja_is_text(name, b->name)) return b;
    return NULL;
}

const jinja_builtin *jinja_find_filter(jinja_value name) {
    const jinja_builtin *b = jinja_find_builtin(jinja_text_filters, name);
    if (!b) b = jinja_find_builtin(jinja_sequence_filters, name);
    return b ? b : jinja_find_builtin(jinja_value_filters, name);
}

/* The number of the parameter of this name; the number of parameters when there is none. */
static unsigned find_parameter(const char *parameters, jinja_value name, bool *found) {
    unsigned number = 0;
    *found = false;
    for (const char *p = parameters; *p;) {
        size_t length = strcspn(p, " ");
        if (name.kind == JINJA_STRING && name.string->bytes == length && !memcmp(p, name.string->text, length)) {
            *found = true;
            return number;
        }
        number++;
        p += length + (p[length] == ' ');
    }
    return number;
}

/* Puts the arguments in the order of the parameters. */
static bool bind(jinja_run *run, jinja_call *call) {
    const jinja_builtin *b = call->builtin;
    const jinja_arguments *all = call->all;
    bool found;
    unsigned count = find_parameter(b->parameters, jinja_missing(), &found);
    for (unsigned i = 0; i < BUILTIN_MOST_PARAMETERS; i++)
        call->given[i] = i < all->count && i < count ? all->positional[i] : jinja_missing();
    if (all->count > count) jinja_fail(run, "%s() takes at most %u arguments", b->name, count);
    for (uint64_t i = 0; i < all->named_count && !jinja_failed(run); i++) {
        unsigned number = find_parameter(b->parameters, all->named[i].name, &found);
        if (!found)
            jinja_fail(run, "%s() got an unexpected keyword argument '%.*s'", b->name,
                       (int)all->named[i].name.string->bytes, all->named[i].name.string->text);
        else if (call->given[number].kind != JINJA_MISSING)
            jinja_fail(run, "%s() got multiple values for argument '%.*s'", b->name,
                       (int)all->named[i].name.string->bytes, all->named[i].name.string->text);
        else
            call->given[number] = all->named[i].value;
    }
    for (unsigned i = 0; i < b->required; i++)
        if (call->given[i].kind == JINJA_MISSING) jinja_fail(run, "%s() lacks an argument", b->name);
    return !jinja_failed(run);
}

jinja_value jinja_call_builtin(jinja_run *run, const jinja_builtin *builtin, jinja_value subject,
                               const jinja_arguments *arguments) {
    jinja_call call = {.builtin = builtin, .subject = subject, .all = arguments};
    if (!jinja_enter(run)) return jinja_nothing();
    bool fine = !strcmp(builtin->parameters, "*") || bind(run, &call);
    jinja_value result = fine ? builtin->function(run, &call) : jinja_nothing();
    jinja_leave(run);
    return result;
}

jinja_value jinja_apply_filter(jinja_run *run, jinja_value name, jinja_value subject,
                               const jinja_arguments *arguments) {
    const jinja_builtin *filter = jinja_find_filter(name);
    if (filter) return jinja_call_builtin(run, filter, subject, arguments);
    jinja_value text = jinja_to_text(run, name);
    if (!jinja_failed(run))
        jinja_fail(run, "No filter named '%.*s' is known here", (int)text.string->bytes, text.string->text);
    return jinja_nothing();
}

bool jinja_apply_test(jinja_run *run, jinja_value name, jinja_value subject, const jinja_arguments *arguments) {
    const jinja_builtin *test = jinja_find_builtin(jinja_tests, name);
    if (test) return jinja_truth(run, jinja_call_builtin(run, test, subject, arguments));
    jinja_value text = jinja_to_text(run, name);
    if (!jinja_failed(run))
        jinja_fail(run, "No test named '%.*s' is known here", (int)text.string->bytes, text.string->text);
    return false;
}

static jinja_value named_dict(jinja_run *run, const jinja_arguments *a, const bool *used) {
    jinja_value dict = jinja_dict_make(run, JINJA_DICT, 0);
    for (uint64_t i = 0; i < a->named_count && !jinja_failed(run); i++)
        if (!used[i]) jinja_dict_set(run, dict.dict, a->named[i].name, a->named[i].value);
    return dict;
}

/* The value of a parameter by its name; missing when it was not given. */
static jinja_value take_named(jinja_run *run, const jinja_arguments *a, bool *used, jinja_value name) {
    for (uint64_t i = 0; i < a->named_count && jinja_step(run, 1); i++) {
        if (used[i] || !jinja_equal(run, a->named[i].name, name)) continue;
        used[i] = true;
        return a->named[i].value;
    }
    return jinja_missing();
}

static void set_by_name(jinja_run *run, jinja_scope *scope, const char *name, jinja_value value) {
    jinja_value text = jinja_text(run, name, strlen(name));
    if (!jinja_failed(run)) jinja_set_variable(run, scope, text.string, value);
}

/* Defaults are evaluated in the scope of the macro, after the parameters before them. */
static bool bind_parameters(jinja_run *run, const jinja_macro *macro, const jinja_arguments *a, bool *used) {
    uint64_t number = 0;
    for (const jinja_named_node *p = macro->node->parameters.first; p && !jinja_failed(run); p = p->next, number++) {
        jinja_value value = number < a->count ? a->positional[number] : take_named(run, a, used, p->name);
        if (value.kind == JINJA_MISSING)
            value =
                p->node ? jinja_evaluate(run, p->node) : jinja_undefined_because(run, "parameter was not provided");
        if (jinja_failed(run)) return false;
        jinja_set_variable(run, run->scope, p->name.string, value);
    }
    return !jinja_failed(run);
}

static bool has_parameter(const jinja_macro_node *node, const char *name) {
    for (const jinja_named_node *p = node->parameters.first; p; p = p->next)
        if (jinja_is_text(p->name, name)) return true;
    return false;
}

static void bind_rest(jinja_run *run, const jinja_macro *macro, const jinja_arguments *a, bool *used) {
    const jinja_macro_node *node = macro->node;
    uint64_t count = node->parameters.count;
    if (node->takes_caller && !has_parameter(node, "caller")) {
        jinja_value caller = take_named(run, a, used, jinja_text(run, "caller", 6));
        set_by_name(run, run->scope, "caller",
                    caller.kind == JINJA_MISSING ? jinja_undefined_because(run, "No caller defined") : caller);
    }
    for (uint64_t i = 0; i < a->named_count && !node->takes_named_rest && !jinja_failed(run); i++)
        if (!used[i])
            jinja_fail(run, "macro takes no keyword argument '%.*s'", (int)a->named[i].name.string->bytes,
                       a->named[i].name.string->text);
    if (a->count > count && !node->takes_rest)
        jinja_fail(run, "macro takes not more than %llu argument(s)", (unsigned long long)count);
    if (node->takes_named_rest) set_by_name(run, run->scope, "kwargs", named_dict(run, a, used));
    if (!node->takes_rest) return;
    jinja_value rest = jinja_list_make(run, JINJA_TUPLE, 0);
    for (uint64_t i = count; i < a->count && !jinja_failed(run); i++)
        jinja_list_add(run, rest.list, a->positional[i]);
    set_by_name(run, run->scope, "varargs", rest);
}

void jinja_run_macro(jinja_run *run, const jinja_macro *macro, const jinja_arguments *arguments) {
    if (!jinja_enter(run)) return;
    jinja_scope *before = run->scope;
    uint32_t place = run->place;
    bool *used = jinja_take(run, arguments->named_count + 1, sizeof *used);
    run->scope = jinja_scope_make(run, macro->outer);
    if (used && run->scope && bind_parameters(run, macro, arguments, used)) {
        bind_rest(run, macro, arguments, used);
        if (!jinja_failed(run)) jinja_execute(run, &macro->node->body);
    }
    run->scope = before;
    run->place = place;
    jinja_leave(run);
}

static jinja_value call_macro(jinja_run *run, const jinja_macro *macro, const jinja_arguments *arguments) {
    jinja_builder text = {0};
    jinja_builder *before = jinja_capture(run, &text);
    jinja_run_macro(run, macro, arguments);
    jinja_capture(run, before);
    return jinja_text_built(run, &text);
}

/* loop(items) in a recursive loop: its body again, for those. */
static jinja_value call_loop(jinja_run *run, const jinja_loop *loop, const jinja_arguments *arguments) {
    if (!loop->node->loop.recursive || arguments->count != 1) {
        jinja_fail(run, "The loop must have the 'recursive' marker to be called recursively, with one argument");
        return jinja_nothing();
    }
    jinja_builder text = {0};
    if (!jinja_enter(run)) return jinja_nothing();
    jinja_builder *before = jinja_capture(run, &text);
    jinja_execute_loop(run, loop->node, loop->outer, arguments->positional[0], loop->depth0 + 1);
    jinja_capture(run, before);
    jinja_leave(run);
    return jinja_text_built(run, &text);
}

static jinja_value call_joiner(jinja_run *run, jinja_cycler *joiner) {
    return joiner->at++ ? joiner->items->items[0] : jinja_text(run, "", 0);
}

jinja_value jinja_call_value(jinja_run *run, jinja_value callee, const jinja_arguments *arguments) {
    switch (callee.kind) {
    case JINJA_FUNCTION:
        return jinja_call_builtin(run, callee.function, jinja_none(), arguments);
    case JINJA_METHOD:
        return jinja_call_builtin(run, callee.method->builtin, callee.method->subject, arguments);
    case JINJA_MACRO:
        return call_macro(run, callee.macro, arguments);
    case JINJA_LOOP:
        return call_loop(run, callee.loop, arguments);
    case JINJA_JOINER:
        return call_joiner(run, callee.cycler);
    default:
        if (!jinja_refuse_undefined(run, callee))
            jinja_fail(run, "'%s' object is not callable", jinja_type_name(callee));
        return jinja_nothing();
    }
}

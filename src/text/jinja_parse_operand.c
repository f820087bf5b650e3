/* Operands: names, literals, and what stands behind them - parts, calls, filters, tests. See jinja_parser.h. */

#include "text/jinja_parser.h"

static jinja_node *constant(jinja_parser *p, jinja_value value, uint32_t offset) {
    jinja_node *node = parser_node(p, NODE_CONSTANT, offset);
    if (node) node->constant = value;
    return node;
}

/* Every macro around learns that varargs, kwargs or caller are spoken of within it. */
static void note_name(jinja_parser *p, jinja_value name) {
    for (jinja_macro_node *m = p->macro; m; m = m->outer) {
        m->takes_rest |= jinja_is_text(name, "varargs");
        m->takes_named_rest |= jinja_is_text(name, "kwargs");
        m->takes_caller |= jinja_is_text(name, "caller");
    }
}

static jinja_node *parse_name(jinja_parser *p, bool namespaces) {
    uint32_t offset = p->now.offset;
    jinja_value name = parser_expect_name(p);
    if (jinja_failed(p->run)) return NULL;
    if (jinja_is_text(name, "true") || jinja_is_text(name, "True")) return constant(p, jinja_boolean(true), offset);
    if (jinja_is_text(name, "false") || jinja_is_text(name, "False"))
        return constant(p, jinja_boolean(false), offset);
    if (jinja_is_text(name, "none") || jinja_is_text(name, "None")) return constant(p, jinja_none(), offset);
    bool target = namespaces && parser_skip(p, TOKEN_DOT);
    jinja_node *node = parser_node(p, target ? NODE_NAMESPACE_TARGET : NODE_NAME, offset);
    if (!node) return NULL;
    if (target) {
        node->part.variable = name;
        node->part.name = parser_expect_name(p);
    } else {
        node->constant = name;
        note_name(p, name);
    }
    return node;
}

/* Strings side by side are one. */
static jinja_node *parse_string(jinja_parser *p) {
    jinja_token first = p->now;
    parser_advance(p);
    if (p->now.kind != TOKEN_STRING) return constant(p, jinja_text(p->run, first.text, first.bytes), first.offset);
    jinja_builder joined = {0};
    jinja_put(p->run, &joined, first.text, first.bytes);
    while (p->now.kind == TOKEN_STRING) {
        jinja_put(p->run, &joined, p->now.text, p->now.bytes);
        parser_advance(p);
    }
    return constant(p, jinja_text_built(p->run, &joined), first.offset);
}

static jinja_node *parse_list(jinja_parser *p) {
    jinja_node *node = parser_node(p, NODE_LIST, p->now.offset);
    parser_advance(p);
    while (node && p->now.kind != TOKEN_CLOSE_BRACKET && p->now.kind != TOKEN_END) {
        if (node->items.count) parser_expect(p, TOKEN_COMMA);
        if (p->now.kind == TOKEN_CLOSE_BRACKET) break;
        parser_append(&node->items, parse_expression(p));
    }
    parser_expect(p, TOKEN_CLOSE_BRACKET);
    return node;
}

static jinja_node *parse_dict(jinja_parser *p) {
    jinja_node *node = parser_node(p, NODE_DICT, p->now.offset);
    parser_advance(p);
    while (node && p->now.kind != TOKEN_CLOSE_BRACE && p->now.kind != TOKEN_END) {
        if (node->items.count) parser_expect(p, TOKEN_COMMA);
        if (p->now.kind == TOKEN_CLOSE_BRACE) break;
        parser_append(&node->items, parse_expression(p));
        parser_expect(p, TOKEN_COLON);
        parser_append(&node->items, parse_expression(p));
    }
    parser_expect(p, TOKEN_CLOSE_BRACE);
    return node;
}

/* An expression in parentheses, or a tuple, which may be empty there. */
static jinja_node *parse_parentheses(jinja_parser *p) {
    uint32_t offset = p->now.offset;
    parser_advance(p);
    if (parser_skip(p, TOKEN_CLOSE_PARENTHESIS)) return parser_node(p, NODE_TUPLE, offset);
    jinja_node *node = parse_tuple(p, false, NULL);
    parser_expect(p, TOKEN_CLOSE_PARENTHESIS);
    return node;
}

static jinja_node *parse_primary_within(jinja_parser *p, bool namespaces) {
    jinja_token token = p->now;
    switch (token.kind) {
    case TOKEN_NAME:
        return parse_name(p, namespaces);
    case TOKEN_STRING:
        return parse_string(p);
    case TOKEN_INTEGER:
        parser_advance(p);
        return constant(p, jinja_integer(token.integer), token.offset);
    case TOKEN_FLOAT:
        parser_advance(p);
        return constant(p, jinja_float(token.real), token.offset);
    case TOKEN_OPEN_PARENTHESIS:
        return parse_parentheses(p);
    case TOKEN_OPEN_BRACKET:
        return parse_list(p);
    case TOKEN_OPEN_BRACE:
        return parse_dict(p);
    default:
        jinja_fail(p->run, "an expression is needed, not %s", jinja_token_name(token.kind));
        parser_stop(p);
        return NULL;
    }
}

/* Brackets go through here again without passing by parse_expression when they are empty or hold a tuple. */
jinja_node *parse_primary(jinja_parser *p, bool namespaces) {
    if (!jinja_enter(p->run)) {
        parser_stop(p);
        return NULL;
    }
    jinja_node *node = parse_primary_within(p, namespaces);
    jinja_leave(p->run);
    return node;
}

static bool at_slice_end(const jinja_parser *p) {
    return p->now.kind == TOKEN_CLOSE_BRACKET || p->now.kind == TOKEN_COMMA || p->now.kind == TOKEN_END;
}

/* What stands in brackets behind an object: an index, or start:stop:step. */
static jinja_node *parse_index(jinja_parser *p, jinja_node *object, uint32_t offset) {
    jinja_node *start = p->now.kind == TOKEN_COLON ? NULL : parse_expression(p);
    bool slice = parser_skip(p, TOKEN_COLON);
    jinja_node *node = parser_node(p, slice ? NODE_SLICE : NODE_SUBSCRIPT, offset);
    if (!node) return NULL;
    if (!slice) {
        node->part.object = object;
        node->part.index = start;
        return node;
    }
    node->slice.object = object;
    node->slice.start = start;
    if (p->now.kind != TOKEN_COLON && !at_slice_end(p)) node->slice.stop = parse_expression(p);
    if (parser_skip(p, TOKEN_COLON) && !at_slice_end(p)) node->slice.step = parse_expression(p);
    return node;
}

static jinja_node *parse_dot(jinja_parser *p, jinja_node *object) {
    uint32_t offset = p->now.offset;
    parser_advance(p);
    jinja_token token = p->now;
    bool number = token.kind == TOKEN_INTEGER;
    jinja_node *node = parser_node(p, number ? NODE_SUBSCRIPT : NODE_ATTRIBUTE, offset);
    if (!node) return NULL;
    node->part.object = object;
    if (number) {
        parser_advance(p);
        node->part.index = constant(p, jinja_integer(token.integer), token.offset);
    } else {
        node->part.name = parser_expect_name(p);
    }
    return node;
}

static bool ahead_is_assignment(const jinja_parser *p) {
    return p->now.kind == TOKEN_NAME && p->ahead.kind == TOKEN_ASSIGN;
}

static void parse_argument(jinja_parser *p, jinja_argument_nodes *a) {
    const char *problem = NULL;
    if (parser_skip(p, TOKEN_MULTIPLY)) {
        if (a->rest || a->named_rest) problem = "there is a second *";
        a->rest = parse_expression(p);
    } else if (parser_skip(p, TOKEN_POWER)) {
        if (a->named_rest) problem = "there is a second **";
        a->named_rest = parse_expression(p);
    } else if (ahead_is_assignment(p)) {
        if (a->named_rest) problem = "an argument stands behind **";
        jinja_value name = parser_expect_name(p);
        parser_advance(p);
        parser_append_named(p, &a->named, name, parse_expression(p));
    } else {
        if (a->rest || a->named_rest || a->named.count) problem = "an argument stands behind one with a name";
        parser_append(&a->positional, parse_expression(p));
    }
    if (problem) jinja_fail(p->run, "%s", problem);
}

static jinja_argument_nodes parse_arguments(jinja_parser *p) {
    jinja_argument_nodes arguments = {0};
    bool more = false;
    parser_expect(p, TOKEN_OPEN_PARENTHESIS);
    while (p->now.kind != TOKEN_CLOSE_PARENTHESIS && p->now.kind != TOKEN_END) {
        if (more) parser_expect(p, TOKEN_COMMA);
        if (p->now.kind == TOKEN_CLOSE_PARENTHESIS) break;
        parse_argument(p, &arguments);
        more = true;
    }
    parser_expect(p, TOKEN_CLOSE_PARENTHESIS);
    return arguments;
}

static jinja_node *parse_call(jinja_parser *p, jinja_node *callee) {
    jinja_node *node = parser_node(p, NODE_CALL, p->now.offset);
    jinja_argument_nodes arguments = parse_arguments(p);
    if (!node) return NULL;
    node->call.callee = callee;
    node->call.arguments = arguments;
    return node;
}

static jinja_node *parse_subscript(jinja_parser *p, jinja_node *object) {
    uint32_t offset = p->now.offset;
    parser_advance(p);
    jinja_node *node = parse_index(p, object, offset);
    if (p->now.kind == TOKEN_COMMA) jinja_fail(p->run, "one index is needed, not several");
    parser_expect(p, TOKEN_CLOSE_BRACKET);
    return node;
}

jinja_node *parse_postfix(jinja_parser *p, jinja_node *node) {
    for (;;) {
        if (p->now.kind == TOKEN_DOT)
            node = parse_dot(p, node);
        else if (p->now.kind == TOKEN_OPEN_BRACKET)
            node = parse_subscript(p, node);
        else if (p->now.kind == TOKEN_OPEN_PARENTHESIS)
            node = parse_call(p, node);
        else
            return node;
    }
}

jinja_node *parse_filters(jinja_parser *p, jinja_node *subject, bool inside) {
    while (inside || parser_skip(p, TOKEN_PIPE)) {
        inside = false;
        jinja_node *node = parser_node(p, NODE_FILTER, p->now.offset);
        if (!node) return NULL;
        node->call.callee = subject;
        node->call.name = parser_expect_name(p);
        if (p->now.kind == TOKEN_OPEN_PARENTHESIS) node->call.arguments = parse_arguments(p);
        subject = node;
    }
    return subject;
}

static bool starts_test_argument(const jinja_parser *p) {
    switch (p->now.kind) {
    case TOKEN_NAME:
        return !parser_at_word(p, "else") && !parser_at_word(p, "or") && !parser_at_word(p, "and");
    case TOKEN_STRING:
    case TOKEN_INTEGER:
    case TOKEN_FLOAT:
    case TOKEN_OPEN_BRACKET:
    case TOKEN_OPEN_BRACE:
        return true;
    default:
        return false;
    }
}

static jinja_node *parse_test(jinja_parser *p, jinja_node *subject) {
    jinja_node *node = parser_node(p, NODE_TEST, p->now.offset);
    if (!node) return NULL;
    parser_advance(p);
    bool negated = parser_skip_word(p, "not");
    node->call.callee = subject;
    node->call.name = parser_expect_name(p);
    if (p->now.kind == TOKEN_OPEN_PARENTHESIS) {
        node->call.arguments = parse_arguments(p);
    } else if (starts_test_argument(p)) {
        if (parser_at_word(p, "is")) jinja_fail(p->run, "tests with 'is' cannot be chained");
        parser_append(&node->call.arguments.positional, parse_postfix(p, parse_primary(p, false)));
    }
    return negated ? parser_unary_node(p, NODE_NOT, node, node->offset) : node;
}

jinja_node *parse_filters_and_tests(jinja_parser *p, jinja_node *node) {
    for (;;) {
        if (p->now.kind == TOKEN_PIPE)
            node = parse_filters(p, node, false);
        else if (parser_at_word(p, "is"))
            node = parse_test(p, node);
        else if (p->now.kind == TOKEN_OPEN_PARENTHESIS)
            node = parse_call(p, node);
        else
            return node;
    }
}

/* Expressions, by precedence from the loosest to the tightest: see jinja_parser.h. */
#include <string.h>

#include "text/jinja_parser.h"

static jinja_node *parse_or(jinja_parser *p);
static jinja_node *parse_unary(jinja_parser *p, bool with_filters);

/* A recursion that fails by depth gives NULL, as every parse after a failure. */
static jinja_node *deeper(jinja_parser *p, jinja_node *(*parse)(jinja_parser *p)) {
    if (!jinja_enter(p->run)) {
        parser_stop(p);
        return NULL;
    }
    jinja_node *node = parse(p);
    jinja_leave(p->run);
    return node;
}

static jinja_node *condition(jinja_parser *p, jinja_node *test, jinja_node *yes, jinja_node *no, uint32_t offset) {
    jinja_node *node = parser_node(p, NODE_CONDITION, offset);
    if (!node) return NULL;
    node->condition.test = test;
    node->condition.yes = yes;
    node->condition.no = no;
    return node;
}

static jinja_node *parse_condition(jinja_parser *p) {
    uint32_t offset = p->now.offset;
    jinja_node *value = parse_or(p);
    while (parser_skip_word(p, "if")) {
        jinja_node *test = parse_or(p);
        jinja_node *no = parser_skip_word(p, "else") ? deeper(p, parse_condition) : NULL;
        value = condition(p, test, value, no, offset);
    }
    return value;
}

jinja_node *parse_expression(jinja_parser *p) { return deeper(p, parse_condition); }

static jinja_node *binary(jinja_parser *p, jinja_node_kind kind, jinja_arithmetic operation, jinja_node *left,
                          jinja_node *right, uint32_t offset) {
    jinja_node *node = parser_node(p, kind, offset);
    if (!node) return NULL;
    node->binary.operation = operation;
    node->binary.left = left;
    node->binary.right = right;
    return node;
}

jinja_node *parser_unary_node(jinja_parser *p, jinja_node_kind kind, jinja_node *operand, uint32_t offset) {
    jinja_node *node = parser_node(p, kind, offset);
    if (node) node->operand = operand;
    return node;
}

/* Operators of one precedence, from the left. */
typedef struct operator_row {
    jinja_token_kind token;
    jinja_arithmetic operation;
} operator_row;

static jinja_node *parse_left(jinja_parser *p, const operator_row *rows, unsigned count,
                              jinja_node *(*tighter)(jinja_parser *p)) {
    jinja_node *left = tighter(p);
    for (unsigned i = 0; i < count;) {
        uint32_t offset = p->now.offset;
        if (p->now.kind != rows[i].token) {
            i++;
            continue;
        }
        parser_advance(p);
        left = binary(p, NODE_ARITHMETIC, rows[i].operation, left, tighter(p), offset);
        i = 0;
    }
    return left;
}

static jinja_node *parse_operand(jinja_parser *p) { return parse_unary(p, true); }

static jinja_node *parse_power(jinja_parser *p) {
    static const operator_row rows[] = {{TOKEN_POWER, ARITHMETIC_POWER}};
    return parse_left(p, rows, 1, parse_operand);
}

static jinja_node *parse_product(jinja_parser *p) {
    static const operator_row rows[] = {
        {TOKEN_MULTIPLY, ARITHMETIC_MULTIPLY},
        {TOKEN_DIVIDE, ARITHMETIC_DIVIDE},
        {TOKEN_FLOOR_DIVIDE, ARITHMETIC_FLOOR_DIVIDE},
        {TOKEN_MODULO, ARITHMETIC_MODULO},
    };
    return parse_left(p, rows, 4, parse_power);
}

static jinja_node *parse_concatenation(jinja_parser *p) {
    uint32_t offset = p->now.offset;
    jinja_node *first = parse_product(p);
    if (p->now.kind != TOKEN_TILDE) return first;
    jinja_node *node = parser_node(p, NODE_CONCATENATE, offset);
    if (!node) return NULL;
    parser_append(&node->items, first);
    while (parser_skip(p, TOKEN_TILDE)) parser_append(&node->items, parse_product(p));
    return node;
}

static jinja_node *parse_sum(jinja_parser *p) {
    static const operator_row rows[] = {{TOKEN_ADD, ARITHMETIC_ADD}, {TOKEN_SUBTRACT, ARITHMETIC_SUBTRACT}};
    return parse_left(p, rows, 2, parse_concatenation);
}

static bool ahead_is_in(const jinja_parser *p) {
    return p->ahead.kind == TOKEN_NAME && p->ahead.bytes == 2 && !memcmp(p->ahead.text, "in", 2);
}

/* Reads a comparison sign, if one is here. */
static bool skip_comparison(jinja_parser *p, jinja_comparison *comparison) {
    static const struct {
        jinja_token_kind token;
        jinja_comparison comparison;
    } signs[] = {
        {TOKEN_EQUAL, COMPARE_EQUAL},     {TOKEN_NOT_EQUAL, COMPARE_NOT_EQUAL},
        {TOKEN_LESS, COMPARE_LESS},       {TOKEN_LESS_EQUAL, COMPARE_LESS_EQUAL},
        {TOKEN_GREATER, COMPARE_GREATER}, {TOKEN_GREATER_EQUAL, COMPARE_GREATER_EQUAL},
    };
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        *comparison = signs[i].comparison;
        if (parser_skip(p, signs[i].token)) return true;
    }
    *comparison = COMPARE_IN;
    if (parser_skip_word(p, "in")) return true;
    *comparison = COMPARE_NOT_IN;
    if (!parser_at_word(p, "not") || !ahead_is_in(p)) return false;
    parser_advance(p);
    parser_advance(p);
    return true;
}

static jinja_node *parse_comparison(jinja_parser *p) {
    jinja_node *left = parse_sum(p), *node = NULL;
    uint32_t offset = p->now.offset;
    jinja_comparison_node **end = NULL;
    jinja_comparison comparison;
    while (skip_comparison(p, &comparison)) {
        if (!node) {
            node = parser_node(p, NODE_COMPARE, offset);
            if (!node) return NULL;
            node->compare.left = left;
            end = &node->compare.first;
        }
        jinja_comparison_node *next = *end = jinja_take(p->run, 1, sizeof *next);
        if (!next) return NULL;
        next->comparison = comparison;
        next->operand = parse_sum(p);
        end = &next->next;
    }
    return node ? node : left;
}

static jinja_node *parse_not(jinja_parser *p) {
    uint32_t offset = p->now.offset;
    if (!parser_skip_word(p, "not")) return parse_comparison(p);
    return parser_unary_node(p, NODE_NOT, deeper(p, parse_not), offset);
}

static jinja_node *parse_and(jinja_parser *p) {
    jinja_node *left = parse_not(p);
    for (uint32_t offset = p->now.offset; parser_skip_word(p, "and"); offset = p->now.offset)
        left = binary(p, NODE_AND, ARITHMETIC_ADD, left, parse_not(p), offset);
    return left;
}

static jinja_node *parse_or(jinja_parser *p) {
    jinja_node *left = parse_and(p);
    for (uint32_t offset = p->now.offset; parser_skip_word(p, "or"); offset = p->now.offset)
        left = binary(p, NODE_OR, ARITHMETIC_ADD, left, parse_and(p), offset);
    return left;
}

static jinja_node *parse_signed(jinja_parser *p) { return parse_unary(p, false); }

static jinja_node *parse_unary(jinja_parser *p, bool with_filters) {
    uint32_t offset = p->now.offset;
    jinja_node *node;
    if (parser_skip(p, TOKEN_SUBTRACT))
        node = parser_unary_node(p, NODE_NEGATE, deeper(p, parse_signed), offset);
    else if (parser_skip(p, TOKEN_ADD))
        node = parser_unary_node(p, NODE_PLUS, deeper(p, parse_signed), offset);
    else
        node = parse_primary(p, false);
    node = parse_postfix(p, node);
    return with_filters ? parse_filters_and_tests(p, node) : node;
}

static bool at_tuple_end(const jinja_parser *p, const char *end_word) {
    return p->now.kind == TOKEN_VARIABLE_END || p->now.kind == TOKEN_BLOCK_END ||
           p->now.kind == TOKEN_CLOSE_PARENTHESIS || p->now.kind == TOKEN_END ||
           (end_word && parser_at_word(p, end_word));
}

/* Makes `first` and what follows its comma a tuple. */
static jinja_node *finish_tuple(jinja_parser *p, jinja_node *first, const char *end_word,
                                jinja_node *(*parse)(jinja_parser *p)) {
    jinja_node *node = parser_node(p, NODE_TUPLE, p->now.offset);
    if (!node) return NULL;
    if (first) node->offset = first->offset;
    parser_append(&node->items, first);
    while (parser_skip(p, TOKEN_COMMA) && !at_tuple_end(p, end_word)) parser_append(&node->items, parse(p));
    return node;
}

static jinja_node *parse_plain(jinja_parser *p) { return deeper(p, parse_or); }

jinja_node *parse_tuple(jinja_parser *p, bool without_condition, const char *end_word) {
    jinja_node *(*parse)(jinja_parser *) = without_condition ? parse_plain : parse_expression;
    jinja_node *first = parse(p);
    return p->now.kind == TOKEN_COMMA ? finish_tuple(p, first, end_word, parse) : first;
}

static jinja_node *parse_simple_target(jinja_parser *p) { return parse_primary(p, false); }
static jinja_node *parse_namespace_target(jinja_parser *p) { return parse_primary(p, true); }

static bool can_be_assigned(jinja_run *run, const jinja_node *node) {
    if (!node || node->kind == NODE_NAME || node->kind == NODE_NAMESPACE_TARGET) return true;
    if (node->kind != NODE_TUPLE || !jinja_enter(run)) return false;
    bool fine = true;
    for (const jinja_node *item = node->items.first; item && fine; item = item->next)
        fine = can_be_assigned(run, item);
    jinja_leave(run);
    return fine;
}

jinja_node *parse_target(jinja_parser *p, bool namespaces, const char *end_word) {
    jinja_node *(*parse)(jinja_parser *) = namespaces ? parse_namespace_target : parse_simple_target;
    jinja_node *target = parse(p);
    if (p->now.kind == TOKEN_COMMA) target = finish_tuple(p, target, end_word, parse);
    if (!can_be_assigned(p->run, target)) jinja_fail(p->run, "this cannot be assigned to");
    return target;
}

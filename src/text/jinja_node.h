/* The parts of a parsed template. They lie in the arena and do not change. */
#ifndef LEVEE_TEXT_JINJA_NODE_H
#define LEVEE_TEXT_JINJA_NODE_H

#include "text/jinja_value.h"

typedef enum jinja_node_kind {
    /* Expressions. */
    NODE_CONSTANT,
    NODE_NAME,
    NODE_LIST,
    NODE_TUPLE,
    NODE_DICT,
    NODE_NEGATE,
    NODE_PLUS,
    NODE_NOT,
    NODE_AND,
    NODE_OR,
    NODE_ARITHMETIC,
    NODE_CONCATENATE,
    NODE_COMPARE,
    NODE_CONDITION,
    NODE_ATTRIBUTE,
    NODE_SUBSCRIPT,
    NODE_SLICE,
    NODE_CALL,
    NODE_FILTER,
    NODE_TEST,
    NODE_NAMESPACE_TARGET, /* name.attribute, in set */
    /* Statements. */
    NODE_TEXT,
    NODE_PRINT,
    NODE_IF,
    NODE_FOR,
    NODE_SET,
    NODE_SET_BLOCK,
    NODE_WITH,
    NODE_MACRO,
    NODE_CALL_BLOCK,
    NODE_FILTER_BLOCK,
    NODE_GENERATION,
    NODE_BREAK,
    NODE_CONTINUE,
} jinja_node_kind;

typedef enum jinja_arithmetic {
    ARITHMETIC_ADD,
    ARITHMETIC_SUBTRACT,
    ARITHMETIC_MULTIPLY,
    ARITHMETIC_DIVIDE,
    ARITHMETIC_FLOOR_DIVIDE,
    ARITHMETIC_MODULO,
    ARITHMETIC_POWER,
} jinja_arithmetic;

typedef enum jinja_comparison {
    COMPARE_LESS = ORDER_LESS,
    COMPARE_LESS_EQUAL = ORDER_LESS_EQUAL,
    COMPARE_GREATER = ORDER_GREATER,
    COMPARE_GREATER_EQUAL = ORDER_GREATER_EQUAL,
    COMPARE_EQUAL,
    COMPARE_NOT_EQUAL,
    COMPARE_IN,
    COMPARE_NOT_IN,
} jinja_comparison;

typedef struct jinja_node jinja_node;

/* Nodes one behind the other, by their `next`. */
typedef struct jinja_nodes {
    jinja_node *first, *last;
    uint64_t count;
} jinja_nodes;

/* A named value: keyword = expression, parameter = default (NULL: none). */
typedef struct jinja_named_node {
    struct jinja_named_node *next;
    jinja_value name;
    jinja_node *node;
} jinja_named_node;

typedef struct jinja_named_nodes {
    jinja_named_node *first, *last;
    uint64_t count;
} jinja_named_nodes;

typedef struct jinja_argument_nodes {
    jinja_nodes positional;
    jinja_named_nodes named;
    jinja_node *rest, *named_rest; /* *rest, **named_rest; or NULL */
} jinja_argument_nodes;

/* One `if` or `elif`; `condition` NULL is the else. */
typedef struct jinja_branch {
    struct jinja_branch *next;
    jinja_node *condition;
    jinja_nodes body;
} jinja_branch;

typedef struct jinja_comparison_node {
    struct jinja_comparison_node *next;
    jinja_comparison comparison;
    jinja_node *operand;
} jinja_comparison_node;

/* What a macro takes and does; also what a call block hands to its macro as `caller`. */
typedef struct jinja_macro_node {
    jinja_value name; /* undefined for a caller */
    jinja_named_nodes parameters;
    jinja_nodes body;
    bool takes_rest, takes_named_rest, takes_caller; /* its body speaks of varargs, kwargs, caller */
    struct jinja_macro_node *outer;                  /* around it, while it is parsed */
} jinja_macro_node;

struct jinja_node {
    jinja_node_kind kind;
    uint32_t offset; /* in the source */
    jinja_node *next;
    union {
        jinja_value constant; /* CONSTANT, NAME, TEXT */
        jinja_nodes items;    /* LIST, TUPLE, CONCATENATE; DICT: key, value, key, ... */
        jinja_node *operand;  /* NEGATE, PLUS, NOT, PRINT */
        struct {
            jinja_arithmetic operation; /* ARITHMETIC only */
            jinja_node *left, *right;
        } binary; /* ARITHMETIC, AND, OR */
        struct {
            jinja_node *left;
            jinja_comparison_node *first;
        } compare;
        struct {
            jinja_node *test, *yes, *no; /* no: may be NULL */
        } condition;
        struct {
            jinja_node *object, *index; /* SUBSCRIPT */
            jinja_value name;           /* ATTRIBUTE, NAMESPACE_TARGET: of the attribute */
            jinja_value variable;       /* NAMESPACE_TARGET: of the namespace */
        } part;
        struct {
            jinja_node *object, *start, *stop, *step; /* the last three may be NULL */
        } slice;
        struct {
            jinja_node *callee; /* FILTER, TEST: the subject; NULL in a filter block */
            jinja_value name;   /* FILTER, TEST */
            jinja_argument_nodes arguments;
        } call;
        jinja_branch *branches; /* IF */
        struct {
            jinja_node *target, *iterable, *filter; /* filter: may be NULL */
            jinja_nodes body, otherwise;
            bool recursive;
        } loop;
        struct {
            jinja_node *target, *value; /* SET_BLOCK: value is a filter chain or NULL */
            jinja_nodes body;
        } set;
        struct {
            jinja_nodes targets, values, body;
        } with;
        jinja_macro_node *macro; /* MACRO, GENERATION */
        struct {
            jinja_node *call;
            jinja_macro_node *caller;
        } call_block;
        struct {
            jinja_node *filter; /* a chain whose innermost subject is NULL */
            jinja_nodes body;
        } filter_block;
    };
};

#endif

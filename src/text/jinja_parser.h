/* From a template's text to its parts, by the grammar of Jinja2 with the extensions of transformers: generation
 * blocks, break and continue. */
#ifndef LEVEE_TEXT_JINJA_PARSER_H
#define LEVEE_TEXT_JINJA_PARSER_H

#include "text/jinja_lexer.h"
#include "text/jinja_node.h"

/* Parses run->source; false after a failure, which is recorded. */
bool jinja_parse(jinja_run *run, jinja_nodes *body);

/* Shared by the files of the parser: statements, expressions, operands. */
typedef struct jinja_parser {
    jinja_run *run;
    jinja_lexer lexer;
    jinja_token now, ahead;
    jinja_macro_node *macro; /* the one around the place that is parsed */
    uint32_t loops;          /* around it, within that macro */
} jinja_parser;

void parser_advance(jinja_parser *p);
void parser_stop(jinja_parser *p); /* after a failure: nothing more is read */
bool parser_at_word(const jinja_parser *p, const char *word);
bool parser_skip(jinja_parser *p, jinja_token_kind kind); /* true when it was there */
bool parser_skip_word(jinja_parser *p, const char *word);
void parser_expect(jinja_parser *p, jinja_token_kind kind);
jinja_value parser_expect_name(jinja_parser *p);
jinja_node *parser_node(jinja_parser *p, jinja_node_kind kind, uint32_t offset); /* NULL after a failure */
jinja_node *parser_unary_node(jinja_parser *p, jinja_node_kind kind, jinja_node *operand, uint32_t offset);
void parser_append(jinja_nodes *list, jinja_node *node); /* NULL is left out */
void parser_append_named(jinja_parser *p, jinja_named_nodes *list, jinja_value name, jinja_node *node);

/* Expressions; NULL after a failure. */
jinja_node *parse_expression(jinja_parser *p);

/* One expression or, with commas, a tuple. `end_word` (NULL: none) ends it, and it has no inline if when
 * `without_condition`. */
jinja_node *parse_tuple(jinja_parser *p, bool without_condition, const char *end_word);

/* What can be assigned to: names, tuples of them, and with `namespaces` name.attribute. */
jinja_node *parse_target(jinja_parser *p, bool namespaces, const char *end_word);

/* A name, a literal, or an expression in brackets; with `namespaces`, name.attribute is a target of set. */
jinja_node *parse_primary(jinja_parser *p, bool namespaces);

/* What stands behind an operand: its parts and calls, and then filters and tests. */
jinja_node *parse_postfix(jinja_parser *p, jinja_node *node);
jinja_node *parse_filters_and_tests(jinja_parser *p, jinja_node *node);

/* A chain of filters on `subject`, whose first bar was read if `inside`. */
jinja_node *parse_filters(jinja_parser *p, jinja_node *subject, bool inside);

#endif

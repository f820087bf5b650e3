/* Statements: see jinja_parser.h. */
#include "text/jinja_parser.h"

#include <string.h>

void parser_stop(jinja_parser *p) { p->now.kind = p->ahead.kind = TOKEN_END; }

void parser_advance(jinja_parser *p) {
    p->now = p->ahead;
    p->run->place = p->now.offset;
    p->ahead = jinja_lexer_next(&p->lexer);
    if (!jinja_failed(p->run)) p->run->place = p->now.offset;
    if (jinja_failed(p->run)) parser_stop(p);
}

bool parser_at_word(const jinja_parser *p, const char *word) {
    return p->now.kind == TOKEN_NAME && p->now.bytes == strlen(word) && !memcmp(p->now.text, word, p->now.bytes);
}

bool parser_skip(jinja_parser *p, jinja_token_kind kind) {
    if (p->now.kind != kind) return false;
    parser_advance(p);
    return true;
}

bool parser_skip_word(jinja_parser *p, const char *word) {
    if (!parser_at_word(p, word)) return false;
    parser_advance(p);
    return true;
}

static void fail_expected(jinja_parser *p, const char *wanted) {
    if (p->now.kind == TOKEN_NAME)
        jinja_fail(p->run, "%s is needed, not '%.*s'", wanted, (int)(p->now.bytes < 60 ? p->now.bytes : 60),
                   p->now.text);
    else
        jinja_fail(p->run, "%s is needed, not %s", wanted, jinja_token_name(p->now.kind));
    parser_stop(p);
}

void parser_expect(jinja_parser *p, jinja_token_kind kind) {
    if (!parser_skip(p, kind)) fail_expected(p, jinja_token_name(kind));
}

jinja_value parser_expect_name(jinja_parser *p) {
    jinja_token token = p->now;
    parser_expect(p, TOKEN_NAME);
    return jinja_failed(p->run) ? jinja_nothing() : jinja_text(p->run, token.text, token.bytes);
}

jinja_node *parser_node(jinja_parser *p, jinja_node_kind kind, uint32_t offset) {
    jinja_node *node = jinja_take(p->run, 1, sizeof *node);
    if (!node) return NULL;
    node->kind = kind;
    node->offset = offset;
    return node;
}

void parser_append(jinja_nodes *list, jinja_node *node) {
    if (!node) return;
    if (list->last)
        list->last->next = node;
    else
        list->first = node;
    list->last = node;
    list->count++;
}

void parser_append_named(jinja_parser *p, jinja_named_nodes *list, jinja_value name, jinja_node *node) {
    jinja_named_node *named = jinja_take(p->run, 1, sizeof *named);
    if (!named) return;
    named->name = name;
    named->node = node;
    if (list->last)
        list->last->next = named;
    else
        list->first = named;
    list->last = named;
    list->count++;
}

static jinja_node *parse_statement(jinja_parser *p);

/* Is the tag that begins here one of these words, which are separated by bars? */
static bool at_end_word(const jinja_parser *p, const char *words) {
    while (words && *words) {
        size_t length = strcspn(words, "|");
        if (p->now.kind == TOKEN_NAME && p->now.bytes == length && !memcmp(p->now.text, words, length)) return true;
        words += length + (words[length] == '|');
    }
    return false;
}

static jinja_node *parse_part(jinja_parser *p) {
    jinja_node *node = NULL;
    jinja_token token = p->now;
    if (token.kind == TOKEN_DATA) {
        parser_advance(p);
        if (token.bytes) node = parser_node(p, NODE_TEXT, token.offset);
        if (node) node->constant = jinja_text(p->run, token.text, token.bytes);
        return node;
    }
    parser_advance(p); /* {{ */
    node = parser_node(p, NODE_PRINT, p->now.offset);
    jinja_node *operand = parse_tuple(p, false, NULL);
    if (node) node->operand = operand;
    parser_expect(p, TOKEN_VARIABLE_END);
    return node;
}

/* Statements and text up to a tag that begins with one of the words, which stays; NULL: to the end. The block's own
 * tag ends at `begin`. */
static jinja_nodes parse_body(jinja_parser *p, const char *end_words, uint32_t begin) {
    jinja_nodes body = {0};
    if (!jinja_enter(p->run)) return body;
    while (p->now.kind != TOKEN_END) {
        if (p->now.kind != TOKEN_BLOCK_BEGIN) {
            parser_append(&body, parse_part(p));
            continue;
        }
        parser_advance(p);
        if (at_end_word(p, end_words)) break;
        parser_append(&body, parse_statement(p));
        parser_expect(p, TOKEN_BLOCK_END);
    }
    if (p->now.kind == TOKEN_END && end_words && !jinja_failed(p->run)) {
        p->run->place = begin;
        jinja_fail(p->run, "the block that begins here has no end (%s)", end_words);
    }
    jinja_leave(p->run);
    return body;
}

/* The rest of a tag, and what follows up to a tag that begins with one of the words, which stays. */
static jinja_nodes parse_block(jinja_parser *p, const char *end_words) {
    parser_skip(p, TOKEN_COLON); /* as in Python */
    uint32_t begin = p->now.offset;
    parser_expect(p, TOKEN_BLOCK_END);
    return parse_body(p, end_words, begin);
}

static jinja_nodes parse_whole_block(jinja_parser *p, const char *end_word) {
    jinja_nodes body = parse_block(p, end_word);
    parser_advance(p);
    return body;
}

static jinja_node *parse_if(jinja_parser *p) {
    jinja_node *node = parser_node(p, NODE_IF, p->now.offset);
    jinja_branch **end = node ? &node->branches : NULL;
    bool more = true;
    while (more && node && !jinja_failed(p->run)) {
        jinja_branch *branch = *end = jinja_take(p->run, 1, sizeof *branch);
        if (!branch) break;
        end = &branch->next;
        bool otherwise = parser_at_word(p, "else");
        parser_advance(p); /* if, elif, else */
        if (!otherwise) branch->condition = parse_tuple(p, true, NULL);
        branch->body = parse_block(p, otherwise ? "endif" : "elif|else|endif");
        more = !parser_at_word(p, "endif");
    }
    parser_advance(p);
    return node;
}

static jinja_node *parse_for(jinja_parser *p) {
    jinja_node *node = parser_node(p, NODE_FOR, p->now.offset);
    parser_advance(p);
    jinja_node *target = parse_target(p, false, "in");
    if (!parser_skip_word(p, "in")) fail_expected(p, "'in'");
    jinja_node *iterable = parse_tuple(p, true, "recursive");
    jinja_node *filter = parser_skip_word(p, "if") ? parse_expression(p) : NULL;
    bool recursive = parser_skip_word(p, "recursive");
    p->loops++;
    jinja_nodes body = parse_block(p, "endfor|else"), otherwise = {0};
    p->loops--;
    bool has_else = parser_at_word(p, "else");
    parser_advance(p);
    if (has_else) otherwise = parse_whole_block(p, "endfor");
    if (!node) return NULL;
    node->loop.target = target;
    node->loop.iterable = iterable;
    node->loop.filter = filter;
    node->loop.recursive = recursive;
    node->loop.body = body;
    node->loop.otherwise = otherwise;
    return node;
}

static jinja_node *parse_set(jinja_parser *p) {
    uint32_t offset = p->now.offset;
    parser_advance(p);
    jinja_node *target = parse_target(p, true, NULL);
    bool assigns = parser_skip(p, TOKEN_ASSIGN);
    jinja_node *node = parser_node(p, assigns ? NODE_SET : NODE_SET_BLOCK, offset);
    jinja_node *value = assigns ? parse_tuple(p, false, NULL) : parse_filters(p, NULL, false);
    jinja_nodes body = {0};
    if (!assigns) body = parse_whole_block(p, "endset");
    if (!node) return NULL;
    node->set.target = target;
    node->set.value = value;
    node->set.body = body;
    return node;
}

static jinja_node *parse_with(jinja_parser *p) {
    jinja_node *node = parser_node(p, NODE_WITH, p->now.offset);
    jinja_nodes targets = {0}, values = {0};
    parser_advance(p);
    while (p->now.kind != TOKEN_BLOCK_END && p->now.kind != TOKEN_END) {
        if (targets.count) parser_expect(p, TOKEN_COMMA);
        parser_append(&targets, parse_target(p, false, NULL));
        parser_expect(p, TOKEN_ASSIGN);
        parser_append(&values, parse_expression(p));
    }
    jinja_nodes body = parse_whole_block(p, "endwith");
    if (!node) return NULL;
    node->with.targets = targets;
    node->with.values = values;
    node->with.body = body;
    return node;
}

static void parse_parameters(jinja_parser *p, jinja_macro_node *macro) {
    bool has_default = false;
    parser_expect(p, TOKEN_OPEN_PARENTHESIS);
    while (p->now.kind != TOKEN_CLOSE_PARENTHESIS && p->now.kind != TOKEN_END) {
        if (macro->parameters.count) parser_expect(p, TOKEN_COMMA);
        jinja_value name = parser_expect_name(p);
        jinja_node *otherwise = parser_skip(p, TOKEN_ASSIGN) ? parse_expression(p) : NULL;
        if (has_default && !otherwise) jinja_fail(p->run, "non-default argument follows default argument");
        has_default |= otherwise != NULL;
        parser_append_named(p, &macro->parameters, name, otherwise);
    }
    parser_expect(p, TOKEN_CLOSE_PARENTHESIS);
}

/* A body that is called: names and loops of its own. */
static void parse_macro_body(jinja_parser *p, jinja_macro_node *macro, const char *end_word) {
    uint32_t loops = p->loops;
    macro->outer = p->macro;
    p->macro = macro;
    p->loops = 0;
    macro->body = parse_whole_block(p, end_word);
    p->loops = loops;
    p->macro = macro->outer;
}

static jinja_macro_node *macro_make(jinja_parser *p) { return jinja_take(p->run, 1, sizeof(jinja_macro_node)); }

static jinja_node *parse_macro(jinja_parser *p) {
    jinja_node *node = parser_node(p, NODE_MACRO, p->now.offset);
    jinja_macro_node *macro = macro_make(p);
    if (!node || !macro) return NULL;
    parser_advance(p);
    node->macro = macro;
    macro->name = parser_expect_name(p);
    parse_parameters(p, macro);
    parse_macro_body(p, macro, "endmacro");
    return node;
}

static jinja_node *parse_call_block(jinja_parser *p) {
    jinja_node *node = parser_node(p, NODE_CALL_BLOCK, p->now.offset);
    jinja_macro_node *macro = macro_make(p);
    if (!node || !macro) return NULL;
    parser_advance(p);
    if (p->now.kind == TOKEN_OPEN_PARENTHESIS) parse_parameters(p, macro);
    jinja_node *call = parse_expression(p);
    if (call && call->kind != NODE_CALL) jinja_fail(p->run, "a call block needs a call");
    node->call_block.call = call;
    node->call_block.caller = macro;
    parse_macro_body(p, macro, "endcall");
    return node;
}

static jinja_node *parse_generation(jinja_parser *p) {
    jinja_node *node = parser_node(p, NODE_GENERATION, p->now.offset);
    jinja_macro_node *macro = macro_make(p);
    if (!node || !macro) return NULL;
    parser_advance(p);
    p->run->has_generation = true;
    node->macro = macro;
    parse_macro_body(p, macro, "endgeneration");
    return node;
}

static jinja_node *parse_filter_block(jinja_parser *p) {
    jinja_node *node = parser_node(p, NODE_FILTER_BLOCK, p->now.offset);
    parser_advance(p);
    jinja_node *filter = parse_filters(p, NULL, true);
    jinja_nodes body = parse_whole_block(p, "endfilter");
    if (!node) return NULL;
    node->filter_block.filter = filter;
    node->filter_block.body = body;
    return node;
}

static jinja_node *parse_break(jinja_parser *p) {
    jinja_node *node = parser_node(p, parser_at_word(p, "break") ? NODE_BREAK : NODE_CONTINUE, p->now.offset);
    if (!p->loops) jinja_fail(p->run, "break and continue are for loops");
    parser_advance(p);
    return node;
}

/* {% print a, b %}: as {{ a }}{{ b }}. */
static jinja_node *parse_print(jinja_parser *p) {
    jinja_node *node = parser_node(p, NODE_PRINT, p->now.offset),
               *join = parser_node(p, NODE_CONCATENATE, p->now.offset);
    parser_advance(p);
    while (p->now.kind != TOKEN_BLOCK_END && p->now.kind != TOKEN_END && join) {
        if (join->items.count) parser_expect(p, TOKEN_COMMA);
        parser_append(&join->items, parse_expression(p));
    }
    if (node) node->operand = join;
    return node;
}

static jinja_node *parse_statement(jinja_parser *p) {
    static const struct {
        const char *word;
        jinja_node *(*parse)(jinja_parser *p);
    } statements[] = {
        {"if", parse_if},
        {"for", parse_for},
        {"set", parse_set},
        {"macro", parse_macro},
        {"generation", parse_generation},
        {"call", parse_call_block},
        {"filter", parse_filter_block},
        {"with", parse_with},
        {"break", parse_break},
        {"continue", parse_break},
        {"print", parse_print},
    };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (parser_at_word(p, statements[i].word)) return statements[i].parse(p);
    fail_expected(p,
                  "a tag that is known here (if, for, set, macro, call, filter, with, generation, break, continue)");
    return NULL;
}

bool jinja_parse(jinja_run *run, jinja_nodes *body) {
    jinja_parser p = {.run = run};
    jinja_lexer_open(&p.lexer, run);
    parser_advance(&p);
    parser_advance(&p);
    *body = parse_body(&p, NULL, 0);
    return !jinja_failed(run);
}

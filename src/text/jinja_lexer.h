/* The tokens of a template, one after the other, as Jinja2 cuts them with trim_blocks and lstrip_blocks. */
#ifndef LEVEE_TEXT_JINJA_LEXER_H
#define LEVEE_TEXT_JINJA_LEXER_H

#include "text/jinja_run.h"

typedef enum jinja_token_kind {
    TOKEN_END, /* of the template, and after a failure */
    TOKEN_DATA,
    TOKEN_VARIABLE_BEGIN,
    TOKEN_VARIABLE_END,
    TOKEN_BLOCK_BEGIN,
    TOKEN_BLOCK_END,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_INTEGER,
    TOKEN_FLOAT,
    TOKEN_POWER, /* operators from here on */
    TOKEN_FIRST_OPERATOR = TOKEN_POWER,
    TOKEN_FLOOR_DIVIDE,
    TOKEN_EQUAL,
    TOKEN_NOT_EQUAL,
    TOKEN_GREATER_EQUAL,
    TOKEN_LESS_EQUAL,
    TOKEN_GREATER,
    TOKEN_LESS,
    TOKEN_ASSIGN,
    TOKEN_ADD,
    TOKEN_SUBTRACT,
    TOKEN_DIVIDE,
    TOKEN_MULTIPLY,
    TOKEN_MODULO,
    TOKEN_TILDE,
    TOKEN_OPEN_BRACKET,
    TOKEN_CLOSE_BRACKET,
    TOKEN_OPEN_PARENTHESIS,
    TOKEN_CLOSE_PARENTHESIS,
    TOKEN_OPEN_BRACE,
    TOKEN_CLOSE_BRACE,
    TOKEN_DOT,
    TOKEN_COLON,
    TOKEN_PIPE,
    TOKEN_COMMA,
    TOKEN_SEMICOLON,
    TOKEN_KIND_COUNT
} jinja_token_kind;

typedef struct jinja_token {
    jinja_token_kind kind;
    uint32_t offset;
    const char *text; /* of a name, a string (unescaped) or data */
    uint64_t bytes;
    int64_t integer;
    double real;
} jinja_token;

enum { LEXER_DEEPEST_BRACKETS = 256 };

typedef struct jinja_lexer {
    jinja_run *run;
    const char *text;
    uint64_t bytes, at;
    enum { LEX_DATA, LEX_VARIABLE, LEX_BLOCK } state;
    char closing[LEXER_DEEPEST_BRACKETS]; /* what the open brackets wait for */
    unsigned brackets;
} jinja_lexer;

/* Copies a text into the arena with its line ends as "\n" and without the last one, which Jinja2 drops. */
bool jinja_source_read(jinja_run *run, jinja_source *source, const char *text, uint64_t bytes);

void jinja_lexer_open(jinja_lexer *l, jinja_run *run);
jinja_token jinja_lexer_next(jinja_lexer *l);

/* A kind as messages name it. */
const char *jinja_token_name(jinja_token_kind kind);

#endif

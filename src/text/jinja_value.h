/* Values of the template language: Python's, as far as templates see them.
 *
 * A value is two words; what is larger lies in the arena and lasts as long as that is not cut. Texts may also be the
 * caller's (JSON). Nothing changes once it is made, but for namespaces, loops, cyclers, joiners and generators. */
#ifndef LEVEE_TEXT_JINJA_VALUE_H
#define LEVEE_TEXT_JINJA_VALUE_H

#include "text/jinja_run.h"

typedef enum jinja_kind {
    JINJA_UNDEFINED,
    JINJA_MISSING, /* an argument that was not given; templates never see it */
    JINJA_NONE,
    JINJA_BOOLEAN,
    JINJA_INTEGER,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_VIEW,      /* of a dict: items(), keys(), values() */
    JINJA_GENERATOR, /* what map, select and their like give: gone through once */
    JINJA_DICT,
    JINJA_NAMESPACE,
    JINJA_RANGE,
    JINJA_LOOP,
    JINJA_MACRO,
    JINJA_FUNCTION,
    JINJA_METHOD,
    JINJA_CYCLER,
    JINJA_JOINER,
} jinja_kind;

typedef struct jinja_value {
    jinja_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        const struct jinja_undefined *undefined; /* NULL: nothing is known about it */
        const struct jinja_string *string;
        struct jinja_list *list; /* list, tuple, view, generator */
        struct jinja_dict *dict; /* dict, namespace */
        const struct jinja_range *range;
        struct jinja_loop *loop;
        const struct jinja_macro *macro;
        const struct jinja_builtin *function;
        const struct jinja_method *method;
        struct jinja_cycler *cycler; /* cycler, joiner */
    };
} jinja_value;

/* Why something is not there, for the message when it is used. */
typedef struct jinja_undefined {
    const char *message;    /* or NULL: */
    const char *owner;      /* "dict object"; NULL for a variable */
    const jinja_value name; /* what was looked for */
} jinja_undefined;

typedef struct jinja_string {
    const char *text;
    uint64_t bytes, characters;
    jinja_builder *store; /* where it was put together; NULL: elsewhere. See jinja_text_append */
} jinja_string;

typedef struct jinja_list {
    jinja_value *items;
    uint64_t count, capacity;
    const char *name;  /* a view's or a generator's: "dict_items" */
    uint64_t consumed; /* items that a generator has given */
} jinja_list;

typedef struct jinja_entry {
    jinja_value key, value;
} jinja_entry;

typedef struct jinja_dict {
    jinja_entry *entries; /* in the order in which the keys came */
    uint64_t count, capacity;
} jinja_dict;

typedef struct jinja_range {
    int64_t start, stop, step;
    uint64_t count;
} jinja_range;

typedef struct jinja_cycler {
    const jinja_list *items; /* a joiner's: its separator */
    uint64_t at;
} jinja_cycler;

/* Makers. After a failure they give an undefined value. */
static inline jinja_value jinja_none(void) { return (jinja_value){.kind = JINJA_NONE}; }
static inline jinja_value jinja_missing(void) { return (jinja_value){.kind = JINJA_MISSING}; }
static inline jinja_value jinja_nothing(void) { return (jinja_value){.kind = JINJA_UNDEFINED}; }
static inline jinja_value jinja_boolean(bool b) { return (jinja_value){.kind = JINJA_BOOLEAN, .boolean = b}; }
static inline jinja_value jinja_integer(int64_t i) { return (jinja_value){.kind = JINJA_INTEGER, .integer = i}; }
static inline jinja_value jinja_float(double d) { return (jinja_value){.kind = JINJA_FLOAT, .real = d}; }

/* A string whose bytes stay where they are, one of a copy, and one of what a builder holds. */
jinja_value jinja_text(jinja_run *run, const char *text, uint64_t bytes);
jinja_value jinja_text_copy(jinja_run *run, const char *text, uint64_t bytes);
jinja_value jinja_text_built(jinja_run *run, const jinja_builder *b);

/* A text and what is put behind it. Templates grow a text bit by bit: where nothing else was put behind it yet, the
 * bytes go there and the text is not copied. */
jinja_value jinja_text_append(jinja_run *run, const jinja_string *text, const char *more, uint64_t bytes);

/* An empty list (tuple, view, generator) with room for `capacity` items, and an empty dict (namespace). */
jinja_value jinja_list_make(jinja_run *run, jinja_kind kind, uint64_t capacity);
void jinja_list_add(jinja_run *run, jinja_list *list, jinja_value item);
void jinja_list_extend(jinja_run *run, jinja_list *list, const jinja_value *items, uint64_t count);
void jinja_list_add_pairs(jinja_run *run, jinja_list *list, const jinja_dict *dict); /* (key, value) of each entry */
jinja_value jinja_dict_make(jinja_run *run, jinja_kind kind, uint64_t capacity);
void jinja_dict_set(jinja_run *run, jinja_dict *dict, jinja_value key, jinja_value value);
jinja_value *jinja_dict_find(jinja_run *run, const jinja_dict *dict, jinja_value key); /* NULL: not there */
/* May it be a key? Lists and dicts are none, nor are tuples of them. */
bool jinja_is_key(jinja_run *run, jinja_value v);
jinja_value jinja_pair(jinja_run *run, jinja_value first, jinja_value second);

/* An undefined value: a variable (`owner` NULL) or a part of a thing of that kind. */
jinja_value jinja_undefined_name(jinja_run *run, const jinja_value *owner, jinja_value name);
jinja_value jinja_undefined_because(jinja_run *run, const char *message);

/* Records the failure of using an undefined value; true when it is one. */
bool jinja_refuse_undefined(jinja_run *run, jinja_value v);

/* Questions. */
const char *jinja_type_name(jinja_value v); /* Python's: "str" */
bool jinja_is_text(jinja_value v, const char *text);
bool jinja_is_number(jinja_value v); /* booleans too */
double jinja_number(jinja_value v);
bool jinja_is_sequence(jinja_value v); /* has a length and an order: list, tuple, string, range */
bool jinja_is_iterable(jinja_value v);
bool jinja_truth(jinja_run *run, jinja_value v);
bool jinja_equal(jinja_run *run, jinja_value a, jinja_value b);

typedef enum jinja_order { ORDER_LESS, ORDER_LESS_EQUAL, ORDER_GREATER, ORDER_GREATER_EQUAL } jinja_order;

/* Is `a` before, ..., `b`? A failure for what Python does not order. */
bool jinja_ordered(jinja_run *run, jinja_order order, jinja_value a, jinja_value b);

bool jinja_contains(jinja_run *run, jinja_value container, jinja_value item);

/* The number of items; -1, and no failure, for what has none. */
int64_t jinja_length(jinja_value v);

/* The items of anything that can be gone through, as a list that must not be changed; NULL after a failure. */
const jinja_list *jinja_items(jinja_run *run, jinja_value v);

#endif

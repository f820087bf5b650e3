/* What can be called, and with what: built-in filters, tests, methods and functions, macros, loops. */
#ifndef LEVEE_TEXT_JINJA_CALL_H
#define LEVEE_TEXT_JINJA_CALL_H

#include "text/jinja_node.h"

/* Names and their values; a name that is not here is looked for outside. */
typedef struct jinja_variable {
    struct jinja_variable *next;
    const jinja_string *name;
    jinja_value value;
} jinja_variable;

typedef struct jinja_scope {
    struct jinja_scope *outer;
    jinja_variable *first;
} jinja_scope;

/* `loop` in a loop. */
typedef struct jinja_loop {
    const jinja_node *node;
    jinja_scope *outer;      /* where the loop stands */
    const jinja_list *items; /* that passed its filter */
    uint64_t index0, depth0;
    const jinja_list *changed; /* what loop.changed() was asked last */
} jinja_loop;

/* A macro with the scope that it was defined in. */
typedef struct jinja_macro {
    const jinja_macro_node *node;
    jinja_value name;
    jinja_scope *outer;
} jinja_macro;

typedef struct jinja_named_value {
    jinja_value name, value;
} jinja_named_value;

typedef struct jinja_arguments {
    const jinja_value *positional;
    uint64_t count;
    const jinja_named_value *named;
    uint64_t named_count;
} jinja_arguments;

enum { BUILTIN_MOST_PARAMETERS = 5 };

/* One call of something built in. `given` holds the arguments in the order of the parameters, missing ones as such;
 * what takes any arguments looks at `all` itself. */
typedef struct jinja_call {
    const struct jinja_builtin *builtin;
    jinja_value subject; /* what is filtered, tested, or owns the method */
    jinja_value given[BUILTIN_MOST_PARAMETERS];
    const jinja_arguments *all;
} jinja_call;

typedef jinja_value jinja_builtin_function(jinja_run *run, const jinja_call *call);

/* To add one, write its function and a row in its table. Parameters are names with spaces between them, of which the
 * first `required` must be given; "*" takes any. */
typedef struct jinja_builtin {
    const char *name;
    jinja_builtin_function *function;
    const char *parameters;
    unsigned required;
} jinja_builtin;

/* The tables end with a row without a name. */
extern const jinja_builtin jinja_text_filters[], jinja_sequence_filters[], jinja_value_filters[];
extern const jinja_builtin jinja_tests[], jinja_functions[];
extern const jinja_builtin jinja_text_methods[], jinja_dict_methods[], jinja_list_methods[], jinja_loop_methods[],
    jinja_cycler_methods[];

const jinja_builtin *jinja_find_builtin(const jinja_builtin *table, jinja_value name); /* NULL: none */
const jinja_builtin *jinja_find_filter(jinja_value name);

typedef struct jinja_method {
    const jinja_builtin *builtin;
    jinja_value subject;
} jinja_method;

jinja_value jinja_call_builtin(jinja_run *run, const jinja_builtin *builtin, jinja_value subject,
                               const jinja_arguments *arguments);

/* Filters and tests by name: as operators, and for map and select. */
jinja_value jinja_apply_filter(jinja_run *run, jinja_value name, jinja_value subject,
                               const jinja_arguments *arguments);
bool jinja_apply_test(jinja_run *run, jinja_value name, jinja_value subject, const jinja_arguments *arguments);

/* Calls any value. */
jinja_value jinja_call_value(jinja_run *run, jinja_value callee, const jinja_arguments *arguments);

/* Runs a macro's body, which writes to run->output. */
void jinja_run_macro(jinja_run *run, const jinja_macro *macro, const jinja_arguments *arguments);

/* thing.name and thing[index], as Jinja2 looks them up. */
jinja_value jinja_attribute(jinja_run *run, jinja_value object, jinja_value name);
jinja_value jinja_element(jinja_run *run, jinja_value object, jinja_value index);

/* thing[start:stop:step]; missing or None: the ends. */
jinja_value jinja_slice(jinja_run *run, jinja_value object, jinja_value start, jinja_value stop, jinja_value step);

jinja_value jinja_arithmetic_value(jinja_run *run, jinja_arithmetic operation, jinja_value a, jinja_value b);

/* text % values and text.format(...). */
jinja_value jinja_format_percent(jinja_run *run, const jinja_string *format, jinja_value values);
jinja_value jinja_format_braces(jinja_run *run, const jinja_string *format, const jinja_arguments *arguments);

/* Evaluation and execution. */
jinja_value jinja_evaluate(jinja_run *run, const jinja_node *node);
jinja_arguments jinja_evaluate_arguments(jinja_run *run, const jinja_argument_nodes *nodes, jinja_value caller);
void jinja_execute(jinja_run *run, const jinja_nodes *body);

/* One filter or a chain of them, on a subject that is no part of the template. */
jinja_value jinja_evaluate_filters(jinja_run *run, const jinja_node *filter, jinja_value subject);

/* A loop's body for each of the items of a value, nested `depth0` deep in itself. */
void jinja_execute_loop(jinja_run *run, const jinja_node *node, jinja_scope *outer, jinja_value iterable,
                        uint64_t depth0);

/* Has `output` be written to, and back; what was there before is returned. */
jinja_builder *jinja_capture(jinja_run *run, jinja_builder *output);

void jinja_set_variable(jinja_run *run, jinja_scope *scope, const jinja_string *name, jinja_value value);
jinja_value jinja_look_up(jinja_run *run, jinja_value name);
void jinja_assign(jinja_run *run, const jinja_node *target, jinja_value value);
jinja_scope *jinja_scope_make(jinja_run *run, jinja_scope *outer); /* NULL after a failure */

#endif

/* What the terminal is that we write to. */
#ifndef LEVEE_CLI_TERMINAL_H
#define LEVEE_CLI_TERMINAL_H

#include <stdbool.h>

typedef struct terminal {
    bool moves;   /* the cursor can be moved: it is a terminal, and no dumb one */
    bool colour;  /* and NO_COLOR is not set */
    bool unicode; /* the locale is one of UTF-8 */
} terminal;

/* Of the descriptor `file`. */
terminal terminal_look(int file);

/* How large it is at the moment: asked each time, so that nobody has to be told when it changes. 80 columns and 24
 * rows where it does not say. */
void terminal_size(int file, unsigned *columns, unsigned *rows);

#endif

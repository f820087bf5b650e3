/* The terminal: see terminal.h. */
#include "cli/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool is_set(const char *name) {
    const char *value = getenv(name);
    return value && *value;
}

/* The first of these that is set says which encoding there is. */
static bool has_unicode(void) {
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) return strcasestr(value, "UTF-8") || strcasestr(value, "UTF8");
    }
    return false;
}

terminal terminal_look(int file) {
    const char *kind = getenv("TERM");
    terminal t = {.moves = isatty(file) && kind && *kind && strcmp(kind, "dumb") != 0, .unicode = has_unicode()};
    t.colour = t.moves && !is_set("NO_COLOR");
    return t;
}

void terminal_size(int file, unsigned *columns, unsigned *rows) {
    struct winsize size = {0};
    bool known = !ioctl(file, TIOCGWINSZ, &size);
    *columns = known && size.ws_col ? size.ws_col : 80;
    *rows = known && size.ws_row ? size.ws_row : 24;
}

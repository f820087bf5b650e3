/* The screen of `levee top`, its keys and signals: see top.h. What is shown comes from levee_top_frame. */
#include "cli/top.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli/terminal.h"
#include "levee.h"

/* The other screen, so that what was there before comes back; and no cursor. */
#define ENTER_SCREEN  "\033[?1049h\033[?25l"
#define LEAVE_SCREEN  "\033[?25h\033[?1049l"
#define HOME          "\033[H"
#define END_OF_LINE   "\033[K"
#define END_OF_SCREEN "\033[J"

static volatile sig_atomic_t ending; /* the signal that ends it */
static volatile sig_atomic_t stops;  /* the terminal is to be given back for a while */

static void note_signal(int number) {
    if (number == SIGTSTP)
        stops = 1;
    else if (number != SIGWINCH && number != SIGCONT)
        ending = number;
}

static const int noted[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH, SIGCONT};
enum { NOTED = sizeof noted / sizeof *noted };

/* From here on these signals come while we wait, and only then: nothing is missed between asking and waiting. */
static void note_signals(sigset_t *while_waiting) {
    struct sigaction action = {.sa_handler = note_signal};
    sigset_t held;
    sigemptyset(&held);
    for (unsigned i = 0; i < NOTED; i++) {
        sigaction(noted[i], &action, NULL);
        sigaddset(&held, noted[i]);
    }
    sigprocmask(SIG_BLOCK, &held, while_waiting);
    for (unsigned i = 0; i < NOTED; i++) sigdelset(while_waiting, noted[i]);
}

typedef struct screen {
    bool entered, keys; /* keys: standard input is a terminal */
    struct termios before;
} screen;

static void enter(screen *s) {
    s->keys = !tcgetattr(STDIN_FILENO, &s->before);
    struct termios raw = s->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (s->keys) s->keys = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    fputs(ENTER_SCREEN, stdout);
    fflush(stdout);
    s->entered = true;
}

static void leave(screen *s) {
    if (!s->entered) return;
    fputs(LEAVE_SCREEN, stdout);
    fflush(stdout);
    if (s->keys) tcsetattr(STDIN_FILENO, TCSANOW, &s->before);
    s->entered = false;
}

/* ctrl-Z: the shell gets its terminal as it was, until it lets us go on. */
static void stop_for_a_while(screen *s) {
    sigset_t only;
    leave(s);
    signal(SIGTSTP, SIG_DFL);
    sigemptyset(&only);
    sigaddset(&only, SIGTSTP);
    raise(SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &only, NULL); /* here it stops */
    sigprocmask(SIG_BLOCK, &only, NULL);
    struct sigaction action = {.sa_handler = note_signal};
    sigaction(SIGTSTP, &action, NULL);
    stops = 0;
    enter(s);
}

/* In one write, each line to its end: so nothing flickers, and nothing of the frame before stays. */
static void draw(void *context, const char *text) {
    (void)context;
    fputs(HOME, stdout);
    for (const char *line = text; *line;) {
        size_t length = strcspn(line, "\n");
        fwrite(line, 1, length, stdout);
        fputs(END_OF_LINE, stdout);
        line += length;
        if (*line) {
            fputs("\r\n", stdout);
            line++;
        }
    }
    fputs(END_OF_SCREEN, stdout);
    fflush(stdout);
}

static void print_frame(void *context, const char *text) {
    fputs(text, context);
    fputc('\n', context);
    fflush(context);
}

typedef struct place {
    unsigned older; /* events that are scrolled past */
    bool quits;
} place;

/* q, and the arrows and pages for older decisions. */
static void read_keys(place *at, unsigned more) {
    char keys[64];
    ssize_t count = read(STDIN_FILENO, keys, sizeof keys - 1);
    if (count <= 0) {
        at->quits = true; /* the terminal is gone */
        return;
    }
    keys[count] = 0;
    for (const char *key = keys; *key; key++) {
        unsigned by = 0;
        if (*key == 'q' || *key == 'Q') at->quits = true;
        bool down = *key == 'j' || !strncmp(key, "\033[B", 3) || !strncmp(key, "\033[6", 3);
        bool up = *key == 'k' || !strncmp(key, "\033[A", 3) || !strncmp(key, "\033[5", 3);
        if (down || up) by = !strncmp(key, "\033[5", 3) || !strncmp(key, "\033[6", 3) ? 10 : 1;
        if (down) at->older += by < more ? by : more;
        if (up) at->older -= by < at->older ? by : at->older;
        if (*key == '\033' && key[1] == '[' && key[2]) key += 2;
    }
}

static levee_status run_screen(levee_top *top, const terminal *t, levee_error *error) {
    sigset_t while_waiting;
    screen s = {0};
    place at = {0};
    levee_status status = LEVEE_OK;
    unsigned more = 0;
    note_signals(&while_waiting);
    enter(&s);
    while (status == LEVEE_OK && !ending && !at.quits) {
        levee_top_look look = {.colour = t->colour, .unicode = t->unicode, .older_events = at.older};
        struct pollfd input = {.fd = s.keys ? STDIN_FILENO : -1, .events = POLLIN};
        const struct timespec second = {.tv_sec = 1};
        terminal_size(STDOUT_FILENO, &look.columns, &look.rows);
        status = levee_top_frame(top, &look, draw, NULL, &more, error);
        int ready = status == LEVEE_OK ? ppoll(&input, 1, &second, &while_waiting) : 0;
        if (ready > 0) read_keys(&at, more);
        if (stops) stop_for_a_while(&s);
    }
    leave(&s);
    return status;
}

/* A frame for a file, a pipe, or who asked for one: as wide as the terminal, or 80 columns; as high as it is. */
static levee_status print_once(levee_top *top, const terminal *t, levee_error *error) {
    levee_top_look look = {.colour = t->colour, .unicode = t->unicode};
    unsigned rows;
    terminal_size(STDOUT_FILENO, &look.columns, &rows);
    const char *columns = getenv("COLUMNS");
    if (!t->moves && columns && atoi(columns) > 0) look.columns = (unsigned)atoi(columns);
    return levee_top_frame(top, &look, print_frame, stdout, NULL, error);
}

static int fail(const char *message, int code) {
    fprintf(stderr, "levee: %s\n", message);
    return code;
}

static void print_help(FILE *to) {
    fputs("levee top: watch a running job, or look at one that has ended, from its directory\n\n"
          "usage: levee top [--once] RUN_DIR\n\n"
          "RUN_DIR is train's --adapter-path, or watch's --run-dir. Refreshed each second; q ends it, the arrows\n"
          "and page keys go through the guard's decisions. Prints one frame with --once, or where standard output\n"
          "is no terminal (COLUMNS says how wide).\n",
          to);
}

int top_command(int count, char **arguments) {
    const char *directory = NULL;
    bool once = false;
    for (int i = 0; i < count; i++) {
        if (!strcmp(arguments[i], "--help") || !strcmp(arguments[i], "-h")) {
            print_help(stdout);
            return 0;
        }
        if (!strcmp(arguments[i], "--once"))
            once = true;
        else if (*arguments[i] == '-' || directory)
            return fail("top takes one directory, and --once; see levee top --help", LEVEE_USAGE);
        else
            directory = arguments[i];
    }
    if (!directory) return fail("top needs the directory of a run: levee top RUN_DIR", LEVEE_USAGE);
    levee_error error = {0};
    levee_top *top;
    levee_prepare();
    levee_status status = levee_top_open(&top, directory, &error);
    if (status != LEVEE_OK) return fail(error.message, (int)status);
    terminal t = terminal_look(STDOUT_FILENO);
    status = once || !t.moves ? print_once(top, &t, &error) : run_screen(top, &t, &error);
    levee_top_close(top);
    return status == LEVEE_OK ? 0 : fail(error.message, (int)status);
}

/* Reads watch's options, up to the command: see watch.h. */
#include "cli/watch.h"

#include <stdio.h>
#include <string.h>

#include "levee.h"

/* Standard output is the command's. */
static void print_message(void *context, const char *text) {
    fprintf(context, "levee watch: %s\n", text);
    fflush(context);
}

static void print_help(FILE *to) {
    fputs("levee watch: run a command and guard the memory of all its processes\n\n"
          "usage: levee watch [options] [--] COMMAND [arguments]\n\n"
          "Tells of leaks, and when memory gets short. When nothing else helps it freezes the command, runs the\n"
          "hook, asks, and ends it by SIGTERM and SIGKILL. Exits with the command's own code, 128 + N when\n"
          "signal N ended it, or 75 when watch stopped it.\n\noptions:\n",
          to);
    for (unsigned i = 0; i < levee_watch_option_count(); i++) {
        const char *key = levee_watch_option_key(i);
        fprintf(to, "  --%-14s %-6s %s\n", key, levee_watch_option_is_flag(key) ? "" : "VALUE",
                levee_watch_option_help(i));
    }
}

static bool is_help(const char *argument) { return !strcmp(argument, "--help") || !strcmp(argument, "-h"); }

static levee_status wrong(levee_error *error, const char *argument, const char *remedy) {
    snprintf(error->message, sizeof error->message, "'%.80s': %s; see levee watch --help", argument, remedy);
    return error->status = LEVEE_USAGE;
}

/* "--key value", "--key=value" or "--flag" at arguments[*i]. */
static levee_status read_option(levee_watch_options *options, int count, char **arguments, int *i,
                                levee_error *error) {
    char key[64];
    const char *name = arguments[*i] + 2, *equals = strchr(name, '=');
    if (strncmp(arguments[*i], "--", 2) != 0)
        return wrong(error, arguments[*i], "options begin with --, and a command does not begin with -");
    snprintf(key, sizeof key, "%.*s", equals ? (int)(equals - name) : 63, name);
    if (equals) return levee_watch_options_set(options, key, equals + 1, error);
    if (levee_watch_option_is_flag(key)) return levee_watch_options_set(options, key, "", error);
    if (*i + 1 >= count) return wrong(error, arguments[*i], "a value is missing");
    return levee_watch_options_set(options, key, arguments[++*i], error);
}

/* The options; *i is then where the command begins. */
static levee_status read_options(levee_watch_options *options, int count, char **arguments, int *i,
                                 levee_error *error) {
    for (*i = 0; *i < count && arguments[*i][0] == '-'; ++*i) {
        if (!strcmp(arguments[*i], "--")) {
            ++*i;
            break;
        }
        levee_status status = read_option(options, count, arguments, i, error);
        if (status != LEVEE_OK) return status;
    }
    return LEVEE_OK;
}

int watch_command(int count, char **arguments) {
    levee_error error = {0};
    int command = 0, exit_code = LEVEE_INTERNAL;
    if (count < 1 || is_help(arguments[0])) {
        print_help(count < 1 ? stderr : stdout);
        return count < 1 ? LEVEE_USAGE : 0;
    }
    levee_watch_options *options = levee_watch_options_create();
    if (!options) return LEVEE_DOES_NOT_FIT;
    levee_status status = read_options(options, count, arguments, &command, &error);
    if (status == LEVEE_OK)
        status = levee_watch(options, arguments + command, print_message, stderr, &exit_code, &error);
    levee_watch_options_free(options);
    if (status == LEVEE_OK) return exit_code;
    print_message(stderr, error.message);
    /* Of a command that cannot be run the code is a shell's. */
    return exit_code == 126 || exit_code == 127 ? exit_code : (int)status;
}

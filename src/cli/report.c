/* Reads report's arguments: see report.h. */
#include "cli/report.h"

#include <stdio.h>
#include <string.h>

#include "levee.h"

enum { MOST_DIRECTORIES = 64 }; /* the library says how many it takes */

static void print_line(void *context, const char *text) { fprintf(context, "%s\n", text); }

static int refuse(const char *argument, const char *remedy) {
    fprintf(stderr, "levee: report: '%.80s': %s; see levee --help\n", argument, remedy);
    return LEVEE_USAGE;
}

int report_command(int count, char **arguments) {
    const char *directories[MOST_DIRECTORIES], *output = NULL;
    unsigned found = 0;
    levee_error error = {0};
    for (int i = 0; i < count; i++) {
        const char *argument = arguments[i];
        if (!strncmp(argument, "--output=", 9)) {
            output = argument + 9;
        } else if (!strcmp(argument, "--output")) {
            if (i + 1 == count) return refuse(argument, "a file is missing");
            output = arguments[++i];
        } else if (*argument == '-') {
            return refuse(argument, "report has the option --output alone");
        } else {
            if (found == MOST_DIRECTORIES) return refuse(argument, "that is one directory too many");
            directories[found++] = argument;
        }
    }
    if (output && !*output) return refuse("--output", "a file is missing");
    levee_status status = levee_report(directories, found, output, print_line, stdout, &error);
    if (status != LEVEE_OK) fprintf(stderr, "levee: %s\n", error.message);
    return (int)status;
}

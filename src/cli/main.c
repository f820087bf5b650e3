/* The command line: levee VERB [--option value]... */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "levee.h"

typedef levee_status run_verb(const levee_options *options, levee_print *print, void *context, levee_error *error);

static const struct {
    const char *name;
    run_verb *run;
    const char *help;
} verbs[] = {
    {"train", levee_train, "fine-tune a model inside a memory budget"},
    {"eval", levee_eval, "loss and perplexity on the test split"},
    {"generate", levee_generate, "continue a prompt"},
};

enum { VERB_COUNT = sizeof verbs / sizeof *verbs };

static void print_line(void *context, const char *text) {
    fputs(text, context);
    fputc('\n', context);
    fflush(context);
}

static void print_help(FILE *to) {
    fputs("levee " LEVEE_VERSION ": fine-tune language models inside a memory budget that holds\n\n"
          "usage: levee VERB [--option value]... [-c CONFIG.yaml]\n\nverbs:\n",
          to);
    for (unsigned i = 0; i < VERB_COUNT; i++) fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].help);
    fputs("  init       write a new, untrained model: levee init DIR [--hidden-size N] [--intermediate-size N]\n"
          "             [--layers N] [--heads N] [--kv-heads N] [--seed N]\n\noptions:\n",
          to);
    for (unsigned i = 0; i < levee_option_count(); i++) {
        if (!levee_option_help(i)) continue;
        char name[64];
        snprintf(name, sizeof name, "%s", levee_option_key(i));
        for (char *c = name; *c; c++)
            if (*c == '_') *c = '-';
        fprintf(to, "  --%-26s %s\n", name, levee_option_help(i));
    }
    fputs("  -c, --config FILE            options from a YAML file; the command line wins\n", to);
}

static int fail(const levee_error *error) {
    fprintf(stderr, "levee: %s\n", error->message);
    return (int)error->status;
}

static bool is_config(const char *argument) { return !strcmp(argument, "-c") || !strcmp(argument, "--config"); }

/* The value of the option at arguments[*i], in "--key=value" or "--key value"; a lone flag has an empty one. */
static const char *take_value(int count, char **arguments, int *i, char key[64]) {
    const char *name = arguments[*i] + 2, *equals = strchr(name, '=');
    snprintf(key, 64, "%.*s", equals ? (int)(equals - name) : 63, name);
    if (equals) return equals + 1;
    bool flag = *i + 1 >= count || !strncmp(arguments[*i + 1], "--", 2) || is_config(arguments[*i + 1]);
    return flag ? "" : arguments[++*i];
}

/* The file first, whatever the order, because the command line wins. */
static levee_status read_options(levee_options *options, int count, char **arguments, levee_error *error) {
    levee_status status = LEVEE_OK;
    for (int i = 0; i < count && status == LEVEE_OK; i++)
        if (is_config(arguments[i]) && i + 1 < count) status = levee_options_read(options, arguments[++i], error);
    for (int i = 0; i < count && status == LEVEE_OK; i++) {
        char key[64];
        if (is_config(arguments[i])) {
            i++;
        } else if (!strncmp(arguments[i], "--", 2)) {
            const char *given = take_value(count, arguments, &i, key);
            status = levee_options_set(options, key, given, error);
        } else {
            error->status = status = LEVEE_USAGE;
            snprintf(error->message, sizeof error->message, "'%.80s': options begin with --; see levee --help",
                     arguments[i]);
        }
    }
    return status;
}

static int run_init(int count, char **arguments) {
    levee_shape shape = {.hidden_size = 128, .intermediate_size = 384, .layers = 4, .heads = 4, .kv_heads = 2};
    struct {
        const char *key;
        unsigned *field;
    } fields[] = {{"hidden-size", &shape.hidden_size},
                  {"intermediate-size", &shape.intermediate_size},
                  {"layers", &shape.layers},
                  {"heads", &shape.heads},
                  {"kv-heads", &shape.kv_heads}};
    uint64_t seed = 0;
    const char *directory = NULL;
    levee_error error = {0};
    for (int i = 0; i < count; i++) {
        char key[64];
        if (strncmp(arguments[i], "--", 2)) {
            directory = arguments[i];
            continue;
        }
        const char *given = take_value(count, arguments, &i, key);
        bool known = !strcmp(key, "seed");
        if (known) seed = strtoull(given, NULL, 10);
        for (unsigned k = 0; k < sizeof fields / sizeof *fields; k++)
            if (!strcmp(key, fields[k].key)) *fields[k].field = (unsigned)strtoul(given, NULL, 10), known = true;
        if (!known) {
            fprintf(stderr, "levee: --%s is no option of init; see levee --help\n", key);
            return LEVEE_USAGE;
        }
    }
    if (!directory) {
        fputs("levee: init needs a directory\n", stderr);
        return LEVEE_USAGE;
    }
    return levee_init(directory, &shape, seed, &error) == LEVEE_OK ? 0 : fail(&error);
}

/* --help is heard wherever it stands. */
static bool asks_for_help(int count, char **arguments) {
    for (int i = 1; i < count; i++)
        if (!strcmp(arguments[i], "--help") || !strcmp(arguments[i], "-h")) return true;
    return count > 1 && !strcmp(arguments[1], "help");
}

/* SIGUSR1 gives memory back, SIGUSR2 takes it again. */
static void on_signal(int number) { levee_request(number == SIGUSR1 ? LEVEE_REQUEST_SHRINK : LEVEE_REQUEST_GROW); }

static void handle_signals(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
}

/* OpenMP reads its settings when it is loaded, before main: so they are set, and the program starts itself once more.
 * Threads that wait must sleep: spinning, they would take the processors from whatever else runs here, and Levee itself
 * falls to a fifth of its speed as soon as something does. Whoever sets the policy keeps it. */
static void start_with_sleeping_threads(char **arguments) {
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
    if (setenv("OMP_WAIT_POLICY", "passive", 1) || setenv("OMP_STACKSIZE", "1M", 0)) return;
    execv("/proc/self/exe", arguments); /* if that fails, we go on as we are */
}

int main(int count, char **arguments) {
    start_with_sleeping_threads(arguments);
    levee_prepare();
    handle_signals();
    if (count < 2 || asks_for_help(count, arguments)) {
        print_help(count < 2 ? stderr : stdout);
        return count < 2 ? LEVEE_USAGE : 0;
    }
    if (!strcmp(arguments[1], "--version")) {
        puts("levee " LEVEE_VERSION);
        return 0;
    }
    if (!strcmp(arguments[1], "init")) return run_init(count - 2, arguments + 2);
    for (unsigned i = 0; i < VERB_COUNT; i++) {
        if (strcmp(arguments[1], verbs[i].name)) continue;
        levee_error error = {0};
        levee_options *options = levee_options_create();
        if (!options) return LEVEE_DOES_NOT_FIT;
        levee_status status = read_options(options, count - 2, arguments + 2, &error);
        if (status == LEVEE_OK) status = verbs[i].run(options, print_line, stdout, &error);
        levee_options_free(options);
        return status == LEVEE_OK ? 0 : fail(&error);
    }
    fprintf(stderr, "levee: '%s' is no verb; there are train, eval, generate and init\n", arguments[1]);
    return LEVEE_USAGE;
}

/* The command line: levee VERB [--option value]... */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cli/progress.h"
#include "cli/report.h"
#include "cli/top.h"
#include "cli/watch.h"
#include "levee.h"

typedef levee_status run_verb(const levee_options *options, levee_print *print, void *context, levee_error *error);

static const struct {
    const char *name;
    run_verb *run;
    const char *help;
    const char *nameless; /* the option that an argument without a name is; NULL: none */
} verbs[] = {
    {"train", levee_train, "fine-tune a model inside a memory budget", NULL},
    {"plan", levee_plan, "say whether that fits, and how, without running it", NULL},
    {"probe", levee_probe, "find the micro-batch that is safe and fast, by trying", NULL},
    {"doctor", levee_doctor, "say what this machine offers, and what could hurt", NULL},
    {"eval", levee_eval, "loss and perplexity on the test split", NULL},
    {"export", levee_export, "write a result for other programs: merged, or the adapter alone", NULL},
    {"generate", levee_generate, "continue a prompt", NULL},
    {"inspect", levee_inspect, "list the tensors of a model or an adapter: levee inspect DIR or FILE", "model"},
    {"tokenize", levee_tokenize, "show rows as a training reads them: levee tokenize --model DIR FILE.jsonl", "data"},
};

enum { VERB_COUNT = sizeof verbs / sizeof *verbs };

static void print_line(void *context, const char *text) {
    fputs(text, context);
    fputc('\n', context);
    fflush(context);
}

static void print_piece(void *context, const char *text) {
    fputs(text, context);
    fflush(context);
}

/* A line of input is what the user says next. */
static const char *ask(void *context) {
    static char *line;
    static size_t room;
    bool person = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    ssize_t length;
    do {
        if (person) print_piece(stdout, "> ");
        length = getline(&line, &room, context);
        while (length > 0 && strchr("\r\n", line[length - 1])) line[--length] = 0;
    } while (!length);
    return length < 0 ? NULL : line;
}

/* Does this verb alone, or one of few, have the option? */
static bool is_own(unsigned option, const char *verb) {
    return levee_option_verbs(option) && strstr(levee_option_verbs(option), verb);
}

/* Options of all verbs (NULL), or those that only some have, of one of these. */
static void print_options(FILE *to, const char *verb) {
    for (unsigned i = 0; i < levee_option_count(); i++) {
        bool shown = verb ? is_own(i, verb) : !levee_option_verbs(i);
        if (!levee_option_help(i) || !shown) continue;
        char name[64];
        snprintf(name, sizeof name, "%s", levee_option_key(i));
        for (char *c = name; *c; c++)
            if (*c == '_') *c = '-';
        fprintf(to, "  --%-26s %s\n", name, levee_option_help(i));
    }
}

static bool has_own_options(const char *verb) {
    for (unsigned i = 0; i < levee_option_count(); i++)
        if (is_own(i, verb)) return true;
    return false;
}

/* The help of one verb, or (NULL) of all. */
static void print_help(FILE *to, const char *verb) {
    fputs("levee " LEVEE_VERSION ": fine-tune language models inside a memory budget that holds\n\n"
          "usage: levee VERB [--option value]... [-c CONFIG.yaml]\n\nverbs:\n",
          to);
    for (unsigned i = 0; i < VERB_COUNT; i++) fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].help);
    fputs("  init       write a new, untrained model: levee init DIR [--family llama|mistral|qwen2|qwen3]\n"
          "             [--hidden-size N] [--intermediate-size N] [--layers N] [--heads N] [--kv-heads N]\n"
          "             [--head-dim N] [--window N] [--vocab-size N] [--seed N]\n"
          "  report     one HTML page about runs: levee report RUN_DIR... [--output FILE.html]\n"
          "  watch      run any command and guard its memory: levee watch --help\n"
          "  top        show a running job, from its directory: levee top DIR\n\n"
          "options (levee train --print-config shows what they are when they are not given):\n",
          to);
    print_options(to, NULL);
    fputs("  -c, --config FILE            options from a YAML file; the command line wins\n", to);
    for (unsigned i = 0; i < VERB_COUNT; i++) {
        if (!has_own_options(verbs[i].name) || (verb && strcmp(verb, verbs[i].name) != 0)) continue;
        fprintf(to, "\noptions of %s alone:\n", verbs[i].name);
        print_options(to, verbs[i].name);
    }
}

static int fail(const levee_error *error) {
    fprintf(stderr, "levee: %s\n", error->message);
    return (int)error->status;
}

static bool is_config(const char *argument) { return !strcmp(argument, "-c") || !strcmp(argument, "--config"); }

/* Whether an option is true or false, by its name on the command line. */
static bool is_flag(const char *name) {
    for (unsigned i = 0; i < levee_option_count(); i++) {
        const char *key = levee_option_key(i), *c = name;
        for (; *key && (*c == *key || (*c == '-' && *key == '_')); key++) c++;
        if (!*key && !*c) return levee_option_is_flag(i);
    }
    return false;
}

/* What a flag may be followed by; anything else does not belong to it. */
static bool is_flag_value(const char *argument) {
    static const char *const words[] = {"true", "false", "yes", "no", "null"};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(argument, words[i])) return true;
    return false;
}

/* The value of the option at arguments[*i], in "--key=value" or "--key value"; a lone flag has an empty one. */
static const char *take_value(int count, char **arguments, int *i, char key[64]) {
    const char *name = arguments[*i] + 2, *equals = strchr(name, '=');
    snprintf(key, 64, "%.*s", equals ? (int)(equals - name) : 63, name);
    if (equals) return equals + 1;
    if (is_flag(key) && *i + 1 < count && !is_flag_value(arguments[*i + 1])) return "";
    bool flag = *i + 1 >= count || !strncmp(arguments[*i + 1], "--", 2) || is_config(arguments[*i + 1]);
    return flag ? "" : arguments[++*i];
}

/* The file first, whatever the order, because the command line wins. What stands alone is the option `alone` (NULL:
 * an error). */
static levee_status read_options(levee_options *options, int count, char **arguments, const char *alone,
                                 levee_error *error) {
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
        } else if (alone) {
            status = levee_options_set(options, alone, arguments[i], error);
        } else {
            error->status = status = LEVEE_USAGE;
            snprintf(error->message, sizeof error->message, "'%.80s': options begin with --; see levee --help",
                     arguments[i]);
        }
    }
    return status;
}

/* A whole number as it is written, up to `most`. */
static bool read_whole(const char *text, uint64_t most, uint64_t *number) {
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno && *number <= most;
}

static int run_init(int count, char **arguments) {
    levee_shape shape = {.hidden_size = 128, .intermediate_size = 384, .layers = 4, .heads = 4, .kv_heads = 2};
    struct {
        const char *key;
        unsigned *field;
    } fields[] = {{"hidden-size", &shape.hidden_size}, {"intermediate-size", &shape.intermediate_size},
                  {"layers", &shape.layers},           {"heads", &shape.heads},
                  {"kv-heads", &shape.kv_heads},       {"head-dim", &shape.head_dim},
                  {"window", &shape.window},           {"vocab-size", &shape.vocabulary_size}};
    uint64_t seed = 0;
    const char *directory = NULL;
    levee_error error = {0};
    for (int i = 0; i < count; i++) {
        char key[64];
        if (strncmp(arguments[i], "--", 2)) {
            if (directory) {
                fprintf(stderr, "levee: init: '%.80s': one directory is made, and it is %.80s\n", arguments[i],
                        directory);
                return LEVEE_USAGE;
            }
            directory = arguments[i];
            continue;
        }
        const char *given = take_value(count, arguments, &i, key);
        bool is_seed = !strcmp(key, "seed"), known = is_seed || !strcmp(key, "family");
        uint64_t number = 0;
        unsigned *field = NULL;
        if (!strcmp(key, "family")) shape.family = given;
        for (unsigned k = 0; k < sizeof fields / sizeof *fields; k++)
            if (!strcmp(key, fields[k].key)) field = fields[k].field, known = true;
        if (!known) {
            fprintf(stderr, "levee: --%s is no option of init; see levee --help\n", key);
            return LEVEE_USAGE;
        }
        if ((field || is_seed) && !read_whole(given, is_seed ? UINT64_MAX : INT32_MAX, &number)) {
            fprintf(stderr, "levee: init: --%s: '%.60s' does not do; a whole number is needed\n", key, given);
            return LEVEE_USAGE;
        }
        if (field) *field = (unsigned)number;
        if (is_seed) seed = number;
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

/* SIGUSR1 gives memory back, SIGUSR2 takes it again. SIGINT and SIGTERM stop a training, which stores where it
 * stands; a second one ends the program at once.
 *
 * A thread waits for them, and all others have them blocked: code that oneDNN generates uses the stack pointer for
 * its own ends, and a handler that ran there would write into what it points at. */
static void *answer_signals(void *awaited) {
    static const char message[] = "levee: stopping; once more to stop without storing where it stands\n";
    bool stopping = false;
    for (int number;;) {
        if (sigwait(awaited, &number)) continue;
        if (number == SIGUSR1 || number == SIGUSR2) {
            levee_request(number == SIGUSR1 ? LEVEE_REQUEST_SHRINK : LEVEE_REQUEST_GROW);
            continue;
        }
        if (stopping) _exit(LEVEE_STOPPED);
        stopping = true;
        levee_request(LEVEE_REQUEST_STOP);
        if (progress_is_shown() && write(STDERR_FILENO, PROGRESS_CLEAR, sizeof PROGRESS_CLEAR - 1) < 0) continue;
        if (write(STDERR_FILENO, message, sizeof message - 1) < 0) continue; /* nobody listens */
    }
    return NULL;
}

static void handle_signals(bool trains) {
    static sigset_t awaited;
    pthread_t thread;
    pthread_attr_t attributes;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGUSR1);
    sigaddset(&awaited, SIGUSR2);
    if (trains) {
        sigaddset(&awaited, SIGINT);
        sigaddset(&awaited, SIGTERM);
    }
    pthread_sigmask(SIG_BLOCK, &awaited, NULL); /* every thread that comes later inherits it */
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 * 1024);
    if (pthread_create(&thread, &attributes, answer_signals, &awaited)) /* then they end the program, as they would */
        pthread_sigmask(SIG_UNBLOCK, &awaited, NULL);
    pthread_attr_destroy(&attributes);
}

/* OpenMP reads its settings when it is loaded, before main: so they are set, and the program starts itself once more.
 * Threads that wait must sleep: spinning, they would take the processors from whatever else runs here, and Levee
 * itself falls to a fifth of its speed as soon as something does. Whoever sets the policy keeps it. */
static void start_with_sleeping_threads(char **arguments) {
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
    if (setenv("OMP_WAIT_POLICY", "passive", 1) || setenv("OMP_STACKSIZE", "1M", 0)) return;
    execv("/proc/self/exe", arguments); /* if that fails, we go on as we are */
}

/* If all else fails, we are ended and no neighbour is. Where that cannot be arranged, the work is still worth doing.
 */
static void volunteer(void) {
    levee_error error;
    if (levee_volunteer(&error) != LEVEE_OK)
        fprintf(stderr, "levee: a neighbour may be ended first: %s\n", error.message);
}

/* The verb that help is asked about; NULL: all. */
static const char *named_verb(const char *argument) {
    for (unsigned i = 0; i < VERB_COUNT; i++)
        if (!strcmp(argument, verbs[i].name)) return argument;
    return NULL;
}

int main(int count, char **arguments) {
    /* Before all else: what is set for a training, its environment and its place among victims, is not for a command.
     */
    if (count > 1 && !strcmp(arguments[1], "watch")) return watch_command(count - 2, arguments + 2);
    if (count > 1 && !strcmp(arguments[1], "top")) return top_command(count - 2, arguments + 2);
    start_with_sleeping_threads(arguments);
    prctl(PR_SET_NAME, "levee"); /* started by /proc/self/exe it is named "exe" in lists of processes */
    levee_prepare();
    volunteer();
    handle_signals(count > 1 && (!strcmp(arguments[1], "train") || !strcmp(arguments[1], "probe")));
    if (count < 2 || asks_for_help(count, arguments)) {
        print_help(count < 2 ? stderr : stdout, count < 2 ? NULL : named_verb(arguments[1]));
        return count < 2 ? LEVEE_USAGE : 0;
    }
    if (!strcmp(arguments[1], "--version")) {
        puts("levee " LEVEE_VERSION);
        return 0;
    }
    if (!strcmp(arguments[1], "init")) return run_init(count - 2, arguments + 2);
    if (!strcmp(arguments[1], "report")) return report_command(count - 2, arguments + 2);
    for (unsigned i = 0; i < VERB_COUNT; i++) {
        if (strcmp(arguments[1], verbs[i].name)) continue;
        levee_error error = {0};
        levee_options *options = levee_options_create();
        if (!options) return LEVEE_DOES_NOT_FIT;
        levee_status status = read_options(options, count - 2, arguments + 2, verbs[i].nameless, &error);
        levee_options_ask(options, ask, stdin);
        levee_print *print = verbs[i].run == levee_generate ? print_piece : print_line;
        if (verbs[i].run == levee_train) {
            progress_begin(options);
            print = progress_print;
        }
        if (status == LEVEE_OK) status = verbs[i].run(options, print, stdout, &error);
        progress_end();
        levee_options_free(options);
        return status == LEVEE_OK ? 0 : fail(&error);
    }
    fprintf(stderr,
            "levee: '%s' is no verb; there are train, plan, probe, doctor, eval, export, generate, inspect, "
            "tokenize, init, "
            "report, watch and top\n",
            arguments[1]);
    return LEVEE_USAGE;
}

/* contrib/: dashboard and alert rules can be read, and name metrics that /metrics has and docs/prometheus.md lists.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "scratch.h"
#include "web/exposition.h"

static const char dashboard_path[] = "contrib/grafana/levee.json", alerts_path[] = "contrib/prometheus/alerts.yml";

enum { EXPOSITION_BYTES = 64 * 1024 };

/* All that /metrics ever says: of a run that has done a step with everything known. */
static const char *exposition(void) {
    static char text[EXPOSITION_BYTES];
    static board_view view;
    const web_counts counts = {0};
    web_text t = {.text = text, .room = sizeof text};
    view.has_step = view.has_sample = view.sample.leak_known = true;
    view.validation_step = view.facts.steps = 1;
    exposition_put(&t, &view, &counts);
    assert_false(t.cut);
    return text;
}

static bool is_part_of_name(char c) { return islower((unsigned char)c) || isdigit((unsigned char)c) || c == '_'; }

static bool is_exposed(const char *name) {
    char line[128];
    snprintf(line, sizeof line, "# TYPE %s ", name);
    return strstr(exposition(), line) != NULL;
}

static bool is_documented(const char *documented, const char *name) {
    char quoted[128];
    snprintf(quoted, sizeof quoted, "`%s`", name);
    return strstr(documented, quoted) != NULL;
}

/* Each metric of ours that an expression names; returns how many. */
static unsigned check_names(const char *documented, const char *expression) {
    unsigned found = 0;
    for (const char *at = expression; (at = strstr(at, "levee_"));) {
        char name[96];
        size_t length = 0;
        while (is_part_of_name(at[length]) && length + 1 < sizeof name) length++;
        snprintf(name, sizeof name, "%.*s", (int)length, at);
        if (!is_exposed(name)) fail_msg("/metrics has no %s, which '%s' names", name, expression);
        if (!is_documented(documented, name)) fail_msg("docs/prometheus.md has no %s", name);
        at += length;
        found++;
    }
    return found;
}

static char *documentation(void) {
    size_t bytes;
    return scratch_read("docs/prometheus.md", &bytes);
}

static void tells_a_metric_from_none(void **state) {
    (void)state;
    char *documented = documentation();
    assert_true(is_exposed("levee_loss") && is_documented(documented, "levee_loss"));
    assert_false(is_exposed("levee_los") || is_documented(documented, "levee_los"));
    assert_false(is_exposed("levee_nothing") || is_documented(documented, "levee_nothing"));
    assert_int_equal(check_names(documented, "levee_loss + rate(levee_steps_total{a=\"b\"}[5m]) > 0"), 2);
    free(documented);
}

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    if (!text || !*text) fail_msg("%s is missing", key);
    return text;
}

static unsigned check_panel(const char *documented, const json_t *panel) {
    const json_t *place = json_object_get(panel, "gridPos"), *target;
    size_t index;
    unsigned names = 0;
    text_of(panel, "title");
    assert_true(json_integer_value(json_object_get(place, "x")) + json_integer_value(json_object_get(place, "w")) <=
                24);
    if (!strcmp(text_of(panel, "type"), "row")) return 0;
    assert_true(json_array_size(json_object_get(panel, "targets")) > 0);
    json_array_foreach(json_object_get(panel, "targets"), index, target) {
        unsigned found = check_names(documented, text_of(target, "expr"));
        assert_true(found > 0);
        text_of(target, "refId");
        names += found;
    }
    return names;
}

static void dashboard_shows_what_there_is(void **state) {
    (void)state;
    json_error_t problem;
    json_t *dashboard = json_load_file(dashboard_path, JSON_REJECT_DUPLICATES, &problem), *panel, *variable;
    if (!dashboard) fail_msg("%s:%d: %s", dashboard_path, problem.line, problem.text);
    char *documented = documentation();
    const json_t *panels = json_object_get(dashboard, "panels");
    unsigned names = 0;
    size_t index;
    bool used[256] = {false};
    json_array_foreach(panels, index, panel) {
        json_int_t id = json_integer_value(json_object_get(panel, "id"));
        assert_in_range(id, 1, 255);
        assert_false(used[id]);
        used[id] = true;
        names += check_panel(documented, panel);
    }
    assert_in_range(json_array_size(panels), 10, 200);
    assert_true(names > 30);
    json_array_foreach(json_object_get(json_object_get(dashboard, "templating"), "list"), index, variable) {
        const char *query = json_string_value(json_object_get(variable, "definition"));
        if (query) assert_true(check_names(documented, query) > 0);
    }
    json_decref(dashboard);
    free(documented);
}

/* What a rule has; expressions are looked at as they come. */
typedef struct rules_found {
    unsigned alerts, expressions, severities, summaries, names;
} rules_found;

static void take_scalar(rules_found *found, const char *documented, const char *key, const char *value) {
    found->alerts += !strcmp(key, "alert");
    found->severities += !strcmp(key, "severity");
    found->summaries += !strcmp(key, "summary");
    if (strcmp(key, "expr") != 0) return;
    unsigned names = check_names(documented, value);
    assert_true(names > 0);
    found->expressions++;
    found->names += names;
}

static void alerts_are_of_what_there_is(void **state) {
    (void)state;
    enum { DEPTH = 16 };
    FILE *file = fopen(alerts_path, "r");
    assert_non_null(file);
    char *documented = documentation(), key[64] = "";
    yaml_parser_t parser;
    yaml_event_t event;
    rules_found found = {0};
    bool in_mapping[DEPTH] = {false}, is_key = true, ended = false;
    unsigned depth = 0;
    assert_true(yaml_parser_initialize(&parser));
    yaml_parser_set_input_file(&parser, file);
    while (!ended) {
        if (!yaml_parser_parse(&parser, &event))
            fail_msg("%s:%zu: %s", alerts_path, parser.problem_mark.line + 1, parser.problem);
        if (event.type == YAML_MAPPING_START_EVENT || event.type == YAML_SEQUENCE_START_EVENT) {
            assert_true(++depth < DEPTH);
            in_mapping[depth] = is_key = event.type == YAML_MAPPING_START_EVENT;
        } else if (event.type == YAML_MAPPING_END_EVENT || event.type == YAML_SEQUENCE_END_EVENT) {
            depth--;
            is_key = true;
        } else if (event.type == YAML_SCALAR_EVENT && in_mapping[depth]) {
            const char *text = (const char *)event.data.scalar.value;
            if (is_key)
                snprintf(key, sizeof key, "%s", text);
            else
                take_scalar(&found, documented, key, text);
            is_key = !is_key;
        }
        ended = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    fclose(file);
    free(documented);
    assert_true(found.alerts >= 8 && found.names >= found.alerts);
    assert_int_equal(found.expressions, found.alerts);
    assert_int_equal(found.severities, found.alerts);
    assert_int_equal(found.summaries, found.alerts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_a_metric_from_none),
        cmocka_unit_test(dashboard_shows_what_there_is),
        cmocka_unit_test(alerts_are_of_what_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Requests: whatever one says, it is refused or answered by what request.h promises, and never without the token
 * where that is needed. The input is lines: method, path, host, origin, site, authorization, token, then flags in a
 * byte. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "harness.h"
#include "web/address.h"
#include "web/request.h"
#include "web/text.h"

#define TOKEN "abcdefghijklmnop-0123"

void fuzz_prepare(void) {}

/* The next line, as a text of its own; "-" is one that is not there. */
static char *take_line(const uint8_t **data, size_t *bytes) {
    const uint8_t *end = memchr(*data, '\n', *bytes);
    size_t length = end ? (size_t)(end - *data) : *bytes;
    char *line = malloc(length + 1);
    harness_require(line != NULL, "no memory");
    memcpy(line, *data, length);
    line[length] = 0;
    *data += length + (end != NULL);
    *bytes -= length + (end != NULL);
    return line;
}

static const char *given(const char *line) { return strcmp(line, "-") ? line : NULL; }

static bool names_nothing_strange(const char *host) {
    for (const char *c = host; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr(".:[]-", *c)) return false;
    return true;
}

static bool has_token(const web_request *r, bool in_header) {
    bool header =
        r->authorization && !strncasecmp(r->authorization, "Bearer ", 7) && !strcmp(r->authorization + 7, TOKEN);
    return header || (!in_header && r->token && !strcmp(r->token, TOKEN));
}

static void check(const web_request *r, const web_rules *rules) {
    web_answer a = web_decide(r, rules), again = web_decide(r, rules);
    static const unsigned known[] = {200, 401, 403, 404, 405, 413, 421};
    bool is_known = false;
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++) is_known = is_known || a.status == known[i];
    harness_require(is_known && a.status == again.status && a.route == again.route,
                    "the answer is no answer, or another");
    if (a.status != 200) return;
    harness_require(a.route < ROUTE_COUNT && !strcmp(r->path, web_route_path(a.route)), "another path is answered");
    harness_require(r->host && r->hosts == 1 && names_nothing_strange(r->host), "a strange host is answered");
    harness_require(!r->origin || strstr(r->origin, r->host) || strcasestr(r->origin, r->host),
                    "another site is answered");
    harness_require(!r->fetch_site || !strcmp(r->fetch_site, "none") || !strcmp(r->fetch_site, "same-origin"),
                    "another site asks");
    harness_require(rules->loopback || has_token(r, false), "somebody without the token looks");
    harness_require(a.route < ROUTE_PAUSE || (!strcmp(r->method, "POST") && has_token(r, true)),
                    "an order without the token, or no POST");
    harness_require(r->body_bytes <= WEB_MOST_BODY_BYTES, "a long body is read");
}

/* What is read as an address is one, and is written as one that reads the same. */
static void check_address(const char *text) {
    web_address a, again;
    levee_error error;
    char written[ADDRESS_TEXT_BYTES], twice[ADDRESS_TEXT_BYTES];
    if (!harness_succeeded(web_address_read(&a, text, &error), &error, NULL)) return;
    web_address_text(written, &a);
    harness_require(web_address_read(&again, written, &error) == LEVEE_OK, "a written address cannot be read");
    web_address_text(twice, &again);
    harness_require(!strcmp(written, twice), "a written address reads as another");
}

static void check_string(const char *line) {
    char text[256];
    web_text t = {.text = text, .room = sizeof text};
    web_put_string(&t, line);
    harness_require(t.length == strlen(text) && t.length < sizeof text, "a text is longer than its room");
    for (const char *c = text; *c; c++)
        harness_require((unsigned char)*c >= ' ', "a control character in a JSON string");
}

void fuzz_input(const uint8_t *data, size_t bytes) {
    char *lines[7];
    for (unsigned i = 0; i < 7; i++) lines[i] = take_line(&data, &bytes);
    unsigned flags = bytes ? *data : 0;
    web_request r = {.method = lines[0],
                     .path = lines[1],
                     .host = given(lines[2]),
                     .origin = given(lines[3]),
                     .fetch_site = given(lines[4]),
                     .authorization = given(lines[5]),
                     .token = given(lines[6]),
                     .hosts = flags & 4 ? 2 : 1,
                     .body_bytes = flags & 8 ? 1 << 20 : 0};
    web_rules rules = {.token = TOKEN, .machine = "tower", .loopback = flags & 1};
    check(&r, &rules);
    check_address(lines[1]);
    check_address(lines[2]);
    check_string(lines[1]);
    harness_require(web_same_secret(lines[5], lines[6]) == !strcmp(lines[5], lines[6]),
                    "two secrets are the same, or one is not itself");
    harness_require(!web_token_is_sound(lines[6]) || strlen(lines[6]) >= 16, "a token that is none");
    web_number(lines[6], 0);
    for (unsigned i = 0; i < 7; i++) free(lines[i]);
}

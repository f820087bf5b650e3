/* Which requests are answered: see request.h. */
#include "web/request.h"

#include <string.h>
#include <strings.h>

static const char *const paths[ROUTE_COUNT] = {"/",      "/state.json", "/history.json", "/events", "/metrics",
                                               "/pause", "/resume",     "/checkpoint",   "/stop"};

const char *web_route_path(web_route route) { return (unsigned)route < ROUTE_COUNT ? paths[route] : ""; }

bool web_same_secret(const char *a, const char *b) {
    size_t length = strlen(a), other = strlen(b);
    unsigned char differs = length != other;
    for (size_t i = 0; i < length; i++)
        differs |= (unsigned char)((unsigned char)a[i] ^ (unsigned char)(other ? b[i % other] : 0));
    return !differs;
}

static bool is_alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool web_token_is_sound(const char *token) {
    size_t length = strlen(token);
    if (length < 16 || length >= WEB_TOKEN_BYTES) return false;
    for (size_t i = 0; i < length; i++)
        if (!is_alphanumeric(token[i]) && !strchr("-_.~", token[i])) return false;
    return true;
}

uint64_t web_number(const char *text, uint64_t otherwise) {
    uint64_t number = 0;
    unsigned digits = 0;
    if (!text) return otherwise;
    for (; text[digits] >= '0' && text[digits] <= '9'; digits++)
        number = number * 10 + (uint64_t)(text[digits] - '0');
    return digits && digits < 19 && !text[digits] ? number : otherwise;
}

/* How long the name in "name:port" is; 0 when it is no such thing. */
static size_t name_length(const char *host) {
    size_t length = *host == '[' ? strcspn(host, "]") : strcspn(host, ":");
    if (*host == '[' && host[length] != ']') return 0;
    if (*host == '[') length++;
    const char *port = host + length;
    if (!*port) return length;
    if (*port++ != ':') return 0;
    size_t digits = strspn(port, "0123456789");
    return digits && digits <= 5 && !port[digits] ? length : 0;
}

static bool is_named(const char *host, size_t length, const char *name) {
    return *name && strlen(name) == length && !strncasecmp(host, name, length);
}

/* Four numbers with dots, or anything of numbers and colons in brackets: an address is no name that could be made to
 * point here, so which one it is does not matter. */
static bool is_address(const char *host, size_t length) {
    if (*host == '[') return length > 3 && strspn(host + 1, "0123456789abcdefABCDEF:.") == length - 2;
    unsigned dots = 0;
    for (size_t i = 0; i < length; i++) {
        dots += host[i] == '.';
        if (host[i] != '.' && (host[i] < '0' || host[i] > '9')) return false;
    }
    return dots == 3;
}

static bool host_is_ours(const web_request *r, const web_rules *rules) {
    if (!r->host || r->hosts != 1) return false;
    size_t length = name_length(r->host);
    if (!length || length >= WEB_NAME_BYTES) return false;
    if (is_named(r->host, length, "localhost")) return true;
    return is_address(r->host, length) || (!rules->loopback && is_named(r->host, length, rules->machine));
}

/* Who sends none is no page of another site: browsers always do with a POST. */
static bool origin_is_ours(const web_request *r) {
    if (r->fetch_site && strcmp(r->fetch_site, "same-origin") != 0 && strcmp(r->fetch_site, "none") != 0)
        return false;
    if (!r->origin) return true;
    const char *rest = !strncmp(r->origin, "http://", 7)    ? r->origin + 7
                       : !strncmp(r->origin, "https://", 8) ? r->origin + 8
                                                            : NULL;
    return rest && !strcasecmp(rest, r->host);
}

static bool has_token_in_header(const web_request *r, const web_rules *rules) {
    static const char scheme[] = "Bearer ";
    if (!r->authorization || strncasecmp(r->authorization, scheme, sizeof scheme - 1) != 0) return false;
    return web_same_secret(r->authorization + sizeof scheme - 1, rules->token);
}

static bool has_token(const web_request *r, const web_rules *rules) {
    return has_token_in_header(r, rules) || (r->token && web_same_secret(r->token, rules->token));
}

static bool find_route(const char *path, web_route *route) {
    for (unsigned i = 0; i < ROUTE_COUNT; i++) {
        if (strcmp(path, paths[i]) != 0) continue;
        *route = (web_route)i;
        return true;
    }
    return false;
}

/* Who may not look is not told what there is, so the token comes before the route. */
static unsigned judge(const web_request *r, const web_rules *rules, web_answer *answer) {
    bool changes = !strcmp(r->method, "POST");
    answer->head = !strcmp(r->method, "HEAD");
    if (!host_is_ours(r, rules)) return 421;
    if (!origin_is_ours(r)) return 403;
    if (!rules->loopback && !has_token(r, rules)) return 401;
    if (!find_route(r->path, &answer->route)) return 404;
    bool wants_change = answer->route >= ROUTE_PAUSE;
    if (wants_change ? !changes : changes || (strcmp(r->method, "GET") != 0 && !answer->head)) return 405;
    if (r->body_bytes > WEB_MOST_BODY_BYTES) return 413;
    return wants_change && !has_token_in_header(r, rules) ? 401 : 200;
}

web_answer web_decide(const web_request *request, const web_rules *rules) {
    web_answer answer = {.route = ROUTE_PAGE};
    answer.status = judge(request, rules, &answer);
    return answer;
}

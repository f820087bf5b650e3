/* Which requests are answered; addresses, tokens, and the policy of the page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

#include "scratch.h"
#include "web/address.h"
#include "web/hash.h"
#include "web/page.h"
#include "web/request.h"
#include "web/text.h"

#define TOKEN "abcdefghijklmnop-0123"

static const web_rules here = {.token = TOKEN, .machine = "tower", .loopback = true};
static const web_rules open_to_all = {.token = TOKEN, .machine = "tower", .loopback = false};

static unsigned status_of(web_request r, const web_rules *rules) {
    r.hosts = r.host && !r.hosts ? 1 : r.hosts;
    if (!r.method) r.method = "GET";
    if (!r.path) r.path = "/";
    return web_decide(&r, rules).status;
}

static void knows_its_routes_and_no_other(void **state) {
    (void)state;
    static const char *const strange[] = {"",
                                          "//",
                                          "/index.html",
                                          "/state.json/",
                                          "/STATE.JSON",
                                          "/../etc/passwd",
                                          "/state.json/../../etc/passwd",
                                          "/etc/passwd",
                                          "/metrics ",
                                          "/page.html",
                                          "/."};
    for (unsigned route = 0; route < ROUTE_COUNT; route++) {
        bool changes = route >= ROUTE_PAUSE;
        web_request r = {.method = changes ? "POST" : "GET",
                         .path = web_route_path((web_route)route),
                         .host = "localhost",
                         .hosts = 1,
                         .authorization = "Bearer " TOKEN};
        web_answer a = web_decide(&r, &here);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.route, route);
        r.method = changes ? "GET" : "POST";
        assert_int_equal(web_decide(&r, &here).status, 405);
        r.method = "DELETE";
        assert_int_equal(web_decide(&r, &here).status, 405);
        r.method = "HEAD";
        assert_int_equal(web_decide(&r, &here).status, changes ? 405 : 200);
    }
    for (unsigned i = 0; i < sizeof strange / sizeof *strange; i++)
        assert_int_equal(status_of((web_request){.path = strange[i], .host = "localhost"}, &here), 404);
}

static void refuses_names_that_could_be_pointed_here(void **state) {
    (void)state;
    static const char *const ours[] = {"localhost",     "LOCALHOST:80", "127.0.0.1", "127.0.0.1:8642",
                                       "192.168.1.7:9", "[::1]:8642",   "[fe80::1]"};
    static const char *const strange[] = {"evil.example",
                                          "evil.example:8642",
                                          "localhost.evil.example",
                                          "127.0.0.1.evil.example",
                                          "",
                                          "localhost:",
                                          "localhost:80x",
                                          "localhost:123456",
                                          "[::1",
                                          "[evil]",
                                          "[]",
                                          "a@127.0.0.1",
                                          "127.0.0.1:80:80",
                                          "1.2.3",
                                          "tower",
                                          "127.0.0.1, evil.example",
                                          " localhost"};
    for (unsigned i = 0; i < sizeof ours / sizeof *ours; i++)
        if (status_of((web_request){.host = ours[i]}, &here) != 200) fail_msg("%s is refused", ours[i]);
    for (unsigned i = 0; i < sizeof strange / sizeof *strange; i++)
        if (status_of((web_request){.host = strange[i]}, &here) != 421) fail_msg("'%s' is answered", strange[i]);
    assert_int_equal(status_of((web_request){.host = NULL}, &here), 421);
    assert_int_equal(status_of((web_request){.host = "localhost", .hosts = 2}, &here), 421);
    assert_int_equal(status_of((web_request){.host = "tower:8642", .token = TOKEN}, &open_to_all), 200);
    assert_int_equal(status_of((web_request){.host = "evil.example", .token = TOKEN}, &open_to_all), 421);
}

static void refuses_other_sites(void **state) {
    (void)state;
    static const struct {
        const char *origin, *site;
        unsigned expected;
    } cases[] = {
        {NULL, NULL, 200},
        {"http://localhost:8642", NULL, 200},
        {"http://localhost:8642", "same-origin", 200},
        {"https://localhost:8642", NULL, 200}, /* behind a proxy that encrypts */
        {"http://localhost:8643", NULL, 403},
        {"http://localhost", NULL, 403},
        {"http://evil.example", NULL, 403},
        {"http://localhost:8642.evil.example", NULL, 403},
        {"null", NULL, 403},
        {"", NULL, 403},
        {"localhost:8642", NULL, 403},
        {NULL, "cross-site", 403},
        {NULL, "same-site", 403},
        {"http://localhost:8642", "cross-site", 403},
        {NULL, "", 403},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        const web_request r = {.method = "POST",
                               .path = "/pause",
                               .host = "localhost:8642",
                               .origin = cases[i].origin,
                               .fetch_site = cases[i].site,
                               .authorization = "Bearer " TOKEN};
        if (status_of(r, &here) != cases[i].expected) fail_msg("case %u", i);
    }
    /* Who types the address comes from no site. */
    assert_int_equal(status_of((web_request){.host = "localhost", .fetch_site = "none"}, &here), 200);
}

static void asks_for_the_token(void **state) {
    (void)state;
    static const struct {
        const char *method, *path, *authorization, *token;
        unsigned here, open;
    } cases[] = {
        {"GET", "/", NULL, NULL, 200, 401},
        {"GET", "/metrics", NULL, TOKEN, 200, 200},
        {"GET", "/metrics", "Bearer " TOKEN, NULL, 200, 200},
        {"GET", "/metrics", "bearer " TOKEN, NULL, 200, 200},
        {"GET", "/nothing", NULL, NULL, 404, 401},
        {"GET", "/", NULL, TOKEN "x", 200, 401},
        {"GET", "/", NULL, "abcdefghijklmnop-012", 200, 401},
        {"GET", "/", NULL, "", 200, 401},
        {"GET", "/", "Bearer ", NULL, 200, 401},
        {"GET", "/", "Basic " TOKEN, NULL, 200, 401},
        {"POST", "/stop", NULL, NULL, 401, 401},
        {"POST", "/stop", NULL, TOKEN, 401, 401}, /* a form of another site could send that */
        {"POST", "/stop", "Bearer " TOKEN, NULL, 200, 200},
        {"POST", "/stop", "Bearer " TOKEN "x", NULL, 401, 401},
        {"POST", "/stop", "Bearer  " TOKEN, NULL, 401, 401},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        const web_request r = {.method = cases[i].method,
                               .path = cases[i].path,
                               .host = "127.0.0.1",
                               .authorization = cases[i].authorization,
                               .token = cases[i].token};
        if (status_of(r, &here) != cases[i].here || status_of(r, &open_to_all) != cases[i].open)
            fail_msg("case %u", i);
    }
    assert_true(web_same_secret("", "") && web_same_secret("abc", "abc"));
    assert_false(web_same_secret("abc", "abd") || web_same_secret("abc", "abcd") ||
                 web_same_secret("abcabc", "abc") || web_same_secret("", "a") || web_same_secret("a", ""));
    assert_true(web_token_is_sound(TOKEN));
    assert_false(web_token_is_sound("short") || web_token_is_sound("abcdefghijklmnop 0123") ||
                 web_token_is_sound("abcdefghijklmnop&a=b"));
    const web_request big = {.method = "POST",
                             .path = "/pause",
                             .host = "localhost",
                             .authorization = "Bearer " TOKEN,
                             .body_bytes = WEB_MOST_BODY_BYTES + 1};
    assert_int_equal(status_of(big, &here), 413);
}

static void reads_numbers(void **state) {
    (void)state;
    assert_int_equal(web_number("0", 7), 0);
    assert_int_equal(web_number("12345", 7), 12345);
    static const char *const none[] = {"", "-1", "1x", "99999999999999999999", " 1", "0x10", "+1"};
    for (unsigned i = 0; i < sizeof none / sizeof *none; i++) assert_int_equal(web_number(none[i], 7), 7);
    assert_int_equal(web_number(NULL, 7), 7);
}

static void reads_addresses(void **state) {
    (void)state;
    static const struct {
        const char *text, *expected;
        bool loopback, any;
    } cases[] = {
        {"", "127.0.0.1:8642", true, true},          {"auto", "127.0.0.1:8642", true, true},
        {"9000", "127.0.0.1:9000", true, false},     {":9000", "127.0.0.1:9000", true, false},
        {"localhost:1", "127.0.0.1:1", true, false}, {"127.0.0.2", "127.0.0.2:8642", true, true},
        {"[::1]:80", "[::1]:80", true, false},       {"[::1]", "[::1]:8642", true, true},
        {"10.1.2.3:5", "10.1.2.3:5", false, false},  {"0.0.0.0:5", "127.0.0.1:5", false, false},
        {"[::]:5", "[::1]:5", false, false},         {"127.0.0.1:0", "127.0.0.1:0", true, false},
    };
    static const char *const wrong[] = {
        "example.org:80", "127.0.0.1:", "127.0.0.1:x",     "127.0.0.1:65536", "[::1]x", "[::1", "256.1.1.1:1",
        "1.2.3:4",        "::1",        "127.0.0.1:80:80", "[::1]:80x",       "a b",    "-1"};
    levee_error error;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        web_address a;
        char text[ADDRESS_TEXT_BYTES];
        scratch_expect(cases[i].text, LEVEE_OK, "", web_address_read(&a, cases[i].text, &error), &error);
        web_address_text(text, &a);
        assert_string_equal(text, cases[i].expected);
        if (a.loopback != cases[i].loopback || a.any_port_does != cases[i].any) fail_msg("%s", cases[i].text);
    }
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        web_address a;
        scratch_expect(wrong[i], LEVEE_USAGE, "--web|127.0.0.1:8642", web_address_read(&a, wrong[i], &error), &error);
    }
}

/* A port that was asked for and is taken is refused; the usual one is not insisted on. */
static void takes_a_free_port_where_none_was_asked_for(void **state) {
    (void)state;
    web_address first, second;
    int a, b = -1;
    levee_error error;
    char text[ADDRESS_TEXT_BYTES];
    assert_int_equal(web_address_read(&first, "127.0.0.1:0", &error), LEVEE_OK);
    scratch_expect("listen", LEVEE_OK, "", web_address_listen(&first, &a, &error), &error);
    web_address_text(text, &first);
    assert_null(strstr(text, ":0"));
    assert_int_equal(web_address_read(&second, text, &error), LEVEE_OK);
    scratch_expect("taken", LEVEE_USAGE, "in use|another", web_address_listen(&second, &b, &error), &error);
    second.any_port_does = true;
    scratch_expect("free", LEVEE_OK, "", web_address_listen(&second, &b, &error), &error);
    close(a);
    close(b);
}

/* Vectors of FIPS 180-4 and of lengths around a block's end, in base64. */
static void hashes(void **state) {
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
        {"abc", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "JI1qYdIGOLjlwCaTDD5gOaM85Flk/yFn9uzt1BnbBsE="},
    };
    char text[HASH_TEXT_BYTES];
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        hash_text(text, cases[i].text, strlen(cases[i].text));
        assert_string_equal(text, cases[i].expected);
    }
    char many[1000];
    memset(many, 'a', sizeof many);
    hash_text(text, many, sizeof many);
    assert_string_equal(text, "Qe3s5C1j6Nm/UVqbppMuHCDLyfWl0TRkWttdsblzfqM=");
}

/* The page runs its own script and style, loads nothing from anywhere, and has no attribute that would need more. */
static void the_page_is_self_contained(void **state) {
    (void)state;
    static const char *const strange[] = {"src=\"http", "href=\"http",    "url(",    "@import",
                                          " style=\"",  " onclick",       " onload", "innerHTML",
                                          "eval(",      "document.write", "//cdn"};
    char policy[PAGE_POLICY_BYTES], page[200000];
    size_t bytes;
    const char *text = page_text(&bytes);
    assert_true(bytes > 10000 && bytes < sizeof page);
    memcpy(page, text, bytes);
    page[bytes] = 0;
    for (unsigned i = 0; i < sizeof strange / sizeof *strange; i++)
        if (strstr(page, strange[i])) fail_msg("the page has %s", strange[i]);
    page_policy(policy);
    assert_non_null(strstr(policy, "default-src 'none'"));
    assert_non_null(strstr(policy, "frame-ancestors 'none'"));
    assert_null(strstr(policy, "unsafe"));
    assert_null(strstr(policy, "47DEQpj8HBSa")); /* the hash of nothing */
    assert_true(strlen(policy) < PAGE_POLICY_BYTES - 1);
    char script[HASH_TEXT_BYTES];
    const char *begin = strstr(page, "<script>") + 8;
    hash_text(script, begin, (size_t)(strstr(begin, "</script>") - begin));
    assert_non_null(strstr(policy, script));
}

static void writes_texts_as_json(void **state) {
    (void)state;
    char text[64];
    web_text t = {.text = text, .room = sizeof text};
    web_put_string(&t, "a\"b\\c\n\x01\xc3\xa9\xff\xc0\x80\xed\xa0\x80\xf0\x9f\x98\x80");
    assert_string_equal(text, "\"a\\\"b\\\\c\\u000a\\u0001\xc3\xa9?????"
                              "?"
                              "\xf0\x9f\x98\x80\"");
    t = (web_text){.text = text, .room = 4};
    web_put(&t, "%s", "abc");
    assert_false(t.cut);
    web_put(&t, "d");
    assert_true(t.cut);
    assert_string_equal(text, "abc");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_its_routes_and_no_other),
        cmocka_unit_test(refuses_names_that_could_be_pointed_here),
        cmocka_unit_test(refuses_other_sites),
        cmocka_unit_test(asks_for_the_token),
        cmocka_unit_test(reads_numbers),
        cmocka_unit_test(reads_addresses),
        cmocka_unit_test(takes_a_free_port_where_none_was_asked_for),
        cmocka_unit_test(hashes),
        cmocka_unit_test(the_page_is_self_contained),
        cmocka_unit_test(writes_texts_as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

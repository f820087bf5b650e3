/* The page over HTTP, by libmicrohttpd: see web.h.
 *
 * The library runs on our thread, in MHD_run_wait, and calls back from there; so nothing here but the board, the flag
 * that ends it and the orders is seen by another thread. A connection has a place in a table from its beginning to
 * its end. A stream whose pages have all that is new is suspended, and resumed when there is more. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "memory/thread.h"
#include "platform/machine.h"
#include "web/address.h"
#include "web/blocks.h"
#include "web/page.h"
#include "web/request.h"
#include "web/telling.h"
#include "web/web.h"

/* The library's memory: for each connection a pool of so much, and its own records, the response of a stream among
 * them; beside that the daemon. tests/test_web_server.c measures that it keeps to it. */
enum { POOL_BYTES = 8 * 1024, RECORD_BYTES = 4 * 1024, DAEMON_BYTES = 256 * 1024 };

/* What the kernel keeps of answers for one connection: more than any message, less than many. */
enum { SEND_BUFFER_BYTES = 64 * 1024 };

static const double usual_update_seconds = 1;
static const double ping_seconds = 15;     /* of silence, after which a stream is told that we are there */
static const double look_seconds = 10;     /* between two looks at other processes */
static const double interest_seconds = 15; /* after which nobody looks any more */

typedef struct connection {
    bool used, streams, suspended, answers;
    struct web *server;
    struct MHD_Connection *handle;
    int descriptor;
    double since; /* of its beginning, of its last answer, or of the message that it is sent */
    double moved; /* a stream: when something was last taken */
    web_answer decided;
    uint64_t body_bytes;
    web_block *message; /* being sent */
    size_t offset;
    bool pings;
    uint64_t version; /* of the board, that it was told last */
    telling *tells;
} connection;

enum { REFUSALS = 9 };

struct web {
    web_options options;
    web_address address;
    web_rules rules;
    char url[WEB_URL_BYTES], policy[PAGE_POLICY_BYTES];
    struct MHD_Daemon *daemon;
    struct MHD_Response *page, *done, *refusals[REFUSALS];
    booked_thread thread;
    atomic_bool ends;
    bool last_words; /* streams end when they have told them */
    bool wakes;      /* something happened that pages should see at once */
    connection connections[WEB_CONNECTIONS];
    telling *tellings; /* [WEB_TELLINGS] */
    web_blocks blocks;
    web_counts counts;
    consumers others;
    double looked, asked, updated;
    bool library_booked;
};

static const struct {
    unsigned status;
    const char *why;
} refusals[REFUSALS] = {
    {401, "a token is needed: open the address that the run printed, or send Authorization: Bearer TOKEN\n"},
    {403, "another site asks for this\n"},
    {404, "there is nothing here\n"},
    {405, "not by this method\n"},
    {409, "this run takes no orders\n"},
    {413, "too long\n"},
    {421, "this is not the host that you name\n"},
    {500, "out of memory\n"},
    {503, "too many ask at once; come again\n"},
};

uint64_t web_library_bytes(void) { return (uint64_t)WEB_CONNECTIONS * (POOL_BYTES + RECORD_BYTES) + DAEMON_BYTES; }

const char *web_url(const web *w) { return w->url; }

bool web_is_open_to_others(const web *w) { return !w->address.loopback; }

/* ---- Answers */

static bool add_header(struct MHD_Response *answer, const char *key, const char *value) {
    return MHD_add_response_header(answer, key, value) == MHD_YES;
}

/* What every answer says. One that ends ends its connection too: there are few, and whoever asks now and then should
 * not keep one in between. */
static bool add_headers(struct MHD_Response *answer, const char *type) {
    return add_header(answer, "Content-Type", type) && add_header(answer, "Cache-Control", "no-store") &&
           add_header(answer, "X-Content-Type-Options", "nosniff") && add_header(answer, "X-Frame-Options", "DENY") &&
           add_header(answer, "Referrer-Policy", "no-referrer") && add_header(answer, "Connection", "close") &&
           add_header(answer, "Cross-Origin-Resource-Policy", "same-origin");
}

static struct MHD_Response *make_text(const char *text, size_t bytes, const char *type) {
    struct MHD_Response *answer = MHD_create_response_from_buffer(bytes, (void *)text, MHD_RESPMEM_PERSISTENT);
    if (answer && add_headers(answer, type)) return answer;
    if (answer) MHD_destroy_response(answer);
    return NULL;
}

static bool make_answers(web *w) {
    static const char plain[] = "text/plain; charset=utf-8", accepted[] = "asked for\n";
    size_t bytes;
    const char *page = page_text(&bytes);
    page_policy(w->policy);
    w->page = make_text(page, bytes, "text/html; charset=utf-8");
    w->done = make_text(accepted, sizeof accepted - 1, plain);
    if (!w->page || !w->done || !add_header(w->page, "Content-Security-Policy", w->policy)) return false;
    for (unsigned i = 0; i < REFUSALS; i++) {
        struct MHD_Response *answer = make_text(refusals[i].why, strlen(refusals[i].why), plain);
        w->refusals[i] = answer;
        if (!answer) return false;
        if (refusals[i].status == 401 && !add_header(answer, "WWW-Authenticate", "Bearer")) return false;
        if (refusals[i].status == 503 && !add_header(answer, "Retry-After", "2")) return false;
        if (refusals[i].status == 405 && !add_header(answer, "Allow", "GET, HEAD, POST")) return false;
    }
    return true;
}

static enum MHD_Result refuse(web *w, struct MHD_Connection *handle, unsigned status) {
    unsigned i = 0;
    while (i + 1 < REFUSALS && refusals[i].status != status) i++;
    w->counts.refused++;
    return MHD_queue_response(handle, refusals[i].status, w->refusals[i]);
}

static enum MHD_Result answer_block(web *w, struct MHD_Connection *handle, block_kind kind) {
    web_block *block = blocks_get(&w->blocks, kind, w->options.shown, &w->others, &w->counts, add_headers);
    return block ? MHD_queue_response(handle, MHD_HTTP_OK, block->answer) : refuse(w, handle, 503);
}

/* ---- Streams */

/* Takes what is new for a stream, if anything is. */
static bool take_message(web *w, connection *c) {
    uint64_t version = board_version(w->options.shown);
    if (version == c->version) return false;
    c->message = blocks_get(&w->blocks, BLOCK_MESSAGE, w->options.shown, &w->others, &w->counts, add_headers);
    if (!c->message) return false;
    blocks_hold(c->message);
    c->version = w->blocks.newest[BLOCK_MESSAGE].version;
    c->offset = 0;
    c->since = machine_seconds();
    return true;
}

static ssize_t suspend(connection *c) {
    c->suspended = true;
    MHD_suspend_connection(c->handle);
    return 0;
}

static ssize_t read_stream(void *context, uint64_t position, char *text, size_t room) {
    static const char ping[] = ":\n\n";
    connection *c = context;
    web *w = c->server;
    (void)position;
    if (!c->message && !take_message(w, c)) {
        if (w->last_words || atomic_load(&w->ends)) return MHD_CONTENT_READER_END_OF_STREAM;
        if (!c->pings || room < sizeof ping - 1) return suspend(c);
        c->pings = false;
        c->moved = machine_seconds();
        memcpy(text, ping, sizeof ping - 1);
        return sizeof ping - 1;
    }
    size_t left = c->message->length - c->offset, taken = left < room ? left : room;
    memcpy(text, c->message->text + c->offset, taken);
    c->offset += taken;
    c->moved = machine_seconds();
    if (c->offset == c->message->length) {
        blocks_release(c->message);
        c->message = NULL;
    }
    return (ssize_t)taken;
}

static enum MHD_Result answer_callback(web *w, connection *c, MHD_ContentReaderCallback reader, void *context,
                                       const char *type) {
    struct MHD_Response *answer = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1024, reader, context, NULL);
    if (!answer || !add_headers(answer, type)) {
        if (answer) MHD_destroy_response(answer);
        return refuse(w, c->handle, 500);
    }
    enum MHD_Result result = MHD_queue_response(c->handle, MHD_HTTP_OK, answer);
    MHD_destroy_response(answer);
    return result;
}

static enum MHD_Result begin_stream(web *w, connection *c) {
    if (w->counts.streams == WEB_STREAMS || w->last_words) return refuse(w, c->handle, 503);
    c->streams = true;
    c->version = 0;
    c->message = NULL;
    c->moved = machine_seconds();
    w->counts.streams++;
    return answer_callback(w, c, read_stream, c, "text/event-stream");
}

/* ---- History */

static ssize_t read_telling(void *context, uint64_t position, char *text, size_t room) {
    (void)position;
    size_t wrote = telling_read(context, text, room);
    return wrote ? (ssize_t)wrote : MHD_CONTENT_READER_END_OF_STREAM;
}

static uint64_t argument(struct MHD_Connection *handle, const char *key) {
    return web_number(MHD_lookup_connection_value(handle, MHD_GET_ARGUMENT_KIND, key), 0);
}

static enum MHD_Result begin_telling(web *w, connection *c) {
    telling *t = w->tellings;
    while (t < w->tellings + WEB_TELLINGS && t->used) t++;
    if (t == w->tellings + WEB_TELLINGS) return refuse(w, c->handle, 503);
    telling_begin(t, w->options.shown, argument(c->handle, "after"), argument(c->handle, "event"));
    c->tells = t;
    return answer_callback(w, c, read_telling, t, "application/json");
}

/* ---- Requests */

static enum MHD_Result give_order(web *w, connection *c) {
    static const web_order orders[] = {ORDER_PAUSE, ORDER_RESUME, ORDER_CHECKPOINT, ORDER_STOP};
    if (!w->options.order) return refuse(w, c->handle, 409);
    w->options.order(w->options.context, orders[c->decided.route - ROUTE_PAUSE]);
    w->wakes = true;
    return MHD_queue_response(c->handle, MHD_HTTP_ACCEPTED, w->done);
}

static enum MHD_Result answer_route(web *w, connection *c) {
    w->counts.requests++;
    c->since = machine_seconds();
    c->answers = true;
    if (c->decided.route != ROUTE_METRICS) w->asked = c->since;
    switch (c->decided.route) {
    case ROUTE_PAGE:
        return MHD_queue_response(c->handle, MHD_HTTP_OK, w->page);
    case ROUTE_STATE:
        return answer_block(w, c->handle, BLOCK_STATE);
    case ROUTE_METRICS:
        return answer_block(w, c->handle, BLOCK_METRICS);
    case ROUTE_HISTORY:
        return begin_telling(w, c);
    case ROUTE_EVENTS:
        return begin_stream(w, c);
    default:
        return give_order(w, c);
    }
}

static enum MHD_Result note_header(void *context, enum MHD_ValueKind kind, const char *key, const char *value) {
    web_request *r = context;
    (void)kind;
    if (!strcasecmp(key, "Host")) {
        r->host = value;
        r->hosts++;
    } else if (!strcasecmp(key, "Origin"))
        r->origin = value ? value : "";
    else if (!strcasecmp(key, "Sec-Fetch-Site"))
        r->fetch_site = value ? value : "";
    else if (!strcasecmp(key, "Authorization"))
        r->authorization = value;
    else if (!strcasecmp(key, "Content-Length"))
        r->body_bytes = web_number(value, UINT64_MAX);
    return MHD_YES;
}

static web_answer decide(web *w, struct MHD_Connection *handle, const char *path, const char *method) {
    web_request request = {.method = method, .path = path};
    MHD_get_connection_values(handle, MHD_HEADER_KIND, note_header, &request);
    request.token = MHD_lookup_connection_value(handle, MHD_GET_ARGUMENT_KIND, "token");
    return web_decide(&request, &w->rules);
}

static connection *connection_of(struct MHD_Connection *handle) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* Called when the headers are there, then for each piece of a body, then at its end. */
static enum MHD_Result answer_request(void *context, struct MHD_Connection *handle, const char *path,
                                      const char *method, const char *version, const char *body, size_t *body_bytes,
                                      void **request) {
    web *w = context;
    connection *c = connection_of(handle);
    (void)version, (void)body;
    if (!c) return MHD_NO;
    if (!*request) {
        *request = c;
        c->body_bytes = 0;
        c->decided = decide(w, handle, path, method);
        return c->decided.status == 200 ? MHD_YES : refuse(w, handle, c->decided.status);
    }
    if (!*body_bytes) return answer_route(w, c);
    c->body_bytes += *body_bytes;
    *body_bytes = 0;
    return c->body_bytes > WEB_MOST_BODY_BYTES ? MHD_NO : MHD_YES; /* NO closes the connection */
}

/* An answer is sent, or its connection gone. */
static void end_request(void *context, struct MHD_Connection *handle, void **request,
                        enum MHD_RequestTerminationCode code) {
    web *w = context;
    connection *c = connection_of(handle);
    (void)request, (void)code;
    if (!c) return;
    if (c->message) blocks_release(c->message);
    if (c->streams) w->counts.streams--;
    if (c->tells) c->tells->used = false;
    c->message = NULL;
    c->tells = NULL;
    c->streams = c->answers = false;
    c->since = machine_seconds();
}

static int descriptor_of(struct MHD_Connection *handle) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

static void notice_connection(void *context, struct MHD_Connection *handle, void **place,
                              enum MHD_ConnectionNotificationCode code) {
    web *w = context;
    int room = SEND_BUFFER_BYTES;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        connection *c = *place;
        if (c) c->used = false, w->counts.connections--;
        *place = NULL;
        return;
    }
    connection *c = w->connections;
    while (c < w->connections + WEB_CONNECTIONS && c->used) c++;
    *place = NULL;
    if (c == w->connections + WEB_CONNECTIONS) return; /* then each request is refused */
    *c = (connection){
        .used = true, .server = w, .handle = handle, .descriptor = descriptor_of(handle), .since = machine_seconds()};
    setsockopt(c->descriptor, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    w->counts.connections++;
    *place = c;
}

/* ---- The thread */

static void resume(connection *c) {
    if (!c->suspended) return;
    c->suspended = false;
    MHD_resume_connection(c->handle);
}

/* Streams that have something to be told, or were silent for long. */
static void wake_streams(web *w, double now) {
    uint64_t version = board_version(w->options.shown);
    for (unsigned i = 0; i < WEB_CONNECTIONS; i++) {
        connection *c = &w->connections[i];
        if (!c->used || !c->suspended) continue;
        c->pings = now - c->moved >= ping_seconds;
        if (c->pings || c->version != version || w->last_words) resume(c);
    }
}

/* Closes what keeps us waiting: a request that does not end, an answer that nobody takes. The library notices, and
 * ends the connection as it would if the client had. */
static void drop_the_slow(web *w, double now) {
    double patience = w->options.patience_seconds;
    for (unsigned i = 0; i < WEB_CONNECTIONS; i++) {
        connection *c = &w->connections[i];
        if (!c->used || c->suspended) continue;
        /* A message in hand is timed from its beginning, so that a trickle does not do. */
        double since = c->streams && !c->message ? c->moved : c->since;
        if (now - since > patience) shutdown(c->descriptor, SHUT_RDWR);
    }
}

/* Other processes are looked at only while somebody sees it. */
static void look_around(web *w, double now) {
    bool wanted = w->counts.streams || now - w->asked < interest_seconds;
    if (!wanted || now - w->looked < look_seconds) return;
    consumers_read(&w->others, kernel_roots_default);
    w->looked = now;
}

/* Gives pages a moment to hear the end. */
static void tell_the_end(web *w) {
    double until = machine_seconds() + 0.5;
    w->last_words = true;
    while (w->counts.streams && machine_seconds() < until) {
        wake_streams(w, machine_seconds());
        MHD_run_wait(w->daemon, 10);
    }
}

static void *serve(void *context) {
    web *w = context;
    int wait = (int)(200 * w->options.update_seconds) + 1; /* milliseconds */
    prctl(PR_SET_NAME, "levee-page");
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 10); /* the training goes first */
    while (!atomic_load(&w->ends)) {
        double now = machine_seconds();
        look_around(w, now);
        if (w->wakes || now - w->updated >= w->options.update_seconds) {
            w->wakes = false;
            w->updated = now;
            wake_streams(w, now);
            drop_the_slow(w, now);
        }
        MHD_run_wait(w->daemon, wait);
    }
    tell_the_end(w);
    return NULL;
}

/* ---- Opening and closing */

static levee_status make_token(char token[WEB_TOKEN_BYTES], levee_error *error) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    enum { LENGTH = 32 }; /* of six bits: 192 */
    unsigned char random[LENGTH];
    if (getrandom(random, sizeof random, 0) != LENGTH)
        return error_set(error, LEVEE_INTERNAL, "--web: the system gives no random numbers for a token");
    for (unsigned i = 0; i < LENGTH; i++) token[i] = digits[random[i] & 63];
    token[LENGTH] = 0;
    return LEVEE_OK;
}

static levee_status set_rules(web *w, levee_error *error) {
    const char *token = w->options.token;
    w->rules.loopback = w->address.loopback;
    if (gethostname(w->rules.machine, sizeof w->rules.machine - 1)) *w->rules.machine = 0;
    if (!token || !*token) return make_token(w->rules.token, error);
    if (!web_token_is_sound(token))
        return error_set(error, LEVEE_USAGE,
                         "LEVEE_WEB_TOKEN: a token has 16 to 128 letters, digits, '-', '_', '.' or '~'");
    snprintf(w->rules.token, sizeof w->rules.token, "%s", token);
    return LEVEE_OK;
}

/* Paths and tokens of ours need no escapes, so they stand for themselves: none can hide a NUL or a slash. */
static size_t leave_as_it_is(void *context, struct MHD_Connection *handle, char *text) {
    (void)context, (void)handle;
    return strlen(text);
}

static levee_status start_library(web *w, int listener, levee_error *error) {
    w->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, answer_request, w,
                                 MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT,
                                 (unsigned)WEB_CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
                                 MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)1024, MHD_OPTION_CONNECTION_TIMEOUT,
                                 (unsigned)WEB_PATIENCE_SECONDS + 5, MHD_OPTION_NOTIFY_COMPLETED, end_request, w,
                                 MHD_OPTION_NOTIFY_CONNECTION, notice_connection, w, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                                 MHD_OPTION_UNESCAPE_CALLBACK, leave_as_it_is, NULL, MHD_OPTION_END);
    if (w->daemon) return LEVEE_OK;
    close(listener);
    return error_set(error, LEVEE_DOES_NOT_FIT, "--web: the HTTP library did not start");
}

static levee_status start(web *w, levee_error *error) {
    char address[ADDRESS_TEXT_BYTES];
    int listener;
    levee_status status = web_address_read(&w->address, w->options.address, error);
    if (status == LEVEE_OK) status = set_rules(w, error);
    if (status == LEVEE_OK) status = blocks_open(&w->blocks, error);
    if (status == LEVEE_OK && !make_answers(w)) status = error_out_of_memory(error, "answers of the page", 0);
    if (status == LEVEE_OK) status = web_address_listen(&w->address, &listener, error);
    if (status == LEVEE_OK) status = start_library(w, listener, error);
    if (status != LEVEE_OK) return status;
    web_address_text(address, &w->address);
    snprintf(w->url, sizeof w->url, "http://%s/?token=%s", address, w->rules.token);
    return thread_start(&w->thread, "the page's thread", false, serve, w, error);
}

/* Ours, touched, so that it is held when plans are made; and what the library may take, which is not. */
static levee_status take_memory(web **opened, levee_error *error) {
    uint64_t tellings = WEB_TELLINGS * sizeof(telling);
    web *w = ledger_alloc(LEVEE_RUNTIME, sizeof *w);
    *opened = w;
    if (!w) return error_out_of_memory(error, "the page", sizeof *w);
    w->tellings = ledger_alloc(LEVEE_RUNTIME, tellings);
    if (!w->tellings) return error_out_of_memory(error, "the page's history", tellings);
    for (uint64_t i = 0; i < sizeof *w; i += 4096) ((volatile char *)w)[i] += 0;
    for (uint64_t i = 0; i < tellings; i += 4096) ((volatile char *)w->tellings)[i] = 0;
    if (!ledger_has_room(web_library_bytes()))
        return error_out_of_memory(error, "connections of the page", web_library_bytes());
    ledger_book(LEVEE_RUNTIME, (int64_t)web_library_bytes());
    w->library_booked = true;
    return LEVEE_OK;
}

levee_status web_open(web **opened, const web_options *options, levee_error *error) {
    levee_status status = take_memory(opened, error);
    web *w = *opened;
    if (status == LEVEE_OK) {
        w->options = *options;
        if (!(w->options.patience_seconds > 0)) w->options.patience_seconds = WEB_PATIENCE_SECONDS;
        if (!(w->options.update_seconds > 0)) w->options.update_seconds = usual_update_seconds;
        status = start(w, error);
    }
    if (status == LEVEE_OK) return LEVEE_OK;
    web_close(w);
    *opened = NULL;
    return status;
}

static void stop_library(web *w) {
    if (!w->daemon) return;
    for (unsigned i = 0; i < WEB_CONNECTIONS; i++)
        if (w->connections[i].used) resume(&w->connections[i]);
    MHD_stop_daemon(w->daemon);
    w->daemon = NULL;
}

void web_close(web *w) {
    if (!w) return;
    atomic_store(&w->ends, true);
    thread_join(&w->thread);
    stop_library(w);
    blocks_forget(&w->blocks);
    if (w->page) MHD_destroy_response(w->page);
    if (w->done) MHD_destroy_response(w->done);
    for (unsigned i = 0; i < REFUSALS; i++)
        if (w->refusals[i]) MHD_destroy_response(w->refusals[i]);
    blocks_close(&w->blocks);
    if (w->library_booked) ledger_book(LEVEE_RUNTIME, -(int64_t)web_library_bytes());
    ledger_free(w->tellings);
    ledger_free(w);
}

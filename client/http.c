/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/http.h"
#include "client/failure.h"
#include "client/http-trust.h"
#include "common/buf.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include <curl/curl.h>

#define DROP_BYTES_S 30 /* below this many bytes a second ... */
#define DROP_AFTER_S 30 /* ... for so long, a request is given up */
#define SLOW_BYTES_S 1000 /* what a message that cannot be made smaller needs of a link, 8 kbit/s */

struct http {
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    char *option_connect_to;
    uint32_t request_timeout_ms;
    bool running, done;
    struct reply reply;
    struct buf body;
    size_t body_seen;
    bool header_complete;
    int socket_errno; /* why there is no socket, of which libcurl says nothing; 0: there is one */
    struct http_trust trust;
    char error[CURL_ERROR_SIZE];
};

/* Once in a process, but what failed may be tried again. */
static bool
start_curl(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static bool started;
    pthread_mutex_lock(&mutex);
    started = started || curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    bool usable = started;
    pthread_mutex_unlock(&mutex);
    return usable;
}

/* ---- libcurl's callbacks */

/* What comes after the body is no part of the header, whatever it is called (RFC 9110 section 6.5.1). */
static size_t
on_header(char *line, size_t size, size_t n, void *user)
{
    struct http *http = user;
    if (http->header_complete)
        return size * n;
    if (n > 0 && (line[0] == '\r' || line[0] == '\n')) /* a lone LF ends a line, too: RFC 9112 section 2.2 */
        http->header_complete = http->reply.status >= 200;
    else
        reply_header(&http->reply, line, size * n);
    return size * n;
}

/* Keeps the beginning; reads on to save the connection, but not for ever. */
static size_t
on_body(char *bytes, size_t size, size_t n, void *user)
{
    struct http *http = user;
    size_t len = size * n, room = http->body.ceiling - http->body.bytes->len;
    buf_append(&http->body, bytes, MIN(len, room));
    http->body_seen += len;
    return http->body_seen > REPLY_BODY_END ? 0 : len;
}

/* Before each sending of the request. A second time means that libcurl found the kept connection dead without a byte of
 * an answer, and sends again: what it sent before may have arrived all the same. */
static int
on_send(void *user, char *remote, char *local, int remote_port, int local_port)
{
    struct http *http = user;
    http->reply.sent = true;
    http->reply.sends++;
    return CURL_PREREQFUNC_OK;
}

/* A program that the host program starts inherits no connection of ours. */
static curl_socket_t
open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http *http = user;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    http->socket_errno = fd < 0 ? errno : 0;
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* ---- Setting up */

/* The CA cache of libcurl (one parse of the system's roots instead of one a connection: 2.5 ms instead of 30 to 47)
 * only works where no CA path is set, and Debian's build sets one. */
static void
set_trust(CURL *easy, const struct http_options *options)
{
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    if (options->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, options->ca_file);
}

static void
set_up(struct http *http, const struct http_options *options)
{
    CURL *easy = http->easy;
    set_trust(easy, options);
    http_trust_watch(easy, &http->trust);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, http);
#if CURL_AT_LEAST_VERSION(7, 87, 0)
    /* A name server that does not answer holds up a thread of libcurl's, not who closes the client. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)options->connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, (long)DROP_BYTES_S);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "hubkey/" VERSION);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, http->error);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, http);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, http);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_send);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, http);
}

struct http *
http_new(const struct http_options *options, GError **error)
{
    bool usable = start_curl();
    struct http *http = g_new0(struct http, 1);
    http->multi = usable ? curl_multi_init() : NULL;
    http->easy = usable ? curl_easy_init() : NULL;
    http->option_connect_to = g_strdup(options->connect_to);
    http->request_timeout_ms = options->request_timeout_ms;
    buf_init(&http->body, REPLY_BODY_MAX);
    /* Without descriptors there is a multi handle all the same, but one that nobody can wake. */
    if (!http->multi || !http->easy || curl_multi_wakeup(http->multi) != CURLM_OK) {
        failure_set(error, HUBKEY_E_SYSTEM, "libcurl cannot be set up: no memory, or no descriptor (see ulimit -n)");
        http_free(http);
        return NULL;
    }
    curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, 1L);
    set_up(http, options);
    return http;
}

/* The lists hold the token among others. */
static void
forget_request(struct http *http)
{
    for (struct curl_slist *item = http->headers; item; item = item->next)
        explicit_bzero(item->data, strlen(item->data));
    curl_slist_free_all(http->headers);
    curl_slist_free_all(http->connect_to);
    http->headers = http->connect_to = NULL;
}

void
http_free(struct http *http)
{
    if (!http)
        return;
    http_drop(http);
    curl_easy_cleanup(http->easy);
    curl_multi_cleanup(http->multi);
    buf_clear(&http->body);
    g_free(http->option_connect_to);
    g_free(http);
}

/* ---- A request */

static bool
add_header(struct http *http, const char *text)
{
    struct curl_slist *longer = curl_slist_append(http->headers, text);
    if (longer)
        http->headers = longer;
    return longer != NULL;
}

static bool
add_authorization(struct http *http, const char *token)
{
    g_autofree char *text = g_strconcat("Authorization: ", token, NULL);
    bool added = add_header(http, text);
    explicit_bzero(text, strlen(text));
    return added;
}

/* False where there is no memory for all of it. */
static bool
add_lists(struct http *http, const struct http_request *request)
{
    bool good = true;
    for (guint i = 0; good && i < request->headers->len; i++)
        good = add_header(http, request->headers->pdata[i]);
    const char *connect_to = http->option_connect_to ? http->option_connect_to : request->connect_to;
    http->connect_to = connect_to ? curl_slist_append(NULL, connect_to) : NULL;
    return good && add_header(http, "Accept: application/json") &&
           add_header(http, "Expect:") && /* no waiting for 100 Continue */
           add_authorization(http, request->token) && (http->connect_to || !connect_to);
}

/* libcurl takes what the kernel holds for sent, so that the pause after the last byte grows with the body, too. */
static bool
set_patience(struct http *http, const struct http_request *request)
{
    long body_s = request->alone ? (long)(request->len / SLOW_BYTES_S) : 0;
    long request_ms = (long)http->request_timeout_ms + body_s * 1000;
    return curl_easy_setopt(http->easy, CURLOPT_TIMEOUT_MS, request_ms) == CURLE_OK &&
           curl_easy_setopt(http->easy, CURLOPT_LOW_SPEED_TIME, DROP_AFTER_S + body_s) == CURLE_OK;
}

/* The URL is libcurl's own copy; the rest lives until finish. */
static bool
set_request(struct http *http, const struct http_request *request)
{
    return add_lists(http, request) && set_patience(http, request) &&
           curl_easy_setopt(http->easy, CURLOPT_URL, request->url) == CURLE_OK &&
           curl_easy_setopt(http->easy, CURLOPT_HTTPHEADER, http->headers) == CURLE_OK &&
           curl_easy_setopt(http->easy, CURLOPT_CONNECT_TO, http->connect_to) == CURLE_OK &&
           curl_easy_setopt(http->easy, CURLOPT_POSTFIELDS, request->body) == CURLE_OK &&
           curl_easy_setopt(http->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->len) == CURLE_OK &&
           curl_multi_add_handle(http->multi, http->easy) == CURLM_OK;
}

void
http_start(struct http *http, const struct http_request *request)
{
    g_assert(!http->running);
    reply_init(&http->reply);
    buf_reset(&http->body);
    http->body_seen = 0;
    http->header_complete = http->done = false;
    http->error[0] = '\0';
    http->socket_errno = 0;
    http->trust.issuer[0] = '\0';
    http->running = set_request(http, request);
    if (http->running)
        return;
    static const char text[] = "libcurl did not take the request, probably for want of memory";
    forget_request(http);
    http->reply.failure = REPLY_CONNECT;
    reply_set_text(&http->reply, text, strlen(text));
    http->done = true;
}

static enum reply_failure
failure_of(CURLcode code, bool sent)
{
    switch (code) {
    case CURLE_OK:
        return REPLY_OK;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
        return REPLY_TLS;
    case CURLE_OPERATION_TIMEDOUT:
        return sent ? REPLY_TIMEOUT : REPLY_CONNECT;
    default:
        return sent ? REPLY_BROKEN : REPLY_CONNECT;
    }
}

/* A certificate is at fault where libcurl says so. That a handshake broke off is the network's doing. */
static CURLcode
tell_apart(const struct http *http, CURLcode code)
{
    long verified = 0;
    if (code != CURLE_SSL_CONNECT_ERROR)
        return code;
    curl_easy_getinfo(http->easy, CURLINFO_SSL_VERIFYRESULT, &verified);
    return verified != 0 ? CURLE_PEER_FAILED_VERIFICATION : CURLE_COULDNT_CONNECT;
}

/* The roots may have been replaced since libcurl read them: from now on it reads them for each connection. */
static void
distrust(struct http *http)
{
    struct reply *reply = &http->reply;
    if (http->trust.issuer[0]) {
        g_autofree char *text = g_strdup_printf("%s; it was issued by %s", reply->text, http->trust.issuer);
        reply_set_text(reply, text, strlen(text));
    }
#if CURL_AT_LEAST_VERSION(7, 87, 0)
    curl_easy_setopt(http->easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
#endif
}

/* libcurl holds no line of more than 100 KiB, and says then that it has no memory. */
static const char *
describe(const struct http *http, CURLcode code)
{
    if (code == CURLE_OUT_OF_MEMORY && http->reply.sent)
        return "a line of its answer's header is too long, or memory is short";
    if (http->socket_errno)
        return g_strerror(http->socket_errno);
    return http->error[0] ? http->error : curl_easy_strerror(code);
}

/* A whole header with its status is an answer, whatever happened to the body behind it. A part of one is none, even
 * where libcurl is content with the end of the connection (RFC 9112 section 8: an incomplete message). */
static void
finish(struct http *http, CURLcode code)
{
    struct reply *reply = &http->reply;
    long proxy = 0;
    curl_easy_getinfo(http->easy, CURLINFO_HTTP_CONNECTCODE, &proxy);
    if (!http->header_complete && proxy >= 300) {
        g_autofree char *text = g_strdup_printf("it answered %ld%s", proxy,
                                                proxy == 407 ? ", it wants a user and a password" : "");
        reply->status = 0;
        reply->failure = REPLY_PROXY;
        reply_set_text(reply, text, strlen(text));
    } else if (!http->header_complete) {
        code = code == CURLE_OK ? CURLE_PARTIAL_FILE : code;
        const char *text = describe(http, code);
        reply->status = 0;
        reply->failure = failure_of(tell_apart(http, code), reply->sent);
        reply_set_text(reply, text, strlen(text));
        if (reply->failure == REPLY_TLS)
            distrust(http);
    } else {
        /* libcurl's word: a field of the header can look like a status line. */
        long status = 0;
        curl_easy_getinfo(http->easy, CURLINFO_RESPONSE_CODE, &status);
        reply->status = (int)status;
        reply_body(reply, http->body.bytes->str, http->body.bytes->len);
    }
    curl_multi_remove_handle(http->multi, http->easy);
    forget_request(http);
    http->running = false;
    http->done = true;
}

void
http_wait(struct http *http, int extra_fd, bool writable, int timeout_ms)
{
    struct curl_waitfd extra = { .fd = extra_fd,
                                 .events = (short)(CURL_WAIT_POLLIN | (writable ? CURL_WAIT_POLLOUT : 0)) };
    if (!http->done) /* there is a reply to be taken */
        curl_multi_poll(http->multi, &extra, extra_fd >= 0, timeout_ms, NULL);
}

void
http_work(struct http *http)
{
    int running, left;
    curl_multi_perform(http->multi, &running);
    for (CURLMsg *message; (message = curl_multi_info_read(http->multi, &left));)
        if (message->msg == CURLMSG_DONE && http->running)
            finish(http, message->data.result);
}

void
http_wake(struct http *http)
{
    curl_multi_wakeup(http->multi);
}

bool
http_take(struct http *http, struct reply *reply)
{
    if (!http->done)
        return false;
    http->done = false;
    *reply = http->reply;
    return true;
}

void
http_drop(struct http *http)
{
    if (http->running) {
        curl_multi_remove_handle(http->multi, http->easy);
        forget_request(http);
    }
    http->running = http->done = false;
}

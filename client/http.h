/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One POST at a time over one kept-alive connection, by libcurl: HTTPS only, certificate always verified, no redirect
 * followed, everything bounded in time and size. Used by one thread; http_wake may be called by any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "client/reply.h"

struct http;

struct http_options {
    const char *connect_to; /* NULL: none */
    const char *ca_file;    /* NULL: the system's */
    uint32_t connect_timeout_ms;
    uint32_t request_timeout_ms;
};

struct http_request {
    const char *url;
    const char *connect_to; /* of this request, where the options say nothing; NULL: none */
    const GPtrArray *headers;
    const char *token; /* goes into Authorization; never logged */
    const void *body;  /* stays the caller's and unchanged until the reply is taken or the request dropped */
    size_t len;
    bool alone; /* one message, which cannot be made smaller: its body gets time of its own */
};

struct http *http_new(const struct http_options *options, GError **error);
void http_free(struct http *http); /* NULL is fine */

/* Begins. None may be under way. Failures come as replies. */
void http_start(struct http *http, const struct http_request *request);

/* Waits up to timeout_ms until there is work: from the network, from extra_fd (-1: none; writable: also when it can be
 * written to), or by http_wake. Takes no lock of libcurl or its libraries. */
void http_wait(struct http *http, int extra_fd, bool writable, int timeout_ms);

/* Does what can be done without waiting. */
void http_work(struct http *http);
void http_wake(struct http *http);

/* True once for each request that came to its end, with what became of it. */
bool http_take(struct http *http, struct reply *reply);

/* Gives up the request under way, if any. The hub may have accepted it. */
void http_drop(struct http *http);

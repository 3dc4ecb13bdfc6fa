/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What came back for a request, as far as decisions need it. Headers and body are a stranger's: everything is bounded,
 * nothing is trusted to be there or well-formed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#define REPLY_BODY_MAX 8192   /* bytes of an error body that are looked at */
#define REPLY_BODY_END 262144 /* a body that is longer is not read to its end */

enum reply_failure {
    REPLY_OK,      /* a whole header came */
    REPLY_CONNECT, /* no connection: name, route, refused */
    REPLY_PROXY,   /* the HTTP proxy refused to connect */
    REPLY_TLS,     /* the certificate is not trusted, or TLS failed */
    REPLY_TIMEOUT,
    REPLY_BROKEN, /* the connection ended early */
};

struct reply {
    enum reply_failure failure;
    bool sent;              /* the request, or a part of it, may have reached the hub */
    unsigned sends;         /* times libcurl began to send it */
    int status;             /* 0: none */
    bool html;              /* a page for people: never IoT Hub's answer to a device */
    bool from_hub;          /* it carries an error code of IoT Hub */
    char code[64];          /* its name, "IotHubUnauthorizedAccess"; "" */
    int number;             /* its number, 401002; 0 */
    char tracking[128];     /* for a support request; "" */
    int64_t retry_after_s;  /* -1: none. Relative */
    int64_t retry_after_at; /* -1: none. Unix time */
    int64_t date_s;         /* the hub's clock; -1: none */
    char text[256];         /* what failed, or the hub's own words; printable, and no token */
};

void reply_init(struct reply *reply);

/* One header line, not NUL-terminated, end of line included or not. A status line starts afresh. */
void reply_header(struct reply *reply, const char *line, size_t len);

/* The body's first bytes: two forms of error JSON are understood, everything else is left alone. */
void reply_body(struct reply *reply, const char *body, size_t len);

/* Sets text, cut, made printable, and ended before what looks like a token. */
void reply_set_text(struct reply *reply, const char *text, size_t len);

/* Seconds to wait by Retry-After at Unix time now_s, 0 where there is none, at most an hour. */
int64_t reply_retry_after(const struct reply *reply, int64_t now_s);

/* Unix time of "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7, the form to be generated), -1 for anything
 * else. */
int64_t reply_parse_date(const char *text);

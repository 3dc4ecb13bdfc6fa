/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "tests/bench/queues.h"

#include <err.h>

#include <glib.h>

#define AT_ONCE 10000 /* messages of one hubkey_client_post_many */

hubkey_client *
queues_open(const struct hubkey_options *options)
{
    struct hubkey_error error;
    hubkey_client *client;
    if (hubkey_client_open(options, &client, &error) != 0)
        errx(1, "%s", error.text);
    return client;
}

hubkey_client *
queues_open_offline(const char *path)
{
    struct hubkey_options options = { .size = sizeof options, .queue_path = path, .socket_path = "" };
    g_setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", TRUE);
    return queues_open(&options);
}

void
queues_fill(hubkey_client *client, const void *body, size_t len, size_t n)
{
    const struct hubkey_message message = { .size = sizeof message, .body = body, .len = len };
    static const struct hubkey_message *messages[AT_ONCE];
    struct hubkey_error error;
    for (size_t i = 0; i < AT_ONCE; i++)
        messages[i] = &message;
    for (size_t left = n; left > 0; left -= MIN(left, AT_ONCE))
        if (hubkey_client_post_many(client, messages, MIN(left, AT_ONCE), 0, NULL, &error) != 0)
            errx(1, "%s", error.text);
}

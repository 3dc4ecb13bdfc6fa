/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "tests/lib/orders.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
orders_init(struct orders *orders, const char *path)
{
    if (strcmp(orders->path, path) == 0)
        return; /* the same test goes on: what was counted stays */
    *orders = (struct orders){ 0 };
    snprintf(orders->path, sizeof orders->path, "%s", path);
}

static void
look_for_order(struct orders *orders)
{
    char text[64] = "";
    int fd = orders->path[0] ? open(orders->path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    unlink(orders->path);
    orders->seen = 0;
    orders->code = 0;
    if (n <= 0 || sscanf(text, "%23s %u %x", orders->verb, &orders->at, &orders->code) < 2)
        abort(); /* a test that asks for nothing proves nothing */
}

bool
orders_next(struct orders *orders)
{
    look_for_order(orders);
    return orders->verb[0] && ++orders->seen == orders->at;
}

bool
orders_say(const struct orders *orders, const char *verb)
{
    return strcmp(orders->verb, verb) == 0;
}

void
orders_fired(struct orders *orders, const char *what)
{
    char path[sizeof orders->path + 8], text[128];
    snprintf(path, sizeof path, "%s.fired", orders->path);
    int len = snprintf(text, sizeof text, "%s %u %s\n", orders->verb, orders->at, what);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, (size_t)len) != len)
        abort();
    close(fd);
    orders->verb[0] = '\0';
}

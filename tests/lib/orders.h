/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a test asks of a library that sits inside hubkeyd: "VERB N [CODE]" in a file, renamed into place whenever the
 * test likes, is carried out at the Nth event from then on. PATH.fired says that it was, and at what. libc only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct orders {
    char path[256]; /* "": nobody gives orders */
    char verb[24];  /* "": none at hand */
    unsigned at;
    uint32_t code;
    unsigned seen; /* events since the order was found */
};

void orders_init(struct orders *orders, const char *path);

/* Something that an order can name happens now. True where it is what the order at hand waited for. */
bool orders_next(struct orders *orders);

bool orders_say(const struct orders *orders, const char *verb);

/* Leaves PATH.fired with "VERB N what", and is done with the order. */
void orders_fired(struct orders *orders, const char *what);

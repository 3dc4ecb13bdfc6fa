/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/window.h"

#include <glib.h>

size_t
window_limit(const struct window *window, uint64_t *last)
{
    *last = UINT64_MAX;
    if (window->probing || window->n_suspects > 0)
        return 1;
    if (!window->faulty_last)
        return SIZE_MAX;
    *last = window->faulty_last;
    return MAX(window->faulty_n / 2, 1);
}

void
window_accepted(struct window *window, uint64_t last, size_t n)
{
    window->after = MAX(window->after, last);
    window->proven = true;
    window->probing = false;
    window->refused = 0;
    window->faulty_n -= MIN(n, window->faulty_n);
    if (window->faulty_n == 0 || last >= window->faulty_last)
        window->faulty_last = 0;
}

void
window_split(struct window *window, uint64_t last, size_t n)
{
    window->faulty_last = last;
    window->faulty_n = n;
}

void
window_searched(struct window *window)
{
    window->faulty_last = 0;
    window->faulty_n = 0;
}

enum window_next
window_refused(struct window *window, uint64_t seq, int status, const char *text)
{
    window->faulty_last = 0;
    if (++window->refused > WINDOW_SUSPECTS_MAX) {
        window->proven = false;
        return WINDOW_STOP;
    }
    window->after = seq;
    if (window->proven)
        return WINDOW_BURY;
    struct window_suspect *suspect = &window->suspects[window->n_suspects++];
    *suspect = (struct window_suspect){ .seq = seq, .status = status };
    g_strlcpy(suspect->text, text, sizeof suspect->text);
    return WINDOW_SKIP;
}

void
window_changed(struct window *window)
{
    window->proven = false;
}

void
window_restart(struct window *window)
{
    *window = (struct window){ 0 };
}

void
window_probe(struct window *window)
{
    if (window->n_suspects > 0)
        window->after = window->suspects[0].seq - 1;
    window->n_suspects = 0;
    window->refused = 0;
    window->faulty_last = 0;
    window->probing = true;
}

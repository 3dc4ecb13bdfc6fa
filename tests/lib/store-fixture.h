/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * For g_test_add: a store in a folder of its own.
 */
#pragma once

#include "daemon/store.h"
#include "tests/lib/folder.h"

struct store_fixture {
    char *folder;
    struct store *store;
};

static inline void
store_fixture_set_up(struct store_fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    fixture->folder = folder_new();
    fixture->store = store_open(fixture->folder, &error);
    g_assert_no_error(error);
}

static inline void
store_fixture_tear_down(struct store_fixture *fixture, gconstpointer unused)
{
    store_close(fixture->store);
    folder_remove(fixture->folder);
}

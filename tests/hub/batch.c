/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Two flat lists, so that a batch of hundreds of messages costs a few allocations.
 */
#include <config.h>

#include "tests/hub/batch.h"

void
batch_init(struct batch *batch)
{
    *batch = (struct batch){ .elements = g_array_new(FALSE, FALSE, sizeof(struct batch_element)),
                             .properties = g_array_new(FALSE, FALSE, sizeof(struct batch_property)) };
}

void
batch_clear(struct batch *batch)
{
    g_array_unref(batch->elements);
    g_array_unref(batch->properties);
    json_decref(batch->json);
}

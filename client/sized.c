/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/sized.h"
#include "client/failure.h"

#include <string.h>

#define SIZED_MAX 65536 /* no struct of ours will ever reach this: a size above is rubbish from an unset field */

static bool
get_size(const char *what, const void *given, size_t minimum, uint32_t *size, GError **error)
{
    if (!given) {
        failure_set(error, HUBKEY_E_INVALID, "%s is NULL", what);
        return false;
    }
    memcpy(size, given, sizeof *size);
    if (*size >= minimum && *size <= SIZED_MAX)
        return true;
    failure_set(error, HUBKEY_E_SIZE, "the size field of %s says %u; set it to sizeof the struct, at least %zu", what,
                *size, minimum);
    return false;
}

bool
sized_read(const char *what, const void *given, void *into, size_t known, size_t minimum, GError **error)
{
    uint32_t size;
    if (!get_size(what, given, minimum, &size, error))
        return false;
    for (size_t i = known; i < size; i++)
        if (((const char *)given)[i] != 0) {
            failure_set(
                error, HUBKEY_E_SIZE,
                "%s has fields that this libhubkey (%s) does not know and that are not zero; a newer one is needed",
                what, VERSION);
            return false;
        }
    memcpy(into, given, MIN(size, known));
    return true;
}

bool
sized_write(const char *what, void *given, const void *from, size_t known, size_t minimum, GError **error)
{
    uint32_t size;
    if (!get_size(what, given, minimum, &size, error))
        return false;
    memset(given, 0, size);
    memcpy(given, from, MIN(size, known));
    memcpy(given, &size, sizeof size);
    return true;
}

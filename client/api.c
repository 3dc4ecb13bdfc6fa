/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Small parts of the public header: version, names of states, the free function, one token.
 */
#include <config.h>

#include "client/api.h"
#include "client/bus.h"
#include "client/failure.h"
#include "client/hubkey.h"
#include "dbus/names.h"

#include <stdlib.h>
#include <string.h>

#define SCOPE_MAX 256

G_STATIC_ASSERT(sizeof(struct hubkey_error) == 512);

static const char *const states[] = { "",      "connecting", "online",  "backing-off", "throttled",
                                      "quota", "rejected",   "offline", "stopped" };
static const char *const reasons[] = { "",     "clock", "key",     "device", "host",  "protocol", "messages", "access",
                                       "slot", "held",  "network", "tls",    "proxy", "hubkeyd",  "tpm",      "queue" };

const char *
hubkey_version(void)
{
    return VERSION;
}

const char *
hubkey_state_name(int32_t state)
{
    return state > 0 && state < (int32_t)G_N_ELEMENTS(states) ? states[state] : "unknown";
}

const char *
hubkey_reason_name(int32_t reason)
{
    return reason >= 0 && reason < (int32_t)G_N_ELEMENTS(reasons) ? reasons[reason] : "unknown";
}

/* All text that is handed out comes from here: made with malloc, whatever GLib does. */
char *
api_hand_out(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        g_error("out of memory");
    return copy;
}

void
hubkey_free(void *pointer)
{
    free(pointer);
}

int
hubkey_token(uint32_t slot, const char *scope, uint32_t ttl_s, const char *socket_path, char **token,
             int64_t *expires_s, struct hubkey_error *error)
{
    g_autoptr(GError) problem = NULL;
    int64_t expires = 0;
    if (!token || slot > NAMES_SLOT_MAX || (scope && (strlen(scope) > SCOPE_MAX || !g_utf8_validate(scope, -1, NULL))))
        return failure_now(error, HUBKEY_E_INVALID, "%s",
                           !token                  ? "token is NULL"
                           : slot > NAMES_SLOT_MAX ? "slot must be 0 to 65535"
                                                   : "scope must be text of at most 256 bytes");
    char *made = bus_get_token(slot, socket_path, scope ? scope : "", ttl_s, &expires, &problem);
    if (made) {
        *token = api_hand_out(made);
        if (expires_s)
            *expires_s = expires;
        explicit_bzero(made, strlen(made));
        g_free(made);
    }
    return failure_export(problem, 0, error);
}

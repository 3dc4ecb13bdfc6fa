/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * common/error.c: one table for codes, bus names and numbers of the public header.
 */
#include <config.h>

#include "client/hubkey.h"
#include "common/error.h"

/* The list once more, from what other programs are written against. */
static const struct {
    enum error_code code;
    const char *name;
    int client;
} wanted[] = {
    { ERROR_INVALID_ARGUMENT, "InvalidArgument", HUBKEY_E_INVALID_ARGUMENT },
    { ERROR_NOT_AUTHORIZED, "NotAuthorized", HUBKEY_E_NOT_AUTHORIZED },
    { ERROR_NO_SUCH_SLOT, "NoSuchSlot", HUBKEY_E_NO_SUCH_SLOT },
    { ERROR_SLOT_IN_USE, "SlotInUse", HUBKEY_E_SLOT_IN_USE },
    { ERROR_NOT_PROVISIONED, "NotProvisioned", HUBKEY_E_NOT_PROVISIONED },
    { ERROR_BUSY, "Busy", HUBKEY_E_BUSY },
    { ERROR_TPM_ABSENT, "TpmAbsent", HUBKEY_E_TPM_ABSENT },
    { ERROR_TPM_FAILED, "TpmFailed", HUBKEY_E_TPM_FAILED },
    { ERROR_NO_SPACE, "NoSpace", HUBKEY_E_NO_SPACE },
    { ERROR_CLOCK_UNSET, "ClockUnset", HUBKEY_E_CLOCK_UNSET },
    { ERROR_TAMPERED, "Tampered", HUBKEY_E_TAMPERED },
    { ERROR_FOREIGN, "Foreign", HUBKEY_E_FOREIGN },
    { ERROR_DAMAGED, "Damaged", HUBKEY_E_DAMAGED },
    { ERROR_UNSUPPORTED, "Unsupported", HUBKEY_E_UNSUPPORTED },
    { ERROR_INTERNAL, "Internal", HUBKEY_E_INTERNAL },
    { ERROR_UNREACHABLE, "Unreachable", HUBKEY_E_UNREACHABLE },
};

static void
test_unknown(void)
{
    static const int codes[] = { 0, -1, ERROR_UNREACHABLE + 1, 1000000, G_MININT, G_MAXINT };
    static const char *const names[] = { "",           "internal", "Busy ", " Busy", "busy", "org.hubkey.Error.Busy",
                                         "NoSuchThing" };
    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++) {
        g_assert_cmpstr(error_name(codes[i]), ==, "Internal");
        g_assert_cmpint(error_client_number(codes[i]), ==, HUBKEY_E_INTERNAL);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        g_assert_cmpint(error_from_name(names[i]), ==, ERROR_INTERNAL);
    g_assert_cmpint(error_from_name(NULL), ==, ERROR_INTERNAL);
}

static void
test_walk(void)
{
    g_assert_cmpint(G_N_ELEMENTS(wanted), ==, ERROR_UNREACHABLE); /* every code is in the list above */
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++) {
        g_assert_cmpint(wanted[i].code, ==, (int)i + 1);
        g_assert_cmpstr(error_name(wanted[i].code), ==, wanted[i].name);
        g_assert_cmpint(error_from_name(wanted[i].name), ==, wanted[i].code);
        g_assert_cmpint(error_client_number(wanted[i].code), ==, wanted[i].client);
        g_assert_cmpint(wanted[i].client, ==, -101 - (int)i);
    }
}

static void
test_set(void)
{
    g_autoptr(GError) error = NULL;
    error_set(&error, ERROR_BUSY, "retry in %d ms", 100);
    g_assert_error(error, ERROR_DOMAIN, ERROR_BUSY);
    g_assert_cmpstr(error->message, ==, "retry in 100 ms");
    error_set(NULL, ERROR_BUSY, "nobody wants to know");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/error/unknown", test_unknown);
    g_test_add_func("/error/walk", test_walk);
    g_test_add_func("/error/set", test_set);
    return g_test_run();
}

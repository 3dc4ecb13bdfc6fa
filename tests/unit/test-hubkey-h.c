/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * client/hubkey.h in plain C99: it needs nothing before it, its structs have the layout that was promised, and its
 * numbers are those of the error table. test-hubkey-hxx.cc is the same for C++11.
 */
#include "client/hubkey.h"

#include <stdio.h>
#include <string.h>

extern int error_client_number(int code); /* common/error.h, which needs GLib */
extern const char *error_name(int code);

static int cases, failed;

static void
check(int good, const char *what)
{
    cases++;
    failed += !good;
    printf("%s %d - %s\n", good ? "ok" : "not ok", cases, what);
}

/* The layout is part of the ABI: the first published forms may never change. */
static void
check_layout(void)
{
    check(sizeof(struct hubkey_error) == 512 && offsetof(struct hubkey_error, text) == 8, "layout of hubkey_error");
    check(sizeof(struct hubkey_counts) == 64, "layout of hubkey_counts");
    if (sizeof(void *) == 8) {
        check(sizeof(struct hubkey_options) == 96 && offsetof(struct hubkey_options, policy) == 64,
              "layout of hubkey_options");
        check(sizeof(struct hubkey_message) == 80 && offsetof(struct hubkey_message, created_ms) == 64,
              "layout of hubkey_message");
    }
    check(sizeof(struct hubkey_stats) == 432 && offsetof(struct hubkey_stats, text) == 160, "layout of hubkey_stats");
    check(offsetof(struct hubkey_queue_info, sender_pid) == 688 && offsetof(struct hubkey_queue_info, host) == 160,
          "layout of hubkey_queue_info");
    if (sizeof(void *) == 8)
        check(sizeof(struct hubkey_queue_row) == 56 && offsetof(struct hubkey_queue_row, reason) == 40,
              "layout of hubkey_queue_row");
}

/* Every code of the one table has its number here, with a sentence of its own. */
static void
check_numbers(void)
{
    static const struct {
        const char *name;
        int number;
    } rows[] = {
        { "InvalidArgument", HUBKEY_E_INVALID_ARGUMENT },
        { "NotAuthorized", HUBKEY_E_NOT_AUTHORIZED },
        { "NoSuchSlot", HUBKEY_E_NO_SUCH_SLOT },
        { "SlotInUse", HUBKEY_E_SLOT_IN_USE },
        { "NotProvisioned", HUBKEY_E_NOT_PROVISIONED },
        { "Busy", HUBKEY_E_BUSY },
        { "TpmAbsent", HUBKEY_E_TPM_ABSENT },
        { "TpmFailed", HUBKEY_E_TPM_FAILED },
        { "NoSpace", HUBKEY_E_NO_SPACE },
        { "ClockUnset", HUBKEY_E_CLOCK_UNSET },
        { "Tampered", HUBKEY_E_TAMPERED },
        { "Foreign", HUBKEY_E_FOREIGN },
        { "Damaged", HUBKEY_E_DAMAGED },
        { "Unsupported", HUBKEY_E_UNSUPPORTED },
        { "Internal", HUBKEY_E_INTERNAL },
        { "Unreachable", HUBKEY_E_UNREACHABLE },
    };
    const int n = (int)(sizeof rows / sizeof *rows);
    for (int code = 1; code <= n; code++) {
        const char *name = error_name(code);
        check(strcmp(name, rows[code - 1].name) == 0 && error_client_number(code) == rows[code - 1].number, name);
        check(strcmp(hubkey_strerror(rows[code - 1].number), hubkey_strerror(1)) != 0, "it has a sentence");
    }
    check(strcmp(error_name(n + 1), "Internal") == 0, "the table ends there");
}

static void
check_sentences(void)
{
    for (int number = HUBKEY_E_SYSTEM; number <= 0; number++)
        check(strcmp(hubkey_strerror(number), "unknown error") != 0, "usage errors have sentences");
    for (int number = HUBKEY_E_QUEUE_OLDER; number <= HUBKEY_E_FULL; number++)
        check(strcmp(hubkey_strerror(number), "unknown error") != 0, "queue errors have sentences");
    check(strcmp(hubkey_strerror(-999), "unknown error") == 0, "an unknown number is no crash");
}

static void
check_names(void)
{
    for (int state = HUBKEY_STATE_CONNECTING; state <= HUBKEY_STATE_STOPPED; state++)
        check(strcmp(hubkey_state_name(state), "unknown") != 0, hubkey_state_name(state));
    for (int reason = HUBKEY_REASON_CLOCK; reason <= HUBKEY_REASON_QUEUE; reason++)
        check(strcmp(hubkey_reason_name(reason), "unknown") != 0, hubkey_reason_name(reason));
    check(strcmp(hubkey_state_name(0), "unknown") == 0 && strcmp(hubkey_state_name(99), "unknown") == 0 &&
              strcmp(hubkey_state_name(-1), "unknown") == 0 && strcmp(hubkey_reason_name(99), "unknown") == 0 &&
              strcmp(hubkey_reason_name(-1), "unknown") == 0,
          "unknown numbers have a name");
    check(strcmp(hubkey_state_name(HUBKEY_STATE_BACKING_OFF), "backing-off") == 0, "names are the documented ones");
    check(strcmp(hubkey_reason_name(HUBKEY_REASON_QUEUE), "queue") == 0, "to the last one");
    check(strcmp(hubkey_reason_name(HUBKEY_REASON_NONE), "") == 0, "no reason is no word");
}

int
main(void)
{
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", HUBKEY_VERSION_MAJOR, HUBKEY_VERSION_MINOR, HUBKEY_VERSION_PATCH);
    check(strcmp(version, hubkey_version()) == 0, "header and library are of one version");
    check_layout();
    check_numbers();
    check_sentences();
    check_names();
    hubkey_free(NULL);
    printf("1..%d\n", cases);
    return failed != 0;
}

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * daemon/slot-storage.c: what the state directory alone tells at the start, and how often it is asked. The rest needs a
 * TPM and is in tests/tpm.
 */
#include <config.h>

#include "daemon/intent.h"
#include "daemon/slot-storage.h"
#include "daemon/store.h"
#include "daemon/tpm.h"
#include "tests/lib/folder.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <glib.h>

#define SLOTS 200 /* from slot 10 on, each cleared but for one */
#define PENDING 57

static unsigned opened_intents;

/* In libc's place, so that it can be counted. */
int
openat(int directory, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    opened_intents += g_str_has_suffix(path, ".intent");
    return (int)syscall(SYS_openat, directory, path, flags, mode);
}

static void
write_intent(struct store *store, uint32_t slot)
{
    g_autoptr(GError) error = NULL;
    struct intent intent = { .operation = INTENT_PROVISION, .file = true, .generation = 2 };
    intent.made.identity = identity_new();
    intent.made.identity->host = g_strdup("h.azure-devices.net");
    intent.made.identity->device = g_strdup("d");
    intent.made.name = g_strnfill(68, 'a');
    g_assert_true(intent_write(store, slot, &intent, &error));
    intent_clear(&intent);
}

static void
take(uint32_t slot, struct slot_finding *finding, void *told)
{
    g_assert_cmpint(finding->state, ==, slot == PENDING ? SLOT_PENDING : SLOT_EMPTY);
    g_assert_true(slot == PENDING || finding->generation == 1);
    (*(unsigned *)told)++;
}

/* One listing tells which slots have an intent; none is looked for in vain. */
static void
test_intents(void)
{
    g_autofree char *folder = folder_new();
    g_autoptr(GError) error = NULL;
    struct store *store = store_open(folder, &error);
    const struct store_record cleared = { .generation = 1 };
    unsigned told = 0;
    g_assert_no_error(error);
    for (uint32_t slot = 10; slot < 10 + SLOTS; slot++)
        g_assert_true(store_save_record(store, slot, &cleared, &error));
    write_intent(store, PENDING);
    struct tpm *tpm = tpm_new("none", NULL);
    struct slot_storage *storage = slot_storage_new(tpm, store);
    opened_intents = 0;
    g_assert_true(slot_storage_ops.load_all(storage, take, &told, &error));
    g_assert_cmpuint(told, ==, SLOTS);
    g_assert_cmpuint(opened_intents, ==, 1);
    /* Later each slot is looked at as it is then. */
    struct slot_finding finding;
    write_intent(store, 11);
    slot_storage_ops.load(storage, 11, &finding);
    g_assert_cmpint(finding.state, ==, SLOT_PENDING);
    slot_finding_clear(&finding);
    slot_storage_free(storage);
    tpm_free(tpm);
    store_close(store);
    folder_remove(g_steal_pointer(&folder));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/slot-storage/intents", test_intents);
    return g_test_run();
}

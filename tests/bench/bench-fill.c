/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Provisions file slots without bus and daemon: by hubkeyd's own storage, into a state directory that no hubkeyd uses
 * yet, each a device of its own with a key of its own under the SRK of the TPM at TPM2TOOLS_TCTI. It is what Provision
 * does behind the bus, and several of these can work on one directory at a time.
 */
#include <config.h>

#include "daemon/slot-storage.h"
#include "daemon/store.h"
#include "daemon/tpm.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/rand.h>

#define KEY_BYTES 32

static bool
provision(struct slot_storage *storage, uint32_t slot, GError **error)
{
    g_autoptr(identity_auto) identity = identity_new();
    g_autoptr(secret_auto) key = secret_new(KEY_BYTES);
    identity->host = g_strdup("bench.azure-devices.net");
    identity->device = g_strdup_printf("device-%u", slot);
    if (RAND_bytes(key->data, KEY_BYTES) != 1)
        g_error("RAND_bytes failed");
    key->len = KEY_BYTES;
    return slot_storage_ops.provision(storage, slot, true, identity, key, error);
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    uint32_t first = argc == 4 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    uint32_t count = argc == 4 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
    if (first < SLOT_TPM_COUNT || count < 1 || count > SLOT_IN_USE_MAX || !g_getenv("TPM2TOOLS_TCTI")) {
        fprintf(stderr, "usage: TPM2TOOLS_TCTI=TCTI bench-fill DIRECTORY FIRST COUNT    FIRST is 10 or more\n");
        return 2;
    }
    g_setenv("TSS2_LOG", "all+none", FALSE);
    struct store *store = store_open(argv[1], &error);
    struct tpm *tpm = tpm_new(g_getenv("TPM2TOOLS_TCTI"), NULL);
    struct slot_storage *storage = slot_storage_new(tpm, store);
    bool ok = store != NULL;
    for (uint32_t slot = first; ok && slot < first + count; slot++)
        ok = provision(storage, slot, &error);
    if (!ok)
        fprintf(stderr, "bench-fill: %s\n", error->message);
    slot_storage_free(storage);
    tpm_free(tpm);
    store_close(store);
    return ok ? 0 : 1;
}

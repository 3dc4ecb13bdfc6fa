/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/slot-key.h"
#include "daemon/intent.h"
#include "common/error.h"
#include "common/text.h"

#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

char *
slot_key_name_text(const struct tpm_name *name)
{
    return text_hex(name->bytes, sizeof name->bytes);
}

/* ---- the storage root key ---- */

/* The SRK; not present also where another program's object stands in its place. */
bool
slot_key_find_srk(struct tpm *tpm, struct tpm_name *name, bool *present, GError **error)
{
    g_autoptr(GError) why = NULL;
    if (tpm_srk_find(tpm, name, present, &why))
        return true;
    *present = false;
    if (g_error_matches(why, ERROR_DOMAIN, ERROR_FOREIGN))
        return true;
    g_propagate_error(error, g_steal_pointer(&why));
    return false;
}

/* Once no slot is in use the SRK's pin goes too, so that a cleared TPM can be provisioned afresh. */
bool
slot_key_forget_srk_if_unused(struct store *store, GError **error)
{
    for (uint32_t slot = 0; slot < SLOT_TPM_COUNT; slot++) {
        struct store_record record;
        bool readable = store_load_record(store, slot, &record, NULL), used = readable && record.in_use;
        if (readable)
            store_record_clear(&record);
        if (used || !readable)
            return true;
    }
    return store_remove(store, "srk", error);
}

bool
slot_key_settle_srk(struct tpm *tpm, struct store *store, GError **error)
{
    bool absent;
    if (!intent_find_srk(store, &absent, error))
        return false;
    return absent || (tpm_srk_flush_leftovers(tpm, error) && intent_remove_srk(store, error));
}

static bool
make_srk(struct tpm *tpm, struct store *store, struct tpm_name *name, GError **error)
{
    if (!intent_write_srk(store, error))
        return false;
    bool made = tpm_srk_make(tpm, name, error);
    /* The same where it was refused: whatever was begun is flushed. A TPM that is gone is looked at when it is back. */
    if (!made && tpm_is_open(tpm))
        slot_key_settle_srk(tpm, store, NULL);
    return made && intent_remove_srk(store, error);
}

/* The SRK that stands there, pinned; makes one in a TPM that never had any of ours. */
bool
slot_key_get_srk(struct tpm *tpm, struct store *store, struct tpm_name *name, GError **error)
{
    bool present;
    g_autoptr(GError) why = NULL;
    g_autofree char *pinned = store_load_srk(store, &why);
    if (why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return false;
    }
    if (!tpm_srk_find(tpm, name, &present, error))
        return false;
    g_autofree char *found = present ? slot_key_name_text(name) : NULL;
    if (pinned && g_strcmp0(found, pinned) != 0) {
        error_set(error, ERROR_TPM_FAILED, "the SRK that the other slots are under is gone: the TPM was cleared; clear "
                  "those slots first (hubkeyctl list)");
        return false;
    }
    if (pinned)
        return true;
    if (!present && !make_srk(tpm, store, name, error))
        return false;
    g_autofree char *text = slot_key_name_text(name);
    return store_save_srk(store, text, error);
}

/* ---- keys ---- */

/* Keys of more than a block are hashed first, as HMAC itself would (RFC 2104 section 2). */
struct secret *
slot_key_fit(const struct secret *key)
{
    struct secret *fitted = secret_new(TPM_KEY_BYTES_MAX);
    unsigned int len = 0;
    if (key->len <= TPM_KEY_BYTES_MAX) {
        memcpy(fitted->data, key->data, key->len);
        fitted->len = key->len;
    } else {
        if (!EVP_Digest(key->data, key->len, fitted->data, &len, EVP_sha256(), NULL))
            g_error("SHA-256 failed");
        fitted->len = len;
    }
    return fitted;
}

/* One HMAC, compared with the same made in software while the key is still at hand: what arrived is what was sent. */
bool
slot_key_prove(struct tpm *tpm, uint32_t loaded, const struct secret *key, GError **error)
{
    static const char text[] = "hubkey provisioning proof";
    uint8_t mac[TPM_MAC_BYTES], expected[EVP_MAX_MD_SIZE];
    if (!tpm_key_hmac(tpm, loaded, text, sizeof text, mac, error))
        return false;
    if (!HMAC(EVP_sha256(), key->data, (int)key->len, (const uint8_t *)text, sizeof text, expected, NULL))
        g_error("HMAC failed");
    if (memcmp(mac, expected, sizeof mac) == 0)
        return true;
    error_set(error, ERROR_TPM_FAILED, "the TPM signs wrongly with the key it was given; nothing was changed");
    return false;
}

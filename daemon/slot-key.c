/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/slot-key.h"
#include "daemon/intent.h"
#include "daemon/tpm-srk.h"
#include "common/error.h"
#include "common/text.h"

#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

bool
slot_key_parse_name(const char *hex, struct tpm_name *name, GError **error)
{
    if (text_unhex(hex, name->bytes, sizeof name->bytes))
        return true;
    error_set(error, ERROR_DAMAGED, "a stored key Name is malformed");
    return false;
}

static char *
name_text(const struct tpm_name *name)
{
    return text_hex(name->bytes, sizeof name->bytes);
}

/* ---- the SRK ---- */

bool
slot_key_find_srk(struct tpm *tpm, char **srk_name, GError **error)
{
    g_autoptr(GError) why = NULL;
    struct tpm_name name;
    bool present;
    *srk_name = NULL;
    if (tpm_srk_find(tpm, &name, &present, &why)) {
        if (present)
            *srk_name = name_text(&name);
        return true;
    }
    if (g_error_matches(why, ERROR_DOMAIN, ERROR_FOREIGN))
        return true;
    g_propagate_error(error, g_steal_pointer(&why));
    return false;
}

/* What stood in it is lost, and it was about nothing but a key that may still be loaded: no slot needs it. */
static bool
do_without_srk_intent(struct store *store, GError *why, GError **error)
{
    g_autoptr(GError) failed = NULL;
    if (!g_error_matches(why, ERROR_DOMAIN, ERROR_DAMAGED)) {
        g_propagate_error(error, why);
        return false;
    }
    intent_set_srk_aside(store, &failed);
    g_warning(
        "%s; %s, and hubkeyd goes on without it. Should it have been killed while it made the storage root key, a "
        "loaded object of that is left in the TPM until its next reset, or tpm2_flushcontext -t (which flushes other "
        "programs' objects, too)",
        why->message, failed ? failed->message : "it is kept as srk.intent.damaged");
    g_error_free(why);
    return true;
}

bool
slot_key_settle_srk(struct tpm *tpm, struct store *store, GError **error)
{
    bool absent;
    g_autofree char *scene = NULL;
    GError *why = NULL;
    if (!intent_read_srk(store, &scene, &absent, &why))
        return do_without_srk_intent(store, why, error);
    return absent || (tpm_srk_flush_leftovers(tpm, scene, error) && intent_remove_srk(store, error));
}

static bool
make_srk(struct tpm *tpm, struct store *store, struct tpm_name *name, GError **error)
{
    g_autofree char *scene = NULL;
    if (!tpm_srk_dup_scene(tpm, &scene, error) || !intent_write_srk(store, scene, error))
        return false;
    bool made = tpm_srk_make(tpm, name, error);
    /* The same where it was refused: whatever was begun is flushed. A TPM that is gone is looked at when it is back. */
    if (!made && tpm_is_open(tpm))
        slot_key_settle_srk(tpm, store, NULL);
    return made && intent_remove_srk(store, error);
}

void
slot_key_pin_srk(struct tpm *tpm, const char *pinned)
{
    struct tpm_name name;
    tpm_pin_srk(tpm, pinned && text_unhex(pinned, name.bytes, sizeof name.bytes) ? &name : NULL);
}

bool
slot_key_get_srk(struct tpm *tpm, struct store *store, char **srk_name, GError **error)
{
    g_autoptr(GError) why = NULL;
    struct tpm_name name;
    bool present;
    g_autofree char *pinned = store_load_srk(store, &why);
    if (why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return false;
    }
    if (!tpm_srk_find(tpm, &name, &present, error))
        return false;
    g_autofree char *found = present ? name_text(&name) : NULL;
    if (pinned && g_strcmp0(found, pinned) != 0) {
        error_set(error, ERROR_TPM_FAILED, "the SRK that the other slots are under is gone: the TPM was cleared; clear "
                  "those slots first (hubkeyctl list)");
        return false;
    }
    if (!present) {
        if (!make_srk(tpm, store, &name, error))
            return false;
        found = name_text(&name);
    }
    slot_key_pin_srk(tpm, found);
    if (!pinned && !store_save_srk(store, found, error))
        return false;
    *srk_name = g_steal_pointer(&found);
    return true;
}

struct usage {
    struct store *store;
    bool used;
};

static bool
look_for_use(uint32_t slot, void *user, GError **error)
{
    struct usage *usage = user;
    struct store_record record;
    if (usage->used)
        return true;
    /* A record that cannot be read may be one of a slot in use. */
    usage->used = !store_load_record(usage->store, slot, &record, NULL);
    if (!usage->used) {
        usage->used = record.in_use;
        store_record_clear(&record);
    }
    return true;
}

bool
slot_key_forget_srk_if_unused(struct store *store, GError **error)
{
    struct usage usage = { .store = store };
    return store_each_slot(store, look_for_use, &usage, error) && (usage.used || store_remove(store, "srk", error));
}

/* ---- keys ---- */

struct secret *
slot_key_fit(const struct secret *raw)
{
    struct secret *fitted = secret_new(TPM_KEY_BYTES_MAX);
    unsigned int len = 0;
    if (raw->len <= TPM_KEY_BYTES_MAX) {
        memcpy(fitted->data, raw->data, raw->len);
        fitted->len = raw->len;
    } else {
        if (!EVP_Digest(raw->data, raw->len, fitted->data, &len, EVP_sha256(), NULL))
            g_error("SHA-256 failed");
        fitted->len = len;
    }
    return fitted;
}

bool
slot_key_create(struct tpm *tpm, const char *srk_name, const struct secret *key, const uint8_t *policy,
                struct store_key *made, GError **error)
{
    struct tpm_name srk, name;
    if (!slot_key_parse_name(srk_name, &srk, error) ||
        !tpm_key_create(tpm, &srk, key, policy, &made->blob, &name, error))
        return false;
    made->name = name_text(&name);
    return true;
}

/* What arrived in the TPM is what was sent. */
static bool
prove(struct tpm *tpm, uint32_t loaded, const struct secret *key, GError **error)
{
    static const char text[] = "hubkey provisioning proof";
    uint8_t mac[TPM_MAC_BYTES], expected[EVP_MAX_MD_SIZE];
    if (!tpm_key_hmac(tpm, loaded, text, sizeof text, mac, error))
        return false;
    if (!key)
        return true;
    if (!HMAC(EVP_sha256(), key->data, (int)key->len, (const uint8_t *)text, sizeof text, expected, NULL))
        g_error("HMAC failed");
    if (memcmp(mac, expected, sizeof mac) == 0)
        return true;
    error_set(error, ERROR_TPM_FAILED, "the TPM signs wrongly with the key it was given; nothing was changed");
    return false;
}

bool
slot_key_load(struct tpm *tpm, const struct store_key *made, const struct secret *key, uint32_t *loaded, GError **error)
{
    if (!tpm_key_load(tpm, made->blob, loaded, error))
        return false;
    if (prove(tpm, *loaded, key, error))
        return true;
    tpm_key_flush(tpm, loaded, NULL);
    return false;
}

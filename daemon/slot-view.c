/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/slot-view.h"
#include "common/text.h"

#include <string.h>

bool
slot_view_open(struct tpm *tpm, uint32_t slot, struct slot_view *view, GError **error)
{
    struct tpm_name name;
    *view = (struct slot_view){ .key = TPM_KEY_NONE };
    if (tpm_key_open(tpm, SLOT_VIEW_KEY_HANDLE(slot), &view->key, &name, &view->key_usable, error) &&
        tpm_nv_look(tpm, SLOT_VIEW_NV_INDEX(slot), &view->nv, error)) {
        if (view->key_usable)
            view->key_name = text_hex(name.bytes, sizeof name.bytes);
        return true;
    }
    slot_view_close(tpm, view);
    return false;
}

void
slot_view_close(struct tpm *tpm, struct slot_view *view)
{
    tpm_key_close(tpm, &view->key);
    tpm_nv_clear(&view->nv);
    g_clear_pointer(&view->key_name, g_free);
}

char *
slot_view_nv_text(const struct store_key *key)
{
    return key->nv_text ? g_strdup(key->nv_text) : g_strdup_printf("%s/%s", key->identity->host, key->identity->device);
}

char *
slot_view_compare(const struct slot_view *view, const struct store_key *pin)
{
    g_autofree char *expected = slot_view_nv_text(pin);
    if (view->key == TPM_KEY_NONE)
        return g_strdup("its key is gone from the TPM; was the TPM cleared?");
    if (g_strcmp0(view->key_name, pin->name) != 0)
        return g_strdup("another key stands in its place");
    if (!view->nv.present)
        return g_strdup("its identity record is gone from the TPM");
    if (g_strcmp0(view->nv.text, expected) != 0)
        return g_strdup("its identity record was changed");
    return NULL;
}

/* The identity that an NV index tells: host before the first '/', device after it; no device stands for the hardware's
 * ID. Anybody with access to the TPM can have written it, so it is checked like any input. NULL where it is none. */
static struct identity *
parse_nv(const struct tpm_nv *nv, const char *hardware_id)
{
    const char *slash = nv->text ? strchr(nv->text, '/') : NULL;
    if (!slash)
        return NULL;
    g_autoptr(identity_auto) identity = identity_new();
    identity->host = g_strndup(nv->text, (gsize)(slash - nv->text));
    identity->device = g_strdup(slash[1] ? slash + 1 : hardware_id);
    return identity_check(identity, NULL) ? g_steal_pointer(&identity) : NULL;
}

static const char *
name_foreign(const struct slot_view *view)
{
    if (view->key == TPM_KEY_NONE)
        return "another program's NV index stands where the identity would";
    if (!view->key_usable)
        return "another program's object, not an HMAC-SHA256 key, stands where the key would";
    if (!view->nv.present)
        return "a key without an identity record stands here, as device provisioning makes it";
    return "a key stands here with an NV record that names no host and device";
}

static char *
describe_foreign(const struct slot_view *view, uint32_t slot)
{
    GString *text = g_string_new(name_foreign(view));
    g_string_append(text, "; if nobody needs it, this frees the slot:");
    if (view->key != TPM_KEY_NONE)
        g_string_append_printf(text, " tpm2_evictcontrol -C o -c 0x%x", SLOT_VIEW_KEY_HANDLE(slot));
    if (view->key != TPM_KEY_NONE && view->nv.present)
        g_string_append(text, " and");
    if (view->nv.present)
        g_string_append_printf(text, " tpm2_nvundefine -C o 0x%x", SLOT_VIEW_NV_INDEX(slot));
    return g_string_free(text, FALSE);
}

void
slot_view_find(const struct slot_view *view, uint32_t slot, const char *srk_name, struct slot_finding *finding)
{
    if (view->key == TPM_KEY_NONE && !view->nv.present)
        return;
    g_autofree char *hardware_id = slot_hardware_id(slot, srk_name);
    finding->tpm_name = g_strdup(view->key_name);
    if (view->key_usable && view->nv.present && (finding->identity = parse_nv(&view->nv, hardware_id))) {
        finding->state = SLOT_FOUND;
        finding->reason = g_strdup_printf(
            "hubkeyd did not put this key here, so it is not used; hubkeyctl adopt %u shows it and takes it over",
            slot);
    } else {
        finding->state = SLOT_FOREIGN;
        finding->reason = describe_foreign(view, slot);
    }
}

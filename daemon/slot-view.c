/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/slot-view.h"
#include "daemon/slot-key.h"

#include <string.h>

void
slot_view_close(struct tpm *tpm, struct slot_view *view)
{
    tpm_key_close(tpm, &view->key);
    tpm_nv_clear(&view->nv);
}

bool
slot_view_open(struct tpm *tpm, uint32_t slot, struct slot_view *view, GError **error)
{
    *view = (struct slot_view){ .key = TPM_KEY_NONE };
    if (tpm_key_open(tpm, SLOT_VIEW_KEY_HANDLE(slot), &view->key, &view->key_name, &view->key_usable, error) &&
        tpm_nv_look(tpm, SLOT_VIEW_NV_INDEX(slot), &view->nv, error))
        return true;
    slot_view_close(tpm, view);
    return false;
}

char *
slot_view_nv_text(const struct identity *identity)
{
    return g_strdup_printf("%s/%s", identity->host, identity->device);
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

static void
describe_foreign(const struct slot_view *view, struct slot_finding *finding)
{
    finding->state = SLOT_FOREIGN;
    finding->reason = g_strdup(
        view->key == TPM_KEY_NONE ? "another program's NV index stands where the identity would"
        : !view->key_usable       ? "another program's object, not an HMAC-SHA256 key, stands where the key would"
        : !view->nv.present       ? "a key without an identity record stands here, as device provisioning makes it"
                                  : "a key stands here with an NV record that names no host and device");
}

bool
slot_view_find(struct tpm *tpm, uint32_t slot, const struct slot_view *view, struct slot_finding *finding,
              GError **error)
{
    bool key = view->key != TPM_KEY_NONE, srk_present;
    struct tpm_name srk;
    if (!key && !view->nv.present)
        return true;
    if (!slot_key_find_srk(tpm, &srk, &srk_present, error))
        return false;
    g_autofree char *srk_name = srk_present ? slot_key_name_text(&srk) : NULL;
    g_autofree char *hardware_id = slot_hardware_id(slot, srk_name);
    if (key && view->key_usable)
        finding->tpm_name = slot_key_name_text(&view->key_name);
    if (key && view->key_usable && view->nv.present && (finding->identity = parse_nv(&view->nv, hardware_id))) {
        finding->state = SLOT_FOUND;
        finding->reason = g_strdup("hubkeyd did not put this key here, so it is not used; tpm2_evictcontrol and "
                                   "tpm2_nvundefine free the slot");
    } else {
        describe_foreign(view, finding);
    }
    return true;
}

/* What of the pin does not hold; NULL where all of it does. */
char *
slot_view_compare(const struct store_record *pin, const struct slot_view *view)
{
    g_autofree char *expected = slot_view_nv_text(pin->identity);
    if (view->key == TPM_KEY_NONE)
        return g_strdup("its key is gone from the TPM; was the TPM cleared?");
    g_autofree char *name = view->key_usable ? slot_key_name_text(&view->key_name) : NULL;
    if (g_strcmp0(name, pin->key_name) != 0)
        return g_strdup("another key stands in its place");
    if (!view->nv.present)
        return g_strdup("its identity record is gone from the TPM");
    if (g_strcmp0(view->nv.text, expected) != 0)
        return g_strdup("its identity record was changed");
    return NULL;
}

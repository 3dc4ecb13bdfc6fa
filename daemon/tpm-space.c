/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "daemon/tpm-space.h"
#include "common/handles.h"

#define NAMED_MAX 16 /* handles of one kind that a message names */

/* tss2's own constants shift a bit into the sign of an int. */
#define FIRST_OF(type) ((TPM2_HANDLE)(type) << TPM2_HR_SHIFT)

/* What stands in one range of handles; *more where the TPM could not list all. False where it does not even answer
 * this. */
static bool
list(ESYS_CONTEXT *esys, TPM2_HT type, TPML_HANDLE *found, bool *more)
{
    TPMS_CAPABILITY_DATA *data = NULL;
    TPMI_YES_NO rest = TPM2_NO;
    bool ok = Esys_GetCapability(esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES, FIRST_OF(type),
                                 TPM2_MAX_CAP_HANDLES, &rest, &data) == TSS2_RC_SUCCESS;
    if (ok)
        *found = data->data.handles;
    Esys_Free(data);
    *more = rest == TPM2_YES;
    return ok;
}

/* "3 loaded objects (0x80000000, 0x80000001, 0x80000002)"; nothing where there are none to be seen. */
static void
tell(GString *text, ESYS_CONTEXT *esys, TPM2_HT type, const char *what)
{
    TPML_HANDLE found = { 0 };
    bool more, told = list(esys, type, &found, &more);
    const char *and = text->len ? " and " : "";
    if (!told)
        g_string_append_printf(text, "%s%s (which ones it does not tell now)", and, what);
    if (found.count == 0)
        return;
    g_string_append_printf(text, "%s%u%s %s (", and, found.count, more ? " or more" : "", what);
    for (UINT32 i = 0; i < MIN(found.count, NAMED_MAX); i++) {
        const char *owner = handles_owner(found.handle[i]);
        g_string_append_printf(text, "%s0x%08x%s%s", i ? ", " : "", found.handle[i], owner ? " " : "",
                               owner ? owner : "");
    }
    g_string_append_printf(text, "%s)", found.count > NAMED_MAX ? ", …" : "");
}

static char *
permanent(ESYS_CONTEXT *esys)
{
    g_autoptr(GString) text = g_string_new(NULL);
    tell(text, esys, TPM2_HT_PERSISTENT, "persistent objects");
    tell(text, esys, TPM2_HT_NV_INDEX, "NV indices");
    return g_strdup_printf(
        "its memory for what lasts is full: it holds %s; remove what nobody needs "
        "(tpm2_evictcontrol -C o -c HANDLE, tpm2_nvundefine INDEX), or use a slot from 10 on: its key "
        "is kept in a file and needs no room in the TPM",
        text->len ? text->str : "something that it does not tell");
}

static char *
volatile_one(ESYS_CONTEXT *esys, TPM2_HT type, TPM2_HT other, const char *what, const char *cure)
{
    g_autoptr(GString) text = g_string_new(NULL);
    tell(text, esys, type, what);
    if (other != type)
        tell(text, esys, other, "saved sessions");
    if (text->len == 0)
        return g_strdup_printf("its memory for %s is filled by another program, which a resource manager hides; end "
                               "that program; retry in 1000 ms", what);
    return g_strdup_printf("its memory is filled by %s of other programs; end those, let them use /dev/tpmrm0, or, if "
                           "they left these behind, %s; retry in 1000 ms", text->str, cure);
}

char *
tpm_space_advice(ESYS_CONTEXT *esys, TSS2_RC code)
{
    switch (code) {
    case TPM2_RC_NV_SPACE:
        return permanent(esys);
    case TPM2_RC_OBJECT_MEMORY:
    case TPM2_RC_OBJECT_HANDLES:
    case TPM2_RC_MEMORY:
        return volatile_one(esys, TPM2_HT_TRANSIENT, TPM2_HT_TRANSIENT, "loaded objects", "tpm2_flushcontext -t");
    case TPM2_RC_SESSION_MEMORY:
    case TPM2_RC_SESSION_HANDLES:
    case TPM2_RC_CONTEXT_GAP:
        return volatile_one(esys, TPM2_HT_LOADED_SESSION, TPM2_HT_SAVED_SESSION, "open sessions",
                            "tpm2_flushcontext -l and tpm2_flushcontext -s");
    default:
        return NULL;
    }
}

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The TPM as hubkeyd sees it, and what stands in it by the handles that are agreed on.
 */
#include <config.h>

#include "tools/bus.h"
#include "tools/doctor.h"
#include "tools/value.h"
#include "dbus/loop.h"
#include "dbus/names.h"
#include "common/handles.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#define CHECK "tpm"

/* ---- its state ---- */

static const struct {
    const char *state, *cause, *mend;
    enum doctor_level level;
} states[] = {
    { "ready", "the TPM is ready", NULL, DOCTOR_OK },
    { "starting", "hubkeyd has not seen the TPM yet", "hubkeyctl doctor", DOCTOR_WARNING },
    { "absent", "no TPM answers: is it switched on in the firmware, and is Tcti= in hubkeyd.conf right?",
      "ls -l /dev/tpmrm0; journalctl -u hubkeyd", DOCTOR_BAD },
    { "failed", "the TPM is out of order or does not answer", "journalctl -u hubkeyd; a power cycle may bring it back",
      DOCTOR_BAD },
    { "cleared", "the storage root key that the slots depend on is gone: the TPM was cleared, or it is another one",
      "hubkeyctl clear N, then hubkeyctl provision N, for each slot", DOCTOR_BAD },
    { "lockout", "the TPM is in lockout after wrong passwords; tokens go on", "tpm2_dictionarylockout --clear-lockout",
      DOCTOR_BAD },
    { "auth-required",
      "the TPM's owner has a password that hubkeyd does not know; tokens go on, slots 0 to 9 cannot be changed",
      "put it into a file, name that by OwnerAuthFile= in hubkeyd.conf, then: systemctl restart hubkeyd", DOCTOR_BAD },
};

static void
check_state(struct doctor *doctor)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(dbus_message_auto) properties = bus_properties(doctor->bus, NAMES_ROOT, NAMES_MANAGER, &error);
    const char *state = properties ? bus_string(properties, "TpmState") : "";
    for (size_t i = 0; i < G_N_ELEMENTS(states); i++)
        if (strcmp(state, states[i].state) == 0) {
            doctor_say(doctor, states[i].level, CHECK, states[i].mend, "%s", states[i].cause);
            return;
        }
    doctor_say(doctor, DOCTOR_BAD, CHECK, "systemctl restart hubkeyd", "hubkeyd does not tell how the TPM is: %s",
               error ? error->message : state);
}

/* ---- what it tells ---- */

static json_int_t
number(json_t *info, const char *name)
{
    return json_integer_value(json_object_get(info, name));
}

static void
check_info(struct doctor *doctor)
{
    g_autoptr(GError) error = NULL;
    DBusMessage *ask = bus_message(NAMES_ROOT, NAMES_MANAGER, "GetTpmInfo");
    g_autoptr(dbus_message_auto) reply = bus_call(doctor->bus, ask, "a{sv}", &error);
    if (!reply) {
        doctor_say(doctor, DOCTOR_WARNING, CHECK, "journalctl -u hubkeyd", "the TPM cannot be asked about itself: %s",
                   error->message);
        return;
    }
    json_t *info = value_object(reply);
    json_int_t free_objects = number(info, "persistent_free"), free_nv = number(info, "nv_free");
    doctor_say(doctor, DOCTOR_OK, CHECK, NULL,
               "made by %s, firmware %s; persistent objects: %lld in use, room for %lld; "
               "NV indices: %lld in use, room for %lld counters",
               json_string_value(json_object_get(info, "manufacturer")),
               json_string_value(json_object_get(info, "firmware")), (long long)number(info, "persistent_used"),
               (long long)free_objects, (long long)number(info, "nv_used"), (long long)free_nv);
    if (free_objects == 0)
        doctor_say(doctor, DOCTOR_WARNING, CHECK, "use --storage file, or free one with tpm2_evictcontrol",
                   "by the TPM's "
                   "own estimate it has no room for another persistent object: provisioning slots 0 to 9 may fail");
    if (free_nv == 0)
        doctor_say(doctor, DOCTOR_WARNING, CHECK, "use --storage file, or free one with tpm2_nvundefine",
                   "the TPM has no "
                   "room for another NV counter, its NV memory may be full: provisioning slots 0 to 9 may fail");
    if (!json_is_true(json_object_get(info, "owner_auth_set")))
        doctor_say(doctor, DOCTOR_WARNING, CHECK, "tpm2_changeauth -c owner, and OwnerAuthFile= in hubkeyd.conf",
                   "the TPM's owner has no password: group tss can remove or replace what slots 0 to 9 hold (which "
                   "hubkeyd notices)");
    json_decref(info);
}

/* ---- what stands in it ---- */

static const char *
what_is(uint32_t handle)
{
    const char *owner = handles_owner(handle);
    return owner ? owner : "of another program";
}

/* hubkeyd tells numbers only; who may open the TPM can see more. */
static void
list_handles(struct doctor *doctor, const char *capability)
{
    bool good = false;
    g_auto(GStrv) lines = doctor_run((const char *const[]){ "tpm2_getcap", capability, NULL }, &good);
    if (!lines) {
        doctor_say(doctor, DOCTOR_WARNING, CHECK, "apt-get install tpm2-tools",
                   "what stands at which handle cannot be told without tpm2_getcap");
        return;
    }
    for (char **line = lines; good && *line; line++) {
        const char *hex = strstr(*line, "0x");
        if (hex)
            doctor_say(doctor, DOCTOR_OK, CHECK, NULL, "0x%08lx: %s", strtoul(hex, NULL, 16),
                       what_is((uint32_t)strtoul(hex, NULL, 16)));
    }
    if (!good)
        doctor_say(doctor, DOCTOR_WARNING, CHECK, "export TPM2TOOLS_TCTI=…, as Tcti= of hubkeyd.conf says",
                   "tpm2_getcap %s fails: %s", capability, *lines ? *lines : "");
}

void
doctor_tpm(struct doctor *doctor)
{
    check_info(doctor); /* first: hubkeyd looks at the TPM for it */
    check_state(doctor);
    if (geteuid() != 0) {
        doctor_say(doctor, DOCTOR_WARNING, CHECK, "sudo hubkeyctl doctor",
                   "what stands at which handle of the TPM is for root to see");
        return;
    }
    list_handles(doctor, "handles-persistent");
    list_handles(doctor, "handles-nv-index");
}

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The inside of the slot table, for slot.c (what is in it) and slot-job.c, slot-attach.c and slot-change.c (what is
 * done with it off the main thread).
 */
#pragma once

#include "daemon/slot.h"

struct slots {
    const struct slot_ops *ops;
    void *storage;
    struct worker *worker;
    const struct slots_hooks *hooks;
    void *user;
    GPtrArray *table; /* struct slot, those that are not empty, sorted by number */
    GHashTable *rechecking; /* numbers of slots that a look is under way at */
    enum slot_tpm_state tpm_state;
    char *srk_name;
    bool cleared; /* what the last look said: the SRK that our keys are under is gone */
    bool surveyed;
    bool attaching;         /* an attach job is under way */
    bool afresh;            /* the next attach tries again what was refused */
    GSource *retry;         /* tries again to attach while the TPM is unwell, or something is pending */
    unsigned retry_ms;      /* the gap of the last retry for something pending, 0 for none */
    GHashTable *not_adopted; /* numbers of slots whose adoption by configuration failed */
};

struct slot *slots_find(const struct slots *slots, uint32_t number); /* NULL where it is empty */

/* Takes over what storage found, and tells whoever must know. */
void slots_apply(struct slots *slots, uint32_t number, struct slot_finding *finding);
/* why is for the log, and may be NULL. */
void slots_set_tpm_state(struct slots *slots, enum slot_tpm_state state, const char *why);
void slots_set_srk(struct slots *slots, char *srk_name); /* takes it */

bool slots_any_pending(const struct slots *slots);

/* Where an error means that the TPM may be out of reach or out of order, it is looked at. */
void slots_note_trouble(struct slots *slots, const GError *error);

/* Looks at the TPM, now and then every second until it is well. */
void slots_attach(struct slots *slots);

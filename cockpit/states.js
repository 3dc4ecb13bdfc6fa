/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the states of slots and of the TPM mean to a person, and what cures them.
 */

const _ = window.cockpit.gettext;

/* tone colours the label; cures are the actions that lead out of it, the first one being the usual. */
const slots = {
    empty: { label: _("Empty"), tone: "plain", means: "", cures: ["configure"] },
    ready: { label: _("Ready"), tone: "success", means: "", cures: [] },
    found: {
        label: _("Found, not in use"),
        tone: "info",
        means: _("The TPM holds a key here that Windows or an earlier installation left. Adopt it to use it."),
        cures: ["adopt"],
    },
    pending: {
        label: _("Change not finished"),
        tone: "warning",
        means: _("A change was cut short. It is finished or undone as soon as the TPM allows."),
        cures: [],
    },
    tampered: {
        label: _("Tampered with"),
        tone: "danger",
        means: _("Key or identity are not those that were put here. No token is given until you clear the slot."),
        cures: ["clear"],
    },
    damaged: {
        label: _("Damaged"),
        tone: "danger",
        means: _("The record of this slot cannot be read. Clear the slot and configure it again."),
        cures: ["clear"],
    },
    foreign: {
        label: _("Occupied by something else"),
        tone: "danger",
        means: _("An object in the TPM that is not a device key stands in this place. It is left alone."),
        cures: [],
    },
};

const tpm = {
    ready: { label: _("Ready"), tone: "success", means: "" },
    starting: { label: _("Starting"), tone: "info", means: _("hubkeyd is opening the TPM.") },
    absent: {
        label: _("No TPM"),
        tone: "danger",
        means: _("hubkeyd finds no TPM. Turn it on in the firmware settings and see whether /dev/tpmrm0 exists. " +
                 "This page goes on by itself when the TPM is there."),
    },
    failed: {
        label: _("Failed"),
        tone: "danger",
        means: _("The TPM does not answer as it should. hubkeyd goes on trying; the log has what it said."),
    },
    cleared: {
        label: _("Cleared"),
        tone: "danger",
        means: _("The TPM was cleared, and the keys in it are lost. Clear the slots and configure them again."),
    },
    lockout: {
        label: _("Locked out"),
        tone: "warning",
        means: _("There were too many wrong TPM passwords. Tokens are still given; changes wait until the TPM " +
                 "allows them again."),
    },
    "auth-required": {
        label: _("Owner password needed"),
        tone: "warning",
        means: _("The TPM's owner has a password that hubkeyd does not know. Tokens are still given; for changes " +
                 "set OwnerAuthFile= in hubkeyd.conf."),
    },
};

const unknown = word => ({ label: word, tone: "plain", means: "", cures: [] });

export const slotState = word => slots[word] || unknown(word);
export const tpmState = word => tpm[word] || unknown(word);
export const slotStates = Object.keys(slots).filter(word => word !== "empty");

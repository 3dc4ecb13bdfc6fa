/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Adopt, Rotate, Undo and Clear: each says in a sentence what will happen, and to which device.
 */

import { Dialog } from "./dialog.js";
import { h } from "./dom.js";
import { hubkeyctl } from "./hubkeyctl.js";
import { checkKey, checkKeyText, isOfSlot, keyIn, looksLikeString, takeApart } from "./identity.js";
import { PartsView, SecretField } from "./secret.js";
import { identity } from "./slots.js";
import { stillIs } from "./still.js";

const cockpit = window.cockpit;
const _ = cockpit.gettext;

function confirm(bus, title, action, row, sentence, { danger, words, more = [] }) {
    const dialog = new Dialog(cockpit.format(title, row.slot), {
        action,
        danger,
        act: async () => {
            await stillIs(bus, row);
            await hubkeyctl(words);
            return true;
        },
    });
    dialog.open(h("p", {}, sentence), ...more);
}

/* What is shown is what is passed: whatever stands there by now, nothing else is adopted. */
export function adopt(bus, row) {
    confirm(bus, _("Adopt the key in slot $0"), _("Adopt"), row,
        cockpit.format(_("hubkeyd will give tokens of $0 by the key that stands in the TPM; nothing there changes."),
            identity(row)), {
            words: ["adopt", String(row.slot), `--host-name=${row.host}`, `--device-id=${row.device}`,
                `--name=${row.tpmName}`],
            more: [h("dl", { class: "parts" },
                h("dt", {}, _("Host name")), h("dd", {}, row.host),
                h("dt", {}, _("Device ID")), h("dd", {}, row.device),
                h("dt", {}, _("Name of the key in the TPM")), h("dd", { class: "mono" }, row.tpmName))],
        });
}

export function undo(bus, row) {
    confirm(bus, _("Undo the rotation of slot $0"), _("Undo rotation"), row,
        cockpit.format(_("Key and identity of before the last rotation come back to slot $0, now $1. This works once."),
            row.slot, identity(row)), { words: ["rotate", String(row.slot), "--undo"] });
}

export function clear(bus, row) {
    confirm(bus, _("Clear slot $0"), _("Clear"), row,
        cockpit.format(_("The key of $0 is removed from slot $1 for good, and programs get no more tokens of it."),
            identity(row) || _("nobody known"), row.slot),
        { danger: true, words: ["clear", String(row.slot), "--yes"] });
}

/* A key of the same identity, or a connection string that may move the slot to another. Gives what hubkeyctl is told,
 * the secret out of its control; throws what is wrong. */
function takeNext(row, next) {
    const isString = next.inspect(looksLikeString);
    const wrong = next.inspect(text => {
        if (!text)
            return _("The new key is missing.");
        if (isString)
            return takeApart(text).wrong;
        return (row.audience ? checkKeyText : checkKey)(text.trim());
    });
    if (wrong)
        throw new Error(wrong);
    const { kind, parts } = isString ? next.inspect(takeApart) : { kind: "", parts: [] };
    if (kind && (kind === "audience") !== Boolean(row.audience))
        throw new Error(_("This connection string is of another kind than the slot. Clear the slot first."));
    /* Of an audience's string hubkeyctl gets the key alone, so nobody after this sees whose it is. */
    if (kind === "audience" && !isOfSlot(row, parts))
        throw new Error(
            _("This connection string is of another resource or policy than the slot. Clear the slot first."));
    const text = next.take();
    if (kind === "device")
        return { words: ["--connection-string-file=-"], secret: text };
    return { words: ["--key-file=-"], secret: kind ? keyIn(text) : text.trim() };
}

export function rotate(bus, row) {
    const parts = new PartsView();
    const next = new SecretField(_("New key, or connection string"),
        _("A connection string may move the slot to another device or hub in the same step."),
        { oninput: () => { parts.element.hidden = !next.inspect(looksLikeString); parts.show(next); } });
    parts.element.hidden = true;
    const dialog = new Dialog(cockpit.format(_("Rotate the key of slot $0"), row.slot), {
        action: _("Rotate"),
        act: async () => {
            await stillIs(bus, row);
            const { words, secret } = takeNext(row, next);
            parts.element.hidden = true;
            await hubkeyctl(["rotate", String(row.slot), ...words], secret);
            return true;
        },
        gone: () => next.clear(),
    });
    dialog.open(h("p", {}, cockpit.format(
        _("Tokens of $0 are made by the new key from then on. The former one is kept; Undo rotation brings it back."),
        identity(row))), next.element, parts.element);
}

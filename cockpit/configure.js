/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The dialog that puts a key into an empty slot: what it asks, in three ways.
 */

import { Dialog } from "./dialog.js";
import { field, h, input } from "./dom.js";
import { carryOut } from "./save.js";
import { TPM_SLOTS } from "./slots.js";
import { FieldsWay, OtherWay, StringWay } from "./ways.js";

const cockpit = window.cockpit;
const _ = cockpit.gettext;

const LAST_SLOT = 65535;

/* Radio buttons, and the element of the way that is chosen. */
function chooser(ways) {
    const place = h("div", {}, ways[0].element);
    const state = { way: ways[0], element: null };
    const choose = way => {
        ways.forEach(other => { if (other !== way) other.clear(); });
        state.way = way;
        place.replaceChildren(way.element);
    };
    state.element = h("fieldset", {}, h("legend", {}, _("What do you have?")), ways.map((way, i) =>
        h("label", { class: "radio" },
            h("input", { type: "radio", name: "way", checked: i === 0, onchange: () => choose(way) }), way.title)),
    place);
    return state;
}

/* number: the slot, null where it is still to be chosen; free: an empty one to begin with. */
export function configure(bus, number, free) {
    const slot = input({ type: "number", min: 0, max: LAST_SLOT, required: true, value: number ?? free,
        readonly: number !== null });
    const storage = h("select", { class: "input" }, h("option", { value: "" }, _("As usual for this slot")),
        h("option", { value: "tpm" }, _("In the TPM")),
        h("option", { value: "file" }, _("In a file, wrapped by the TPM")));
    const choice = chooser([new StringWay(), new FieldsWay(), new OtherWay()]);

    const save = async dialog => {
        const n = Number(slot.value);
        if (!slot.value || !Number.isInteger(n) || n < 0 || n > LAST_SLOT)
            throw new Error(cockpit.format(_("A slot is a number from 0 to $0."), LAST_SLOT));
        const { words, secret } = choice.way.take();
        const where = storage.value ? [`--storage=${storage.value}`] : [];
        await carryOut(bus, dialog, n, { words: [...words, ...where], secret });
    };

    const title = number === null ? _("Configure a slot") : cockpit.format(_("Configure slot $0"), number);
    const dialog = new Dialog(title, { action: _("Save"), act: save, gone: () => choice.way.clear() });
    dialog.open(field(_("Slot"), slot, cockpit.format(
        _("0 to $0 are in the TPM, for devices; those above are files that only this TPM can use."), TPM_SLOTS - 1)),
        choice.element, h("details", {}, h("summary", {}, _("Where the key is kept")), field(_("Storage"), storage)));
    choice.element.querySelector("input[type=password]").focus();
}

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One slot as a row of the table: what it is, and what can be done with it.
 */

import { button, h } from "./dom.js";
import { whose } from "./slots.js";
import { slotState } from "./states.js";
import { dateOf } from "./when.js";

const cockpit = window.cockpit;
const _ = cockpit.gettext;

const labels = {
    configure: _("Configure"),
    adopt: _("Adopt"),
    rotate: _("Rotate"),
    undo: _("Undo rotation"),
    clear: _("Clear"),
    token: _("Try it"),
};

const storages = { tpm: _("In the TPM"), file: _("In a file, wrapped by the TPM"), "": "" };

/* In the order shown. */
function namesFor(row) {
    if (row.state === "ready")
        return ["token", "rotate", ...row.canUndo ? ["undo"] : [], "clear"];
    return row.state === "pending" ? ["clear"] : slotState(row.state).cures;
}

/* seen: when this page saw it change, in seconds, if it did; act(name) does an action. */
export function line(row, seen, act) {
    const state = slotState(row.state);
    const cell = (title, ...content) => h("td", { "data-title": title, role: "cell" }, ...content);
    const isCure = name => state.cures.includes(name) && row.state !== "empty";
    const actions = namesFor(row).map(name => button(labels[name], () => act(name), {
        "data-action": name,
        class: `button ${isCure(name) ? "primary" : "secondary"} small`,
        "aria-label": cockpit.format(_("$0 slot $1"), labels[name], row.slot),
    }));
    return h("tr", { "data-slot": row.slot, "data-state": row.state, class: state.tone, role: "row" },
        h("th", { scope: "row", role: "rowheader", "data-title": _("Slot"), tabindex: -1 }, String(row.slot)),
        cell(_("State"), h("span", { class: `label ${state.tone}` }, state.label),
            state.means ? h("p", { class: "means" }, state.means) : null,
            row.reason ? h("details", {}, h("summary", {}, _("What hubkeyd says")), row.reason) : null),
        cell(_("Device or audience"), whose(row),
            row.gateway ? h("p", { class: "means" }, cockpit.format(_("through $0"), row.gateway)) : null),
        cell(_("Hub"), row.host || ""),
        cell(_("Key kept"), storages[row.storage] ?? row.storage),
        cell(_("Changes"), row.generation ? String(row.generation) : "",
            seen && row.generation
                ? h("p", { class: "means" }, cockpit.format(_("last at $0"), dateOf(seen))) : null),
        cell(_("Actions"), h("div", { class: "actions" }, actions)));
}

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Controls that a key is typed or pasted into: masked, and emptied as they are read. The text in the control is the
 * only copy that the page has. A password field, because browsers write no other into what they restore after a crash;
 * and a new password, so that none fills the login of this address into it ("off" is not heeded there). One may still
 * offer to save it.
 */

import { field, h } from "./dom.js";
import { takeApart } from "./identity.js";

const cockpit = window.cockpit;
const _ = cockpit.gettext;

const hidden = count =>
    cockpit.format(cockpit.ngettext("$0 character, hidden", "$0 characters, hidden", count), count);

export class SecretField {
    constructor(title, hint, { oninput } = {}) {
        this.control = h("input", {
            type: "password", class: "input", autocomplete: "new-password", spellcheck: "false", autocapitalize: "off",
            "data-1p-ignore": true, "data-lpignore": "true", oninput,
        });
        this.element = field(title, this.control, hint);
    }

    get isEmpty() {
        return this.control.value === "";
    }

    /* What look says of the text; look must not keep it. */
    inspect(look) {
        return look(this.control.value);
    }

    /* The text, and the control is empty. */
    take() {
        const text = this.control.value;
        this.clear();
        return text;
    }

    clear() {
        this.control.value = "";
    }
}

/* The parts of a connection string as it is typed, with the mistake at the part that has it. */
export class PartsView {
    constructor() {
        this.list = h("dl", { class: "parts" });
        this.verdict = h("p", { class: "verdict", role: "status" });
        this.element = h("div", {}, this.list, this.verdict);
    }

    show(field) {
        const { kind, parts, wrong, isMistake } = field.inspect(takeApart);
        this.list.replaceChildren(...parts.flatMap(part => [
            h("dt", {}, part.name || "?"),
            h("dd", { class: part.mistake ? "wrong" : "" },
                part.value || (part.length ? hidden(part.length) : ""),
                part.mistake ? h("span", { class: "mistake" }, part.mistake) : null),
        ]));
        this.verdict.className = isMistake ? "verdict wrong" : "verdict";
        if (field.isEmpty)
            this.verdict.textContent = "";
        else if (wrong)
            this.verdict.textContent = wrong;
        else
            this.verdict.textContent = kind === "audience"
                ? _("A connection string of Event Hubs or Service Bus, complete.")
                : _("A device's connection string, complete.");
    }
}

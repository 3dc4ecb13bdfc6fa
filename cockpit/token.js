/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Try it: a token, asked for when the button is pressed and not before, gone from the page when it ends or is closed.
 */

import { getToken } from "./bus.js";
import { Dialog } from "./dialog.js";
import { button, field, h, input } from "./dom.js";
import { whose } from "./slots.js";
import { stillIs } from "./still.js";
import { timeOf } from "./when.js";

const cockpit = window.cockpit;
const _ = cockpit.gettext;

class TokenView {
    constructor() {
        this.text = h("textarea", { class: "input mono", rows: 4, readonly: true, spellcheck: "false" });
        this.left = h("p", { class: "countdown", role: "timer" });
        this.copied = h("span", { role: "status" });
        this.button = button(_("Copy"), () => this.copy());
        this.element = h("div", { hidden: true, class: "token" }, field(_("Token"), this.text), this.left,
            this.button, this.copied);
    }

    /* Its end is counted from now on: the machine's clock and the browser's may differ. */
    show({ token, expires }, ttl) {
        this.text.value = token;
        this.expires = expires;
        this.ttl = ttl;
        this.since = [performance.now(), Date.now()];
        this.button.disabled = false;
        this.copied.textContent = "";
        this.element.hidden = false;
        window.clearInterval(this.timer);
        this.timer = window.setInterval(() => this.tick(), 1000);
        this.tick();
    }

    tick() {
        /* One of the two may stand still while the browser's machine sleeps. */
        const passed = Math.max(performance.now() - this.since[0], Date.now() - this.since[1]) / 1000;
        const left = Math.max(0, Math.ceil(this.ttl - passed));
        this.left.textContent = left > 0
            ? cockpit.format(_("Ends in $0 s, at $1"), left, timeOf(this.expires))
            : _("This token has ended.");
        if (left === 0)
            this.forget();
    }

    async copy() {
        try {
            await navigator.clipboard.writeText(this.text.value);
            this.copied.textContent = _("Copied. Whoever has it speaks for the device until it ends.");
        } catch (error) {
            /* Not over plain http, or not allowed. */
            this.text.focus();
            this.text.select();
            this.copied.textContent = _("The browser does not let the page copy. It is selected: press Ctrl-C.");
        }
    }

    forget() {
        window.clearInterval(this.timer);
        this.text.value = "";
        this.button.disabled = true;
    }
}

export function tryToken(bus, row) {
    const scope = input({});
    const ttl = h("input", { type: "number", class: "input", min: 1, max: row.maxTtl, value: row.defaultTtl });
    const view = new TokenView();
    const dialog = new Dialog(cockpit.format(_("A token of slot $0"), row.slot), {
        action: _("Make a token"),
        act: async () => {
            view.forget();
            view.element.hidden = true;
            if (!ttl.checkValidity() || !ttl.value)
                throw new Error(cockpit.format(_("A token of this slot lives 1 to $0 seconds."), row.maxTtl));
            const asked = Number(ttl.value);
            await stillIs(bus, row);
            const token = await getToken(row.slot, scope.value, asked);
            if (dialog.isOpen)
                view.show(token, asked);
            return false;
        },
        gone: () => view.forget(),
    });
    dialog.open(h("p", {}, cockpit.format(_("Programs get such tokens of $0 from hubkeyd."), whose(row))),
        field(_("Scope"), scope, _("Empty for the whole identity, or a path below it, as messages/events")),
        field(_("Lifetime in seconds"), ttl), view.element);
}

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A modal dialog: the browser's own <dialog>, which keeps the focus inside, closes by Escape and gives the focus back.
 */

import { alert, button, h } from "./dom.js";

const _ = window.cockpit.gettext;

let titles = 0;

export class Dialog {
    /* act(dialog) is what the button `action` does: a promise; the dialog is busy until it is settled, stays open and
     * says so when it fails, and closes when it gives true. No action: there is only Close. */
    constructor(title, { action, danger, act, gone }) {
        const id = `dialog-title-${++titles}`;
        this.act = act;
        this.body = h("div", { class: "dialog-body" });
        this.message = h("div", { class: "dialog-message" });
        this.save = action ? h("button", { type: "submit", class: `button ${danger ? "danger" : "primary"}` }, action)
            : null;
        this.cancel = button(action ? _("Cancel") : _("Close"), () => this.element.close(), { class: "button link" });
        const handler = event => this.submit(event);
        this.form = h("form", { method: "dialog", autocomplete: "off", novalidate: true, onsubmit: handler },
            h("h2", { id }, title), this.body, this.message,
            h("div", { class: "dialog-buttons" }, this.save, this.cancel));
        this.element = h("dialog", {
            "aria-labelledby": id,
            oncancel: event => { if (this.isBusy) event.preventDefault(); },
            onclose: () => { this.element.remove(); gone?.(); },
        }, this.form);
    }

    open(...content) {
        this.body.append(...content);
        document.body.append(this.element);
        this.element.showModal();
        return this;
    }

    async submit(event) {
        event.preventDefault();
        if (this.isBusy || !this.act)
            return;
        this.busy(true);
        this.message.replaceChildren();
        try {
            if (await this.act(this) === true)
                this.element.close();
        } catch (error) {
            this.fail(error.message || String(error));
        }
        this.busy(false);
    }

    busy(is) {
        this.isBusy = is;
        this.form.setAttribute("aria-busy", is);
        this.cancel.disabled = is;
        if (this.save)
            this.save.disabled = is;
    }

    fail(text, ...more) {
        this.message.replaceChildren(alert("danger", text, ...more));
    }

    /* It is done and stays to be read. */
    finish() {
        this.act = null;
        this.save?.remove();
        this.cancel.textContent = _("Close");
        this.cancel.focus();
    }
}

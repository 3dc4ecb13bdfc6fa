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
     * says so when it fails, and closes when it gives true. No action: there is only Close. isLeft: it can be left
     * while it is busy, because gone() ends what act() waits for. */
    constructor(title, { action, danger, act, gone, isLeft = false }) {
        const id = `dialog-title-${++titles}`;
        this.act = act;
        this.isLeft = isLeft;
        this.isBusy = this.isWaiting = false;
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
            oncancel: event => { if (this.isKept) event.preventDefault(); },
            onclose: () => {
                window.removeEventListener("keydown", keep, true);
                this.element.remove();
                gone?.();
            },
        }, this.form);
        /* A browser lets a page refuse to be closed once only; a second Escape closes, unless the key is not heard. */
        const keep = event => { if (this.isKept && event.key === "Escape") event.preventDefault(); };
        window.addEventListener("keydown", keep, true);
    }

    get isKept() {
        return this.isBusy && !this.isLeft;
    }

    get isOpen() {
        return this.element.open;
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
        const before = document.activeElement;
        this.busy(true);
        this.message.replaceChildren();
        try {
            if (await this.act(this) === true)
                this.element.close();
        } catch (error) {
            this.fail(error.message || String(error));
        }
        this.busy(false);
        /* A button that is disabled loses the focus. */
        if (this.isOpen && !this.form.contains(document.activeElement))
            (before.isConnected ? before : this.cancel).focus();
    }

    busy(is) {
        this.isBusy = is;
        this.form.setAttribute("aria-busy", is);
        this.cancel.disabled = this.isKept;
        if (this.save)
            this.save.disabled = is || this.isWaiting;
    }

    /* Whether there is nothing yet that the action could be done with. */
    wait(is) {
        this.isWaiting = is;
        this.busy(this.isBusy);
    }

    fail(text, ...more) {
        this.message.replaceChildren(alert("danger", text, ...more));
    }

    /* It is done, or cannot be done again, and stays to be read. */
    finish() {
        this.act = null;
        this.save?.remove();
        this.busy(false);
        this.cancel.textContent = _("Close");
        this.cancel.focus();
    }
}

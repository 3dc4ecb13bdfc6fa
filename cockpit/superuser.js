/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Administrative access as Cockpit has it: whether it is on, and how to turn it on from here. Turning it on is the
 * shell's own way, the bridge's object cockpit.Superuser: Start begins sudo or what else the machine has, which asks by
 * Prompt and is told by Answer.
 */

import { Dialog } from "./dialog.js";
import { alert, button, field, h } from "./dom.js";

const cockpit = window.cockpit;
const _ = cockpit.gettext;

const permission = cockpit.permission({ admin: true });

/* null while it is not known yet */
export const isAdmin = () => permission.allowed;

export function onChange(listener) {
    permission.addEventListener("changed", listener);
}

export const needed = () => cockpit.format(
    _("Changing something needs administrative access, which $0 does not have in this session."),
    permission.user?.name || _("you"));

/* What a change says where access is missing. */
export function offer() {
    return alert("info", _("Administrative access is missing"),
        h("p", {}, needed()), button(_("Turn on administrative access"), turnOn));
}

/* Turning it on: begun, asked as often as sudo asks, ended; where it failed it can be begun anew. */
class Turning {
    constructor() {
        this.client = cockpit.dbus(null, { bus: "internal" });
        this.proxy = this.client.proxy("cockpit.Superuser", "/superuser");
        this.proxy.addEventListener("Prompt", (event, ...asked) => this.ask(...asked));
        this.text = h("p", {});
        this.answer = h("input", { type: "password", autocomplete: "off", class: "input" });
        this.heard = () => {};
        this.dialog = new Dialog(_("Switch to administrative access"), {
            action: _("Authenticate"), act: () => this.tell(), gone: () => this.end(), isLeft: true,
        });
        this.dialog.open(this.text, field(_("Password"), this.answer));
        this.begin();
    }

    /* An answer before the question, or after the end, would be lost. */
    wait(is) {
        this.answer.disabled = is;
        this.dialog.wait(is);
    }

    /* The shell keeps the choice of the way for later sessions; here it is the first that the machine has. */
    async begin() {
        const { dialog, proxy } = this;
        this.isBegun = true;
        this.wait(true);
        dialog.message.replaceChildren();
        this.text.textContent = _("Please authenticate to gain administrative access");
        try {
            await proxy.wait();
            await proxy.call("Stop", []).catch(() => null); /* none was running */
            await proxy.call("Start", [proxy.Bridges?.[0] || "sudo"]);
            this.isBegun = false;
            this.heard();
            dialog.element.close();
        } catch (error) {
            this.isBegun = false;
            this.heard();
            if (dialog.isOpen)
                this.failed(error);
        }
    }

    failed(error) {
        const again = button(_("Try again"), () => this.begin());
        this.wait(true);
        this.dialog.fail(error.message, again);
        again.focus();
    }

    ask(message, prompt, preset, echo, error) {
        this.heard();
        this.wait(false);
        this.text.textContent = message || this.text.textContent;
        this.answer.type = echo ? "text" : "password";
        if (error)
            this.dialog.fail(error);
        this.answer.focus();
    }

    /* Settled when sudo asks again, or is through. */
    tell() {
        return new Promise(resolve => {
            this.heard = resolve;
            this.proxy.Answer(this.answer.value);
            this.answer.value = "";
        });
    }

    /* Whoever cancels does not want to be asked any more. */
    end() {
        this.answer.value = "";
        if (this.isBegun)
            this.proxy.call("Stop", []).catch(() => null);
        this.client.close();
    }
}

export const turnOn = () => new Turning();

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
    _("Changing slots needs administrative access, which $0 does not have in this session."),
    permission.user?.name || _("you"));

/* What a change says where access is missing. */
export function offer() {
    return alert("info", _("Administrative access is missing"),
        h("p", {}, needed()), button(_("Turn on administrative access"), turnOn));
}

/* The dialog that asks what sudo asks; finished is called when it is gone. */
function ask(proxy, finished) {
    /* An answer before the question would be lost. */
    const answer = h("input", { type: "password", autocomplete: "off", class: "input", disabled: true });
    const text = h("p", {}, _("Please authenticate to gain administrative access"));
    let heard = () => {};
    const dialog = new Dialog(_("Switch to administrative access"), {
        action: _("Authenticate"),
        act: () => new Promise(resolve => {
            heard = resolve;
            proxy.Answer(answer.value);
            answer.value = "";
        }),
        gone: finished,
    });
    proxy.addEventListener("Prompt", (event, message, prompt, preset, echo, error) => {
        heard();
        text.textContent = message || text.textContent;
        answer.disabled = false;
        answer.type = echo ? "text" : "password";
        if (error)
            dialog.fail(error);
        answer.focus();
    });
    dialog.open(text, field(_("Password"), answer));
    return { dialog, heard: () => heard() };
}

/* The shell keeps the choice of the way for later sessions; here it is the first that the machine has. */
export async function turnOn() {
    const client = cockpit.dbus(null, { bus: "internal" });
    const proxy = client.proxy("cockpit.Superuser", "/superuser");
    let begun = true;
    const { dialog, heard } = ask(proxy, () => {
        if (begun)
            proxy.call("Stop", []).catch(() => null); /* whoever cancels does not want to be asked any more */
        client.close();
    });
    try {
        await proxy.wait();
        await proxy.call("Stop", []).catch(() => null); /* none was running */
        await proxy.call("Start", [proxy.Bridges?.[0] || "sudo"]);
        begun = false;
        dialog.element.close();
    } catch (error) {
        begun = false;
        heard();
        dialog.fail(error.message);
    }
}

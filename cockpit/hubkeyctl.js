/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Runs hubkeyctl as root by Cockpit's bridge. D-Bus calls from a page cannot carry the pipe that Provision and Rotate
 * take a key by; hubkeyctl's standard input can, and a key on it is in no argument, environment or file.
 */

import * as superuser from "./superuser.js";

const cockpit = window.cockpit;
const _ = cockpit.gettext;

/* Cockpit's own words for these are English wherever its base is not translated. */
const problems = {
    "access-denied": superuser.needed,
    "not-found": () => _("The program is not installed on this machine."),
    "terminated": () => _("The program was ended before it was through."),
    "disconnected": () => _("The connection to the machine was lost."),
    "timeout": () => _("The machine did not answer in time."),
};

/* Why a program that was spawned failed, in the words of the page or those of the program. */
export const reasonOf = error => problems[error.problem]?.() || cockpit.message(error).replace(/^hubkeyctl: /, "");

/* Resolves to what it prints; fails with what it says. secret goes to its standard input and is not kept. */
export async function hubkeyctl(words, secret) {
    const process = cockpit.spawn(["hubkeyctl", ...words], { superuser: "require", err: "message" });
    if (secret !== undefined)
        process.input(secret);
    try {
        return await process;
    } catch (error) {
        throw new Error(reasonOf(error)); /* access may have been turned off while a dialog was open, too */
    }
}

/* doctor exits with 1 when it finds something: what it prints counts all the same. Its findings are objects, one a
 * line: { check, level, text, mend }. */
export async function doctor() {
    let text = "";
    const process = cockpit.spawn(["hubkeyctl", "doctor", "--json"], { superuser: "try", err: "message" })
        .stream(data => { text += data; });
    try {
        await process;
    } catch (error) {
        if (error.exit_status !== 1 || !text)
            throw new Error(reasonOf(error));
    }
    return text.split("\n").filter(line => line).map(line => JSON.parse(line));
}

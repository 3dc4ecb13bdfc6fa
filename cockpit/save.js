/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Putting a key into a slot, step by step: it goes to hubkeyd, the slot is read back, a token proves it.
 */

import { getToken } from "./bus.js";
import { h } from "./dom.js";
import { hubkeyctl } from "./hubkeyctl.js";
import { identity, readRow, readRowAtLast } from "./slots.js";
import { slotState } from "./states.js";
import { Steps } from "./steps.js";
import { timeOf } from "./when.js";

const cockpit = window.cockpit;
const _ = cockpit.gettext;

const PROOF_SECONDS = 60;

/* As short as the slot allows. It can be refused although the key is good: by Scopes=, or RequestsPerMinute=. */
async function prove(row) {
    try {
        const { expires } = await getToken(row.slot, "", Math.min(PROOF_SECONDS, row.maxTtl));
        return cockpit.format(_("A token for the whole identity was made; it ends at $0 and was not kept."),
            timeOf(expires));
    } catch (error) {
        if (error.name === "org.hubkey.Error.NotAuthorized")
            throw new Error(`${_("hubkeyd's configuration does not allow this token. Make one for a scope that it " +
                "allows with \"Try it\".")} ${error.message}`);
        throw error;
    }
}

/* "Slot 0: Ready, dev-1 @ myhub.azure-devices.net" */
const told = row => cockpit.format(_("Slot $0: $1"), row.slot,
    [slotState(row.state).label, identity(row), row.reason].filter(word => word).join(", "));

/* After a step that failed: what became of the slot, however long hubkeyd takes to come back. Only where the slot is
 * known to be empty can the same be tried again. */
async function lookAfter(bus, dialog, steps, slot) {
    const row = await readRow(bus, slot).catch(() => null);
    if (row?.state === "empty") {
        dialog.message.append(h("p", {},
            _("The slot is empty: the key is not in it. To try again, give it once more.")));
        return;
    }
    dialog.body.hidden = true;
    dialog.finish();
    steps.run(_("What is in the slot now"), async () => told(row || await readRowAtLast(bus, slot))).catch(() => null);
}

export async function carryOut(bus, dialog, slot, { words, secret }) {
    const steps = new Steps();
    dialog.message.replaceChildren(steps.element);
    let row = null;
    try {
        await steps.run(_("The key goes to hubkeyd: hubkeyctl provision"),
            () => hubkeyctl(["provision", String(slot), ...words], secret));
        await steps.run(_("The slot is read back"), async () => {
            row = await readRow(bus, slot);
            if (row.state !== "ready")
                throw new Error(told(row));
            return told(row);
        });
        await steps.run(_("A token is made as proof"), () => prove(row));
    } catch (error) {
        await lookAfter(bus, dialog, steps, slot); /* the step that failed says why */
        return;
    }
    dialog.body.hidden = true;
    dialog.finish();
}

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a dialog is about is told to hubkeyd and hubkeyctl by the slot's number only; so the slot must be what it was
 * when the dialog said whose key it is.
 */

import { identity, readRow } from "./slots.js";
import { slotState } from "./states.js";

const cockpit = window.cockpit;
const _ = cockpit.gettext;

export async function stillIs(bus, row) {
    const now = await readRow(bus, row.slot);
    const shown = ["state", "generation", "host", "device", "module", "gateway", "audience", "keyName", "tpmName"];
    if (shown.some(name => now[name] !== row[name]))
        throw new Error(cockpit.format(_("The slot has changed meanwhile: $0. Close this, and look at it again."),
            [slotState(now.state).label, identity(now)].filter(word => word).join(", ")));
}

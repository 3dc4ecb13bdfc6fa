/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The page: what there is to see, and who hears of what.
 */

import { Bus } from "./bus.js";
import * as change from "./change.js";
import { configure } from "./configure.js";
import { Dialog } from "./dialog.js";
import { DoctorView } from "./doctor.js";
import { alert, button, h } from "./dom.js";
import { Panel } from "./panel.js";
import { tpmState } from "./states.js";
import * as superuser from "./superuser.js";
import { tryToken } from "./token.js";
import { SlotsView } from "./view.js";

const cockpit = window.cockpit;
const _ = cockpit.gettext;

/* What changes something opens with access only; without it, it says what is missing and offers to turn it on. */
const asAdmin = (title, open) => row => {
    if (superuser.isAdmin())
        open(row);
    else
        new Dialog(title, {}).open(superuser.offer());
};

class Page {
    constructor(element) {
        this.element = element;
        this.notices = h("div", { id: "notices", "aria-live": "polite" });
        this.version = h("span", { class: "version" });
        this.access = h("div", { id: "access" });
        this.bus = new Bus(this);
        this.slots = new SlotsView(this.bus, this.actions());
        this.slots.element.hidden = true;
        this.panel = new Panel(this.bus);
        this.panel.present(false);
        element.append(h("header", {}, h("h1", {}, _("Device keys")), this.version), this.access, this.notices,
            this.slots.element, this.panel.element, new DoctorView().element);
        superuser.onChange(() => this.showAccess());
        this.showAccess();
    }

    actions() {
        return {
            token: row => tryToken(this.bus, row),
            configure: asAdmin(_("Configure a slot"),
                row => configure(this.bus, row ? row.slot : null, this.slots.firstEmpty())),
            adopt: asAdmin(_("Adopt"), row => change.adopt(this.bus, row)),
            rotate: asAdmin(_("Rotate"), row => change.rotate(this.bus, row)),
            undo: asAdmin(_("Undo rotation"), row => change.undo(this.bus, row)),
            clear: asAdmin(_("Clear"), row => change.clear(this.bus, row)),
        };
    }

    present(version) {
        this.element.dataset.daemon = "present";
        this.element.setAttribute("aria-busy", "false");
        this.version.textContent = `hubkeyd ${version}`;
        this.slots.element.hidden = false;
        this.slots.reading.again();
        this.panel.present(true);
        this.tpmChanged();
    }

    /* The same is not said twice: a screen reader would read it again, and the focus in it would be lost. */
    notice(...alerts) {
        const text = alerts.map(one => one.textContent).join("\n");
        if (text === this.noticed)
            return;
        this.noticed = text;
        this.notices.replaceChildren(...alerts);
    }

    absent(why, isBus) {
        this.element.dataset.daemon = "absent";
        this.element.setAttribute("aria-busy", "false");
        this.slots.element.hidden = true;
        this.panel.present(false);
        this.notice(isBus
            ? alert("danger", _("The system bus does not answer"),
                h("p", {}, _("hubkeyd is reached by it, and so is most of this machine. This page goes on by itself " +
                             "when it is back.")))
            : alert("danger", _("hubkeyd does not answer"), h("p", {}, why),
                h("p", {}, _("Keys are safe, but no program gets a token meanwhile. Start the service hubkeyd; this " +
                             "page goes on by itself when it answers.")),
                button(_("Look again"), () => this.bus.greet())));
    }

    slotChanged(number) {
        this.slots.slotChanged(number);
    }

    async tpmChanged() {
        try {
            const word = await this.bus.managerProperty("TpmState");
            const state = tpmState(word);
            this.element.dataset.tpm = word;
            this.notice(...state.means
                ? [alert(state.tone, cockpit.format(_("TPM: $0"), state.label), h("p", {}, state.means))] : []);
        } catch (error) {
            /* hubkeyd went away in between; absent() says so */
            console.debug(error.message);
        }
    }

    showAccess() {
        this.element.dataset.admin = String(superuser.isAdmin());
        this.access.replaceChildren(...superuser.isAdmin() === false ? [superuser.offer()] : []);
    }
}

document.documentElement.lang = cockpit.language || "en";
document.title = _("Device keys");
cockpit.transport.wait(() => new Page(document.getElementById("page")));

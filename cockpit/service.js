/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The unit hubkeyd.service: its state as systemd tells it, live, with start, and the ways to Cockpit's own pages about
 * it.
 */

import { AGAIN_MS } from "./bus.js";
import { button, h } from "./dom.js";
import { reasonOf } from "./hubkeyctl.js";
import * as superuser from "./superuser.js";

const cockpit = window.cockpit;
const _ = cockpit.gettext;

const UNIT = "hubkeyd.service";
const SYSTEMD = "org.freedesktop.systemd1";
const MANAGER = `${SYSTEMD}.Manager`;

const words = {
    active: _("Running"), activating: _("Starting"), reloading: _("Reading its configuration"),
    deactivating: _("Stopping"), inactive: _("Stopped"), failed: _("Failed"),
};

export class Service {
    constructor() {
        this.state = h("span", {}, _("Unknown"));
        this.start = button(_("Start"), () => this.run(), { class: "button primary small", hidden: true });
        this.said = h("div", { role: "status", class: "mistake" });
        this.element = h("div", { class: "service" }, this.state, this.start,
            button(_("Service"), () => cockpit.jump(`/system/services#/${UNIT}`), { class: "button link small" }),
            button(_("Log"), () => cockpit.jump(`/system/logs/#/?prio=debug&service=${UNIT}`),
                { class: "button link small" }), this.said);
        this.watch();
    }

    async watch() {
        const client = cockpit.dbus(SYSTEMD, { bus: "system" });
        client.addEventListener("close", () => {
            this.unknown();
            window.setTimeout(() => this.watch(), AGAIN_MS);
        });
        try {
            const [path] = await client.call("/org/freedesktop/systemd1", MANAGER, "LoadUnit", [UNIT]);
            const unit = client.proxy(`${SYSTEMD}.Unit`, path);
            client.call("/org/freedesktop/systemd1", MANAGER, "Subscribe", []).catch(() => null);
            unit.addEventListener("changed", () => this.show(unit));
            await unit.wait();
            this.show(unit);
        } catch (error) {
            this.unknown();
        }
    }

    unknown() {
        this.state.textContent = _("Unknown: systemd does not answer");
        this.start.hidden = true;
    }

    show(unit) {
        const isThere = unit.LoadState === "loaded";
        this.state.textContent = isThere ? words[unit.ActiveState] || unit.ActiveState : _("Not installed");
        this.start.hidden = !isThere || !["inactive", "failed"].includes(unit.ActiveState);
    }

    async run() {
        this.said.replaceChildren();
        try {
            await cockpit.spawn(["systemctl", "start", UNIT], { superuser: "require", err: "message" });
        } catch (error) {
            this.said.replaceChildren(superuser.isAdmin() ? reasonOf(error) : superuser.offer());
        }
    }
}

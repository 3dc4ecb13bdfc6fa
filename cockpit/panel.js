/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The TPM and hubkeyd: what they are, how they are, and what they do at the moment. The figures are asked for every
 * second, the TPM now and then, and only while the page is in sight: the shell tells it when another of its pages is in
 * front, which the browser does not see.
 */

import { Chart } from "./chart.js";
import { h } from "./dom.js";
import { Service } from "./service.js";
import { tpmState } from "./states.js";
import { figure } from "./when.js";

const cockpit = window.cockpit;
const _ = cockpit.gettext;

const EVERY_MS = 1000;
const GAP_MS = 2000; /* what lies further apart is not of one line any more */
const TPM_EVERY = 5; /* of these */

const yes = value => value ? _("yes") : _("no");
const milliseconds = value => cockpit.format(_("$0 ms"), figure(value));

export class Panel {
    constructor(bus) {
        this.bus = bus;
        this.before = null; /* the last statistics, and when they were read */
        this.facts = h("dl", { class: "parts", id: "tpm-facts" });
        this.service = new Service();
        this.charts = {
            tokens: new Chart(_("Tokens a second"), figure),
            latency: new Chart(_("Time to a token, 99 of 100"), milliseconds),
            denials: new Chart(_("Refusals a second"), figure),
        };
        this.figures = h("div", { class: "charts" }, Object.values(this.charts).map(chart => chart.element));
        this.element = h("section", { class: "card", "aria-labelledby": "panel-title", id: "panel" },
            h("h2", { id: "panel-title" }, _("TPM and daemon")),
            h("dl", { class: "parts" }, h("dt", {}, _("Service hubkeyd")), h("dd", {}, this.service.element)),
            this.facts, this.figures);
        window.setInterval(() => this.look(), EVERY_MS);
        cockpit.addEventListener("visibilitychange", () => this.look());
    }

    /* hubkeyd answers, or does not. */
    present(is) {
        this.isPresent = is;
        this.facts.hidden = this.figures.hidden = !is;
        this.before = null;
        this.restart();
        this.looks = -1;
        this.look();
    }

    restart() {
        Object.values(this.charts).forEach(chart => chart.restart());
    }

    async look() {
        if (!this.isPresent || cockpit.hidden || this.isLooking)
            return;
        this.isLooking = true;
        try {
            this.draw(await this.bus.statistics());
            this.looks = (this.looks + 1) % TPM_EVERY;
            if (this.looks > 0)
                return;
            const state = await this.bus.managerProperty("TpmState");
            this.tell(state, await this.bus.tpmInfo().catch(() => null));
        } catch (error) {
            /* hubkeyd went away in between, which is told elsewhere */
            console.debug(error.message);
        } finally {
            this.isLooking = false;
        }
    }

    draw(now) {
        const at = performance.now();
        const before = this.before;
        this.before = { now, at };
        if (!before)
            return;
        if (now.TokensIssued < before.now.TokensIssued || at - before.at > GAP_MS) {
            this.restart();
            return;
        }
        const perSecond = name => (now[name] - before.now[name]) / ((at - before.at) / 1000);
        this.charts.tokens.add(perSecond("TokensIssued"));
        this.charts.latency.add(now.LatencyP99Us / 1000);
        this.charts.denials.add(perSecond("TokensDenied"));
    }

    tell(word, info) {
        const facts = [[_("TPM"), tpmState(word).label]];
        if (info)
            facts.push([_("Kind"), info.Manufacturer], [_("Firmware"), info.Firmware],
                [_("Locked out"), yes(info.Lockout)], [_("Owner has a password"), yes(info.OwnerAuthSet)],
                [_("Persistent objects"),
                    cockpit.format(_("$0 used, room for $1"), info.PersistentUsed, info.PersistentFree)],
                [_("NV indices"), cockpit.format(_("$0 used, room for $1 or fewer"), info.NvUsed, info.NvFree)]);
        this.facts.replaceChildren(...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
    }
}

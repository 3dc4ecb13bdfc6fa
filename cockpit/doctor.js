/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What `hubkeyctl doctor` finds, worst first, with the command that mends it.
 */

import { alert, button, h } from "./dom.js";
import { doctor } from "./hubkeyctl.js";

const cockpit = window.cockpit;
const _ = cockpit.gettext;

const levels = {
    bad: { order: 0, tone: "danger", label: _("To mend") },
    warning: { order: 1, tone: "warning", label: _("Look at") },
    ok: { order: 2, tone: "success", label: _("Good") },
};

function finding({ level, check, text, mend }) {
    const { tone, label } = levels[level];
    return h("li", { "data-level": level }, h("span", { class: `label ${tone}` }, label), " ",
        h("span", { class: "means" }, check), h("p", {}, text),
        mend ? h("p", {}, _("What mends it:"), " ", h("code", {}, mend)) : null);
}

export class DoctorView {
    constructor() {
        this.list = h("ul", { class: "findings" });
        this.verdict = h("p", { role: "status" });
        this.look = button(_("Look for what is wrong"), () => this.run(), { id: "doctor-run" });
        this.element = h("section", { class: "card", "aria-labelledby": "doctor-title", id: "doctor" },
            h("div", { class: "toolbar" }, h("h2", { id: "doctor-title" }, _("Doctor")), this.look),
            this.verdict, this.list);
    }

    async run() {
        this.look.disabled = true;
        this.verdict.textContent = _("Looking");
        this.list.replaceChildren();
        try {
            const findings = await doctor();
            findings.sort((a, b) => levels[a.level].order - levels[b.level].order);
            const bad = findings.filter(({ level }) => level === "bad").length;
            const warnings = findings.filter(({ level }) => level === "warning").length;
            this.verdict.textContent = cockpit.format(_("$0 to mend, $1 to look at."), bad, warnings);
            this.list.replaceChildren(...findings.map(finding));
        } catch (error) {
            this.verdict.textContent = "";
            this.list.replaceChildren(h("li", {}, alert("danger", error.message)));
        }
        this.look.disabled = false;
    }
}

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What is done, step by step, as it is done.
 */

import { h } from "./dom.js";

const _ = window.cockpit.gettext;

export class Steps {
    constructor() {
        this.element = h("ol", { class: "steps", "aria-live": "polite" });
    }

    /* work gives the sentence that says what came of it; when it fails, the step stands there as failed. */
    async run(text, work) {
        const line = h("li", { class: "doing", "data-step": "doing" }, text);
        this.element.append(line);
        try {
            const said = await work();
            this.settle(line, "done", said);
        } catch (error) {
            this.settle(line, "failed", error.message);
            throw error;
        }
    }

    settle(line, how, said) {
        line.className = how;
        line.dataset.step = how;
        line.append(h("span", { class: "sr-only" }, how === "done" ? _("Done:") : _("Failed:")),
            h("p", { class: "means" }, said));
    }
}

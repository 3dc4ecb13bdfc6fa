/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A small chart: the last minute of one figure, and what it is now. The line is for the eye; its text alternative says
 * the same.
 */

import { h, svg } from "./dom.js";

const cockpit = window.cockpit;
const _ = cockpit.gettext;

const WIDTH = 240;
const HEIGHT = 60;
const SAMPLES = 60;

export class Chart {
    /* show(value) gives the words for a value. */
    constructor(title, show) {
        this.title = title;
        this.show = show;
        this.line = svg("polyline", { class: "chart-line" });
        this.area = svg("polygon", { class: "chart-area" });
        this.now = h("span", { class: "chart-now" });
        this.top = h("span", { class: "means" });
        this.picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", preserveAspectRatio: "none" },
            this.area, this.line);
        this.element = h("figure", { class: "chart" },
            h("figcaption", {}, title, h("p", {}, this.now, " ", this.top)), this.picture);
        this.restart();
    }

    add(value) {
        this.values.push(value);
        if (this.values.length > SAMPLES)
            this.values.shift();
        const most = Math.max(...this.values);
        const at = (number, i) => {
            const x = WIDTH - (this.values.length - 1 - i) * WIDTH / (SAMPLES - 1);
            const y = HEIGHT - 2 - (most > 0 ? number / most : 0) * (HEIGHT - 4);
            return `${x.toFixed(1)},${y.toFixed(1)}`;
        };
        const points = this.values.map(at);
        this.line.setAttribute("points", points.join(" "));
        this.area.setAttribute("points",
            [...points, `${WIDTH},${HEIGHT}`, `${points[0].split(",")[0]},${HEIGHT}`].join(" "));
        this.now.textContent = this.show(value);
        this.top.textContent = cockpit.format(_("at most $0"), this.show(most));
        this.picture.setAttribute("aria-label",
            cockpit.format(_("$0: now $1, at most $2"), this.title, this.show(value), this.show(most)));
    }

    /* hubkeyd counts anew, or was not asked for a while: what was before does not belong to what comes. */
    restart() {
        this.values = [];
        this.line.setAttribute("points", "");
        this.area.setAttribute("points", "");
        this.now.textContent = this.top.textContent = "";
        this.picture.setAttribute("aria-label", cockpit.format(_("$0: no figures yet"), this.title));
    }
}

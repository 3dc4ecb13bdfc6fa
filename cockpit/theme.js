/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Light or dark, as the shell's "Style" menu says. It keeps the choice in localStorage and tells it to open pages by an
 * event. No module: it must run before the first paint, or a dark page would flash white.
 */
"use strict";

{
    const system = window.matchMedia("(prefers-color-scheme: dark)");

    const apply = chosen => {
        const style = chosen || window.localStorage.getItem("shell:style") || "auto";
        const dark = style === "dark" || (style === "auto" && system.matches);
        document.documentElement.classList.toggle("dark", dark);
    };

    apply();
    system.addEventListener("change", () => apply());
    window.addEventListener("storage", event => { if (event.key === "shell:style") apply(); });
    window.addEventListener("cockpit-style", event => apply(event.detail.style));
}

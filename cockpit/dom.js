/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Elements in one expression. Text is always text, so nothing that a slot or an error says can become markup.
 */

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
    for (const [name, value] of Object.entries(properties || {})) {
        if (value === undefined || value === null || value === false)
            continue;
        if (name.startsWith("on"))
            element.addEventListener(name.slice(2), value);
        else
            element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
    return element;
}

/* h("button", { type: "button", onclick: f }, "Save"): names that begin with "on" are listeners, false leaves out. */
export function h(name, properties, ...children) {
    return fill(document.createElement(name), properties, children);
}

export function svg(name, properties, ...children) {
    return fill(document.createElementNS(SVG, name), properties, children);
}

export function button(text, action, properties) {
    return h("button", { type: "button", class: "button secondary", onclick: action, ...properties }, text);
}

/* What neither the browser nor a spelling checker has anything to say to. */
export const input = properties => h("input",
    { type: "text", class: "input", autocomplete: "off", spellcheck: "false", ...properties });

let ids = 0;

/* A label, its control, and what helps; the control gets an id that both point to. */
export function field(text, control, hint) {
    control.id = control.id || `field-${++ids}`;
    const help = hint ? h("p", { class: "hint", id: `${control.id}-hint` }, hint) : null;
    if (help)
        control.setAttribute("aria-describedby", help.id);
    return h("div", { class: "field" }, h("label", { for: control.id }, text), control, help);
}

/* kind: info, success, warning, danger. A danger is read out at once, the others when there is a pause. */
export function alert(kind, title, ...more) {
    return h("div", { class: `alert ${kind}`, role: kind === "danger" ? "alert" : "status" },
        h("strong", {}, title), more.length ? h("div", {}, ...more) : null);
}

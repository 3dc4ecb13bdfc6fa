/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The table of slots with its filter and its pages. What a slot is told to do is the business of `actions`: an object
 * with a function for each action that row.js has a label for.
 */

import { button, h } from "./dom.js";
import { Reading } from "./reading.js";
import { line } from "./row.js";
import { readPage, readRow } from "./slots.js";
import { slotState, slotStates } from "./states.js";

const cockpit = window.cockpit;
const _ = cockpit.gettext;

const TYPING_MS = 200; /* whoever types on within these does not want to know what the beginning of it finds */

export class SlotsView {
    constructor(bus, actions) {
        this.bus = bus;
        this.actions = actions;
        this.filter = { text: "", state: "" };
        this.starts = [0];          /* where the pages up to this one begin */
        this.next = 0;
        this.rows = new Map();      /* slot -> { row, element } of those in sight */
        this.changedAt = new Map(); /* slot -> when this page saw a change of it, in seconds */
        this.added = new Set();     /* of those not in sight, who changed since the page was read */
        this.opened = null;         /* { slot, action } of the button that was pressed last */
        this.element = this.build();
        this.reading = new Reading({
            read: isGivenUp => readPage(bus, this.starts.at(-1), this.filter, isGivenUp),
            show: page => this.keepFocus(() => this.show(page)),
            failed: error => { this.note.textContent = error.message; },
            busy: is => this.element.setAttribute("aria-busy", is),
        });
    }

    build() {
        this.body = h("tbody", { role: "rowgroup" });
        /* A dialog gives the focus back to its button, which may have been replaced meanwhile. */
        document.addEventListener("close", () => this.refocus(), true);
        this.note = h("p", { class: "note", role: "status" });
        this.before = button(_("Previous"), () => this.turn(-1));
        this.after = button(_("Next"), () => this.turn(1));
        this.place = h("span", { class: "place" });
        const search = h("input", {
            type: "search", class: "input", id: "slots-filter", placeholder: _("Number, host, device or audience"),
            "aria-label": _("Filter slots"),
            oninput: event => {
                window.clearTimeout(this.typing);
                const text = event.target.value.trim().toLowerCase();
                this.typing = window.setTimeout(() => this.refilter({ text }), TYPING_MS);
            },
        });
        const state = h("select", {
            class: "input", id: "slots-state", "aria-label": _("State"),
            onchange: event => this.refilter({ state: event.target.value }),
        }, h("option", { value: "" }, _("All states")),
        slotStates.map(word => h("option", { value: word }, slotState(word).label)));
        const titles = [_("Slot"), _("State"), _("Device or audience"), _("Hub"), _("Key kept"), _("Changes"),
            _("Actions")];
        return h("section", { class: "card", id: "slots", "aria-labelledby": "slots-title" },
            h("div", { class: "toolbar" }, h("h2", { id: "slots-title" }, _("Slots")), search, state,
                button(_("Configure a slot"), () => this.actions.configure(null),
                    { class: "button primary", id: "configure" })),
            /* The roles are said, because a narrow screen makes blocks of the rows. */
            h("table", { role: "table", "aria-labelledby": "slots-title" },
                h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
                    titles.map(title => h("th", { scope: "col", role: "columnheader" }, title)))), this.body),
            this.note,
            h("nav", { class: "pager", "aria-label": _("Pages of slots") }, this.place, this.before, this.after));
    }

    refilter(part) {
        this.filter = { ...this.filter, ...part };
        this.starts = [0];
        this.readOther();
    }

    turn(by) {
        if (by > 0 && this.next)
            this.starts.push(this.next);
        else if (by < 0 && this.starts.length > 1)
            this.starts.pop();
        else
            return;
        this.readOther();
    }

    /* Until the other page is there, nobody knows where the one after it begins. */
    readOther() {
        this.next = 0;
        this.reading.other();
    }

    /* Replacing a row takes neither the focus nor what was opened in it. */
    keepFocus(replace) {
        const { activeElement: element } = document;
        const focused = this.body.contains(element)
            ? { slot: Number(element.closest("tr").dataset.slot), action: element.dataset.action } : null;
        const unfolded = [...this.body.querySelectorAll("details[open]")].map(one => one.closest("tr").dataset.slot);
        replace();
        for (const slot of unfolded)
            this.body.querySelector(`tr[data-slot="${slot}"] details`)?.setAttribute("open", "");
        if (focused && !this.body.contains(document.activeElement))
            this.focus(focused);
    }

    /* The button of that action, or, where there is none any more, the row. */
    focus({ slot, action }) {
        const row = this.rows.get(slot)?.element;
        (row?.querySelector(action ? `[data-action=${action}]` : "summary") || row?.querySelector("th"))?.focus();
    }

    refocus() {
        const { activeElement: element } = document;
        if (this.opened && (element === document.body || element.closest("dialog:not([open])")))
            this.focus(this.opened);
    }

    /* now differs from what the page knew of the slot. */
    noteChange(slot, before, now) {
        if (before ? before.generation !== now.generation : this.added.has(slot))
            this.changedAt.set(slot, Date.now() / 1000);
    }

    show({ rows, next }) {
        if (!rows.length && this.starts.length > 1) { /* what was on it is gone */
            this.turn(-1);
            return;
        }
        this.next = next;
        const kept = this.rows;
        this.rows = new Map();
        this.body.replaceChildren(...rows.map(row => {
            const same = kept.get(row.slot);
            this.noteChange(row.slot, same?.row, row);
            const isSame = same && JSON.stringify(same.row) === JSON.stringify(row);
            const entry = isSame ? same : { row, element: this.line(row) };
            this.rows.set(row.slot, entry);
            return entry.element;
        }));
        if (!this.reading.isWanted) /* else they may not be in this page yet */
            this.added.clear();
        const page = this.starts.length;
        this.note.textContent = rows.length ? "" : _("No slot matches.");
        this.place.textContent = rows.length
            ? cockpit.format(_("Slots $0 to $1"), rows[0].slot, rows.at(-1).slot) : "";
        this.before.disabled = page === 1;
        this.after.disabled = !next;
        this.element.querySelector(".pager").hidden = page === 1 && !next;
    }

    /* A signal came. A slot in sight is read by itself, others only count where they might have to be in sight. */
    async slotChanged(slot) {
        const entry = this.rows.get(slot);
        if (!entry) {
            const last = Math.max(0, ...this.rows.keys());
            this.added.add(slot);
            if (slot <= last || !this.next || this.reading.isGoingOn) /* what is being read may not have it */
                this.reading.again();
            else
                this.next = Math.min(this.next, slot); /* it came between this page and the next */
            return;
        }
        try {
            const row = await readRow(this.bus, slot);
            const now = this.rows.get(slot);
            /* A page that was being read meanwhile may have come before the change. */
            if (now !== entry || row.state === "empty" || this.filter.text || this.filter.state) {
                this.reading.again();
                return;
            }
            this.noteChange(slot, entry.row, row);
            const element = this.line(row);
            this.keepFocus(() => {
                entry.element.replaceWith(element);
                this.rows.set(slot, { row, element });
            });
        } catch (error) {
            this.reading.again();
        }
    }

    /* A slot to begin with where somebody has not chosen one: the first empty one in sight. */
    firstEmpty() {
        return [...this.rows.values()].find(({ row }) => row.state === "empty")?.row.slot ?? "";
    }

    line(row) {
        return line(row, this.changedAt.get(row.slot), name => {
            this.opened = { slot: row.slot, action: name };
            this.actions[name](row);
        });
    }
}

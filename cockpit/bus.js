/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * org.hubkey on the system bus, and what happens to it: hubkeyd comes, goes or changes, the bus is lost and is back.
 * The listener has
 *   present(version)  hubkeyd answers; everything known before may be out of date
 *   absent(why, bus)  it does not; the bus, or this object by itself, goes on looking. bus: it is the bus that is gone
 *   slotChanged(n)    a property of slot n, or that it came into use or is empty now
 *   tpmChanged()      TpmState may be another
 */

const cockpit = window.cockpit;

const NAME = "org.hubkey";
const ROOT = "/org/hubkey";
const MANAGER = "org.hubkey.Manager1";
const SLOT = "org.hubkey.Slot1";
const PROPERTIES = "org.freedesktop.DBus.Properties";

export const AGAIN_MS = 1000; /* between two attempts to reach a bus that is gone */

const slotPath = number => `${ROOT}/slot/${number}`;

/* { Name: { t, v } } as Cockpit gives an a{sv}, without the types. */
const plain = variants => Object.fromEntries(Object.entries(variants).map(([name, { v }]) => [name, v]));

export class Bus {
    constructor(listener) {
        this.listener = listener;
        this.waiting = []; /* who is to be told once hubkeyd answers */
        this.open();
    }

    open() {
        const client = cockpit.dbus(NAME, { bus: "system" });
        this.client = client;
        client.addEventListener("owner", (event, owner) => this.owned(owner));
        client.addEventListener("close", () => this.closed());
        client.subscribe({ interface: MANAGER, path: ROOT }, (path, iface, member, [slot]) => {
            if (member === "SlotAdded" || member === "SlotRemoved")
                this.listener.slotChanged(slot);
        });
        client.subscribe({ interface: PROPERTIES, member: "PropertiesChanged", path_namespace: ROOT },
            (path, iface, member, [of]) => this.changed(path, of));
        this.greet();
    }

    changed(path, iface) {
        if (iface === MANAGER)
            this.listener.tpmChanged();
        else if (iface === SLOT)
            this.listener.slotChanged(Number(path.slice(slotPath("").length)));
    }

    /* The call also starts hubkeyd where the bus can. */
    async greet() {
        const client = this.client;
        try {
            const version = await this.managerProperty("Version");
            if (client !== this.client)
                return;
            this.listener.present(version);
            this.waiting.splice(0).forEach(tell => tell());
        } catch (error) {
            if (client === this.client)
                this.listener.absent(error.message, Boolean(error.problem));
        }
    }

    /* Settled when hubkeyd answers: at once, or when it is back. */
    answers() {
        return new Promise(resolve => {
            this.waiting.push(resolve);
            this.greet();
        });
    }

    owned(owner) {
        if (owner)
            this.greet();
        else
            this.listener.absent("", false);
    }

    closed() {
        this.listener.absent("", true);
        window.setTimeout(() => this.open(), AGAIN_MS);
    }

    async call(path, iface, method, args) {
        return await this.client.call(path, iface, method, args);
    }

    async managerProperty(name) {
        return (await this.call(ROOT, PROPERTIES, "Get", [MANAGER, name]))[0].v;
    }

    /* A page of slots from number first on: { slots: [{ slot, state, storage, host, device }], next }. */
    async listSlots(first, max) {
        const [rows, next] = await this.call(ROOT, MANAGER, "ListSlots", [first, max]);
        return {
            slots: rows.map(([slot, state, storage, host, device]) => ({ slot, state, storage, host, device })),
            next,
        };
    }

    /* The properties of Slot1, or null where the slot is empty. */
    async slot(number) {
        try {
            return plain((await this.call(slotPath(number), PROPERTIES, "GetAll", [SLOT]))[0]);
        } catch (error) {
            if (error.name === "org.hubkey.Error.NotProvisioned")
                return null;
            throw error;
        }
    }

    async statistics() {
        return plain((await this.call(ROOT, MANAGER, "GetStatistics", []))[0]);
    }

    async tpmInfo() {
        return plain((await this.call(ROOT, MANAGER, "GetTpmInfo", []))[0]);
    }
}

/* A token by a connection of its own, as root where administrative access is on, else as whoever is logged in. */
export async function getToken(slot, scope, ttl) {
    const client = cockpit.dbus(NAME, { bus: "system", superuser: "try" });
    try {
        const [token, expires] = await client.call(slotPath(slot), SLOT, "GetToken", [scope, ttl],
            { type: "su" });
        return { token, expires };
    } finally {
        client.close();
    }
}

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One page of slots, whatever their number. Only the rows in sight are kept: a filter goes through hubkeyd's list piece
 * by piece, as far as it takes to fill the page, and drops what does not match.
 */

export const PAGE = 50;
export const TPM_SLOTS = 10; /* slots 0 to 9 are shown when they are empty, too: they can be chosen */
const PIECE = 1024;          /* what ListSlots gives at most */
const AT_ONCE = 8;           /* questions about single slots under way */

/* filter: { text: lower case or "", state: a word or "" } */
const matches = (row, { text, state }) =>
    (!state || row.state === state) &&
    (!text || [String(row.slot), row.host, row.device, row.audience || ""].some(
        value => value.toLowerCase().includes(text)));

const isFiltered = filter => Boolean(filter.text || filter.state);

/* What GetAll says, by the names of a row. */
function detailed(row, properties) {
    return {
        ...row,
        state: properties.State,
        storage: properties.Storage,
        host: properties.HostName,
        device: properties.DeviceId,
        module: properties.ModuleId,
        gateway: properties.GatewayHostName,
        audience: properties.Audience,
        keyName: properties.KeyName,
        reason: properties.StateReason,
        generation: properties.Generation,
        canUndo: properties.CanUndo,
        tpmName: properties.TpmName,
        defaultTtl: properties.DefaultTtl,
        maxTtl: properties.MaxTtl,
    };
}

const emptyRow = slot => ({ slot, state: "empty", storage: "", host: "", device: "" });

/* Runs work(item) for each, a few at once. */
async function each(items, work) {
    const left = [...items.keys()];
    const worker = async () => {
        for (let i = left.shift(); i !== undefined; i = left.shift())
            items[i] = await work(items[i]);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

async function complete(bus, rows) {
    await each(rows, async row => {
        if (row.state === "empty")
            return row;
        const properties = await bus.slot(row.slot);
        return properties ? detailed(row, properties) : emptyRow(row.slot);
    });
}

/* The rows that match, from slot number first on: a page of them, and one more if there is, which begins the next. */
async function filtered(bus, first, filter, isGivenUp) {
    const rows = [];
    let next = first;
    do {
        const piece = await bus.listSlots(next, PIECE);
        next = piece.next;
        /* ListSlots has no audience: only rows without a host need to be asked for what the filter compares. */
        if (filter.text)
            await each(piece.slots, async row => row.host || isGivenUp() ? row : await readRow(bus, row.slot));
        rows.push(...piece.slots.filter(row => matches(row, filter)));
    } while (next && rows.length <= PAGE && !isGivenUp());
    return { rows: rows.slice(0, PAGE), next: rows[PAGE]?.slot || 0 };
}

async function unfiltered(bus, first) {
    const { slots: rows, next } = await bus.listSlots(first, PAGE);
    return { rows, next };
}

/* The page from slot number first on: { rows, next }; next is where the following one begins, 0 where there is none.
 * isGivenUp tells whether nobody wants to know any more: then it is given up, and what comes is of no use. */
export async function readPage(bus, first, filter, isGivenUp = () => false) {
    const { rows, next } = isFiltered(filter) ? await filtered(bus, first, filter, isGivenUp)
        : await unfiltered(bus, first);
    if (isGivenUp())
        return { rows: [], next: 0 };
    const shown = first === 0 && !isFiltered(filter) ? withEmpty(rows) : rows;
    await complete(bus, shown);
    /* A slot may have been cleared since it was listed. */
    return { rows: shown.filter(row => row.state !== "empty" || (row.slot < TPM_SLOTS && !isFiltered(filter))), next };
}

function withEmpty(rows) {
    const used = new Map(rows.map(row => [row.slot, row]));
    const low = Array.from({ length: TPM_SLOTS }, (nothing, slot) => used.get(slot) || emptyRow(slot));
    return [...low, ...rows.filter(row => row.slot >= TPM_SLOTS)];
}

export async function readRow(bus, slot) {
    const properties = await bus.slot(slot);
    return properties ? detailed({ slot }, properties) : emptyRow(slot);
}

/* The same, once hubkeyd answers again where it does not now. */
export async function readRowAtLast(bus, slot) {
    for (;;) {
        try {
            return await readRow(bus, slot);
        } catch (error) {
            if (error.name?.startsWith("org.hubkey.Error."))
                throw error;
            await bus.answers();
        }
    }
}

/* "module m of d", "d", or the policy and resource of an audience; "" for an empty slot. */
export function whose(row) {
    if (row.audience)
        return `${row.keyName} @ ${row.audience}`;
    return row.module ? `${row.device}/${row.module}` : row.device;
}

/* "dev-1 @ myhub.azure-devices.net" */
export const identity = row => row.host ? `${whose(row)} @ ${row.host}` : whose(row);

// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// The table of slots, live: what hubkeyctl does meanwhile, and hubkeyd or the TPM going and coming back.
'use strict';

const { holds, ok } = require('./tap.js');
const machine = require('./machine.js');
const { action, key, shows } = require('./page.js');

async function table({ frame }) {
    await holds(shows(frame, 0, 'ready'), 'slot 0 is in the table, ready');
    const row = await frame.innerText('tr[data-slot="0"]');
    const { HUBKEY_DEVICE_ID: device, HUBKEY_HUB_HOST: host } = process.env;
    ok(row.includes(device) && row.includes(host), 'with its device and hub', row);
    ok(await frame.locator('tr[data-state=empty]').count() === 9, 'slots 1 to 9 are there to be chosen');
}

// No reload: a mark on the window would be gone.
async function live({ frame }) {
    await frame.evaluate(() => { window.sameDocument = true; });
    machine.provision(7, 'seven');
    await holds(shows(frame, 7, 'ready'), 'a slot that hubkeyctl fills appears');
    machine.provision(12, 'twelve');
    await holds(shows(frame, 12, 'ready'), 'one in a file, too');
    machine.ctl(['rotate', '7', '--key-file', '-'], key());
    await holds(frame.waitForSelector('tr[data-slot="7"] td[data-title=Changes]:has-text("2")'),
        'a rotation is counted');
    machine.ctl(['clear', '7', '--yes']);
    await holds(shows(frame, 7, 'empty'), 'a slot that it clears is empty');
    ok(await frame.evaluate(() => window.sameDocument), 'all of it without a reload');
}

async function filter({ frame }) {
    await frame.fill('#slots-filter', 'TWELVE');
    await holds(frame.waitForSelector('tbody tr:only-child[data-slot="12"]'),
        'the filter finds a device whatever its case');
    await frame.selectOption('#slots-state', 'tampered');
    await holds(frame.waitForSelector('.note:has-text("No slot matches")'), 'and says when nothing matches');
    await frame.selectOption('#slots-state', '');
    await frame.fill('#slots-filter', '');
    await holds(shows(frame, 1, 'empty'), 'without it all are there again');
}

// More slots than a page has: turned over, a new one above the last, and a page that loses all it has.
async function pages({ frame }) {
    const used = machine.ctl(['list', '--json']).trim().split('\n').length;
    const [first, full] = [20, 20 + 50 - used - 1]; // with these a page is full
    const last = full + 10;
    const each = (from, to, work) => Array.from({ length: to - from + 1 }, (nothing, i) => work(from + i));
    const fill = slot => machine.provision(slot, `many-${slot}`);
    const clear = slot => machine.ctl(['clear', String(slot), '--yes']);
    const place = text => frame.waitForSelector(`.place:has-text("${text}")`, { state: 'attached' });
    const turn = name => frame.click(`.pager button:has-text("${name}")`);
    each(first, full, fill);
    await holds(place(`Slots 0 to ${full}`), 'fifty slots are one page');
    ok(await frame.locator('.pager').isHidden(), 'with no other');
    fill(last);
    await holds(frame.waitForSelector('.pager button:has-text("Next"):enabled'), 'one more is seen to need another');
    each(full + 1, last - 1, fill);
    await frame.evaluate(async () => {
        // Behind the signals of what was filled, on the same connection of Cockpit's bridge.
        const client = window.cockpit.dbus('org.hubkey', { bus: 'system' });
        await client.call('/org/hubkey', 'org.freedesktop.DBus.Peer', 'Ping', []);
        const next = [...document.querySelectorAll('.pager button')].find(one => one.textContent === 'Next');
        next.click();
        next.click();
    });
    await holds(place(`Slots ${full + 1} to ${last}`), 'Next leads there, pressed twice too');
    ok(await frame.locator('tbody tr').count() === 10, 'to the rest', await frame.locator('tbody tr').count());
    await turn('Previous');
    await holds(place(`Slots 0 to ${full}`), 'and Previous back');
    await frame.focus(action(30, 'rotate'));
    machine.ctl(['rotate', '30', '--key-file', '-'], key());
    await frame.waitForSelector(action(30, 'undo'));
    ok(await frame.evaluate(() => document.activeElement.dataset.action) === 'rotate',
        'a row that changes keeps the focus');
    await frame.fill('#slots-filter', 'MANY-');
    await holds(place('Slots 20 to 69'), 'a filter has pages, too');
    await turn('Next');
    await holds(place(`Slots 70 to ${last}`), 'that can be turned');
    each(70, last, clear);
    await holds(place('Slots 20 to 69'), 'a page whose slots are all gone is left');
    ok(await frame.locator('.pager').isHidden(), 'and exactly fifty that match have no next page');
    await frame.fill('#slots-filter', '');
    each(first, 69, clear);
    await holds(frame.waitForSelector('tr[data-slot="30"]', { state: 'detached' }), 'all of them are gone at last');
}

// hubkeyd ends with the bus, and its supervisor starts it again.
async function busRestart({ frame }) {
    machine.kill('bus');
    await holds(frame.waitForSelector('main[data-daemon=absent] .alert.danger:has-text("system bus does not answer")'),
        'a bus that is gone is told');
    await frame.evaluate(() => { document.querySelector('#notices .alert').dataset.said = 'once'; });
    await holds(attempts(frame, 3), 'it is looked for, again and again');
    ok(await frame.locator('#notices [data-said=once]').count() === 1, 'but told once');
    ok((await frame.innerText('.service')).includes('systemd does not answer'), 'the service is not known either');
    machine.restart('bus');
    machine.restart('hubkeyd');
    await holds(frame.waitForSelector('main[data-daemon=present] tr[data-slot="12"]'), 'and back, the page goes on');
    machine.ctl(['clear', '12', '--yes']);
    await holds(frame.waitForSelector('tr[data-slot="12"]', { state: 'detached' }), 'and hears of changes again');
}

// That many attempts of the page to reach the bus, from now on.
async function attempts(frame, count) {
    await frame.evaluate(() => {
        window.attempts = 0;
        const { dbus } = window.cockpit;
        window.cockpit.dbus = (name, ...rest) => {
            window.attempts += name === 'org.hubkey' ? 1 : 0;
            return dbus(name, ...rest);
        };
    });
    return frame.waitForFunction(most => window.attempts >= most, count);
}

async function comings({ frame }) {
    machine.kill('hubkeyd');
    await holds(frame.waitForSelector('main[data-daemon=absent] .alert.danger:has-text("hubkeyd does not answer")'),
        'a hubkeyd that is gone is told');
    machine.restart('hubkeyd');
    await holds(frame.waitForSelector('main[data-daemon=present] tr[data-slot="12"]'),
        'and back, all is there by itself');
    machine.kill('swtpm');
    machine.useTpm();
    await holds(frame.waitForSelector('.alert.danger:has-text("TPM:")'), 'a TPM that is gone is told');
    machine.restart('swtpm');
    await holds(frame.waitForSelector('main[data-tpm=ready]'), 'and that it is back');
    ok(await frame.locator('#notices .alert').count() === 0, 'with nothing left to say');
}

module.exports = { table, live, filter, pages, comings, busRestart };

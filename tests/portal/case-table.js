// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// The table of slots, live: what hubkeyctl does meanwhile, and hubkeyd or the TPM going and coming back.
'use strict';

const { holds, ok } = require('./tap.js');
const machine = require('./machine.js');
const { key, shows } = require('./page.js');

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
    machine.ctl(['provision', '7', '--connection-string-file', '-'], machine.connectionString('seven', key()));
    await holds(shows(frame, 7, 'ready'), 'a slot that hubkeyctl fills appears');
    machine.ctl(['provision', '12', '--connection-string-file', '-'], machine.connectionString('twelve', key()));
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

// hubkeyd ends with the bus, and its supervisor starts it again.
async function busRestart({ frame }) {
    machine.kill('bus');
    await holds(frame.waitForSelector('main[data-daemon=absent]'), 'a bus that is gone is told');
    machine.restart('bus');
    machine.restart('hubkeyd');
    await holds(frame.waitForSelector('main[data-daemon=present] tr[data-slot="12"]'), 'and back, the page goes on');
    machine.ctl(['clear', '12', '--yes']);
    await holds(frame.waitForSelector('tr[data-slot="12"]', { state: 'detached' }), 'and hears of changes again');
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

module.exports = { table, live, filter, comings, busRestart };

// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// What happens to a slot while a dialog about it is open: nothing is done to what the dialog did not show.
'use strict';

const { holds, ok } = require('./tap.js');
const machine = require('./machine.js');
const { SECRET, action, cancel, failed, key, shows, submit } = require('./page.js');

const { shown } = machine;

function exchange(slot, device) {
    machine.ctl(['clear', String(slot), '--yes']);
    machine.provision(slot, device);
}

async function refilled({ frame }) {
    machine.provision(8, 'shown');
    machine.ctl(['rotate', '8', '--key-file', '-'], key());
    await frame.waitForSelector(action(8, 'undo'));
    for (const name of ['clear', 'undo', 'rotate', 'token']) {
        await frame.click(action(8, name));
        if (name === 'rotate')
            await frame.fill(SECRET, key());
        exchange(8, 'another');
        const before = shown(8);
        await submit(frame);
        await holds(failed(frame, 'changed meanwhile: Ready, another'), `${name}: a slot that was refilled is told`);
        ok(shown(8).generation === before.generation, 'and is left alone', JSON.stringify(shown(8)));
        await cancel(frame);
        exchange(8, 'shown');
        machine.ctl(['rotate', '8', '--key-file', '-'], key());
        await frame.waitForSelector(`tr[data-slot="8"]:has-text("shown") [data-action=undo]`);
    }
    await frame.click(action(8, 'clear'));
    machine.ctl(['clear', '8', '--yes']);
    await submit(frame);
    await holds(failed(frame, 'changed meanwhile: Empty'), 'so is one that was cleared');
    await cancel(frame);
    await shows(frame, 8, 'empty');
    ok(await frame.evaluate(() => document.activeElement.closest('tr')?.dataset.slot) === '8',
        'the focus is in the row that it came from');
}

// Another key than the dialog shows stands in the TPM.
async function adopted({ frame }) {
    machine.windowsSlot('9', 'first', key());
    await shows(frame, 9, 'found');
    await frame.click(action(9, 'adopt'));
    machine.windowsSlot('9', 'second', key());
    await frame.waitForSelector('tr[data-slot="9"]:has-text("second")');
    await submit(frame);
    await holds(failed(frame, 'changed meanwhile: Found, not in use, second'),
        'a key that was exchanged is not adopted');
    const { state, host_name: host, tpm_name: name } = shown(9);
    ok(state === 'found', 'and stays what it is', state);
    await cancel(frame);
    machine.ctl(['adopt', '9', '--host-name', host, '--device-id', 'second', '--name', name]);
    machine.ctl(['clear', '9', '--yes']);
    await shows(frame, 9, 'empty');
}

// As the shell's menu does it; Cockpit loads its pages anew then.
async function accessLost({ frame }) {
    await frame.click(action(0, 'clear'));
    await frame.evaluate(async () => {
        const client = window.cockpit.dbus(null, { bus: 'internal' });
        await client.call('/superuser', 'cockpit.Superuser', 'Stop', []);
    }).catch(() => null); // the page may be gone before it says that it did
    await holds(frame.waitForSelector('main[data-admin=false] tr[data-slot="0"]'), 'access that is given up is told');
    ok(await frame.locator('dialog').count() === 0, 'and nothing can be done with a dialog that was open');
    await frame.click(action(0, 'clear'));
    await holds(frame.waitForSelector('dialog:has-text("Administrative access is missing")'),
        'nor with one that is opened then');
    await cancel(frame);
    ok(shown(0).state === 'ready', 'so that the slot is what it was');
}

module.exports = { refilled, adopted, accessLost };

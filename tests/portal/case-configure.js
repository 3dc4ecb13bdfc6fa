// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// Configuring a slot by its parts and for an audience; what becomes of a secret that is not saved, and of a Save that
// is cut short.
'use strict';

const { holds, ok } = require('./tap.js');
const { judge } = require('./case-looks.js');
const machine = require('./machine.js');
const { SECRET, action, cancel, failed, key, shows, submit } = require('./page.js');
const { inDocument, keepsSecret } = require('./secrecy.js');

const HOST = 'myhub.azure-devices.net';
const fill = (frame, label, text) => frame.getByLabel(label, { exact: true }).fill(text);
const choose = (frame, way) => frame.check(`dialog label:has-text("${way}") input`);
const proved = frame => frame.waitForFunction(
    () => document.querySelectorAll('dialog .steps [data-step=done]').length === 3);
const { shown } = machine;

async function clearSlots(frame, ...slots) {
    for (const slot of slots) {
        machine.ctl(['clear', String(slot), '--yes']);
        await frame.waitForSelector(`tr[data-slot="${slot}"]:not([data-state=empty])`, { state: 'detached' });
    }
}

async function open(frame, slot) {
    await frame.click('#configure');
    await frame.fill('dialog input[type=number]', String(slot));
}

async function byFields({ frame }, { axe }) {
    await open(frame, 6);
    await choose(frame, 'Host name, device');
    await fill(frame, 'Host name', `https://${HOST}`);
    await submit(frame);
    await holds(failed(frame, 'Host name: only the name'), 'a mistake in a field is told');
    ok(await frame.evaluate(() => document.activeElement.getAttribute('aria-invalid')) === 'true',
        'and the field has the focus');
    await fill(frame, 'Host name', HOST);
    await fill(frame, 'Device ID', `d,SharedAccessKey=${key()}`);
    await submit(frame);
    await holds(failed(frame, 'Device ID: this looks like'), 'so is a key among what everybody may read');
    await fill(frame, 'Device ID', 'by-fields');
    await fill(frame, 'Primary key', key());
    await frame.click('dialog summary:has-text("Module or gateway")');
    await fill(frame, 'Gateway', 'edge.local');
    await frame.click('dialog summary:has-text("Where the key is kept")');
    await frame.selectOption('dialog select', 'file');
    await judge(frame, axe, 'Configure by parts');
    await submit(frame);
    await holds(proved(frame), 'host name, device ID and key make a slot');
    await judge(frame, axe, 'what Save did');
    await cancel(frame);
    const slot = shown(6);
    ok(slot.device_id === 'by-fields' && slot.gateway_host_name === 'edge.local' && slot.storage === 'file',
        'with gateway and storage as chosen', JSON.stringify(slot));
    await open(frame, 14);
    await choose(frame, 'Host name, device');
    await frame.click('dialog summary:has-text("Module or gateway")');
    for (const [label, text] of [['Host name', HOST], ['Device ID', 'd'], ['Module ID', 'm'], ['Primary key', key()]])
        await fill(frame, label, text);
    await submit(frame);
    await holds(proved(frame), 'and a module one');
    await cancel(frame);
    ok(shown(14).module_id === 'm', 'of that module', JSON.stringify(shown(14)));
    await clearSlots(frame, 6, 14);
}

async function byOther({ frame }, { axe }) {
    const string = `Endpoint=sb://space.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=${key()}`;
    await open(frame, 15);
    await choose(frame, 'Other');
    for (const [label, text] of [['Resource', string], ['Policy (key name)', string], ['Key', key()]])
        await fill(frame, label, text);
    await submit(frame);
    await holds(failed(frame, 'without a key'), 'a connection string is no resource');
    await fill(frame, 'Resource', 'sb://space.servicebus.windows.net/readings');
    await submit(frame);
    await holds(failed(frame, 'only the policy'), 'nor a policy');
    await fill(frame, 'Policy (key name)', 'send');
    await fill(frame, 'Key', string);
    await submit(frame);
    await holds(failed(frame, 'give the key alone'), 'nor a key');
    await judge(frame, axe, 'Other, and what is wrong there');
    await fill(frame, 'Key', 'a key is any text');
    await submit(frame);
    await holds(proved(frame), 'resource, policy and key make a slot of Event Hubs');
    await cancel(frame);
    ok(shown(15).key_name === 'send', 'of that policy', JSON.stringify(shown(15)));
    await clearSlots(frame, 15);
}

// Cancel, another way, a mistake: the page keeps no more than the field does while it is shown.
async function secrets(session) {
    const { frame } = session;
    const secret = key();
    const gone = async what => ok(!(await inDocument(frame)).includes(secret), what);
    await frame.click(action(5, 'configure'));
    ok(await frame.getAttribute(SECRET, 'autocomplete') === 'new-password',
        'no browser fills the login of this address into a key\'s field');
    await frame.fill(SECRET, `HostName=${HOST};DeviceId=dSharedAccessKey=${secret}`);
    await frame.waitForSelector('dialog .parts .wrong:has-text("; is missing")');
    ok(!(await frame.innerHTML('dialog')).includes(secret), 'a key that a line end was lost before is not shown');
    await choose(frame, 'Host name, device');
    await gone('what was pasted is gone when another way is chosen');
    await fill(frame, 'Primary key', secret);
    await choose(frame, 'Connection string');
    await gone('in both directions');
    await frame.fill(SECRET, machine.connectionString('d', secret));
    await cancel(frame);
    await gone('and when the dialog is left');
    await frame.click('#configure');
    await frame.fill('dialog input[type=number]', '0');
    await frame.fill(SECRET, machine.connectionString('d', secret));
    await keepsSecret(session, { verb: 'provision', identity: 'by-page', key: secret }, async () => {
        await submit(frame);
        await holds(frame.waitForSelector('dialog .steps .failed:has-text("hubkeyctl clear 0")'),
            'a Save that is refused says why');
        await holds(frame.waitForSelector('dialog .steps .done:has-text("Slot 0: Ready, by-page")'),
            'and what is in the slot');
    });
    ok(await frame.locator('dialog button[type=submit]').count() === 0, 'it cannot be pressed again');
    await cancel(frame);
}

// hubkeyd is stopped as hubkeyctl talks to it, killed, and comes back.
async function restarted({ frame }) {
    await frame.click(action(4, 'configure'));
    await frame.fill(SECRET, machine.connectionString('cut-short', key()));
    machine.signal('hubkeyd', 'SIGSTOP');
    await submit(frame);
    await machine.runs('hubkeyctl', 'provision');
    machine.kill('hubkeyd');
    await holds(frame.waitForSelector('dialog .steps .failed'), 'a Save that hubkeyd did not live to see fails');
    await holds(frame.waitForSelector('dialog button:has-text("Close"):enabled'), 'and can be left');
    machine.restart('hubkeyd');
    await holds(frame.waitForSelector('dialog .steps .done:has-text("Slot 4: Empty")'),
        'what is in the slot is told when hubkeyd is back');
    await cancel(frame);
}

// Where the configuration allows some scopes only, the key is good and the proof refused.
async function scoped({ frame }) {
    machine.configure('scopes', '[slot 4]\nScopes=messages/events\n');
    await frame.click(action(4, 'configure'));
    await frame.fill(SECRET, machine.connectionString('scoped', key()));
    await submit(frame);
    await holds(frame.waitForSelector('dialog .steps .failed:has-text("Try it")'), 'a refused proof says what to do');
    await holds(frame.waitForSelector('dialog .steps .done:has-text("Slot 4: Ready, scoped")'),
        'and that the key is in');
    await cancel(frame);
    machine.configure('scopes', null);
    await clearSlots(frame, 4);
    await holds(shows(frame, 4, 'empty'), 'it can be cleared');
}

module.exports = { byFields, byOther, secrets, restarted, scoped };

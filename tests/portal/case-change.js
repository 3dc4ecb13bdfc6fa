// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// A key goes into slot 0 by the page, the hub takes a message by a token of it; rotated, undone, adopted, cleared.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const https = require('node:https');

const { holds, ok } = require('./tap.js');
const { judge } = require('./case-looks.js');
const machine = require('./machine.js');
const { SECRET, action, cancel, closed, failed, key, shows, submit } = require('./page.js');
const { keepsSecret } = require('./secrecy.js');

const DEVICE = 'by-page';

// One event with that token; the status the hub answers.
function post(device, token) {
    const port = process.env.HUBKEY_CONNECT_TO.split(':').at(-1);
    const host = process.env.HUBKEY_HUB_HOST;
    return new Promise((resolve, reject) => {
        const request = https.request({
            host: '127.0.0.1', port, servername: host, method: 'POST', ca: fs.readFileSync(process.env.HUBKEY_CA_FILE),
            path: `/devices/${device}/messages/events?api-version=2020-03-13`,
            headers: { Host: host, Authorization: token, 'Content-Type': 'application/octet-stream' },
        }, answer => { answer.resume(); resolve(answer.statusCode); });
        request.on('error', reject);
        request.end('from the page');
    });
}

async function mistakes(frame) {
    const string = frame.locator(SECRET);
    const wrong = async (text, part, what) => {
        await string.fill(text);
        await holds(frame.waitForSelector(`dialog .parts .wrong:has-text("${part}")`), what);
    };
    await wrong('HostName=https://h.azure-devices.net;DeviceId=d', 'only the name', 'a URL for a host is pointed at');
    await wrong(`HostName=h.azure-devices.net;DeviceId=a b;`, 'cannot stand in an ID', 'a space in an ID is');
    await wrong('HostName=h.azure-devices.net;DeviceId=d;SharedAccessKey=abc', 'cut off', 'a key that is cut off is');
    await wrong('HostNme=h.azure-devices.net', 'name that does not belong', 'an unknown part is');
    await submit(frame);
    await holds(frame.waitForSelector('dialog .alert.danger'), 'none of them is saved');
    await string.fill('HostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=YWJj');
    await holds(frame.waitForSelector('dialog .verdict.wrong:has-text("of the hub")'),
        'the hub\'s own string is told from a device\'s');
}

async function configure(session) {
    const { frame } = session;
    const secret = key();
    machine.ctl(['clear', '0', '--yes']);
    await machine.hub('/devices', { deviceId: DEVICE, primaryKey: secret });
    await frame.click(action(0, 'configure'));
    await mistakes(frame);
    await frame.fill(SECRET, machine.connectionString(DEVICE, secret));
    ok((await frame.innerText('dialog .parts')).includes(DEVICE), 'a whole one is taken apart',
        await frame.innerText('dialog .parts'));
    ok(await frame.locator('dialog input[type=number]').getAttribute('readonly') !== null,
        'the slot is the one that was chosen');
    await keepsSecret(session, { verb: 'provision', identity: DEVICE, key: secret }, async () => {
        await submit(frame);
        await holds(frame.waitForFunction(
            () => document.querySelectorAll('dialog .steps [data-step=done]').length === 3),
        'the key is put into the TPM, read back, and proved by a token');
        ok(await frame.evaluate(() => document.activeElement.textContent) === 'Close', 'Close has the focus');
        await cancel(frame);
        await holds(shows(frame, 0, 'ready'), 'slot 0 is ready');
    });
}

async function token(session) {
    const { frame } = session;
    const calls = () => session.noted.frames.filter(text => text.includes('"GetToken"')).length;
    const asked = calls();
    await frame.evaluate(() => {
        window.now = Date.now;
        Date.now = () => window.now() - 3600000;
    });
    await frame.click(action(0, 'token'));
    await frame.fill('dialog input[type=number]', '300');
    ok(calls() === asked, 'no token before it is asked for');
    await submit(frame);
    await frame.waitForSelector('dialog .countdown:has-text("Ends in")');
    const text = await frame.inputValue('dialog textarea');
    await frame.click('dialog button:has-text("Copy")');
    await frame.waitForSelector('dialog .token [role=status]:has-text("Copied")');
    ok(await frame.evaluate(() => navigator.clipboard.readText()) === text, 'it can be copied');
    const first = await frame.innerText('dialog .countdown');
    ok(/in (300|29\d) s/.test(first), 'its end does not depend on the browser\'s clock, which is an hour slow', first);
    await frame.evaluate(() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); });
    await frame.click('dialog button:has-text("Copy")');
    await frame.waitForSelector('dialog .token [role=status]:has-text("Ctrl-C")');
    ok(await frame.evaluate(() => window.getSelection().toString()) === text, 'or selected where that is refused');
    await holds(frame.waitForFunction(was => document.querySelector('dialog .countdown').innerText !== was, first),
        'its end is counted down');
    ok(await post(DEVICE, text) === 204, 'the hub accepts a message with it');
    await frame.fill('dialog input[type=number]', '99999999');
    await submit(frame);
    await holds(failed(frame, 'lives 1 to'),
        'a life beyond the bound is told');
    await cancel(frame);
    await frame.evaluate(() => { Date.now = window.now; });
}

// At work a dialog stays, whatever is pressed; hubkeyd is stopped meanwhile.
async function busy({ page, frame }) {
    await frame.click(action(0, 'token'));
    machine.signal('hubkeyd', 'SIGSTOP');
    await submit(frame);
    await frame.waitForSelector('dialog form[aria-busy=true]');
    for (let i = 0; i < 3; i += 1)
        await page.keyboard.press('Escape');
    ok(await frame.locator('dialog[open]').count() === 1, 'Escape does not close a dialog that is at work');
    machine.signal('hubkeyd', 'SIGCONT');
    await holds(frame.waitForSelector('dialog .countdown:has-text("Ends in")'), 'which comes to its end');
    await page.keyboard.press('Escape');
    await holds(closed(frame), 'and is closed then');
}

async function rotate(session) {
    const { frame } = session;
    await frame.click(action(0, 'rotate'));
    await frame.fill(SECRET, 'not a key');
    await submit(frame);
    await holds(failed(frame, 'not base64'),
        'what is no key is not rotated to');
    const next = key();
    await frame.fill(SECRET, next);
    await keepsSecret(session, { verb: 'rotate', waitsFor: 'swtpm', identity: DEVICE, key: next }, async () => {
        await submit(frame);
        await closed(frame);
        await holds(frame.waitForSelector(action(0, 'undo')), 'rotated, and it can be undone');
    });
    await frame.click(action(0, 'undo'));
    ok((await frame.innerText('dialog p')).includes(DEVICE), 'undoing says which device it is about');
    await submit(frame);
    await closed(frame);
    await holds(frame.waitForSelector(action(0, 'undo'), { state: 'detached' }), 'undone, once');
}

// A slot of Event Hubs: only a string of its own resource and policy may rotate it.
async function audience({ frame }) {
    const resource = 'sb://space.servicebus.windows.net/readings';
    const [next, foreign] = [key(), key()];
    const string = (name, policy, secret) => `Endpoint=sb://space.servicebus.windows.net/;` +
        `SharedAccessKeyName=${policy};SharedAccessKey=${secret};EntityPath=${name}`;
    const signature = () => Object.fromEntries(machine.ctl(['token', '11']).trim().split(' ')[1].split('&')
        .map(part => part.split('=').map(decodeURIComponent)));
    const isBy = (secret, { sr, se, sig }) => sig === crypto.createHmac('sha256', secret)
        .update(`${encodeURIComponent(sr)}\n${se}`).digest('base64');
    machine.ctl(['provision', '11', '--audience', resource, '--key-name', 'send', '--key-file', '-'], key());
    await shows(frame, 11, 'ready');
    await frame.click(action(11, 'rotate'));
    for (const [name, policy] of [['other', 'send'], ['readings', 'listen']]) {
        await frame.fill(SECRET, string(name, policy, foreign));
        await submit(frame);
        await holds(failed(frame, 'another resource or policy'),
            `an audience's slot is not rotated by a string of ${name}, ${policy}`);
        await frame.fill(SECRET, '');
        await submit(frame);
        await failed(frame, 'is missing');
    }
    await frame.fill(SECRET, string('readings', 'send', next));
    await submit(frame);
    await closed(frame);
    await holds(frame.waitForSelector(action(11, 'undo')), 'but by its own');
    ok(isBy(next, signature()), 'whose key makes its tokens');
    machine.ctl(['clear', '11', '--yes']);
    await frame.waitForSelector('tr[data-slot="11"]', { state: 'detached' });
}

async function adopt({ frame }) {
    const secret = key();
    await machine.hub('/devices', { deviceId: 'left-behind', primaryKey: secret });
    machine.windowsSlot('3', 'left-behind', secret);
    await holds(shows(frame, 3, 'found'), 'a key that Windows left in the TPM is found');
    await frame.click(action(3, 'adopt'));
    const shown = await frame.innerText('dialog .parts');
    const { tpm_name: name } = machine.shown(3);
    ok(shown.includes('left-behind') && shown.includes(name), 'identity and Name are shown', shown);
    await submit(frame);
    await closed(frame);
    await holds(shows(frame, 3, 'ready'), 'adopted');
    ok(await post('left-behind', machine.ctl(['token', '3']).trim()) === 204, 'and the hub accepts its tokens');
}

async function clear({ frame }) {
    await frame.click(action(3, 'clear'));
    ok((await frame.innerText('dialog p')).includes('left-behind'), 'clearing says which device it is about');
    await cancel(frame);
    await frame.click(action(3, 'clear'));
    await submit(frame);
    await closed(frame);
    await holds(shows(frame, 3, 'empty'), 'cleared');
}

// Without access, or with the wrong password for it.
async function refused({ frame }, { axe }) {
    await frame.click(action(0, 'token'));
    await submit(frame);
    await holds(failed(frame, 'hubkey-out'), 'a token is refused to who has no right to it, with the reason');
    await cancel(frame);
    for (const [slot, name] of [[1, 'configure'], [0, 'rotate'], [0, 'clear']]) {
        await frame.click(action(slot, name));
        await holds(frame.waitForSelector('dialog:has-text("Administrative access is missing")'),
            `${name} says what is missing`);
        ok(await frame.locator('dialog button[type=submit]').count() === 0, 'and does not offer to be done');
        if (name !== 'clear')
            await cancel(frame);
    }
    await judge(frame, axe, 'access is missing');
    await frame.click('dialog button:has-text("Turn on")');
    const password = frame.locator(SECRET);
    await password.fill(process.env.HUBKEY_PORTAL_VIEWER_PASSWORD);
    await frame.click('dialog button[type=submit]');
    const again = frame.locator('dialog button:has-text("Try again")');
    await holds(again.waitFor(), 'who may not use sudo is refused, with the reason');
    ok(await password.isDisabled() && await frame.locator('dialog button[type=submit]').isDisabled(),
        'there is nothing to answer then');
    await judge(frame, axe, 'access is refused');
    await again.click();
    await holds(frame.waitForSelector(`${SECRET}:enabled`), 'but it can be tried again, and asks again');
    const sudo = await machine.runs('sudo');
    process.kill(sudo, 'SIGSTOP'); // it neither asks nor ends then
    await password.fill('any');
    await frame.locator('dialog button[type=submit]').last().click();
    await frame.waitForSelector('dialog form[aria-busy=true]');
    await frame.locator('dialog .dialog-buttons .link').last().click(); // it lies on the one that it was asked from
    await holds(cancel(frame), 'or be left, even while sudo takes its time');
    process.kill(sudo, 'SIGCONT');
    ok(machine.shown(0).state === 'ready', 'and the slot is what it was');
}

module.exports = { configure, token, busy, rotate, audience, adopt, clear, refused };

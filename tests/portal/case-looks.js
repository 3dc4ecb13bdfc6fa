// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// How the page looks and reads, light and dark, wide and narrow: judged by axe-core, and pictured for docs/portal.md.
// The pictures go to the folder HUBKEY_PORTAL_PICTURES, where it is set; that is how docs/images is renewed.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { holds, ok } = require('./tap.js');
const machine = require('./machine.js');
const { SECRET, action, cancel, closed, key, points, shows, submit } = require('./page.js');

const SERIOUS = ['serious', 'critical'];

async function judge(frame, axe, what) {
    await frame.evaluate(axe);
    const { violations } = await frame.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
    const serious = violations.filter(({ impact }) => SERIOUS.includes(impact));
    ok(serious.length === 0, `axe-core finds nothing serious: ${what}`, serious.map(({ help, nodes }) =>
        `${help}\n${nodes.map(({ html, failureSummary }) => `  ${html}\n  ${failureSummary}`).join('\n')}`).join('\n'));
}

// Once light, once dark; the page follows without a reload.
async function inBoth({ page, frame }, { axe, pictures }, name, shoot) {
    for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme });
        await frame.waitForFunction(dark => document.documentElement.classList.contains('dark') === dark,
            colorScheme === 'dark');
        await shoot(path.join(pictures, `${name}-${colorScheme}.png`));
        await judge(frame, axe, `${name}, ${colorScheme}`);
    }
    await page.emulateMedia({ colorScheme: 'light' });
}

// A slot of each kind: in the TPM, found, tampered with, foreign, a module's, an audience's, damaged.
async function prepare({ frame }) {
    const string = device => `HostName=myhub.azure-devices.net;DeviceId=${device};SharedAccessKey=${key()}`;
    const provision = (slot, device) => machine.ctl(['provision', slot, '--connection-string-file', '-'],
        string(device));
    provision('1', 'weather-station');
    provision('2', 'gate-keeper');
    machine.ctl(['provision', '10', '--host-name', 'myhub.azure-devices.net', '--device-id', 'weather-station',
        '--module-id', 'camera', '--key-file', '-'], key());
    machine.ctl(['provision', '11', '--audience', 'sb://myspace.servicebus.windows.net/readings', '--key-name', 'send',
        '--key-file', '-'], key());
    provision('12', 'pump');
    machine.lose('2');
    await shows(frame, 2, 'found');
    machine.damage('12');
    await shows(frame, 12, 'damaged');
    provision('3', 'turnstile');
    machine.windowsSlot('3', 'stranger', key());
    machine.foreign('4');
    await holds(shows(frame, 3, 'tampered'), 'a slot whose key was exchanged is told as tampered with');
    await holds(shows(frame, 4, 'foreign'), 'and one where something else stands');
    const told = slot => frame.innerText(`tr.danger[data-slot="${slot}"]`);
    await frame.click('tr[data-slot="3"] summary');
    await frame.click('tr[data-slot="4"] summary');
    ok(/No token is given until you clear/.test(await told(3)), 'with what it means', await told(3));
    ok(await frame.locator(`tr[data-slot="3"] .primary[data-action=clear]`).count() === 1, 'and what cures it');
    ok(/not a device key[^]*tpm2_/.test(await told(4)), 'or the commands that do', await told(4));
    await frame.click('tr[data-slot="3"] summary');
    await frame.click('tr[data-slot="4"] summary');
}

// Every dialog that the table opens; those of access and of Configure are looked at elsewhere.
async function dialogs(session, means) {
    const { page, frame } = session;
    const look = async name => {
        for (const colorScheme of ['light', 'dark']) {
            await page.emulateMedia({ colorScheme });
            await judge(frame, means.axe, `${name}, ${colorScheme}`);
        }
        await page.emulateMedia({ colorScheme: 'light' });
    };
    for (const [slot, name] of [[1, 'rotate'], [2, 'adopt'], [3, 'clear']]) {
        await frame.click(action(slot, name));
        if (name === 'rotate')
            await frame.fill(SECRET, 'HostName=h;DeviceId=d');
        await look(name);
        await cancel(frame);
    }
    await frame.click(action(1, 'token'));
    await submit(frame);
    await frame.waitForSelector('dialog .countdown:has-text("Ends in")');
    await look('a token');
    await cancel(frame);
    await frame.click('#doctor-run');
    await frame.waitForSelector('#doctor li[data-level=bad]');
    await frame.waitForSelector('#doctor-run:enabled');
    await look('what the doctor finds');
    await frame.click(action(3, 'clear'));
    await submit(frame);
    await closed(frame);
}

async function table(session, means) {
    const { frame } = session;
    await prepare(session);
    await frame.evaluate(() => window.scrollTo(0, 0));
    await buttons(session);
    await inBoth(session, means, 'table', file => session.page.screenshot({ path: file }));
    await dialogs(session, means);
    machine.vacate('3', '4');
    for (const slot of ['1', '10', '11', '12'])
        machine.ctl(['clear', slot, '--yes']);
    for (const slot of [3, 4])
        await shows(frame, slot, 'empty');
}

async function buttons({ frame }) {
    const texts = await frame.locator('button').allTextContents();
    ok(texts.every(text => /\w/.test(text)), 'every button says what it does', texts.join(', '));
}

async function dialog(session, means) {
    const { page, frame } = session;
    await frame.click(action(5, 'configure'));
    await frame.fill(SECRET,
        `HostName=myhub.azure-devices.net;DeviceId=weather station;SharedAccessKey=${key()}`);
    await frame.waitForSelector('dialog .parts .wrong');
    await inBoth(session, means, 'configure', file => page.screenshot({ path: file }));
    await cancel(frame);
}

// After ten seconds of more and less.
async function charts(session, means) {
    const { frame } = session;
    const panel = frame.locator('#panel');
    for (let second = 1; second <= 10; second += 1) {
        for (let i = 0; i < 1 + second % 4 * 2; i += 1)
            machine.useTpm();
        await points(frame, second, 60);
    }
    await inBoth(session, means, 'charts', file => panel.screenshot({ path: file }));
}

// On a telephone, by the keyboard alone.
async function narrow({ page, frame }, { axe }) {
    await page.setViewportSize({ width: 400, height: 800 });
    const wide = await frame.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
    ok(!wide, 'a narrow screen needs no sideways scrolling');
    await judge(frame, axe, 'narrow');
    await frame.focus(action(6, 'configure'));
    await page.keyboard.press('Enter');
    await frame.waitForSelector('dialog[open]');
    ok(await frame.evaluate(() => document.activeElement.type === 'password'),
        'the keyboard opens a dialog, at its field');
    await page.keyboard.press('Escape');
    await frame.waitForSelector('dialog', { state: 'detached' });
    ok(await frame.evaluate(() => document.activeElement.dataset.action === 'configure'), 'Escape leads back');
    await page.setViewportSize({ width: 1280, height: 900 });
}

function means(modules) {
    const pictures = process.env.HUBKEY_PORTAL_PICTURES || path.join(modules, 'pictures');
    fs.mkdirSync(pictures, { recursive: true });
    return { pictures, axe: fs.readFileSync(path.join(modules, 'node_modules', 'axe-core', 'axe.min.js'), 'utf8') };
}

module.exports = { judge, table, dialog, charts, narrow, means };

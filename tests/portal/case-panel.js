// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// TPM and daemon: facts, figures that move, and what the doctor finds.
'use strict';

const { holds, ok } = require('./tap.js');
const machine = require('./machine.js');
const { points, submit } = require('./page.js');

const figure = title => `#panel figure:has-text("${title}") .chart-now`;

async function facts({ frame }) {
    const told = frame.waitForSelector('#tpm-facts:has-text("Firmware")');
    await holds(told, 'the kind of the TPM and its firmware are told');
    const text = await frame.innerText('#tpm-facts');
    ok(/Ready[^]*IBM[^]*Locked out\s+no/.test(text), 'and that it is ready', text);
    ok((await frame.innerText('.service')).includes('systemd does not answer'), 'a machine without systemd is told',
        await frame.innerText('.service'));
}

async function figures({ frame }) {
    await frame.waitForSelector(figure('Tokens a second'));
    const moved = frame.waitForFunction(() => {
        const now = [...document.querySelectorAll('#panel figure')].find(
            one => one.innerText.includes('Tokens a second'));
        return Number(now.querySelector('.chart-now').textContent) > 0;
    });
    for (let i = 0; i < 5; i += 1)
        machine.useTpm();
    await holds(moved, 'tokens that are given move the chart');
    const label = await frame.getAttribute('#panel figure svg', 'aria-label');
    ok(/now .* at most/.test(label), 'which says so in words, too', label);
}

// Another of Cockpit's pages in front: nothing is asked for meanwhile, and the lines begin anew afterwards.
async function hidden({ page, frame, noted }) {
    const asked = () => noted.frames.filter(text => text.includes('"GetStatistics"')).length;
    const seconds = count => frame.evaluate(ms => new Promise(resolve => window.setTimeout(resolve, ms)), count * 1000);
    await points(frame, 5, 60);
    await page.click('nav a[href="/system/logs"]');
    await frame.waitForFunction(() => window.cockpit.hidden);
    const before = asked();
    await seconds(4); // of which each would have had a question
    ok(asked() - before <= 1, 'behind another page no figures are asked for', asked() - before);
    await page.click('nav a[href="/hubkey"]');
    await frame.waitForFunction(() => !window.cockpit.hidden);
    await holds(frame.waitForSelector('#panel svg[aria-label$="no figures yet"]'), 'in front again nothing old stands');
    await holds(points(frame, 1, 3), 'and the charts begin anew');
}

// A record that cannot be read stands out in the table, and the doctor has it; what both name cures it.
async function doctor({ frame }) {
    machine.provision(13, 'thirteen');
    machine.damage('13');
    const row = 'tr.danger[data-slot="13"][data-state=damaged]';
    await holds(frame.waitForSelector(`${row} details`), 'a damaged slot stands out, with the reason');
    await frame.click('#doctor-run');
    await holds(frame.waitForSelector('#doctor li[data-level=bad]:has-text("hubkeyctl clear 13")'),
        'the doctor\'s findings are shown, with what mends them');
    await frame.click(`${row} .button.primary[data-action=clear]`);
    await submit(frame);
    await frame.waitForSelector(row, { state: 'detached' });
    await frame.click('#doctor-run');
    await frame.waitForSelector('#doctor-run:enabled');
    ok(!(await frame.innerText('#doctor')).includes('clear 13'), 'and are gone when it is done');
}

module.exports = { facts, figures, hidden, doctor };

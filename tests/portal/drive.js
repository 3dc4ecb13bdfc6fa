// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// drive.js MODULES: a real browser through the page; runs as portal.py's command. MODULES is where npm put packages.
'use strict';

const path = require('node:path');

const { done, ok } = require('./tap.js');
const { launch, login, turnOn } = require('./browser.js');
const change = require('./case-change.js');
const configure = require('./case-configure.js');
const load = require('./case-load.js');
const looks = require('./case-looks.js');
const panel = require('./case-panel.js');
const stale = require('./case-stale.js');
const table = require('./case-table.js');

async function viewer(browser, means) {
    const session = await login(browser, 'VIEWER');
    const { frame } = session;
    await table.table(session);
    ok((await frame.innerText('#access')).includes('hubkey-out does not have'), 'who may not change slots is told so',
        await frame.innerText('#access'));
    await change.refused(session, means);
    await load.policy(session);
    await load.time(session);
    await session.context.close();
}

async function german(browser) {
    const { context, page, frame } = await login(browser, 'VIEWER', { language: 'de-de' });
    ok(await frame.innerText('h1') === 'Geräteschlüssel', 'the page speaks the language of the session',
        await frame.innerText('h1'));
    ok(await frame.evaluate(() => document.documentElement.lang) === 'de-de', 'and says so to screen readers',
        await frame.evaluate(() => document.documentElement.lang));
    ok((await page.innerText('nav')).includes('Geräteschlüssel'), 'and so does the menu', await page.innerText('nav'));
    await context.close();
}

async function admin(browser, means) {
    const session = await login(browser, 'ADMIN');
    await turnOn(session.frame);
    ok(true, 'administrative access is turned on from the page');
    await change.configure(session);
    await change.token(session);
    await change.busy(session);
    await change.rotate(session);
    await change.audience(session);
    await change.adopt(session);
    await change.clear(session);
    await configure.byFields(session, means);
    await configure.byOther(session, means);
    await configure.secrets(session);
    await configure.restarted(session);
    await configure.scoped(session);
    await stale.refilled(session);
    await stale.adopted(session);
    await panel.facts(session);
    await panel.figures(session);
    await looks.charts(session, means);
    await panel.hidden(session);
    await panel.doctor(session);
    await looks.table(session, means);
    await looks.dialog(session, means);
    await looks.narrow(session, means);
    await table.live(session);
    await table.filter(session);
    await table.pages(session);
    await table.comings(session);
    await stale.accessLost(session);
    await table.busRestart(session);
    ok(session.noted.errors.length === 0, 'no script failed', session.noted.errors.join('\n'));
    await session.context.close();
}

async function main(modules) {
    const browser = await launch(require(path.join(modules, 'node_modules', 'playwright-core')));
    try {
        const means = looks.means(modules);
        await viewer(browser, means);
        await german(browser);
        await admin(browser, means);
    } finally {
        await browser.close();
    }
}

main(process.argv[2]).catch(error => ok(false, 'the browser gets to the end', error.stack)).then(done);

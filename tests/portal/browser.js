// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// A headless Chromium at the page: logged in, with everything noted that it says and asks for.
'use strict';

const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
    '--disable-background-networking', '--disable-component-update'];
const PATIENCE_MS = 20000;

// Without a bus: it would end with the one that a test takes away.
async function launch(playwright) {
    const none = 'unix:path=/nonexistent';
    const env = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: none, DBUS_SESSION_BUS_ADDRESS: none };
    return playwright.chromium.launch({ executablePath: '/usr/bin/chromium', args: ARGUMENTS, env });
}

// Console, requests and what goes over the WebSockets: where a secret must not stand afterwards.
function listen(page, noted) {
    page.on('console', message => noted.console.push(message.text()));
    page.on('pageerror', error => noted.errors.push(String(error)));
    page.on('request', request => noted.requests.push(`${request.url()} ${request.postData() || ''}`));
    page.on('websocket', socket => {
        socket.on('framesent', ({ payload }) => noted.frames.push(String(payload)));
        socket.on('framereceived', ({ payload }) => noted.received.push(String(payload)));
    });
}

// role: ADMIN or VIEWER. Returns { context, page, frame, noted }; frame is our page inside of Cockpit's shell.
async function login(browser, role, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    context.setDefaultTimeout(PATIENCE_MS);
    const url = process.env.HUBKEY_PORTAL_URL;
    if (options.language)
        await context.addCookies([{ name: 'CockpitLang', value: options.language, url }]);
    const page = await context.newPage();
    const noted = { console: [], errors: [], requests: [], frames: [], received: [] };
    listen(page, noted);
    await page.goto(url);
    await page.fill('#login-user-input', process.env[`HUBKEY_PORTAL_${role}`]);
    await page.fill('#login-password-input', process.env[`HUBKEY_PORTAL_${role}_PASSWORD`]);
    await page.click('#login-button');
    const element = await page.waitForSelector('iframe[name="cockpit1:localhost/hubkey"]');
    const frame = await element.contentFrame();
    await frame.waitForSelector('main[data-daemon]');
    return { context, page, frame, noted };
}

// Administrative access, by the page's own button.
async function turnOn(frame) {
    await frame.click('#access button');
    await frame.fill('dialog input[type=password]', process.env.HUBKEY_PORTAL_ADMIN_PASSWORD);
    await frame.click('dialog button[type=submit]');
    await frame.waitForSelector('main[data-admin=true]');
}

module.exports = { launch, login, turnOn };

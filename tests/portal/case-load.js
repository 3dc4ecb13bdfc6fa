// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// How the page comes: under which policy, and how fast.
'use strict';

const { ok } = require('./tap.js');

const ROUNDS = 5;
const BOUND_MS = 5000; // a second on a machine that does nothing else; here all tests run at the same time

// The header, and that the browser goes by it.
async function policy({ context, frame, noted }) {
    const { 'content-security-policy': header = '' } = (await context.request.get(frame.url())).headers();
    ok(/default-src 'none'/.test(header) && /script-src 'self'/.test(header) && !/unsafe|\*/.test(header),
        'the policy allows scripts and styles of the page itself only', header);
    const own = noted.console.filter(text => text.includes('Content Security Policy'));
    ok(own.length === 0, 'which the page itself keeps to', own.join('\n'));
    const ran = await frame.evaluate(() => {
        const script = document.createElement('script');
        script.textContent = 'window.ran = "a script in the page"';
        document.body.append(script);
        const button = document.createElement('button');
        button.setAttribute('onclick', 'window.ran = "an attribute"');
        document.body.append(button);
        button.click();
        button.remove();
        return window.ran;
    });
    ok(ran === undefined, 'no script runs that stands in the page', ran);
    ok(noted.console.some(text => text.includes('Content Security Policy')), 'and the browser says so',
        noted.console.join('\n'));
}

// From asking for the page until slot 0 stands in the table, for a browser that was here before.
async function time({ page, frame }) {
    await page.addInitScript(() => {
        new MutationObserver(() => {
            if (window.readyAfter === undefined && document.querySelector('tr[data-slot="0"]'))
                window.readyAfter = performance.now();
        }).observe(document, { childList: true, subtree: true });
    });
    const times = [];
    for (let i = 0; i < ROUNDS; i += 1) {
        await frame.evaluate(() => {
            window.readyAfter = null; // this document is still there for a while
            location.reload();
        }).catch(() => null); // the document may be gone before it says that it did
        times.push(await (await frame.waitForFunction(() => window.readyAfter)).jsonValue());
    }
    times.sort((a, b) => a - b);
    const middle = Math.round(times[Math.floor(ROUNDS / 2)]);
    console.log(`# the table stands ${middle} ms after the page was asked for (median of ${ROUNDS})`);
    ok(middle < BOUND_MS, 'the page is there soon', `${middle} ms`);
}

module.exports = { policy, time };

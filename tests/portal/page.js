// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// What the cases do at the page, over and over. SECRET is the field of a key in an open dialog.
'use strict';

const crypto = require('node:crypto');

const SECRET = 'dialog input[type=password]';

const key = () => crypto.randomBytes(32).toString('base64');
const action = (slot, name) => `tr[data-slot="${slot}"] [data-action=${name}]`;
const shows = (frame, slot, state) => frame.waitForSelector(`tr[data-slot="${slot}"][data-state=${state}]`);
const submit = frame => frame.click('dialog button[type=submit]');
const closed = frame => frame.waitForSelector('dialog', { state: 'detached' });
const failed = (frame, text) => frame.waitForSelector(`dialog .alert.danger:has-text("${text}")`);

// Until the charts have so many points.
const points = (frame, least, most) => frame.waitForFunction(([from, to]) => {
    const { length } = document.querySelector('.chart-line').getAttribute('points').split(' ');
    return length >= from && length <= to;
}, [least, most]);

async function cancel(frame) {
    await frame.click('dialog .dialog-buttons .link');
    await closed(frame);
}

module.exports = { SECRET, key, action, shows, submit, closed, failed, points, cancel };

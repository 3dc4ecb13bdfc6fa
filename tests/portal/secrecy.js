// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// Where a key must not be any more once it was saved.
'use strict';

const fs = require('node:fs');

const { ok } = require('./tap.js');

// All that elements, controls, storages and addresses hold.
async function inDocument(frame) {
    return frame.evaluate(() => [
        document.documentElement.outerHTML, location.href, document.cookie, JSON.stringify(history.state),
        ...[...document.querySelectorAll('input, textarea')].map(control => control.value),
        ...[localStorage, sessionStorage].map(storage => JSON.stringify(Object.entries(storage))),
    ].join('\n'));
}

function ofProcess(pid, name) {
    try {
        return fs.readFileSync(`/proc/${pid}/${name}`, 'latin1');
    } catch {
        return ''; // it ended
    }
}

function inProcesses() {
    const pids = fs.readdirSync('/proc').filter(name => /^\d+$/.test(name));
    return pids.map(pid => ofProcess(pid, 'cmdline') + ofProcess(pid, 'environ')).join('\n');
}

// The memory of the page's scripts, garbage collected.
async function inHeap({ context, page }) {
    const devtools = await context.newCDPSession(page);
    const chunks = [];
    devtools.on('HeapProfiler.addHeapSnapshotChunk', ({ chunk }) => chunks.push(chunk));
    await devtools.send('HeapProfiler.collectGarbage');
    await devtools.send('HeapProfiler.takeHeapSnapshot');
    await devtools.detach();
    return chunks.join('');
}

// identity: what the page does know, to see that the search finds what is there.
async function forgotten(session, identity, key) {
    const { frame, page, noted } = session;
    ok(!(await inDocument(frame)).includes(key) && !(await inDocument(page)).includes(key),
        'the key is in no element, control, storage or address');
    ok(!noted.console.join('\n').includes(key), 'nor on the console');
    ok(!noted.requests.join('\n').includes(key), 'nor in any request');
    ok(noted.frames.filter(frame => frame.includes(key)).length === 1, 'it went over the socket once, to hubkeyctl',
        noted.frames.filter(frame => frame.includes(key)).length);
    ok(!inProcesses().includes(key), 'no process has it as an argument or in its environment');
    const heap = await inHeap(session);
    ok(heap.includes(identity) && !heap.includes(key), 'the page\'s memory has the device, and has forgotten the key');
}

module.exports = { forgotten };

// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// Where a key must not be while it is saved, nor afterwards.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { ok } = require('./tap.js');
const { runs, sandbox, signal } = require('./machine.js');

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

// The programs that have the key in their command line or environment.
function programsWith(key) {
    const words = pid => ofProcess(pid, 'cmdline').split('\0');
    return fs.readdirSync('/proc').filter(name => /^\d+$/.test(name))
        .filter(pid => (words(pid).join(' ') + ofProcess(pid, 'environ')).includes(key)).map(pid => words(pid)[0]);
}

// Those while save() has hubkeyctl do `verb`, which it cannot end while what it waits for stands still.
async function programsDuring(verb, waitsFor, key, save) {
    signal(waitsFor, 'SIGSTOP');
    try {
        const saved = save();
        await Promise.race([runs('hubkeyctl', verb), saved.then(() => { throw new Error(`no hubkeyctl ${verb}`); })]);
        const found = programsWith(key);
        signal(waitsFor, 'SIGCONT');
        await saved;
        return found;
    } finally {
        signal(waitsFor, 'SIGCONT');
    }
}

function logsWith(key) {
    const logs = fs.readdirSync(sandbox).filter(name => name.endsWith('.log'));
    return logs.filter(name => fs.readFileSync(path.join(sandbox, name), 'latin1').includes(key));
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

// save() has hubkeyctl do `verb` with the key, for which it waits for that server; identity is what the page does know,
// to see that the search finds what is there.
async function keepsSecret(session, { verb, waitsFor = 'hubkeyd', identity, key }, save) {
    const programs = [...await programsDuring(verb, waitsFor, key, save), ...programsWith(key)];
    ok(programs.length === 0, `no process had the key as an argument or in its environment, hubkeyctl ${verb} at work`,
        programs.join());
    ok(logsWith(key).length === 0, 'nor is it in a log of the machine', logsWith(key).join());
    await forgotten(session, identity, key);
}

async function forgotten(session, identity, key) {
    const { frame, page, noted } = session;
    ok(!(await inDocument(frame)).includes(key) && !(await inDocument(page)).includes(key),
        'the key is in no element, control, storage or address');
    ok(!noted.console.join('\n').includes(key), 'nor on the console');
    ok(!noted.requests.join('\n').includes(key), 'nor in any request');
    ok(noted.frames.filter(frame => frame.includes(key)).length === 1, 'it went over the socket once, to hubkeyctl',
        noted.frames.filter(frame => frame.includes(key)).length);
    const received = noted.received.join('\n');
    ok(received.includes(identity) && !received.includes(key), 'and nothing that came over it had the key');
    const heap = await inHeap(session);
    ok(heap.includes(identity) && !heap.includes(key), 'the page\'s memory has the device, and has forgotten the key');
}

module.exports = { inDocument, keepsSecret };

// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// Where a key must not be while it is saved, nor afterwards.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { ok } = require('./tap.js');
const { sandbox } = require('./machine.js');

const LOOK_MS = 2; // hubkeyctl lives some tens of these

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

// Every process's command line and environment, over and over, while a key is given to hubkeyctl.
class ProcessWatch {
    constructor(key) {
        this.key = key;
        this.seen = new Set();  // what hubkeyctl was told to do
        this.leaks = new Set(); // programs that had the key
        this.timer = setInterval(() => this.look(), LOOK_MS);
    }

    look() {
        for (const pid of fs.readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
            const words = ofProcess(pid, 'cmdline').split('\0');
            if (path.basename(words[0]) === 'hubkeyctl')
                this.seen.add(words[1]);
            if (words.some(word => word.includes(this.key)) || ofProcess(pid, 'environ').includes(this.key))
                this.leaks.add(words[0]);
        }
    }

    stop() {
        clearInterval(this.timer);
        this.look();
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

// save() has hubkeyctl do `verb` with the key; identity is what the page does know, to see that the search finds what
// is there.
async function keepsSecret(session, { verb, identity, key }, save) {
    const watch = new ProcessWatch(key);
    await save();
    watch.stop();
    ok(watch.seen.has(verb), `hubkeyctl ${verb} was looked at while it ran`, [...watch.seen].join());
    ok(watch.leaks.size === 0, 'no process had the key as an argument or in its environment', [...watch.leaks].join());
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

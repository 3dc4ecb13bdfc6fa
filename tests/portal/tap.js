// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// TAP for tests of the page; ok() says what it saw where a case fails.
'use strict';

let count = 0;
let failed = 0;

function ok(good, what, seen) {
    count += 1;
    console.log(`${good ? 'ok' : 'not ok'} ${count} - ${what}`);
    if (good)
        return;
    failed += 1;
    if (seen !== undefined)
        console.log(String(seen).replace(/^/gm, '# '));
}

// A case that passes when the promise holds.
async function holds(promise, what) {
    try {
        const value = await promise;
        ok(true, what);
        return value;
    } catch (error) {
        ok(false, what, error.stack);
        return undefined;
    }
}

function done() {
    console.log(`1..${count}`);
    process.exitCode = failed ? 1 : 0;
}

module.exports = { ok, holds, done };

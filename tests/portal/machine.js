// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// What else happens on the machine while the page is open: hubkeyctl at work, servers that are killed and come back.
'use strict';

const { execFileSync, spawnSync } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { setTimeout } = require('node:timers/promises');

const sandbox = process.env.HUBKEY_SANDBOX;
const PATIENCE_MS = 20000;
const run = path.join(__dirname, '..', '..', 'run');

function ctl(words, input = '') {
    const done = spawnSync('hubkeyctl', words, { input, encoding: 'utf8' });
    if (done.status !== 0)
        throw new Error(`hubkeyctl ${words.join(' ')}: ${done.status} ${done.stderr}`);
    return done.stdout;
}

function connectionString(device, key) {
    return `HostName=${process.env.HUBKEY_HUB_HOST};DeviceId=${device};SharedAccessKey=${key}`;
}

// A slot of that device, with this key or one that nobody else has.
function provision(slot, device, key = crypto.randomBytes(32).toString('base64')) {
    ctl(['provision', String(slot), '--connection-string-file', '-'], connectionString(device, key));
}

const shown = slot => JSON.parse(ctl(['show', String(slot), '--json']));

function signal(server, name) {
    process.kill(Number(fs.readFileSync(path.join(sandbox, `${server}.pid`), 'utf8')), name);
}

const kill = server => signal(server, 'SIGKILL');

const mountsOf = pid => fs.readlinkSync(`/proc/${pid}/ns/mnt`);

// The process here, not of another sandbox, that has these as its first words, as soon as there is one.
async function runs(...words) {
    const isIt = pid => {
        try {
            return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(words.join('\0')) &&
                mountsOf(pid) === mountsOf('self');
        } catch {
            return false; // it ended
        }
    };
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
        const pid = fs.readdirSync('/proc').find(isIt);
        if (pid)
            return Number(pid);
        if (Date.now() > deadline)
            throw new Error(`no process ${words.join(' ')}`);
        await setTimeout(2);
    }
}

// A part of the configuration, or none; hubkeyd reads it at once.
function configure(name, text) {
    const file = path.join(sandbox, 'hubkeyd.conf.d', `${name}.conf`);
    if (text)
        fs.writeFileSync(file, text);
    else
        fs.rmSync(file);
    ctl(['reload']);
}

function restart(server) {
    execFileSync(run, ['sandbox-restart', server]);
}

// work(tpm) while hubkeyd is down; tpm runs one of tpm2-tools, in a folder that is there until then.
function inTpm(work) {
    const folder = fs.mkdtempSync(path.join(sandbox, 'client', 'tpm-'));
    kill('hubkeyd');
    execFileSync('tpm2_flushcontext', ['-t']); // what hubkeyd has left loaded
    work((tool, ...words) => execFileSync(tool, ['-Q', ...words], { cwd: folder }), folder);
    execFileSync('tpm2_flushcontext', ['-t']);
    fs.rmSync(folder, { recursive: true });
    restart('hubkeyd');
}

const keyOf = slot => `0x8100010${slot}`;
const identityOf = slot => `0x0140010${slot}`;

// What stands in the slot's places, if anything.
function evict(slot) {
    spawnSync('tpm2_evictcontrol', ['-Q', '-C', 'o', '-c', keyOf(slot)]);
    spawnSync('tpm2_nvundefine', ['-Q', '-C', 'o', identityOf(slot)]);
}

const vacate = (...slots) => inTpm(() => slots.forEach(evict));

// A slot as Windows IoT lays it out, by other tools than ours: an HMAC key and an NV index with host/device, in the
// place of what stands there.
function windowsSlot(slot, device, key) {
    const identity = `${process.env.HUBKEY_HUB_HOST}/${device}`;
    inTpm((tpm, folder) => {
        evict(slot);
        fs.writeFileSync(path.join(folder, 'key'), Buffer.from(key, 'base64'));
        fs.writeFileSync(path.join(folder, 'identity'), identity);
        tpm('tpm2_import', '-C', '0x81000001', '-G', 'hmac', '-i', 'key', '-a', 'userwithauth|sign|noda',
            '-u', 'public', '-r', 'private');
        tpm('tpm2_load', '-C', '0x81000001', '-u', 'public', '-r', 'private', '-c', 'context');
        tpm('tpm2_evictcontrol', '-C', 'o', '-c', 'context', keyOf(slot));
        tpm('tpm2_nvdefine', '-C', 'o', '-s', String(identity.length),
            '-a', 'ownerwrite|ownerread|authread|authwrite|no_da', identityOf(slot));
        tpm('tpm2_nvwrite', '-C', 'o', '-i', 'identity', identityOf(slot));
    });
}

// A key that is no device's, in the place of one.
function foreign(slot) {
    inTpm(tpm => {
        tpm('tpm2_createprimary', '-C', 'o', '-G', 'ecc', '-c', 'context');
        tpm('tpm2_evictcontrol', '-C', 'o', '-c', 'context', keyOf(slot));
    });
}

// What a new system finds of an old one: the key is in the TPM, and hubkeyd has no record of it.
function lose(slot) {
    kill('hubkeyd');
    fs.rmSync(path.join(sandbox, 'state', `slot-${slot}`));
    restart('hubkeyd');
}

// A bit of the slot's record on the disk flips.
function damage(slot) {
    kill('hubkeyd');
    const record = path.join(sandbox, 'state', `slot-${slot}`);
    const bytes = fs.readFileSync(record);
    bytes[40] ^= 1;
    fs.writeFileSync(record, bytes);
    restart('hubkeyd');
}

// One call of the test hub's admin port.
async function hub(where, body) {
    const answer = await fetch(process.env.HUBKEY_HUB_ADMIN + where, body && {
        method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
    });
    const text = await answer.text();
    return text ? JSON.parse(text) : null;
}

// hubkeyd hears of a TPM that is gone when it needs it.
function useTpm() {
    spawnSync('hubkeyctl', ['token', '0', '--ttl', String(100 + Math.floor(Math.random() * 3000))]);
}

module.exports = {
    sandbox, ctl, useTpm, connectionString, provision, shown, signal, kill, restart, runs, configure, vacate,
    windowsSlot, foreign, lose, damage, hub,
};

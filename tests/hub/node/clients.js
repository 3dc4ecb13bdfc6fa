// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// The official clients, told by an https.Agent where the hub is: single events, batches, and refusals.
// usage: node clients.js FOLDER, the folder in which they are installed; test-node-sdk.sh does that.

'use strict';

const assert = require('assert');
const fs = require('fs');
const http = require('http');
const https = require('https');
const os = require('os');
const path = require('path');
const { spawn } = require('child_process');
const { createRequire } = require('module');

const fromFolder = createRequire(path.join(path.resolve(process.argv[2]), 'package.json'));
const { Client, Message } = fromFolder('azure-iot-device');
const { Http } = fromFolder('azure-iot-device-http');

const HOST = 'node.azure-devices.net';
const DEVICE = "node-(1)'s";
const KEY = Buffer.alloc(32, 7).toString('base64');
const OTHER_KEY = Buffer.alloc(32, 8).toString('base64');
const SECONDS = 60;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hubkey-node.'));
let hub, ready;

function startHub() {
  const program = path.join(process.env.HUBKEY_BUILDDIR, 'tests/hub/hubkey-testhub');
  const readyFile = path.join(folder, 'ready');
  hub = spawn(program, ['--host-name', HOST, '--state-dir', path.join(folder, 'state'), '--ready-file', readyFile],
    { stdio: ['ignore', 'ignore', 'inherit'] });
  return new Promise((resolve, reject) => {
    hub.on('error', reject);
    hub.on('exit', (code) => reject(new Error(`the hub ended with ${code}`)));
    const look = () => fs.existsSync(readyFile) ? resolve(fs.readFileSync(readyFile, 'utf8')) : setTimeout(look, 10);
    look();
  });
}

function admin(method, resource, body) {
  return new Promise((resolve, reject) => {
    const where = { host: '127.0.0.1', port: ready.admin_port, method, path: resource, agent: false };
    const request = http.request(where, (answer) => {
      let text = '';
      answer.on('data', (piece) => { text += piece; });
      answer.on('end', () => resolve(text ? JSON.parse(text) : null));
    });
    request.on('error', reject);
    request.end(body ? JSON.stringify(body) : undefined);
  });
}

const agents = [];

function client(key, device = DEVICE) {
  const agent = new https.Agent({
    host: '127.0.0.1', port: Number(ready.tls_port), ca: fs.readFileSync(ready.ca_file), keepAlive: true,
  });
  const made = Client.fromConnectionString(`HostName=${HOST};DeviceId=${device};SharedAccessKey=${key}`, Http);
  made.setOptions({ http: { agent } });
  agents.push(agent);
  return made;
}

function message(text, id) {
  const made = new Message(text);
  made.messageId = id;
  made.contentType = 'application/json';
  made.contentEncoding = 'utf-8';
  made.properties.add('level', 'warn');
  return made;
}

async function messages() {
  return (await admin('GET', '/messages?limit=10000')).messages;
}

async function lastRequest() {
  return (await admin('GET', '/requests?limit=10000')).requests.pop();
}

async function refused(promise) {
  const error = await promise.then(() => null, (reason) => reason);
  assert(error, 'it was not refused');
  assert.strictEqual(error.name, 'UnauthorizedError');
  const request = await lastRequest();
  assert.strictEqual(request.status, 401);
  assert.strictEqual(request.accepted, false);
}

const cases = [
  ['a single event', async () => {
    const sender = client(KEY);
    await sender.sendEvent(message('{"t":21.5}', 'single-1'));
    await sender.close();
    const [got] = (await messages()).slice(-1);
    assert.strictEqual(Buffer.from(got.body, 'base64').toString(), '{"t":21.5}');
    assert.strictEqual(got.device, DEVICE);
    assert.strictEqual(got.messageId, 'single-1');
    assert.deepStrictEqual(got.properties, { level: 'warn' });
    assert.strictEqual(got.systemProperties['iothub-contenttype'], 'application/json');
    assert.strictEqual((await lastRequest()).status, 204);
  }],
  ['a batch', async () => {
    const sender = client(KEY);
    await sender.sendEventBatch([message('one', 'b-1'), new Message('two'), message('three', 'b-3')]);
    await sender.close();
    const got = (await messages()).slice(-3);
    assert.deepStrictEqual(got.map((m) => Buffer.from(m.body, 'base64').toString()), ['one', 'two', 'three']);
    // This client loses system properties in a batch.
    assert.deepStrictEqual(got.map((m) => m.properties), [{ level: 'warn' }, {}, { level: 'warn' }]);
    const request = await lastRequest();
    assert.deepStrictEqual([request.status, request.items], [204, 3]);
  }],
  ['twenty events over one connection', async () => {
    const sender = client(KEY);
    const before = (await messages()).length;
    for (let i = 0; i < 20; i++) {
      await sender.sendEvent(message(`event ${i}`, `row-${i}`));
    }
    await sender.close();
    const got = (await messages()).slice(before);
    assert.deepStrictEqual(got.map((m) => m.messageId), Array.from({ length: 20 }, (_, i) => `row-${i}`));
    const { requests } = await admin('GET', '/requests?limit=10000');
    const connections = new Set(requests.slice(-20).map((r) => r.connection));
    assert.strictEqual(connections.size, 1);
  }],
  ['a wrong key is refused, single and batch', async () => {
    const before = (await messages()).length;
    const sender = client(OTHER_KEY);
    await refused(sender.sendEvent(message('x', 'wrong-1')));
    await refused(sender.sendEventBatch([message('x', 'wrong-2')]));
    await sender.close();
    assert.strictEqual((await messages()).length, before);
  }],
  ['an unknown device is refused', async () => {
    const sender = client(KEY, 'nobody');
    await refused(sender.sendEvent(message('x', 'nobody-1')));
    await sender.close();
  }],
];

async function main() {
  ready = Object.fromEntries((await startHub()).trim().split('\n').map((line) => line.split('=')));
  await admin('POST', '/devices', { deviceId: DEVICE, primaryKey: KEY });
  let failed = 0;
  for (const [index, [text, run]] of cases.entries()) {
    try {
      await run();
      console.log(`ok ${index + 1} - ${text}`);
    } catch (error) {
      failed++;
      console.log(`not ok ${index + 1} - ${text}`);
      console.log(`${error.stack}`.replace(/^/gm, '# '));
    }
  }
  console.log(`1..${cases.length}`);
  return failed ? 1 : 0;
}

function finish(code) {
  agents.forEach((agent) => agent.destroy());
  const leave = () => {
    fs.rmSync(folder, { recursive: true });
    process.exit(code);
  };
  hub.removeAllListeners('exit');
  hub.on('exit', leave);
  if (hub.exitCode !== null || !hub.kill('SIGTERM')) {
    leave();
  }
}

setTimeout(() => {
  console.log(`Bail out! not done within ${SECONDS} s`);
  hub.kill('SIGKILL');
  process.exit(1);
}, SECONDS * 1000).unref();

main().then(finish, (error) => {
  console.log(`Bail out! ${error.message}`);
  finish(1);
});

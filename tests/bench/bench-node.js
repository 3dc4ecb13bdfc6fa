// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// usage: node bench-node.js FOLDER ROW, the folder in which the clients are installed; bench-node.sh does that.

'use strict';

const fs = require('fs');
const https = require('https');
const path = require('path');
const { spawn } = require('child_process');
const { createRequire } = require('module');

const [, , folder, row] = process.argv;
const fromFolder = createRequire(path.join(path.resolve(folder), 'package.json'));
const { Client, Message } = fromFolder('azure-iot-device');
const { Http } = fromFolder('azure-iot-device-http');

const BYTES = 256;
const WARM_UP = 5;
const POSTS = 100;
const BATCHES = 40;
const AT_ONCE = 500; // about as many as libhubkey puts into a batch of 255 KiB

function startLink() {
  const port = process.env.HUBKEY_CONNECT_TO.split(':').pop();
  const link = spawn('bench-link', [port], { stdio: ['pipe', 'pipe', 'inherit'] });
  return new Promise((resolve, reject) => {
    link.on('error', reject);
    link.stdout.once('data', (line) => resolve([link, Number(line)]));
  });
}

function open(port) {
  const agent = new https.Agent({
    host: '127.0.0.1', port, ca: fs.readFileSync(process.env.HUBKEY_CA_FILE), keepAlive: true, maxSockets: 1,
  });
  const { HUBKEY_HUB_HOST: host, HUBKEY_DEVICE_ID: device, HUBKEY_DEVICE_KEY: key } = process.env;
  const client = Client.fromConnectionString(`HostName=${host};DeviceId=${device};SharedAccessKey=${key}`, Http);
  client.setOptions({ http: { agent } });
  return [client, agent];
}

let made = 0;
function message() {
  const one = new Message(Buffer.alloc(BYTES, 'x'));
  made += 1;
  one.messageId = `node-${process.pid}-${made}`;
  one.properties.add('created', String(Date.now()));
  return one;
}

async function posts(client) {
  const took = [];
  for (let i = -WARM_UP; i < POSTS; i++) {
    const begun = process.hrtime.bigint();
    await client.sendEvent(message());
    if (i >= 0)
      took.push(Number(process.hrtime.bigint() - begun) / 1e3);
  }
  took.sort((a, b) => a - b);
  return `${took[POSTS / 2].toFixed(2)} ${took[Math.floor(POSTS * 0.99)].toFixed(2)} us`;
}

async function drain(client) {
  const begun = process.hrtime.bigint();
  for (let i = 0; i < BATCHES; i++)
    await client.sendEventBatch(Array.from({ length: AT_ONCE }, message));
  return `${Math.round(BATCHES * AT_ONCE * 1e9 / Number(process.hrtime.bigint() - begun))} - msg/s`;
}

(async () => {
  const [link, port] = await startLink();
  const [client, agent] = open(port);
  console.log(`${row} ${await { 'node-post': posts, 'node-drain': drain }[row](client)}`);
  await client.close();
  agent.destroy();
  link.stdin.end();
})().catch((error) => {
  console.error(`bench-node: ${error.message}`);
  process.exitCode = 1;
});

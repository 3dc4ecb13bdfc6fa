// Copyright (c) 2026 the hubkey authors
// SPDX-License-Identifier: BSD-2-Clause
//
// usage: node bench-node-tpm.js FOLDER, in which Azure's client for keys in a TPM is installed; bench-node.sh does
// that. It has slot 0's key sign, which stands where that client would have put it. Its way to a TPM is a device file;
// here it is swtpm's socket, by a device of ours. It makes an endorsement key where there is none, as it always does.

'use strict';

const net = require('net');
const path = require('path');
const { createRequire } = require('module');

const fromFolder = createRequire(path.join(path.resolve(process.argv[2]), 'package.json'));
const { TpmSecurityClient } = fromFolder('azure-iot-security-tpm');
const tss = fromFolder('tss.js');

const BYTES = 80; // as bench-tpm signs
const WARM_UP = 20;
const SAMPLES = 300;
const HEADER = 10; // of a response: tag, size, code

// A connection a command, as libtss2-tcti-swtpm does it: swtpm serves one at a time, and others want it, too.
class Socket {
  constructor(socketPath) {
    this.socketPath = socketPath;
  }

  connect(done) {
    setImmediate(done, null);
    return null;
  }

  dispatchCommand(command, done) {
    const socket = net.connect(this.socketPath, () => socket.write(command));
    let response = Buffer.alloc(0);
    socket.on('error', done);
    socket.on('data', (part) => {
      response = Buffer.concat([response, part]);
      if (response.length < HEADER || response.length < response.readUInt32BE(2))
        return;
      socket.destroy();
      done(null, response);
    });
  }

  close() {}
}

function sign(client) {
  return new Promise((resolve, reject) => {
    client.signWithIdentity(Buffer.alloc(BYTES, 'x'), (error, mac) => (error ? reject(error) : resolve(mac)));
  });
}

(async () => {
  const tpm = new tss.Tpm();
  tpm.device = new Socket(process.env.TPM2TOOLS_TCTI.replace(/^swtpm:path=/, ''));
  const client = new TpmSecurityClient('bench', tpm);
  const took = [];
  for (let i = -WARM_UP; i < SAMPLES; i++) {
    const begun = process.hrtime.bigint();
    await sign(client);
    if (i >= 0)
      took.push(Number(process.hrtime.bigint() - begun) / 1e3);
  }
  took.sort((a, b) => a - b);
  console.log(`node-tpm ${took[SAMPLES / 2].toFixed(2)} ${took[Math.floor(SAMPLES * 0.99)].toFixed(2)} us`);
})().catch((error) => {
  console.error(`bench-node-tpm: ${error.message}`);
  process.exitCode = 1;
});

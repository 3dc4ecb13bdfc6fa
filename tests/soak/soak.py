#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""What ./run soak [N] runs inside a sandbox: N tokens to several callers, of a slot in the TPM and of two in files,
whose keys are loaded in turn, with power cuts of the TPM, rotations of a slot's key and a neighbour that holds sessions
idle. No handle and no descriptor more at the end than after the first fifth, no memory beyond a hundredth; after each
rotation a token is proved to be of the key that the slot has now.

As a test (`make check`) N is small."""

import base64
import hashlib
import hmac
import os
import subprocess
import sys
import threading
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'lib'))
sys.path.insert(0, os.path.join(HERE, '..', 'tpm'))
from rawtpm import LOADED_SESSION, SAVED_SESSION, TRANSIENT, RawTpm, sized  # noqa: E402
from sandboxed import (Tap, enter, is_sanitized, kib, kill_server, progress, restart_server, server_pid,  # noqa: E402
                       wait_until)

BOX = os.environ.get('HUBKEY_SANDBOX', '')
TOKENS = 3000
# Until what hubkeyd keeps by design has had its fill: 4096 tokens of the same expiry. By default that is what one
# second brings, and so depends on how busy the machine is; with expiries an hour apart it is all of them.
WARM_UP = 6000
CONFIGURATION = '[hubkeyd]\nTokenGranularity=3600\n'
# What each client asks for in turn.
CLIENTS = (('0',), ('10', '11'))
POWER_CUTS = 10
# Pages that come and go between two looks at a process that is idle.
NOISE_KB = 64


class Client:
    def __init__(self, count, name, slots):
        self.got = 0
        self.process = subprocess.Popen(['soak-client', str(count), name, *slots], stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.got = int(line)

    def finish(self):
        code = self.process.wait()
        self.reader.join()
        return code


class Slot:
    """Slot 0, whose key is exchanged for a new one and brought back in turn."""

    def __init__(self):
        self.key = base64.b64decode(os.environ['HUBKEY_DEVICE_KEY'])
        self.earlier = None
        self.rotations = 0

    def try_change(self, words, given):
        """Whether it is done; one that the TPM's trouble refuses changes nothing."""
        done = subprocess.run(['hubkeyctl', 'rotate', '0', *words], input=given, capture_output=True, timeout=60)
        if done.returncode not in (0, 1, 4):
            raise RuntimeError(f'hubkeyctl rotate: {done.returncode}: {done.stderr.decode()}')
        return done.returncode == 0

    def change(self):
        new = self.earlier or os.urandom(32)
        words = ('--undo',) if self.earlier else ('--key-file', '-')
        given = b'' if self.earlier else base64.b64encode(new)
        wait_until(lambda: self.try_change(words, given), ' '.join(('rotate', *words)))
        self.key, self.earlier = new, None if self.earlier else self.key
        self.rotations += 1
        self.prove()

    def token(self):
        done = subprocess.run(['hubkeyctl', 'token', '0', '--scope', f'soak/proof/{self.rotations}', '--ttl', '600'],
                              capture_output=True, text=True, timeout=60)
        return done.stdout if done.returncode == 0 else None

    def prove(self):
        token = wait_until(self.token, 'a token after a rotation')
        fields = dict(field.split('=', 1) for field in token.split(' ', 1)[1].strip().split('&'))
        mac = hmac.new(self.key, f'{fields["sr"]}\n{fields["se"]}'.encode(), hashlib.sha256).digest()
        if base64.b64decode(urllib.parse.unquote(fields['sig'])) != mac:
            raise RuntimeError(f'after {self.rotations} rotations a token is not of the slot\'s key')


def configure():
    path = os.path.join(BOX, 'hubkeyd.conf.d/soak.conf')
    with open(path, 'w') as file:
        file.write(CONFIGURATION)
    os.chmod(path, 0o644)
    subprocess.run(['hubkeyctl', 'reload'], check=True, timeout=60)
    for slot in CLIENTS[1]:
        subprocess.run(['hubkeyctl', 'provision', slot, '--host-name', 'soak.azure-devices.net', '--device-id',
                        f'soak-{slot}', '--key-file', '-'], input=base64.b64encode(os.urandom(32)), check=True,
                       stdout=subprocess.DEVNULL, timeout=60)


class Soak:
    def __init__(self):
        configure()
        self.tpm = RawTpm(os.path.join(BOX, 'tpm/socket'))
        self.pid = server_pid('hubkeyd')
        self.slot = Slot()
        self.hold_sessions()

    def hold_sessions(self):
        """A neighbour's: one loaded, one saved; a power cut takes them from it."""
        parameters = sized(bytes(16)) + sized(b'') + b'\0' + b'\0\x10' + b'\0\x0b'
        for _ in range(2):
            handle = int.from_bytes(self.tpm.send(0x176, (0x40000007, 0x40000007), parameters)[:4], 'big')
        self.tpm.send(0x162, (handle,))

    def handles(self):
        return [self.tpm.handles(first) for first in (TRANSIENT, LOADED_SESSION, SAVED_SESSION)]

    def idle_handles(self):
        """When nobody asks any more, nothing of a slot in a file is loaded."""
        wait_until(lambda: not self.tpm.handles(TRANSIENT), 'nothing loaded, as nobody asks any more')
        return self.handles()

    def resident_kb(self):
        return kib(self.pid, 'VmRSS')

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.pid}/fd'))

    def run(self, tokens, power_cuts, label):
        """All of the tokens, evenly between them the power cuts and a rotation before each and after the last; returns
        the clients' exit codes."""
        clients = [Client(tokens // len(CLIENTS), f'{label}{number}', slots) for number, slots in enumerate(CLIENTS)]

        def ended():
            return any(client.process.poll() is not None for client in clients)

        turns = 2 * power_cuts + 1
        for turn in range(1, turns + 1):
            enough = tokens * turn // (turns + 1)
            wait_until(lambda: sum(client.got for client in clients) >= enough or ended(), f'{enough} tokens', 600)
            progress(f'{label}: {sum(client.got for client in clients)} tokens, {self.resident_kb()} kB')
            if turn % 2:
                self.slot.change()
                continue
            kill_server('swtpm')
            restart_server('swtpm')
            self.hold_sessions()
        codes = [client.finish() for client in clients]
        progress('')
        return codes


def main():
    tokens = int(sys.argv[1]) if len(sys.argv) > 1 else TOKENS
    cuts = min(POWER_CUTS, tokens // 1000)
    tap = Tap()
    soak = Soak()
    codes = soak.run(max(tokens // 5, WARM_UP), 2, 'warm')
    handles, descriptors, resident = soak.idle_handles(), soak.descriptors(), soak.resident_kb()
    codes += soak.run(tokens, cuts, 'soak')
    tap.ok(not any(codes), f'{tokens} tokens over {cuts} power cuts, and nobody waited in vain', codes)
    tap.ok(soak.slot.rotations == 2 + cuts + 2, f'{soak.slot.rotations} rotations, each with a token of the right key')
    now = soak.idle_handles()
    tap.ok(now == handles, 'nothing more is held in the TPM', f'{handles} {now}')
    tap.ok(soak.descriptors() <= descriptors, 'no descriptor more', f'{descriptors} {soak.descriptors()}')
    after = soak.resident_kb()
    tap.note(f'{resident} kB resident after the first fifth, {after} kB at the end')
    if is_sanitized(soak.pid):
        tap.skip('no memory beyond a hundredth', 'the sanitizer keeps what was freed')
    else:
        tap.ok(after <= resident * 1.01 + NOISE_KB, 'no memory beyond a hundredth', f'{resident} kB, then {after} kB')
    return tap.done()


if __name__ == '__main__':
    enter()
    sys.exit(main())

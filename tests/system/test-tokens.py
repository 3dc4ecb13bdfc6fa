#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Tokens as callers get them over the bus, judged by an HMAC of our own; and the TPM as tpm2-tools see it."""

import base64
import hashlib
import hmac
import os
import re
import subprocess
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from sandboxed import Tap, as_user, enter  # noqa: E402

HOST = 'vectors.azure-devices.net'
SPECIAL = "-:.+%_#*?!(),=@$'"
# Every character that a device ID may have, IDs that trip encoders, and the longest.
DEVICES = (f'All{SPECIAL}', 'a%2Fb', 'a+b', 'a#b?c', "(it's)", 'x' * 128, (SPECIAL * 8)[:128], 'UPPERlower09')


def run(*command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def get_token(user, slot, scope='', ttl=600):
    """(token, expiry) or the error's text, by busctl as anybody would."""
    done = run(*as_user(user, 'busctl', 'call', 'org.hubkey', f'/org/hubkey/slot/{slot}', 'org.hubkey.Slot1',
                        'GetToken', 'su', scope, str(ttl)), text=True)
    if done.returncode != 0:
        return done.stderr.strip()
    found = re.fullmatch(r'st "(SharedAccessSignature .*)" (\d+)\n', done.stdout)
    return found[1], int(found[2])


def provision(slot, device, key):
    """The key's text goes to standard input: it never stands on a command line."""
    return run('hubkeyctl', 'provision', str(slot), '--host-name', HOST, '--device-id', device, '--key-file', '-',
               input=base64.b64encode(key) + b'\n')


def clear(slot):
    return run('hubkeyctl', 'clear', str(slot), '--yes')


def judge(token, key):
    """What a verifier does: HMAC over sr and se as they stand in the token. Returns (resource, expiry, genuine)."""
    fields = dict(field.split('=', 1) for field in token.removeprefix('SharedAccessSignature ').split('&'))
    signed = f'{fields["sr"]}\n{fields["se"]}'.encode()
    mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return urllib.parse.unquote(fields['sr']), int(fields['se']), urllib.parse.unquote(fields['sig']) == mac


def test_devices(tap):
    for number, device in enumerate(DEVICES):
        slot, key = 1 + number % 9, os.urandom(32)
        made = provision(slot, device, key)
        answer = get_token('hubkey-in', slot)
        if made.returncode != 0 or isinstance(answer, str):
            tap.ok(False, f'device {device}', f'{made.stderr!r} {answer}')
            continue
        resource, expiry, genuine = judge(answer[0], key)
        good = genuine and resource == f'{HOST}/devices/{device}' and expiry == answer[1]
        tap.ok(good and 595 <= expiry - time.time() <= 600, f'device {device}: an independent HMAC agrees', answer)
        clear(slot)


def test_keys(tap):
    for length in (1, 16, 64, 65, 1024):
        key = os.urandom(length)
        provision(1, 'keys', key)
        answer = get_token('hubkey-in', 1, 'messages/events')
        good = not isinstance(answer, str) and judge(answer[0], key)[2]
        tap.ok(good, f'a key of {length} bytes signs as HMAC defines', answer)
        clear(1)


def test_refusal(tap):
    answer = get_token('hubkey-out', 0)
    tap.ok(isinstance(answer, str) and '(hubkey-out)' in answer and 'usermod -aG hubkey hubkey-out' in answer,
           'who may not is told who it was taken for and what would allow it', answer)
    tap.ok(get_token('hubkey-out', 77) == answer.replace('slot 0', 'slot 77'),
           'and does not learn which slots exist', get_token('hubkey-out', 77))


def test_windows_layout(tap):
    key, device = os.urandom(32), 'windows'
    provision(3, device, key)
    nv = run('tpm2_nvread', '-C', '0x01400103', '0x01400103').stdout
    tap.ok(nv == f'{HOST}/{device}'.encode(), 'NV 0x01400103 by its own empty authorisation says host/deviceId', nv)
    text = b'anything'
    tpm = run('tpm2_hmac', '-c', '0x81000103', '-g', 'sha256', '--hex', input=text).stdout.decode().strip()
    tap.ok(tpm == hmac.new(key, text, hashlib.sha256).hexdigest(), 'tpm2_hmac with 0x81000103 signs the same', tpm)
    public = run('tpm2_readpublic', '-c', '0x81000103', text=True).stdout
    tap.ok('value: userwithauth|noda|sign' in public.replace('  ', ''), 'the key has the attributes of Windows', public)
    clear(3)
    left = ''.join(run('tpm2_getcap', kind, text=True).stdout for kind in ('handles-persistent', 'handles-nv-index'))
    tap.ok('0x81000103' not in left.lower() and '0x1400103' not in left.lower(), 'clearing leaves neither behind', left)


def main():
    tap = Tap()
    test_devices(tap)
    test_keys(tap)
    test_refusal(tap)
    test_windows_layout(tap)
    return tap.done()


if __name__ == '__main__':
    enter()
    sys.exit(main())

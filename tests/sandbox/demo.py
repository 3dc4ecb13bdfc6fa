#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""What ./run demo shows: the whole path, with an interruption, counted at its far end.

Everything here could be typed by hand in `./run sandbox`; a line that begins with $ is what was run.
"""

import base64
import json
import os
import select
import shlex
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
sys.dont_write_bytecode = True

from sandboxed import as_user, kill_server, pages, restart_server  # noqa: E402

BOX = os.environ['HUBKEY_SANDBOX']
DEVICE = os.environ['HUBKEY_DEVICE_ID']
COLOUR = sys.stdout.isatty() and 'NO_COLOR' not in os.environ

READINGS = 200
INTERVAL_MS = 200
# How many readings are to arrive before the hub is cut off, and how many to queue before it comes back.
ONLINE = 40
OFFLINE = 40
# Longer than the station runs, with the half minute that it takes at its end for what still waits.
PHASE_SECONDS = 90


class Failed(Exception):
    """The demo did not show what it promised."""


def colour(code, text):
    return f'\033[{code}m{text}\033[0m' if COLOUR else text


def headline(text):
    print('\n' + colour('1', text), flush=True)


def show(user, *command):
    """Runs a command as somebody, printed as one would type it; returns its exit code and what it had to say."""
    prompt = '#' if user == 'root' else f'{user} $'
    print(f'  {colour("2", prompt)} {shlex.join(command)}', flush=True)
    done = subprocess.run(command if user == 'root' else as_user(user, *command), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, env=plain_environment())
    return done.returncode, (done.stderr if done.returncode else done.stdout).strip()


def plain_environment():
    """A device knows its own key nowhere but in the TPM; so do the programs of this demo."""
    return {name: value for name, value in os.environ.items() if name != 'HUBKEY_DEVICE_KEY'}


class Station:
    """examples/weather-station, run by somebody who is in group hubkey and nothing else."""

    def __init__(self):
        state = os.path.join(BOX, 'client', 'station')
        subprocess.run(['install', '-d', '-o', 'hubkey-in', '-g', 'hubkey-in', '-m', '700', state], check=True)
        self.environment = {**plain_environment(), 'STATE_DIRECTORY': state}
        self.queue = os.path.join(state, 'slot-0.queue')
        command = ['weather-station', '--interval-ms', str(INTERVAL_MS), '--count', str(READINGS)]
        print(f'  {colour("2", "hubkey-in $")} {shlex.join(command)} &')
        self.log = open(os.path.join(BOX, 'station.log'), 'wb')
        self.process = subprocess.Popen(as_user('hubkey-in', *command), env=self.environment,
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.ended = os.pidfd_open(self.process.pid)
        self.posting = False

    def counts(self):
        """The queue's own books, by the tool that everybody has; all 0 until the first reading was posted."""
        self.posting = self.posting or self.tail(1, '   reading') != ''
        if not self.posting:
            return {'accepted': 0, 'delivered': 0, 'waiting': 0}
        done = subprocess.run(as_user('hubkey-in', 'hubkeyctl', 'queue', 'status', '--json', '--queue', self.queue),
                              capture_output=True, text=True, env=self.environment)
        if done.returncode != 0:
            raise Failed(f'hubkeyctl queue status exited with {done.returncode}: {done.stderr}')
        return json.loads(done.stdout)

    def watch(self, label, enough, may_end=False):
        """Shows the counts until they are enough or, where it may, the station ended; returns the most that waited."""
        deadline = time.monotonic() + PHASE_SECONDS
        most = 0
        while True:
            counts = self.counts()
            most = max(most, counts['waiting'])
            ended = self.process.poll() is not None
            if enough(counts) or (ended and may_end):
                break
            if ended:
                raise Failed(f'weather-station exited with {self.process.returncode}\n{self.tail(20)}')
            self.show_counts(label, counts, end='\r')
            if time.monotonic() > deadline:
                raise Failed(f'not there after {PHASE_SECONDS} s: {counts}\n{self.tail(20)}')
            # More looks than readings; the end of the station is news as well.
            select.select([self.ended], [], [], INTERVAL_MS / 4000)
        self.show_counts(label, counts, end='\n')
        return most

    def show_counts(self, label, counts, end):
        if end == '\n' or sys.stdout.isatty():
            bar = colour('33', '▒' * (counts['waiting'] // 5)) if sys.stdout.isatty() else ''
            clear = '\033[K' if sys.stdout.isatty() else ''
            print(f'  {label:<8} {counts["accepted"]:>4} read {counts["delivered"]:>4} delivered '
                  f'{counts["waiting"]:>4} waiting on disk {bar}{clear}', end=end, flush=True)

    def tail(self, lines, beginning=''):
        """The last lines of what it said, or of those that begin in some way."""
        with open(self.log.name, errors='replace') as file:
            return ''.join([line for line in file if line.startswith(beginning)][-lines:])

    def finish(self):
        """It gives up on what still waits half a minute after its last reading; anybody may deliver that later."""
        code = self.process.wait(PHASE_SECONDS)
        if code != 0:
            raise Failed(f'weather-station exited with {code}\n{self.tail(20)}')
        if self.counts()['waiting'] > 0:
            code, text = show('hubkey-in', 'hubkeyctl', 'queue', 'flush', '--queue', self.queue, '--wait', '20')
            if code != 0:
                raise Failed(f'hubkeyctl queue flush exited with {code}: {text}')
            self.show_counts('flushed', self.counts(), end='\n')


def show_the_key():
    headline('1. The key is in the TPM')
    code, text = show('root', 'tpm2_nvread', '-C', '0x01400100', '0x01400100')
    print(f'  {text}')
    if code != 0 or text != f'{os.environ["HUBKEY_HUB_HOST"]}/{DEVICE}':
        raise Failed('slot 0 of the TPM does not hold this device')
    print(f'  The key beside it, {colour("36", "0x81000100")}, signs and is never given out again.')


def show_the_token():
    headline('2. A program without privileges asks for a token; another one may not')
    call = ('busctl', 'call', 'org.hubkey', '/org/hubkey/slot/0', 'org.hubkey.Slot1', 'GetToken', 'su', '', '600')
    code, text = show('hubkey-in', *call)
    print(f'  {colour("32", text)}')
    if code != 0 or 'SharedAccessSignature sr=' not in text:
        raise Failed('a member of group hubkey got no token')
    code, text = show('hubkey-out', *call)
    print(f'  {colour("31", text)}')
    if code == 0:
        raise Failed('somebody who is not in group hubkey got a token')


def interrupt(station):
    """The readings flow, the hub goes, the queue fills, the hub comes back; returns how many waited at once."""
    headline('4. The readings of this machine reach the hub over HTTPS')
    station.watch('online', lambda counts: counts['delivered'] >= ONLINE)
    headline('5. The hub is cut off: kill -9')
    kill_server('hub')
    station.watch('cut off', lambda counts: counts['waiting'] >= OFFLINE)
    print('  the station says:', station.tail(1, '-- ').removeprefix('-- ').strip())
    headline('6. It comes back; the station tries again after a random pause, as a thousand others would')
    restart_server('hub')
    most = station.watch('back', lambda counts: counts['waiting'] <= 1, may_end=True)
    station.watch('online', lambda counts: counts['accepted'] >= READINGS and counts['waiting'] == 0, may_end=True)
    station.finish()
    return most


def verify(station, queued):
    """The hub is the judge: what it has, in which order it first came, against what the station says it sent."""
    headline('7. What was sent and what the hub has')
    sent = station.counts()['accepted']
    arrived = list(pages(f'/messages?device={DEVICE}', 'messages'))
    by_id = {}
    for message in arrived:
        by_id.setdefault(message['messageId'], message)
    first = list(by_id.values())
    batches = [request['items'] for request in pages('/requests', 'requests')
               if request['device'] == DEVICE and request['accepted'] and request['items'] > 1]
    ordered = [int(message['properties']['created']) for message in first]
    numbers = [json.loads(base64.b64decode(message['body'])).get('n') for message in first]
    in_order = ordered == sorted(ordered) and numbers == list(range(1, len(first) + 1))
    print(f'  sent       {sent:>4} readings')
    print(f'  queued     {queued:>4} of them at once, on disk, while the hub was away')
    plural = 'es' if len(batches) != 1 else ''
    print(f'  replayed   {sum(batches):>4} in {len(batches)} batch{plural} when it came back')
    print(f'  at the hub {len(first):>4}, {len(arrived) - len(first)} of them twice')
    if sent != READINGS or len(first) != sent:
        raise Failed(f'{READINGS - len(first)} of {READINGS} readings are missing')
    if not in_order:
        raise Failed('they did not arrive in the order in which they were sent')
    print(colour('1;32', '  Count and order agree: nothing was lost.'))


def main():
    print(colour('1', 'hubkey: device keys stay in the TPM, readings reach the hub'))
    try:
        show_the_key()
        show_the_token()
        headline('3. It starts to send')
        station = Station()
        queued = interrupt(station)
        verify(station, queued)
    except Failed as error:
        print(colour('1;31', f'\nThe demo failed: {error}'), flush=True)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())

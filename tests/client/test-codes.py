#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""What libhubkey makes of each status and error code that IoT Hub documents, in each form of body; the hub's list of
requests is the witness. Every case has a device of its own, so that all of them can wait at the same time."""

import base64
import email.utils
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
sys.dont_write_bytecode = True
from sandboxed import Tap, enter, hub, pages  # noqa: E402

enter()
import binding  # noqa: E402 (the library is the sandbox's)
from binding import Client  # noqa: E402

DIR = os.path.join(os.environ['HUBKEY_SANDBOX'], 'client')
HOST = os.environ['HUBKEY_HUB_HOST']
KEY = base64.b64encode(b'k' * 32).decode()
FIRST_SLOT = 100
SECONDS = 120     # a case that takes longer has failed
PROBE_S = 30      # rejected: the first probe
THROTTLE_S = 10
LATER = 'the date 25 s later'


class Watched(Client):
    """A client that remembers its states."""

    def __init__(self, *given, **options):
        super().__init__(*given, **options)
        self.states, self.texts = [], []
        self.set_callbacks(state=self.on_state)

    def on_state(self, state, reason, text):
        self.states.append(binding.state_name(state, reason))
        self.texts.append(text)

    def wait_for(self, state):
        deadline = time.monotonic() + SECONDS
        while state not in self.states and time.monotonic() < deadline:
            self.wait(1000)
        return state in self.states


class Case:
    """One device with its slot and queue; ok() collects, since other cases run at the same time."""

    def __init__(self, number, title, run, fault, more):
        self.title, self.run, self.fault, self.more = title, run, fault, more
        self.device, self.slot = f'code-{number}', FIRST_SLOT + number
        self.queue = os.path.join(DIR, f'{self.device}.queue')
        self.results = []

    def ok(self, good, what, detail=''):
        self.results.append((good, f'{self.title}: {what}', detail))

    def prepare(self):
        hub('/devices', 'POST', {'deviceId': self.device, 'primaryKey': KEY})
        subprocess.run(['hubkeyctl', 'provision', str(self.slot), '--host-name', HOST, '--device-id', self.device,
                        '--key-file', '-'], input=KEY.encode(), check=True, timeout=60, stdout=subprocess.DEVNULL)

    def work(self):
        try:
            self.run(self, **self.more)
        except (OSError, AssertionError, ValueError, binding.Failed) as error:
            self.ok(False, type(error).__name__, error)

    def post_fault(self, **more):
        fault = {'kind': 'status', 'device': self.device, 'count': 1, **self.fault, **more}
        if fault.get('retryAfter') == LATER:
            fault['retryAfter'] = email.utils.formatdate(time.time() + 25, usegmt=True)
        hub('/faults', 'POST', fault)

    def client(self, **options):
        return Watched(self.queue, slot=self.slot, max_requests_per_minute=0xffffffff, **options)

    def backlog(self, n):
        with Client(self.queue, slot=self.slot, flags=binding.QUEUE_ONLY) as client:
            client.post([b'%d' % number for number in range(n)])

    def requests(self):
        return [one for one in pages('/requests', 'requests') if one['device'] == self.device]

    def expect(self, requests, n):
        """(status, items) of all requests, and that 0 to n - 1 arrived once and in order. Returns the gaps in s."""
        seen = self.requests()
        self.ok([(one['status'], one['items']) for one in seen] == requests, 'its requests', seen)
        arrived = [base64.b64decode(one['body']) for one in pages(f'/messages?device={self.device}', 'messages')]
        self.ok(arrived == [b'%d' % number for number in range(n)], 'all arrived once, in order', arrived)
        return [(after['start'] - before['end']) / 1e6 for before, after in zip(seen, seen[1:])]


def rejected(case, reason, attempts=1):
    """Nothing helps but a change: nothing is lost, nothing is bisected, one message alone probes after 30 s."""
    code = case.fault['code']
    case.backlog(3)
    case.post_fault(count=attempts)
    with case.client() as client:
        case.ok(client.wait_for(f'rejected, {reason}'), 'the state', client.states)
        stats = client.stats()
        case.ok((stats.counts.waiting, stats.counts.dead, stats.http_status) == (3, 0, code), 'nothing is lost')
        case.ok(0 < stats.next_attempt_ms - time.time() * 1000 <= PROBE_S * 1000 + 1000, 'when it probes',
                stats.next_attempt_ms)
        case.ok(str(code) in client.texts[client.states.index(f'rejected, {reason}')], 'it says why', client.texts)
        case.ok(client.flush(SECONDS * 1000) == 0, 'delivered by the probe and what follows', client.states)
    gaps = case.expect([(code, 3)] * attempts + [(204, 1), (204, 2)], 3)
    case.ok(len(gaps) > attempts and gaps[attempts - 1] >= PROBE_S - 0.1, 'not before 30 s', gaps)


def passing(case, state, least_s=0, twice=False, attempts=1):
    """Trouble that passes: the whole queue pauses, then the same request again."""
    code = case.fault['code']
    case.backlog(3)
    case.post_fault(count=attempts)
    with case.client() as client:
        case.ok(client.wait_for(state), 'the state', client.states)
        case.ok(client.flush(SECONDS * 1000) == 0, 'delivered', client.states)
        stats = client.stats()
        case.ok(stats.counts.dead == 0, 'nothing is dead')
        case.ok((stats.duplicates_possible > 0) == twice, 'whether it may have arrived before',
                stats.duplicates_possible)
    gaps = case.expect([(code, 3)] * attempts + [(204, 3)], 3)
    case.ok(all(gap >= least_s - 0.1 for gap in gaps), f'not before {least_s} s', gaps)


def refresh(case):
    """A fresh token, the same request once more."""
    case.backlog(3)
    case.post_fault()
    with case.client() as client:
        case.ok(client.flush(SECONDS * 1000) == 0, 'delivered', client.states)
        case.ok(client.stats().token_fetches >= 2, 'with a fresh token')
    case.expect([(401, 3), (204, 3)], 3)
    tokens = [one['tokenId'] for one in case.requests()]
    case.ok(len(set(tokens)) == 2, 'two tokens', tokens)


def quota(case):
    case.backlog(3)
    case.post_fault()
    with case.client() as client:
        case.ok(client.wait_for('quota'), 'the state', client.states)
        now = time.time()
        left = client.stats().next_attempt_ms / 1000 - (now // 86400 + 1) * 86400
        case.ok(-5 <= left <= 305, 'goes on at 00:00 UTC, or soon after', left)
        case.ok(client.flush(1500) == binding.TIMEOUT and client.stats().counts.waiting == 3,
                'flush does not change that')
    case.expect([(403, 3)], 0)


def at_fault(case):
    """About one of the messages: searched by halves; dead, as another one was accepted before."""
    code = case.fault['code']
    with case.client() as client:
        case.ok(client.wait_seq(client.post([b'0'])) == 0, 'another one is delivered before')
        case.post_fault(count=4)
        first = client.post([b'%d' % number for number in (99, 1, 2, 3, 4, 5, 6, 7)])
        case.ok(client.flush(SECONDS * 1000) == 0, 'nothing waits any more', client.states)
        case.ok(client.wait_seq(first) == binding.GONE and client.wait_seq(first + 1) == 0,
                'it is gone, its neighbour not')
        counts = client.stats().counts
        case.ok((counts.delivered, counts.dead) == (8, 1), 'all are accounted for', (counts.delivered, counts.dead))
    case.expect([(204, 1), (code, 8), (code, 4), (code, 2), (code, 1), (204, 7)], 8)


def alone(case):
    """Alone, and nothing was accepted before: kept, whatever it is."""
    code = case.fault['code']
    case.backlog(1)
    case.post_fault()
    with case.client() as client:
        case.ok(client.wait_for('rejected, messages'), 'the state', client.states)
        case.ok(client.stats().counts.waiting == 1, 'kept')
        case.ok(client.flush(SECONDS * 1000) == 0 and client.stats().counts.dead == 0, 'tried again', client.states)
    gaps = case.expect([(code, 1), (204, 1)], 1)
    case.ok(gaps and gaps[0] >= PROBE_S - 0.1, 'not before 30 s', gaps)


def accepted(case):
    case.backlog(3)
    case.post_fault()
    with case.client() as client:
        case.ok(client.flush(SECONDS * 1000) == 0, 'delivered', client.states)
    case.expect([(case.fault['code'], 3)], 3)


def rows():
    """(title, function, fault, arguments)"""
    def row(run, code, error=None, shape=None, after=None, **more):
        fault = {'code': code, **({'errorCode': error} if error else {}), **({'shape': shape} if shape else {}),
                 **({'retryAfter': after} if after is not None else {})}
        words = ' '.join(str(word) for word in (code, error, shape, after and f'Retry-After {after}') if word)
        return words, run, fault, more

    yield from (
        # 400: the protocol's fault, a message's, nobody knows whose
        row(rejected, 400, 'InvalidProtocolVersion', 'B', reason='protocol'),
        row(rejected, 400, '400001', 'number', reason='protocol'),
        row(rejected, 400, 'NeverHeardOf', reason='protocol'),
        row(passing, 400, None, 'html', state='offline, proxy'),
        row(passing, 400, None, 'empty', state='offline, proxy'),
        *(row(at_fault, 400, name) for name in ('ArgumentInvalid', 'ArgumentNull', 'IotHubFormatError',
                                                'DeserializationError', 'InvalidContentEncodingOrType')),
        *(row(at_fault, 400, number, 'number') for number in ('400004', '400005', '400006', '400012', '400103')),
        # 401
        row(refresh, 401, 'IotHubUnauthorizedAccess', 'B'),
        row(refresh, 401, '401000', 'number'),
        row(rejected, 401, 'IotHubUnauthorized', reason='key', attempts=2),
        row(rejected, 401, '401002', 'number', reason='key', attempts=2),
        row(rejected, 401, 'IotHubNotFound', reason='host', attempts=2),
        row(passing, 401, None, 'html', state='offline, proxy'),
        # 403
        row(rejected, 403, 'IotHubSuspended', reason='host'),
        row(quota, 403, 'IotHubQuotaExceeded'),
        row(quota, 403, '403002', 'number'),
        row(rejected, 403, '403010', 'number', reason='host'),
        row(rejected, 403, '403004', 'number', reason='protocol'),
        row(rejected, 403, '403006', 'number', reason='protocol'),
        row(rejected, 403, 'DeviceDisabled', reason='device'),
        row(passing, 403, None, 'html', state='offline, proxy'),
        # 404
        row(rejected, 404, 'DeviceNotFound', 'B', reason='device'),
        row(rejected, 404, 'ModuleNotFound', reason='device'),
        row(rejected, 404, '404103', 'number', reason='device'),
        row(rejected, 404, 'DeviceNotFound', 'cut', reason='device'),
        row(rejected, 404, 'DeviceNotFound', 'big', reason='device'),
        row(rejected, 404, 'DeviceNotFound', 'chunked', reason='device'),
        row(passing, 404, None, 'empty', state='offline, proxy'),
        # the rest of 4xx
        row(rejected, 405, 'GenericMethodNotAllowed', reason='protocol'),
        row(rejected, 405, None, 'html', reason='protocol'),
        row(rejected, 415, None, 'empty', reason='protocol'),
        row(rejected, 409, 'DeviceAlreadyExists', reason='protocol'),
        row(rejected, 412, '412002', 'number', reason='protocol'),
        row(at_fault, 413, 'MessageTooLarge'),
        row(at_fault, 413, '413001', 'number'),
        row(alone, 413, None, 'empty'),
        row(alone, 400, 'ArgumentInvalid'),
        # throttling: ten seconds at the least
        row(passing, 429, 'ThrottlingException', state='throttled', least_s=THROTTLE_S),
        row(passing, 429, '429002', 'number', state='throttled', least_s=THROTTLE_S),
        row(passing, 429, '429003', 'number', state='throttled', least_s=THROTTLE_S),
        row(passing, 429, '429005', 'number', after=0, state='throttled', least_s=THROTTLE_S),
        row(passing, 429, 'ThrottlingException', after=23, state='throttled', least_s=23),
        row(passing, 429, 'ThrottlingException', after=LATER, state='throttled', least_s=23),
        row(passing, 429, None, 'html', state='throttled', least_s=THROTTLE_S),
        # 5xx: might have been accepted
        row(passing, 500, 'ServerError', state='backing-off', twice=True),
        row(passing, 500, 'GenericTimeout', 'B', state='backing-off', twice=True),
        row(passing, 500, None, 'empty', state='backing-off', twice=True),
        row(passing, 502, None, 'html', state='backing-off', twice=True),
        row(passing, 503, 'ServiceUnavailable', state='backing-off', twice=True, attempts=3),
        row(passing, 503, 'ServerBusy', 'big', state='backing-off', twice=True),
        row(passing, 503, 'ServerBusy', 'chunked', state='backing-off', twice=True),
        row(passing, 503, 'ServerBusy', 'cut', state='backing-off', twice=True),
        row(passing, 503, '503006', 'number', after=9, state='backing-off', least_s=9, twice=True),
        row(passing, 504, None, 'html', state='backing-off', twice=True),
        # not the hub's at all
        *(row(passing, code, None, 'empty', state='offline, proxy') for code in (301, 302, 307, 308, 407, 418)),
        row(passing, 200, None, 'html', state='offline, proxy'),
        row(accepted, 200, None, 'empty'),
        row(accepted, 201, None, 'empty'),
    )


def main():
    tap = Tap()
    cases = [Case(number, title, run, fault, more) for number, (title, run, fault, more) in enumerate(rows())]
    begun, threads = time.monotonic(), []
    for case in cases:
        case.prepare()
        threads.append(threading.Thread(target=case.work))
        threads[-1].start()
    for thread in threads:
        thread.join()
    for case in cases:
        for good, what, detail in case.results:
            tap.ok(good, what, detail)
    paths = {request['path'].split('?')[0].rsplit('/', 2)[1:][0] for request in pages('/requests', 'requests')}
    tap.ok(paths == {'messages'}, 'nothing was sent to where a redirect leads', paths)
    tap.note(f'{len(cases)} cases in {time.monotonic() - begun:.0f} s')
    return tap.done()


if __name__ == '__main__':
    sys.exit(main())

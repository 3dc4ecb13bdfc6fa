#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""libhubkey against the test hub, with hubkeyd: everything that can go wrong between the two, one thing at a time.

The hub is the witness: what it accepted, and every request with its times.
"""

import base64
import itertools
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
sys.dont_write_bytecode = True
from sandboxed import Tap, enter, hub, kill_server, pages, restart_server, wait_until  # noqa: E402

enter()
import binding  # noqa: E402 (the library is the sandbox's)
from binding import Client, message  # noqa: E402

DEVICE = os.environ['HUBKEY_DEVICE_ID']
HOST = os.environ['HUBKEY_HUB_HOST']
DIR = os.path.join(os.environ['HUBKEY_SANDBOX'], 'client')
UNLIMITED = 0xffffffff
tap = Tap()


class Case:
    """A queue of its own, and the hub's lists from here on; no fault is left behind."""

    count = 0

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        Case.count += 1
        self.queue = os.path.join(DIR, f'delivery-{Case.count}.queue')
        hub('/faults', 'DELETE')
        hub('/messages', 'DELETE')
        self.duplicates = hub('/stats')['duplicates']
        self.since = max((request['n'] for request in pages('/requests', 'requests')), default=0)
        return self

    def __exit__(self, kind, error, _trace):
        hub('/faults', 'DELETE')
        if error is not None:
            tap.ok(False, self.name, f'{kind.__name__}: {error}')
        return isinstance(error, Exception)

    def ok(self, good, what, detail=''):
        tap.ok(good, f'{self.name}: {what}', detail)

    def client(self, **options):
        return Client(self.queue, max_requests_per_minute=UNLIMITED, **options)

    def requests(self):
        return [request for request in pages('/requests', 'requests') if request['n'] > self.since]

    def backlog(self, n, **options):
        with self.client(flags=binding.QUEUE_ONLY, **options) as client:
            client.post([b'%d' % number for number in range(n)])

    def status_text(self, *more):
        done = subprocess.run(['hubkeyctl', 'queue', 'status', '--queue', self.queue, *more], check=True, timeout=60,
                              stdout=subprocess.PIPE, text=True)
        return done.stdout

    def status(self):
        return json.loads(self.status_text('--json'))

    def expect_all(self, n, duplicates=False):
        """The hub has 0 to n - 1, first arrivals in order, one request at a time."""
        arrived = list(pages(f'/messages?device={DEVICE}', 'messages'))
        first = {}
        for one in arrived:
            first.setdefault(one['messageId'], int(base64.b64decode(one['body'])))
        self.ok(list(first.values()) == list(range(n)), f'{n} arrived in order', list(first.values())[:50])
        if not duplicates:
            self.ok(len(arrived) == n, 'none of them twice', len(arrived))
        stats = hub('/stats')
        self.ok(stats['unexplainedDuplicates'] == 0, 'no duplicate that could have been avoided', stats)
        self.ok(max(stats['maxInFlight'].values()) == 1, 'one request at a time', stats)


def fault(kind, **more):
    hub('/faults', 'POST', {'kind': kind, **more})


def live():
    with Case('live') as case, case.client() as client:
        for number in range(5):
            seq = client.post([message(b'%d' % number, f'id-{number}', {'level': 'warn'},
                                       content_type=b'application/json',
                                       content_encoding=b'utf-8', created_ms=1700000000123)])
            case.ok(client.wait_seq(seq) == 0, f'message {number} is delivered')
        case.expect_all(5)
        requests = case.requests()
        case.ok(all(request['items'] == 1 and 'json' not in request['contentType'] for request in requests),
                'each alone')
        case.ok(len({request['connection'] for request in requests}) == 1, 'one connection', requests)
        case.ok(len({request['tokenId'] for request in requests}) == 1, 'one token')
        first = hub(f'/messages?device={DEVICE}&limit=1')['messages'][0]
        case.ok(first['messageId'] == 'id-0' and first['properties'] == {'level': 'warn', 'created': '1700000000123'},
                'id and properties', first)
        system = first['systemProperties']
        case.ok(system['iothub-creation-time-utc'] == '2023-11-14T22:13:20.123Z', 'creation time', system)
        case.ok(system['iothub-contenttype'] == 'application/json', 'content type', system)
        case.ok(client.state() == 'online', 'online', client.state())


def backlog():
    with Case('backlog') as case:
        case.backlog(5000)
        with case.client() as client:
            case.ok(client.flush() == 0, 'delivered')
            case.ok(client.stats().batches >= 2, 'in batches', client.stats().batches)
        case.expect_all(5000)
        case.ok(len(case.requests()) < 10, 'few requests', len(case.requests()))
        case.ok(all(request['bytes'] <= 261119 for request in case.requests()), 'within the limit')


def sizes():
    """The largest message goes alone, whatever it would be in base64; what surrounds it keeps its place."""
    with Case('sizes') as case:
        large = b'0' * (261119 - 200)
        with case.client(flags=binding.QUEUE_ONLY) as client:
            client.post([b'0', large, b'', b'3'])
        with case.client() as client:
            case.ok(client.flush() == 0, 'delivered')
        bodies = [base64.b64decode(one['body']) for one in pages(f'/messages?device={DEVICE}', 'messages')]
        case.ok(bodies == [b'0', large, b'', b'3'], 'byte for byte', [len(body) for body in bodies])


def unauthorized_once():
    with Case('401 once') as case:
        case.backlog(3)
        fault('status', code=401, errorCode='IotHubUnauthorizedAccess', count=1)
        with case.client() as client:
            case.ok(client.flush() == 0, 'delivered')
        requests = case.requests()
        case.ok([request['status'] for request in requests] == [401, 204], 'one retry', requests)
        case.ok(requests[0]['tokenId'] != requests[1]['tokenId'], 'with another token')
        case.ok(requests[0]['messageIds'] == requests[1]['messageIds'], 'the same request')
        case.expect_all(3)


def key_changed():
    with Case('key changed') as case:
        other = base64.b64encode(b'x' * 32).decode()
        hub('/devices', 'POST', {'deviceId': DEVICE, 'primaryKey': other})
        try:
            case.backlog(4)
            with case.client() as client:
                wait_until(lambda: client.state() == 'rejected, key', 'the rejection')
                requests = case.requests()
                case.ok([request['status'] for request in requests] == [401, 401],
                        'one fresh token, one retry', requests)
                case.ok(client.stats().counts.waiting == 4, 'nothing is lost')
                with open(os.path.join(os.environ['HUBKEY_SANDBOX'], 'hubkeyd.log')) as log:
                    case.ok('rejected' in log.read(), 'hubkeyd was told')
                # The operator mends the key; a restarted hubkeyd is a reason to look at once.
                hub('/devices', 'POST', {'deviceId': DEVICE, 'primaryKey': os.environ['HUBKEY_DEVICE_KEY']})
                kill_server('hubkeyd')
                restart_server('hubkeyd')
                begun = time.monotonic()
                case.ok(client.flush(20000) == 0, 'delivered after the key was mended', client.state())
                case.ok(time.monotonic() - begun < 20, 'at once')
                case.ok(case.requests()[2]['items'] == 1, 'probed with one message')
            case.expect_all(4)
        finally:
            hub('/devices', 'POST', {'deviceId': DEVICE, 'primaryKey': os.environ['HUBKEY_DEVICE_KEY']})


def slow_clock():
    with Case('slow clock') as case, case.client() as client:
        fault('date', offset=7200)
        client.post([b'0'])
        case.ok(client.flush() == 0, 'delivered with a token that lives longer', client.state())
        case.ok(abs(client.stats().clock_skew_s - 7200) < 5, 'the skew is told', client.stats().clock_skew_s)
        case.ok(len(case.requests()) == 3, 'one fresh token, then a longer one', case.requests())
        case.ok(abs(case.status()['sender']['clock_skew'] - 7200) < 5, 'in queue status as well', case.status())
        case.ok("behind the hub's" in case.status_text(), 'in words', case.status_text())
        hub('/faults', 'DELETE')
        case.ok(client.wait_seq(client.post([b'1'])) == 0, 'another one is delivered')
        case.ok(abs(client.stats().clock_skew_s) < 5, 'no skew once it is set right', client.stats().clock_skew_s)
        wait_until(lambda: abs(case.status()['sender']['clock_skew']) < 5, 'queue status to follow')
        case.ok('Clock' not in case.status_text(), 'without a word more', case.status_text())


def hopeless_clock():
    with Case('hopeless clock') as case, case.client() as client:
        fault('date', offset=400 * 86400)
        client.post([b'0'])
        wait_until(lambda: client.state() == 'rejected, clock', 'the rejection')
        case.ok('behind' in client.stats().text.decode(), 'it says so', client.stats().text)


def throttled():
    with Case('429') as case:
        case.backlog(3)
        fault('status', code=429, retryAfter=12, errorCode='ThrottlingException', count=1)
        with case.client() as client:
            wait_until(lambda: client.state() == 'throttled', 'the state')
            case.ok(client.flush() == 0, 'delivered')
        first, second = case.requests()
        case.ok((second['start'] - first['end']) / 1e6 >= 12, 'not before the hub said', (first, second))
        case.expect_all(3)


def trouble(name, state, n, *, duplicates=False, **more):
    """A fault that passes: the state while it lasts, then everything arrives."""
    with Case(name) as case:
        case.backlog(n)
        fault(**more)
        # Only a stall needs impatience; anywhere else it would repeat what a busy machine is slow to answer.
        with case.client(request_timeout_ms=1000 if more['kind'] == 'stall' else 30000) as client:
            if state:
                wait_until(lambda: client.state() == state, state)
            case.ok(client.flush() == 0, 'delivered', client.state())
            stats = client.stats()
            twice = hub('/stats')['duplicates'] - case.duplicates
            case.ok(stats.duplicates_possible >= twice, 'what arrived twice is counted',
                    (stats.duplicates_possible, twice))
            case.ok(stats.counts.dead == 0, 'nothing is dead')
        case.expect_all(n, duplicates)


def late_acceptance():
    """What was never answered is taken after all, while or after it came again."""
    with Case('late acceptance') as case:
        case.backlog(30)
        fault('late-accept', ms=300, count=1)
        with case.client() as client:
            case.ok(client.flush() == 0, 'delivered', client.state())
            # The client may have been quick to send again, and what is late belongs to no other case.
            wait_until(lambda: all(request['accepted'] for request in case.requests()), 'the late acceptance')
            counted = client.stats().duplicates_possible
        twice = hub('/stats')['duplicates'] - case.duplicates
        case.ok(twice == 30 <= counted, 'all of them twice, and counted so', (twice, counted))
        case.expect_all(30, duplicates=True)


def resets():
    """RST before and after the hub took the message, on a new connection and on a kept one. There libcurl sends again
    by itself; what it repeats is counted all the same."""
    for kind, reused in itertools.product(('reset-before', 'reset-after'), (False, True)):
        with Case(f'{kind}, {"kept" if reused else "new"} connection') as case, case.client() as client:
            if reused:
                case.ok(client.wait_seq(client.post([b'0'])) == 0, 'one before')
            fault(kind, count=1)
            case.ok(client.wait_seq(client.post([b'%d' % reused])) == 0, 'delivered')
            stats, requests = client.stats(), case.requests()[reused:]
            case.ok([one['accepted'] for one in requests] == [kind == 'reset-after', True], 'sent twice', requests)
            case.ok(requests[0]['connection'] != requests[1]['connection'], 'on two connections', requests)
            case.ok(requests[0]['connection'] == case.requests()[0]['connection'], 'the first of them kept', requests)
            case.ok(stats.requests_failed == (not reused), 'which libcurl sees to, or we', stats.requests_failed)
            case.ok(stats.duplicates_possible == 1, 'and is counted', stats.duplicates_possible)
            twice = hub('/stats')['duplicates'] - case.duplicates
            case.ok(twice == (kind == 'reset-after'), 'arrived twice only where the hub had it', twice)
            case.expect_all(1 + reused, duplicates=True)


def hubkeyd_absent():
    """One more reason to wait: messages are taken, and go on at once when it is back, whatever the pause."""
    with Case('hubkeyd absent') as case:
        kill_server('hubkeyd')
        try:
            with case.client() as client:
                client.post([b'0'])
                wait_until(lambda: client.state() == 'offline, hubkeyd', 'the state')
                case.ok('hubkeyd' in client.stats().text.decode(), 'it says so', client.stats().text)
                wait_until(lambda: client.stats().next_attempt_ms > time.time() * 1000 + 4000, 'a longer pause')
                seq, due = client.post([b'1']), client.stats().next_attempt_ms
                restart_server('hubkeyd')
                case.ok(client.wait_seq(seq) == 0, 'delivered', client.state())
                case.ok(client.stats().last_delivery_ms < due, 'at once', (client.stats().last_delivery_ms, due))
                kill_server('hubkeyd')
                seq = client.post([b'2'])
                restart_server('hubkeyd')
                case.ok(client.wait_seq(seq) == 0, 'and again, while it runs', client.state())
            case.expect_all(3)
        finally:
            restart_server('hubkeyd')


def refused_for_good():
    rows = [('InvalidProtocolVersion', 400, 'rejected, protocol'), ('DeviceNotFound', 404, 'rejected, device'),
            ('DeviceDisabled', 403, 'rejected, device'), ('IotHubQuotaExceeded', 403, 'quota'),
            ('ArgumentInvalid', 400, 'rejected, messages')]
    for code, status, state in rows:
        with Case(f'{status} {code}') as case:
            case.backlog(20)
            fault('status', code=status, errorCode=code)
            with case.client() as client:
                wait_until(lambda: client.state() == state, state)
                case.ok(client.stats().counts.waiting == 20, 'nothing is lost')
                case.ok(client.flush(100) == binding.TIMEOUT, 'and nothing moves')
            case.ok(len(case.requests()) < 12, 'few requests', len(case.requests()))


def bad_message():
    """Eight go together and are refused, so are the left four, left two and left one: that one is kept aside."""
    with Case('bad message') as case, case.client() as client:
        case.ok(client.wait_seq(client.post([b'0'])) == 0, 'another one is delivered before')
        fault('status', code=413, errorCode='MessageTooLarge', count=4)
        first = client.post([b'%d' % number for number in range(1, 9)])
        case.ok(client.flush() == 0, 'nothing waits any more')
        case.ok(client.wait_seq(first) == binding.GONE, 'the bad one is gone')
        case.ok(client.wait_seq(first + 1) == 0, 'its neighbour is not')
        counts = client.stats().counts
        case.ok((counts.delivered, counts.dead) == (8, 1), 'and all are accounted for', (counts.delivered, counts.dead))
        case.ok([request['items'] for request in case.requests()] == [1, 8, 4, 2, 1, 7], 'left half first',
                [request['items'] for request in case.requests()])


def untrusted():
    with Case('untrusted certificate') as case:
        case.backlog(1)
        with case.client(ca_file=b'/etc/ssl/certs/ca-certificates.crt') as client:
            wait_until(lambda: client.state() == 'offline, tls', 'the state')
            case.ok('certificate' in client.stats().text.decode(), 'it says so', client.stats().text)
        case.ok(case.requests() == [], 'nothing was sent')
        with case.client() as client:
            case.ok(client.flush() == 0, 'delivered once it is trusted')


def other_identity():
    with Case('queue of another device') as case:
        case.backlog(2)
        binding.rebind(case.queue, 'other.azure-devices.net', 'other')
        with case.client() as client:
            wait_until(lambda: client.state() == 'rejected, slot', 'the state')
            case.ok('hubkeyctl queue rebind' in client.stats().text.decode(), 'it says what to do', client.stats().text)
            case.ok(case.requests() == [], 'nothing was sent')
            try:
                binding.rebind(case.queue, HOST, DEVICE)
                case.ok(False, 'a running client holds the queue')
            except binding.Failed as error:
                case.ok(error.code == binding.QUEUE_HELD, 'a running client holds the queue', error)
        binding.rebind(case.queue, HOST, DEVICE)
        with case.client() as client:
            case.ok(client.flush() == 0, 'delivered after rebind')
        case.expect_all(2)


def two_clients():
    """Any process may post; one sends, and another takes over when it ends."""
    with Case('two clients') as case, case.client() as second:
        with case.client() as first:
            client = second if second.state() != 'stopped, held' else first
            client.post([b'0'])
            case.ok(first.flush() == 0 and second.flush() == 0, 'both see it delivered')
            wait_until(lambda: 'stopped, held' in (first.state(), second.state()), 'one of them to stand back')
            first.post([b'1'])
            second.post([b'2'])
            case.ok(first.flush() == 0, 'delivered by whichever sends')
        second.post([b'3'])
        case.ok(second.flush() == 0, 'delivered by the one that is left')
        case.expect_all(4)


def tokens():
    with Case('token') as case:
        text, expires = binding.token(0, 'messages/events', 600)
        case.ok(text.startswith(f'SharedAccessSignature sr={HOST}%2Fdevices%2F{DEVICE}%2Fmessages%2Fevents&'), 'scoped')
        case.ok(abs(expires - time.time() - 600) < 5, 'expires when asked')
        for scope, ttl, code in (('../x', 0, -101), ('', 0xffffffff, -101)):
            try:
                binding.token(0, scope, ttl)
                case.ok(False, f'refused: {scope} {ttl}')
            except binding.Failed as error:
                case.ok(error.code == code and len(str(error)) > 10, f'refused: {scope} {ttl}', error)
        try:
            binding.token(3)
            case.ok(False, 'an empty slot is refused')
        except binding.Failed as error:
            case.ok(error.code == -105, 'an empty slot is refused', error)


def main():
    live()
    backlog()
    sizes()
    unauthorized_once()
    key_changed()
    slow_clock()
    hopeless_clock()
    throttled()
    trouble('503', 'backing-off', 3, kind='status', code=503, errorCode='ServerBusy', seconds=2)
    trouble('html 502', 'backing-off', 3, kind='status', code=502, shape='html', seconds=2)
    trouble('html 403', 'offline, proxy', 3, kind='status', code=403, shape='html', seconds=2)
    trouble('redirect', 'offline, proxy', 3, kind='status', code=302, shape='empty', seconds=2)
    trouble('stall', 'offline, network', 3, kind='stall', seconds=3)
    trouble('refused connection', 'offline, network', 3, kind='refuse-connect', seconds=2)
    trouble('reset before', None, 300, kind='reset-before', count=2, duplicates=True)
    trouble('reset after', None, 300, kind='reset-after', count=2, duplicates=True)
    resets()
    trouble('truncated', None, 300, kind='truncate', count=2, duplicates=True)
    trouble('closed between', None, 3000, kind='close-between', count=2)
    late_acceptance()
    trouble('delay', None, 30, kind='delay', ms=300, count=2)
    trouble('batches refused', None, 40, kind='status', code=400, errorCode='ArgumentInvalid', onlyBatch=True, count=4)
    hubkeyd_absent()
    refused_for_good()
    bad_message()
    untrusted()
    other_identity()
    two_clients()
    tokens()
    return tap.done()


if __name__ == '__main__':
    sys.exit(main())

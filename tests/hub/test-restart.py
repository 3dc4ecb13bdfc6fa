#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""What outlives the hub: kill -9, torn files, and an orderly end."""

import os
import socket
import ssl
import subprocess
import threading

from hubtest import HOST, OTHER_KEY, PROGRAM, VERSION, Client, Hub, case, equal, item, main, post, quote, token, until


def restart(hub, kill=True):
    ports = hub.port, hub.admin_port, hub.ca
    hub.kill() if kill else equal(hub.stop(), 0, 'exit code')
    hub.start()
    equal((hub.port, hub.admin_port, hub.ca), ports, 'ports and CA')


def state(hub):
    return hub.messages(), hub.requests(), hub.stats()


@case('kill -9 between requests: everything is as before, on the same ports')
def killed(hub):
    with Client(hub) as client:
        client.batch([item(f'text {i}', f'k-{i}', **{'iothub-app-n': str(i)}) for i in range(50)])
        client.post(body=b'single', headers=[('iothub-messageid', 'k-single')])
        client.post(auth=[])
        client.post()
    until(lambda: all(r['end'] for r in hub.requests()), 'every request has ended')
    before = state(hub)
    for kill in (True, False, True):
        restart(hub, kill)
        equal(state(hub), before, 'messages, requests and statistics')


@case('sequence numbers, request numbers and connection numbers go on')
def goes_on(hub):
    seq, request = hub.last_seq(), hub.last_request()
    restart(hub)
    equal(post(hub).status, 204, 'status')
    equal(hub.last_seq(), seq + 1, 'seq')
    equal(hub.last_request()['n'], request['n'] + 1, 'n')
    assert hub.last_request()['connection'] > request['connection'], 'a connection number is used again'


@case('DELETE outlives a restart, and so does the sequence')
def deleted(hub):
    seq = hub.last_seq()
    equal(hub.admin('DELETE', '/messages')[0], 204, 'status')
    restart(hub)
    equal(hub.messages(), [], 'messages')
    equal(post(hub).status, 204, 'status')
    equal([m['seq'] for m in hub.messages()], [seq + 1], 'seq')


@case('devices and modules outlive a restart, with their last settings')
def devices(hub):
    hub.put_device('kept')
    hub.put_device('kept', OTHER_KEY)
    hub.put_device('kept', moduleId='m')
    hub.put_device('gone', enabled=False)
    restart(hub)
    equal(post(hub, device='kept').status, 401, 'status by the old key')
    sr = quote(f'{HOST}/devices/kept')
    equal(post(hub, device='kept', auth=token(sr, key=OTHER_KEY)).status, 204, 'status by the new key')
    path = f'/devices/kept/modules/m/messages/events?api-version={VERSION}'
    equal(post(hub, path=path, auth=token(quote(f'{HOST}/devices/kept/modules/m'))).status, 204, 'status of the module')
    equal(post(hub, device='gone').status, 401, 'status of the disabled device')


@case('faults do not outlive a restart')
def faults(hub):
    hub.fault('refuse-connect')
    restart(hub)
    equal(post(hub).status, 204, 'status')


@case('a torn tail is cut off, whatever it is, and what came before is there')
def torn(hub):
    journal = hub.path('state/journal')
    equal(post(hub, body=b'before', headers=[('iothub-messageid', 'before')]).status, 204, 'status')
    until(lambda: hub.last_request()['end'], 'the request has ended')
    before = state(hub)
    with open(journal, 'rb') as file:
        whole = file.read()
    for tail in (b'\0', b'\0' * 5000, whole[:10], whole[:40], whole[-20:-1], b'!' * 100):
        hub.kill()
        with open(journal, 'ab') as file:
            file.write(tail)
        hub.start()
        equal(state(hub), before, 'messages, requests and statistics')
        equal(os.path.getsize(journal), len(whole), 'size of the journal')


@case('a record that was cut anywhere leaves those before it')
def cut(hub):
    journal = hub.path('state/journal')
    with Client(hub) as client:
        sizes = []
        for name in ('c-1', 'c-2', 'c-3'):
            equal(client.post(body=b'y' * 100, headers=[('iothub-messageid', name)]).status, 204, 'status')
            hub.stats()
            sizes.append(os.path.getsize(journal))
    hub.kill()
    os.truncate(journal, sizes[1] + 60)
    hub.start()
    equal([m['messageId'] for m in hub.messages()][-2:], ['c-1', 'c-2'], 'ids')
    equal(post(hub, headers=[('iothub-messageid', 'c-4')]).status, 204, 'status')
    restart(hub)
    equal([m['messageId'] for m in hub.messages()][-3:], ['c-1', 'c-2', 'c-4'], 'ids')


def difference(hub, before):
    after = hub.stats()
    return after['duplicates'] - before['duplicates'], after['unexplainedDuplicates'] - before['unexplainedDuplicates']


@case('duplicates are judged over a restart: the last answer of a connection explains, an earlier one does not')
def duplicates(hub):
    before = hub.stats()
    with Client(hub) as client:
        for name in ('j-1', 'j-2'):
            equal(client.post(headers=[('iothub-messageid', name)]).status, 204, 'status')
        hub.kill()
    hub.start()
    with Client(hub) as client:
        equal(client.post(headers=[('iothub-messageid', 'j-2')]).status, 204, 'status')
        equal(difference(hub, before), (1, 0), 'after the one whose answer may be lost')
        equal(client.post(headers=[('iothub-messageid', 'j-1')]).status, 204, 'status')
        equal(difference(hub, before), (2, 1), 'after the one that was confirmed')
    restart(hub)
    equal(difference(hub, before), (2, 1), 'after another restart')


@case('maxInFlight outlives a restart')
def in_flight(hub):
    hub.put_device('busy')
    hub.fault('stall', device='busy', count=1)
    with Client(hub) as client:
        client.send(device='busy')
        until(lambda: hub.last_request()['fault'] == 'stall', 'the stall is recorded')
        equal(post(hub, device='busy').status, 204, 'status')
        restart(hub)
    equal(hub.stats()['maxInFlight']['busy'], 2, 'maxInFlight')


class Sender(threading.Thread):
    """Sends batches with running numbers until the connection breaks; knows which were answered by 204."""

    def __init__(self, hub, first):
        super().__init__()
        self.hub, self.next, self.answered, self.started = hub, first, [], threading.Event()
        self.start()

    def run(self):
        try:
            with Client(self.hub) as client:
                while self.next < 10**9:
                    names = [f'run-{self.next + i}' for i in range(20)]
                    self.next += 20
                    if client.batch([item('x' * 100, name) for name in names]).status != 204:
                        return
                    self.answered += names
                    if len(self.answered) > 200:
                        self.started.set()
        except (OSError, EOFError, AssertionError, ssl.SSLError):
            pass  # the hub was killed


@case('kill -9 in the middle of requests, 20 times: what was answered is there, once, in order')
def in_the_middle(hub):
    first, answered = 0, []
    for _ in range(20):
        sender = Sender(hub, first)
        assert sender.started.wait(20), 'the sender does not get on'
        hub.kill()
        sender.join(20)
        assert not sender.is_alive(), 'the sender still runs'
        hub.start()
        answered += sender.answered
        first = sender.next
    arrived = [m['messageId'] for m in hub.messages() if (m['messageId'] or '').startswith('run-')]
    equal(sorted(set(answered) - set(arrived)), [], 'answered and not there')
    numbers = [int(name[4:]) for name in arrived]
    equal(numbers, sorted(set(numbers)), 'order')
    assert len(arrived) - len(answered) <= 20 * 20, 'more than one unanswered batch a round'


@case('SIGTERM ends it in order, held requests and all, and takes the ready and pid files away')
def orderly(hub):
    hub.fault('stall', count=1)
    hub.fault('delay', ms=600000, count=1)
    hub.fault('late-accept', ms=600000, count=1)
    with Client(hub) as one, Client(hub) as two, Client(hub) as three:
        for client in (one, two, three):
            client.send(body=b'x')
        until(lambda: {r['fault'] for r in hub.requests()[-3:]} == {'stall', 'delay', 'late-accept'},
              'all three have arrived')
        with open(hub.path('pid')) as file:
            equal(int(file.read()), hub.process.pid, 'pid file')
        equal(hub.stop(), 0, 'exit code')
        equal(one.ending()[0] + two.ending()[0], b'', 'answers')
    equal((os.path.exists(hub.path('ready')), os.path.exists(hub.path('pid'))), (False, False), 'files')
    hub.start()


@case('another host name gets another certificate from the same CA')
def other_name(hub):
    equal(hub.stop(), 0, 'exit code')
    with open(hub.ca) as file:
        ca = file.read()
    hub.host = 'renamed.azure-devices.net'
    try:
        hub.start()
        sr = quote('renamed.azure-devices.net/devices/d1')
        equal(post(hub, 'renamed.azure-devices.net', auth=token(sr)).status, 204, 'status')
        with open(hub.ca) as file:
            equal(file.read(), ca, 'CA')
    finally:
        hub.stop()
        hub.host = HOST
        hub.start()


@case('the CA file does not open other names')
def other_client_name(hub):
    context = ssl.create_default_context(cafile=hub.ca)
    with socket.create_connection(('127.0.0.1', hub.port), timeout=20) as plain:
        try:
            context.wrap_socket(plain, server_hostname='other.azure-devices.net')
            raise AssertionError('the certificate is taken for another name')
        except ssl.SSLCertVerificationError:
            pass


@case('two hubs have ports and certificates of their own')
def two(hub):
    other = Hub()
    try:
        assert other.port != hub.port and other.admin_port != hub.admin_port, 'the same port'
        other.put_device('d1')
        equal(post(other).status, 204, 'status')
    finally:
        other.close()


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60,
                          text=True)


@case('bad usage is explained: exit code 2')
def usage(hub):
    for arguments in ((), ('--nonsense',), ('--state-dir', hub.path('x'), 'word')):
        done = run(*arguments)
        equal(done.returncode, 2, 'exit code')
        assert done.stderr.startswith('hubkey-testhub: '), done.stderr


@case('what it cannot start with is explained: exit code 1')
def cannot(hub):
    for arguments, part in ((('--state-dir', '/proc/no'), '/proc/no'),
                            (('--state-dir', hub.path('y'), '--listen', 'nowhere'), 'nowhere'),
                            (('--state-dir', hub.path('y'), '--listen', '127.0.0.1:99999'), '127.0.0.1:99999'),
                            (('--state-dir', hub.path('y'), '--listen', f'127.0.0.1:{hub.port}'), str(hub.port)),
                            (('--state-dir', hub.path('state')), 'another test hub uses')):
        done = run(*arguments)
        equal(done.returncode, 1, 'exit code')
        assert part in done.stderr, done.stderr


main()

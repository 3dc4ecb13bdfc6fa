#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""A user who may nothing does their worst on bus and socket. hubkeyd stays the same process, its memory stays bounded,
and all the while another user is served."""

import os
import random
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from sandboxed import Tap, enter, is_sanitized, kib, server_pid, wait_until  # noqa: E402
import rawbus  # noqa: E402
from rawbus import body  # noqa: E402

BOX = os.environ.get('HUBKEY_SANDBOX', '')
BUS, SOCKET = os.path.join(BOX, 'bus'), os.environ.get('HUBKEY_SOCKET', '')
SLOT = '/org/hubkey/slot/0', 'org.hubkey.Slot1'
MANAGER = '/org/hubkey', 'org.hubkey.Manager1'
OUT = 'hubkey-out'
ATTACK = 1000
GROWTH_KB = 16 << 10  # what hubkeyd may grow by: far below what is thrown at it
PATIENCE_S = 10       # the other user gets an answer within this, always
HALF_OPEN_S = 5       # hubkeyd shuts out who has not authenticated by then


def pid():
    return server_pid('hubkeyd')


def resident_kb():
    return kib(pid(), 'VmRSS')


class Witness(threading.Thread):
    """Another user: hubkey-in, with a connection to each, one token after the other."""

    def __init__(self):
        super().__init__(daemon=True)
        self.connections = [rawbus.Connection(BUS, 'hubkey-in'), rawbus.Connection(SOCKET, 'hubkey-in', is_bus=False)]
        self.stopped = threading.Event()
        self.served, self.slowest, self.trouble = 0, 0.0, []

    def run(self):
        while not self.stopped.wait(0.02):
            for connection in self.connections:
                start = time.monotonic()
                try:
                    token = connection.get_token(seconds=20)
                    if not token.startswith('SharedAccessSignature '):
                        self.trouble.append(token)
                except OSError as error:
                    self.trouble.append(repr(error))
                    return
                self.served += 1
                self.slowest = max(self.slowest, time.monotonic() - start)


def open_each():
    return rawbus.Connection(BUS, OUT), rawbus.Connection(SOCKET, OUT, is_bus=False)


def closing(connections):
    for connection in connections:
        connection.close()


# ---- messages that are none ----

def garbage(chance):
    good = rawbus.message(rawbus.CALL, 1, {rawbus.PATH: SLOT[0], rawbus.INTERFACE: SLOT[1], rawbus.MEMBER: 'GetToken',
                                           rawbus.DESTINATION: 'org.hubkey'}, body('su', '', 0))
    kind = chance.randrange(7)
    if kind == 0:
        return chance.randbytes(200)
    if kind == 1:
        return good[:4] + struct.pack('<I', chance.choice((0xffffffff, 1 << 27, 1 << 16))) + good[8:]
    if kind == 2:
        return good[:12] + struct.pack('<I', chance.choice((0xffffffff, 1 << 26, 3))) + good[16:]
    if kind == 3:
        return bytes([chance.randrange(256)]) + good[1:]
    if kind == 4:
        return rawbus.message(rawbus.CALL, 1, {rawbus.PATH: b'not/a//path', rawbus.MEMBER: 'X'})
    if kind == 5:
        deep = {rawbus.PATH: '/x', rawbus.MEMBER: 'X', rawbus.SIGNATURE: 'a' * 200 + 'y'}
        return rawbus.message(rawbus.CALL, 1, deep)
    spoiled = bytearray(good)
    for _ in range(4):
        spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
    return bytes(spoiled)


def malformed(tap):
    """Each of these ends its own connection, or is refused; whatever it is, the next one can be made."""
    chance = random.Random(3)
    for i in range(300):
        connection = rawbus.Connection(SOCKET, OUT, is_bus=False) if i % 3 else rawbus.Connection(BUS, OUT)
        try:
            connection.socket.sendall(garbage(chance) + garbage(chance))
        except ConnectionError:
            pass
        connection.close()
    peer = rawbus.Connection(SOCKET, OUT, is_bus=False)
    peer.socket.sendall(chance.randbytes(4096))
    tap.ok(rawbus.is_closed(peer.socket), 'malformed messages: the connection is closed')
    peer.close()


def oversized(tap):
    bus, peer = open_each()
    for connection, size in ((bus, 1 << 20), (bus, 30 << 20), (peer, 60 << 10)):
        answer = connection.call(*SLOT, 'GetToken', body('su', 'a' * size, 0), seconds=20).text()
        if 'InvalidArgument' not in answer:
            tap.ok(False, f'{size} bytes of arguments', answer)
    tap.ok(True, 'oversized arguments are refused')
    try:
        peer.post(*SLOT, 'GetToken', body('su', 'a' * (65 << 10), 0))
    except ConnectionError:
        pass
    tap.ok(rawbus.is_closed(peer.socket), 'a message above 64 KiB ends its connection to the socket')
    with open('/dev/null') as null:
        for _ in range(50):
            bus.post(*SLOT, 'GetToken', body('su', '', 0), fds=[null.fileno()] * 8, fields={rawbus.UNIX_FDS: 8},
                     flags=rawbus.NO_REPLY)
    closing((bus, peer))


def wrong_types(tap):
    methods = [(*SLOT, member) for member in ('GetToken', 'GetConnectionString', 'ReportRejected', 'Clear')]
    methods += [(*MANAGER, member) for member in ('ListSlots', 'Provision')]
    wrong = [body('s', 'x'), body('ttt', 1, 2, 3), body('e'), body('y', 1), body('ssss', '', '', '', ''), (b'', '')]
    faults = []
    for connection in open_each():
        for method in methods:
            for arguments in wrong:
                text = connection.call(*method, arguments).text()
                if arguments == body('e') and method[2] == 'Clear':
                    arguments = 'right'
                if 'Error.InvalidArgument' not in text and 'Error.NotAuthorized' not in text:
                    faults.append(f'{method[2]} {arguments}: {text}')
        connection.close()
    tap.ok(not faults, 'wrong types are refused', faults[:5])


# ---- more than anybody needs ----

def unread_calls(tap):
    """A thousand calls each whose answers nobody reads, the large ones above all."""
    for is_bus, path in ((True, BUS), (False, SOCKET)):
        connection = rawbus.Connection(path, OUT, is_bus)
        connection.socket.settimeout(1)
        try:
            for _ in range(ATTACK):
                connection.post(*SLOT, 'GetToken', body('su', '', 0))
                connection.post('/org/hubkey', 'org.freedesktop.DBus.Introspectable', 'Introspect')
                connection.post(*MANAGER, 'Provision', body('s', 'half'))
        except OSError:
            pass  # hubkeyd or the bus has had enough
        if not is_bus:
            tap.ok(rawbus.is_closed(connection.socket), 'who never reads is disconnected from the socket')
        connection.close()


def half_open(tap):
    start = time.monotonic()
    peers = [rawbus.connect(SOCKET, OUT) for _ in range(ATTACK)]
    for number, peer in enumerate(peers):
        try:
            peer.sendall(b'\0AUTH EXTERNAL'[:number % 15])
        except ConnectionError:
            pass
    other = rawbus.Connection(SOCKET, 'hubkey-in', is_bus=False)
    token = other.get_token()
    tap.ok(token.startswith('SharedAccessSignature '), f'{ATTACK} half-open connections leave room for others', token)
    other.close()
    shut = all(rawbus.is_closed(peer, max(0.1, start + 4 * HALF_OPEN_S - time.monotonic())) for peer in peers)
    tap.ok(shut, 'and all of them are shut out in time')
    for peer in peers:
        peer.close()


def leave_in_reply(tap):
    for i in range(300):
        connection = rawbus.Connection(*((BUS, OUT, True) if i % 3 == 0 else (SOCKET, OUT, False)))
        connection.post(*MANAGER, 'ListSlots', body('uu', 0, 0))
        connection.post(*SLOT, 'GetToken', body('su', '', 0))
        connection.post(*SLOT, 'Clear', body('e'))
        connection.close()
    tap.ok(True, 'callers that leave in mid-reply')


# ---- lies ----

def grab_names(tap):
    bus = rawbus.Connection(BUS, OUT)
    for name in ('org.hubkey', 'org.freedesktop.PolicyKit1', 'org.freedesktop.DBus'):
        text = bus.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'RequestName', body('su', name, 7),
                        destination='org.freedesktop.DBus').text()
        tap.ok('AccessDenied' in text or 'InvalidArgs' in text, f'{name} cannot be taken', text)
    bus.close()


def lie(connection):
    """Replies that nobody asked for, signals of others, senders of others; then who it is after all."""
    owner = {rawbus.SENDER: 'org.freedesktop.DBus'}
    for serial in range(1, 300):
        for kind in (rawbus.RETURN, rawbus.ERROR):
            fields = {rawbus.REPLY_SERIAL: serial, rawbus.DESTINATION: 'org.hubkey', rawbus.ERROR_NAME: 'a.b'}
            connection.socket.sendall(rawbus.message(kind, 1 << 20 | serial, fields, body('b', 1)))
    for name in ('hubkey-in', ':1.0', ':1.1', 'org.hubkey'):
        connection.post('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'NameOwnerChanged',
                        body('sss', name, name, ''), kind=rawbus.SIGNAL, fields=owner)
    connection.post(*SLOT, 'TokensInvalidated', body('t', 1), kind=rawbus.SIGNAL)
    return [connection.call(*SLOT, 'Clear', body('e'), fields={rawbus.SENDER: sender}).text()
            for sender in (':1.0', ':1.1')]


def lies(tap):
    for way, connection in zip(('bus', 'socket'), open_each()):
        texts = lie(connection)
        tap.ok(all(f'({OUT})' in text and 'NotAuthorized' in text for text in texts),
               f'{way}: unrequested replies, forged signals and senders change nothing', texts)
        connection.close()
    local = rawbus.Connection(SOCKET, OUT, is_bus=False)
    local.post('/org/freedesktop/DBus/Local', 'org.freedesktop.DBus.Local', 'Disconnected', kind=rawbus.SIGNAL)
    tap.ok(rawbus.is_closed(local.socket), 'a forged Disconnected disconnects its own')
    local.close()


def main():
    tap = Tap()
    witness = Witness()
    witness.start()
    wait_until(lambda: witness.served >= 20, 'the other user')
    before, process = resident_kb(), pid()
    for attack in (malformed, oversized, wrong_types, unread_calls, leave_in_reply, grab_names, lies, half_open):
        start = time.monotonic()
        attack(tap)
        tap.note(f'{attack.__name__}: {time.monotonic() - start:.1f} s, hubkeyd has {resident_kb()} KiB')
    witness.stopped.set()
    witness.join(30)
    grown = resident_kb() - before
    tap.ok(pid() == process, 'hubkeyd is still the same process')
    if is_sanitized(pid()):
        tap.skip('its memory is bounded', 'the sanitizer keeps what was freed')
    else:
        tap.ok(grown < GROWTH_KB, 'its memory is bounded', f'{grown} KiB more')
    tap.ok(not witness.trouble, 'the other user always got tokens', witness.trouble[:3])
    tap.ok(witness.slowest < PATIENCE_S, 'and never waited long', f'{witness.slowest:.2f} s')
    tap.note(f'{witness.served} tokens, the slowest after {witness.slowest * 1000:.0f} ms; {grown} KiB more')
    return tap.done()


if __name__ == '__main__':
    enter()
    sys.exit(main())

# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""D-Bus by hand, for tests that must send what no library would: D-Bus specification 0.41, "Message Protocol"."""

import contextlib
import os
import pwd
import select
import socket
import struct
import time

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
NO_REPLY = 1
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE, UNIX_FDS = range(1, 10)
TYPES = {PATH: 'o', INTERFACE: 's', MEMBER: 's', ERROR_NAME: 's', REPLY_SERIAL: 'u', DESTINATION: 's', SENDER: 's',
         SIGNATURE: 'g', UNIX_FDS: 'u'}


def pad(data, to):
    return data + bytes(-len(data) % to)


def put(data, kind, value):
    """DATA and one basic value behind it; 'e' is an empty a{sv}."""
    if kind in 'so':
        text = value.encode() if isinstance(value, str) else value
        return pad(data, 4) + struct.pack('<I', len(text)) + text + b'\0'
    if kind == 'g':
        return data + bytes([len(value)]) + value.encode() + b'\0'
    if kind == 'e':
        return pad(pad(data, 4) + bytes(4), 8)
    size, code = {'y': (1, 'B'), 'b': (4, 'I'), 'u': (4, 'I'), 'h': (4, 'I'), 't': (8, 'Q')}[kind]
    return pad(data, size) + struct.pack('<' + code, value)


def body(kinds, *values):
    data = b''
    values = iter(values)
    for kind in kinds:
        data = put(data, kind, None if kind == 'e' else next(values))
    return data, kinds.replace('e', 'a{sv}')


def message(kind, serial, fields, arguments=(b'', ''), flags=0):
    data, signature = arguments
    if signature:
        fields = {**fields, SIGNATURE: signature}
    array = b''
    for code, value in fields.items():
        array = put(put(pad(array, 8) + bytes([code]), 'g', TYPES[code]), TYPES[code], value)
    head = struct.pack('<cBBBIII', b'l', kind, flags, 1, len(data), serial, len(array))
    return pad(head + array, 8) + data


class Message:
    def __init__(self, data, fields_end):
        self.kind = data[1]
        self.fields = {}
        at = 16
        while at < fields_end:
            at += -at % 8
            code, length = data[at], data[at + 1]
            kind = data[at + 2:at + 2 + length].decode()
            at += 3 + length
            if kind == 'g':
                end = at + 1 + data[at]
                self.fields[code] = data[at + 1:end].decode()
                at = end + 1
                continue
            at += -at % 4
            number = struct.unpack_from('<I', data, at)[0]
            at += 4
            if kind == 'u':
                self.fields[code] = number
            else:
                self.fields[code] = data[at:at + number].decode()
                at += number + 1
        self.body = data[fields_end + -fields_end % 8:]

    def text(self):
        """Its first argument, a string; of an error with the name in front."""
        length = struct.unpack_from('<I', self.body)[0] if len(self.body) >= 4 else 0
        text = self.body[4:4 + length].decode(errors='replace')
        return f'{self.fields.get(ERROR_NAME)}: {text}' if self.kind == ERROR else text


@contextlib.contextmanager
def credentials(user):
    """The kernel notes who connects when it connects: effective user and groups of that moment."""
    if user is None or user == 'root':
        yield
        return
    entry = pwd.getpwnam(user)
    before = os.getgroups()
    os.setgroups(os.getgrouplist(user, entry.pw_gid))
    os.setegid(entry.pw_gid)
    os.seteuid(entry.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


def connect(path, user=None):
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with credentials(user):
        peer.connect(path)
    return peer


class Connection:
    """To the bus, or to hubkeyd's private socket: messages to the bus name "org.hubkey" either way."""

    def __init__(self, path, user=None, is_bus=True):
        self.is_bus = is_bus
        self.serial = 0
        self.buffer = b''
        self.socket = connect(path, user)
        uid = pwd.getpwnam(user).pw_uid if user else 0
        self.socket.sendall(b'\0AUTH EXTERNAL ' + str(uid).encode().hex().encode() + b'\r\n')
        if not self.line().startswith(b'OK '):
            raise ConnectionError('not authenticated')
        self.socket.sendall(b'NEGOTIATE_UNIX_FD\r\nBEGIN\r\n')
        self.line()
        if is_bus:
            self.name = self.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'Hello',
                                  destination='org.freedesktop.DBus').text()

    def line(self, seconds=10):
        while b'\r\n' not in self.buffer:
            self.fill(time.monotonic() + seconds)
        line, self.buffer = self.buffer.split(b'\r\n', 1)
        return line

    def fill(self, deadline):
        if not select.select([self.socket], [], [], max(0, deadline - time.monotonic()))[0]:
            raise TimeoutError('nothing came')
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError('closed')
        self.buffer += data

    def receive(self, seconds=10):
        deadline = time.monotonic() + seconds
        while True:
            if len(self.buffer) >= 16:
                length, _, fields = struct.unpack_from('<III', self.buffer, 4)
                end = 16 + fields
                total = end + -end % 8 + length
                if len(self.buffer) >= total:
                    data, self.buffer = self.buffer[:total], self.buffer[total:]
                    return Message(data, end)
            self.fill(deadline)

    def post(self, path, interface, member, arguments=(b'', ''), destination='org.hubkey', flags=0, kind=CALL, **more):
        """Sends and does not wait; returns the serial."""
        self.serial += 1
        fields = {PATH: path, INTERFACE: interface, MEMBER: member}
        if self.is_bus:
            fields[DESTINATION] = destination
        fields.update(more.get('fields', {}))
        data = message(kind, self.serial, fields, arguments, flags)
        if 'fds' in more:
            socket.send_fds(self.socket, [data], more['fds'])
        else:
            self.socket.sendall(data)
        return self.serial

    def call(self, *arguments, seconds=10, **more):
        return self.answer(self.post(*arguments, **more), seconds)

    def answer(self, serial, seconds=10):
        while (got := self.receive(seconds)).fields.get(REPLY_SERIAL) != serial:
            pass
        return got

    def get_token(self, slot=0, seconds=10):
        """A token or the error's text."""
        return self.call(f'/org/hubkey/slot/{slot}', 'org.hubkey.Slot1', 'GetToken', body('su', '', 0),
                         seconds=seconds).text()

    def close(self):
        self.socket.close()


def is_closed(peer, seconds=10):
    """Whether the other side closes within the time; what it says first is read away."""
    deadline = time.monotonic() + seconds
    while select.select([peer], [], [], max(0, deadline - time.monotonic()))[0]:
        try:
            if not peer.recv(1 << 16):
                return True
        except ConnectionError:
            return True
    return False

#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Answers that are none, from a server with the hub's name and certificate: too much, too little, or not HTTP."""

import itertools
import os
import re
import socket
import ssl
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
sys.dont_write_bytecode = True
from sandboxed import Tap, enter, is_sanitized, kib, wait_until  # noqa: E402

enter()
from binding import Client  # noqa: E402 (the library is the sandbox's)

BOX = os.environ['HUBKEY_SANDBOX']
GOOD = [b'HTTP/1.1 204 No Content\r\n\r\n']
PIECE = b'x' * 16384
MUCH = 16 << 20   # bytes: what the kernel and TLS hold is sent before anybody looks
HELD_KB = 4096
tap = Tap()


class Server:
    """Answers each request with what is next in answers, iterables of bytes or what makes them of the request's head;
    after all of them, well."""

    def __init__(self):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(os.path.join(BOX, 'hub/server.pem'), os.path.join(BOX, 'hub/server-key.pem'))
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = '::127.0.0.1:{}'.format(self.listener.getsockname()[1]).encode()
        self.answers = []
        self.requests = self.sent = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        try:
            with self.context.wrap_socket(connection, server_side=True) as secured:
                while head := self.take_request(secured):
                    answer = self.answers.pop(0) if self.answers else GOOD
                    answer = answer(head) if callable(answer) else answer
                    for piece in answer:
                        secured.sendall(piece)
                        self.sent += len(piece)
                    if answer is not GOOD:
                        return
        except OSError:
            pass  # the client has had enough

    def take_request(self, connection):
        data = b''
        while b'\r\n\r\n' not in data:
            if not (more := connection.recv(65536)):
                return None
            data += more
        head, body = data.split(b'\r\n\r\n', 1)
        length = int(re.search(rb'\r\ncontent-length: *(\d+)', head, re.IGNORECASE)[1])
        while len(body) < length:
            if not (more := connection.recv(65536)):
                return False
            body += more
        self.requests += 1
        return head


def peak_kb():
    return kib('self', 'VmHWM')


def headers(pieces):
    yield b'HTTP/1.1 204 No Content\r\n'
    for piece in pieces:
        yield b''.join(b'x-%d-%d: %s\r\n' % (piece, line, b'y' * 90) for line in range(100))
    yield b'\r\n'


def drip(data):
    """A byte at a time."""
    for byte in data:
        time.sleep(0.05)
        yield bytes([byte])


def answers():
    """(name, answer, the state that it leads to, a part of its text); and options"""
    yield 'a header of 200 KiB', headers(range(20)), 'online', ''
    yield 'lines that end with LF alone', [b'HTTP/1.1 204 No Content\nDate: x\n\n'], 'online', ''
    yield ('a line of 200 KiB', [b'HTTP/1.1 204 No Content\r\nx: ', *[PIECE] * 13, b'\r\n\r\n'],
           'offline, network', 'header')
    yield 'a header of 600 KiB', headers(range(60)), 'offline, network', 'header'
    yield 'a header without an end', headers(itertools.count()), 'offline, network', 'header'
    yield ('interim answers without an end', itertools.repeat(b'HTTP/1.1 102 Processing\r\n\r\n' * 100),
           'offline, network', 'header')
    yield ('a body without an end',
           itertools.chain([b'HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n'],
                           itertools.repeat(b'4000\r\n' + PIECE + b'\r\n')), 'backing-off', '503')
    yield 'a status of 206', [b'HTTP/1.1 206 Partial Content\r\nContent-Length: 0\r\n\r\n'], 'online', ''
    yield 'a status of 600', [b'HTTP/1.1 600 What\r\nContent-Length: 0\r\n\r\n'], 'backing-off', '600'
    yield ('trailers like a header', [b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n'
                                      b'iothub-errorcode: DeviceNotFound\r\ncontent-type: text/html\r\n\r\n'],
           'online', '')
    yield 'a header in drops', drip(b'HTTP/1.1 204 No Content\r\n\r\n'), 'online', ''
    yield ('a header in drops without an end',
           drip(itertools.chain(b'HTTP/1.1 204 No Content\r\n', itertools.cycle(b'x: y\r\n'))),
           'offline, network', 'in time', {'request_timeout_ms': 3000})
    yield ('a body in drops without an end',
           itertools.chain([b'HTTP/1.1 503 Busy\r\n\r\n'], drip(itertools.repeat(0x20))),
           'backing-off', '503', {'request_timeout_ms': 3000})
    yield 'no HTTP', [b'SSH-2.0-OpenSSH_9.2p1\r\n'], 'offline, network', 'broke'
    yield 'nothing', [], 'offline, network', 'broke'
    yield 'a header that breaks off', [b'HTTP/1.1 204 No Content\r\nDate: Mon'], 'offline, network', 'broke'
    yield 'a body that breaks off', [b'HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nno'], 'backing-off', '503'


def try_answer(server, name, answer, state, text, options=None):
    server.requests = server.sent = 0
    server.answers = [answer]
    read = state == 'online'
    with Client(os.path.join(BOX, 'client', f'{name.replace(" ", "-")}.queue'), connect_to=server.address,
                max_requests_per_minute=0xffffffff, **(options or {})) as client:
        seq = client.post([b'0'])
        wait_until(lambda: client.state() == state, f'{state} after {name}')
        tap.ok(text in client.stats().text.decode(), f'{name}: {state}, and why', client.stats().text)
        tap.ok(client.wait_seq(seq) == 0, f'{name}: delivered', client.state())
        tap.ok((server.requests, client.stats().duplicates_possible) == ((1, 0) if read else (2, 1)),
               f'{name}: {"taken for what it is" if read else "the same once more, and counted"}',
               (server.requests, client.stats().duplicates_possible))
        tap.ok(server.sent < MUCH, f'{name}: not read for ever', server.sent)


def repeat_token(head):
    """As a gateway may that tells what it was asked."""
    token = re.search(rb'\r\nauthorization: *([^\r]*)', head, re.IGNORECASE)[1]
    assert b'sig=' in token
    body = b'{"Message":"ErrorCode:ServerBusy;you sent %s","ExceptionMessage":"Tracking ID:%s"}' % (token, token)
    return [b'HTTP/1.1 503 Busy\r\nx-ms-request-id: %s\r\niothub-errorcode: a %s\r\nContent-Length: %d\r\n\r\n%s'
            % (token, token, len(body), body)]


def try_echo(server):
    server.answers = [repeat_token]
    path = os.path.join(BOX, 'client', 'echo.queue')
    with Client(path, connect_to=server.address) as client:
        client.post([b'0'])
        wait_until(lambda: client.state() == 'backing-off', 'the state')
        with open(f'{path}.state', 'rb') as file:
            seen = client.stats().text + file.read()
        tap.ok(b'you sent' in seen and b'sig' not in seen.lower(), 'a token that is repeated: not told further', seen)
        tap.ok(client.flush() == 0, 'a token that is repeated: delivered', client.stats().text)


def main():
    server, rows = Server(), answers()
    try_answer(server, *next(rows))
    before = peak_kb()  # with all that any answer costs
    for row in rows:
        try_answer(server, *row)
    try_echo(server)
    if is_sanitized('self'):
        tap.skip('nothing of it is held in memory', 'the sanitizer keeps what was freed')
    else:
        tap.ok(peak_kb() - before < HELD_KB, 'nothing of it is held in memory', (before, peak_kb()))
    return tap.done()


if __name__ == '__main__':
    sys.exit(main())

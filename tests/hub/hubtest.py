# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""For the tests of the test hub: the hub as a process, a client made by hand, tokens, and TAP.

The client knows nothing that the hub knows: it writes its requests byte by byte and reads what comes, so that a test
sees what is on the wire.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse

PROGRAM = os.path.join(os.environ.get('HUBKEY_BUILDDIR', '.'), 'tests/hub/hubkey-testhub')
HOST = 'hub-of-tests.azure-devices.net'
VERSION = '2021-04-12'
BATCH = 'application/vnd.microsoft.iothub.json'
SECONDS = 20  # for anything that must happen
KEY = bytes(range(32))
OTHER_KEY = bytes(range(100, 164))

cases = []


def case(text):
    """The function is a test case: it passes when it returns."""
    def add(function):
        cases.append((text, function))
        return function
    return add


def run_cases(*arguments):
    failed = 0
    for number, (text, function) in enumerate(cases, 1):
        try:
            function(*arguments)
            print(f'ok {number} - {text}', flush=True)
        except Exception:
            failed += 1
            print(f'not ok {number} - {text}', flush=True)
            for line in traceback.format_exc().splitlines():
                print(f'# {line}')
    print(f'1..{len(cases)}')
    return 1 if failed else 0


def equal(got, wanted, about=''):
    assert got == wanted, f'{about} is {got!r}, not {wanted!r}'


def until(condition, about):
    """Waits for a condition; what it returned."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.005)
    raise AssertionError(f'not within {SECONDS} s: {about}')


def quote(text):
    return urllib.parse.quote(text, safe='')


def token(sr, key=KEY, se=None, fields='sr={sr}&sig={sig}&se={se}', signed=None):
    """A SharedAccessSignature; sr stands in it as given, signed (default: sr) is what the signature covers."""
    se = str(int(time.time()) + 3600 if se is None else se)
    text = f'{sr if signed is None else signed}\n{se}'.encode()
    sig = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return 'SharedAccessSignature ' + fields.format(sr=sr, sig=quote(sig), se=se, plainsig=sig)


def device_token(device='d1', host=HOST, **more):
    return token(quote(f'{host}/devices/{device}'), **more)


class Hub:
    """The hub as a process with a state directory of its own."""

    def __init__(self, host=HOST):
        self.host = host
        self.dir = tempfile.mkdtemp(prefix='hubkey-testhub.')
        self.process = None
        self.start()

    def path(self, name):
        return os.path.join(self.dir, name)

    def command(self):
        return [PROGRAM, '--host-name', self.host, '--state-dir', self.path('state'), '--ready-file',
                self.path('ready'),
                '--pid-file', self.path('pid')]

    def start(self):
        if os.path.exists(self.path('ready')):
            os.unlink(self.path('ready'))
        with open(self.path('log'), 'a') as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stderr=log)
        until(lambda: os.path.exists(self.path('ready')) or self.process.poll() is not None, 'the hub is ready')
        with open(self.path('ready')) as file:
            ready = dict(line.rstrip('\n').split('=', 1) for line in file)
        self.port, self.admin_port, self.ca = int(ready['tls_port']), int(ready['admin_port']), ready['ca_file']

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(SECONDS)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)

    def close(self):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.dir)

    def admin(self, method, path, body=None, raw=None):
        """(status, parsed JSON or None)"""
        connection = http.client.HTTPConnection('127.0.0.1', self.admin_port, timeout=SECONDS)
        connection.request(method, path, raw if raw is not None else None if body is None else json.dumps(body))
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, json.loads(data) if data else None

    def put_device(self, device, key=KEY, **more):
        status, _ = self.admin('POST', '/devices', {'deviceId': device, 'primaryKey': base64.b64encode(key).decode(),
                                                    **more})
        equal(status, 201, 'status of POST /devices')

    def fault(self, kind, **more):
        status, body = self.admin('POST', '/faults', {'kind': kind, **more})
        equal(status, 201, 'status of POST /faults')
        return body['id']

    def no_faults(self):
        equal(self.admin('DELETE', '/faults'), (204, None))

    def stats(self):
        return self.admin('GET', '/stats')[1]

    def pages(self, what, after=0, limit=1000, query=''):
        while True:
            page = self.admin('GET', f'/{what}?after={after}&limit={limit}{query}')[1]
            yield from page[what]
            if page['next'] == after:
                return
            after = page['next']

    def messages(self, after=0, query=''):
        return list(self.pages('messages', after, query=query))

    def requests(self, after=0):
        return list(self.pages('requests', after))

    def last_request(self):
        return self.requests()[-1]

    def last_seq(self):
        messages = self.messages()
        return messages[-1]['seq'] if messages else 0


class Answer:
    def __init__(self, head, body):
        lines = head.decode('latin-1').split('\r\n')
        self.status = int(lines[0].split(' ')[1])
        self.headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(':') for line in lines[1:])]
        self.body = body

    def header(self, name):
        values = [value for known, value in self.headers if known == name]
        assert len(values) < 2, f'{name} stands more than once in the answer'
        return values[0] if values else None

    @property
    def code(self):
        return self.header('iothub-errorcode')


class Client:
    """One connection. TLS runs in memory between us and the socket, so that the socket is seen as it is."""

    def __init__(self, hub, server_name=HOST):
        context = ssl.create_default_context(cafile=hub.ca)
        if server_name != hub.host:
            context.check_hostname = False  # that the hub minds is the point; the chain is verified all the same
        self.host = hub.host
        self.data = b''
        self.socket = socket.create_connection(('127.0.0.1', hub.port), timeout=SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name)
        self.run_tls(self.tls.do_handshake)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def run_tls(self, step, *arguments):
        """Repeats a step of TLS until it has the bytes it needs."""
        while True:
            try:
                result = step(*arguments)
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                piece = self.socket.recv(65536)
                if not piece:
                    raise EOFError('the connection was closed without a TLS farewell')
                self.incoming.write(piece)

    def flush(self):
        if self.outgoing.pending:
            self.socket.sendall(self.outgoing.read())

    def write(self, data):
        self.run_tls(self.tls.write, data)

    def head(self, method='POST', path=None, device='d1', host=None, auth=None, headers=(), kind=None, length=0):
        """host and auth may be lists: then so many headers. kind is the Content-Type."""
        path = path or f'/devices/{quote(device)}/messages/events?api-version={VERSION}'
        hosts = [self.host] if host is None else [host] if isinstance(host, str) else host
        auths = [device_token(device)] if auth is None else [auth] if isinstance(auth, str) else auth
        lines = [f'{method} {path} HTTP/1.1'] + [f'Host: {text}' for text in hosts]
        lines += [f'Authorization: {text}' for text in auths] + [f'{name}: {value}' for name, value in headers]
        lines += [f'Content-Type: {kind}'] if kind else []
        lines += [f'Content-Length: {length}', '', '']
        return '\r\n'.join(lines).encode('latin-1')

    def send(self, body=b'', **head):
        self.write(self.head(length=len(body), **head) + body)

    def receive(self):
        while b'\r\n\r\n' not in self.data:
            self.more()
        head, _, self.data = self.data.partition(b'\r\n\r\n')
        if Answer(head, b'').header('transfer-encoding') == 'chunked':
            return Answer(head, self.chunks())
        length = int(Answer(head, b'').header('content-length') or 0)
        while len(self.data) < length:
            self.more()
        body, self.data = self.data[:length], self.data[length:]
        return Answer(head, body)

    def chunks(self):
        whole = b''
        while True:
            while b'\r\n' not in self.data:
                self.more()
            size, _, self.data = self.data.partition(b'\r\n')
            length = int(size, 16)
            while len(self.data) < length + 2:
                self.more()
            whole, self.data = whole + self.data[:length], self.data[length + 2:]
            if length == 0:
                return whole

    def more(self):
        piece = self.run_tls(self.tls.read, 65536)
        assert piece, 'the hub closed the connection'
        self.data += piece

    def post(self, **request):
        self.send(**request)
        return self.receive()

    def batch(self, items, **more):
        return self.post(body=items if isinstance(items, bytes) else json.dumps(items).encode(), kind=BATCH, **more)

    def ending(self):
        """(bytes until the end, how it ended: 'reset', 'closed' without a TLS farewell, 'farewell')."""
        data, self.data = self.data, b''
        try:
            while True:
                piece = self.run_tls(self.tls.read, 65536)
                if not piece:
                    return data, 'farewell'
                data += piece
        except ssl.SSLZeroReturnError:
            return data, 'farewell'
        except EOFError:
            return data, 'closed'
        except ConnectionResetError:
            return data, 'reset'

    def is_quiet(self):
        """Nothing can be read right now, not even an end."""
        self.socket.settimeout(0)
        try:
            self.data += self.run_tls(self.tls.read, 65536)
            return False
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(SECONDS)


def post(hub, server_name=HOST, **request):
    """One request on a connection of its own."""
    with Client(hub, server_name) as client:
        return client.post(**request)


def item(text, message_id=None, **properties):
    made = {'body': base64.b64encode(text.encode()).decode()}
    if message_id is not None:
        properties['iothub-messageid'] = message_id
    return {**made, 'properties': properties} if properties else made


def main(host=HOST):
    """Runs the cases with one hub that knows device d1."""
    hub = Hub(host)
    try:
        hub.put_device('d1')
        status = run_cases(hub)
        assert hub.process.poll() is None, 'the hub has ended by itself'
    finally:
        hub.close()
    sys.exit(status)

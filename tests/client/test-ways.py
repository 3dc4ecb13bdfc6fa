#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""The ways from libhubkey to the hub: for modules, through IoT Edge parents and HTTP proxies, past name servers that do
not answer; and what of it a program that is started meanwhile inherits."""

import base64
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
sys.dont_write_bytecode = True
from sandboxed import Tap, enter, hub, pages, wait_until  # noqa: E402

enter()
import binding  # noqa: E402 (the library is the sandbox's)
from binding import Client  # noqa: E402

DEVICE = os.environ['HUBKEY_DEVICE_ID']
HOST = os.environ['HUBKEY_HUB_HOST']
DIR = os.path.join(os.environ['HUBKEY_SANDBOX'], 'client')
HUB_PORT = int(os.environ['HUBKEY_CONNECT_TO'].rsplit(':', 1)[1])
PROXY_VARIABLES = ('https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY', 'no_proxy', 'NO_PROXY')
tap = Tap()


def queue(name):
    return os.path.join(DIR, f'ways-{name}.queue')


def bodies():
    return [base64.b64decode(one['body']) for one in pages('/messages', 'messages')]


def last_request():
    return list(pages('/requests', 'requests'))[-1]


def relay(one, other, *, rate=None):
    """Bytes from each to the other, until either ends; rate: so many a second."""
    try:
        while True:
            for ready in select.select([one, other], [], [])[0]:
                data = ready.recv(4096 if rate else 65536)
                if not data:
                    return
                (other if ready is one else one).sendall(data)
                if rate:
                    time.sleep(len(data) / rate)
    except OSError:
        pass
    finally:
        for each in (one, other):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Server:
    """Takes connections on a loopback address until it is closed; serve() gets each in a thread of its own."""

    def __init__(self, address=('127.0.0.1', 0)):
        self.connections = []
        self.listen(address)

    def listen(self, address):
        self.listener = socket.create_server(address)
        self.address = self.listener.getsockname()
        threading.Thread(target=self.accept, args=[self.listener], daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def close(self):
        """As if it died: nothing listens any more, and what was connected breaks."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Forwarder(Server):
    """All of its connections go on to the hub."""

    def serve(self, connection):
        relay(connection, socket.create_connection(('127.0.0.1', HUB_PORT)))


class Slow(Forwarder):
    """A link of so many bytes a second, which stores hardly any."""

    RATE = 100000

    def listen(self, address):
        super().listen(address)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def serve(self, connection):
        relay(connection, socket.create_connection(('127.0.0.1', HUB_PORT)), rate=self.RATE)


class Proxy(Server):
    """An HTTP proxy that knows CONNECT; user: "name:password" that it asks for."""

    def __init__(self, user=None):
        self.user, self.heads = user, []
        super().__init__()

    def serve(self, connection):
        head = b''
        while b'\r\n\r\n' not in head:
            data = connection.recv(4096)
            if not data:
                return
            head += data
        text = head.decode('latin-1')
        self.heads.append(text)
        wanted = self.user and base64.b64encode(self.user.encode()).decode()
        if wanted and f'Proxy-Authorization: Basic {wanted}\r\n' not in text:
            connection.sendall(b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n'
                               b'Content-Length: 0\r\nConnection: close\r\n\r\n')
            connection.close()
            return
        host, port = text.split()[1].rsplit(':', 1)
        there = socket.create_connection((host, int(port)))
        connection.sendall(b'HTTP/1.1 200 Connection established\r\n\r\n')
        relay(connection, there)

    def url(self, user=''):
        return f'http://{user + "@" if user else ""}127.0.0.1:{self.address[1]}'


class environment:
    """With these variables and without other ones of proxies."""

    def __init__(self, **variables):
        self.variables = variables

    def __enter__(self):
        self.before = dict(os.environ)
        for name in PROXY_VARIABLES:
            os.environ.pop(name, None)
        os.environ.update(self.variables)

    def __exit__(self, *_):
        for name in self.variables:
            os.environ.pop(name, None)
        os.environ.update(self.before)


# ---- Whom it is for


def ctl(*words, **more):
    subprocess.run(['hubkeyctl', *words], check=True, timeout=60, stdout=subprocess.DEVNULL, **more)


def module():
    key = base64.b64encode(b'm' * 32).decode()
    hub('/devices', 'POST', {'deviceId': DEVICE, 'moduleId': 'camera 1'.replace(' ', '+'), 'primaryKey': key})
    ctl('provision', '20', '--host-name', HOST, '--device-id', DEVICE, '--module-id', 'camera+1', '--key-file', '-',
        input=key.encode())
    with Client(queue('module'), slot=20) as client:
        client.post([b'from a module'])
        client.post([b'and another'])
        tap.ok(client.flush() == 0, 'module: delivered', client.stats().text)
    arrived = list(pages('/messages', 'messages'))[-2:]
    tap.ok([(one['device'], one['module']) for one in arrived] == [(DEVICE, 'camera+1')] * 2, 'module: as the module',
           arrived)
    request = last_request()
    tap.ok(request['path'].startswith(f'/devices/{DEVICE}/modules/camera%2B1/messages/events'), 'module: its own path',
           request['path'])
    tap.ok(request['srRaw'] == f'{HOST}%2Fdevices%2F{DEVICE}%2Fmodules%2Fcamera%2B1', 'module: its own token',
           request['srRaw'])
    hub('/faults', 'POST', {'kind': 'status', 'code': 404, 'errorCode': 'ModuleNotFound', 'count': 1})
    with Client(queue('module'), slot=20) as client:
        client.post([b'to nobody'])
        wait_until(lambda: client.state() == 'rejected, device', 'the rejection')
        tap.ok(client.stats().counts.waiting == 1, 'module: deleted at the hub, kept in the queue')


def gateway():
    """Parents of IoT Edge terminate nothing here: what counts is where the client connects, and under whose name."""
    number = os.getpid() % 60000 + 256
    parent = Forwarder((f'127.7.{number >> 8}.{number & 255}', 443))
    ctl('provision', '21', '--host-name', HOST, '--device-id', DEVICE, '--gateway', parent.address[0],
        '--key-file', '-', input=os.environ['HUBKEY_DEVICE_KEY'].encode())
    with environment(HUBKEY_CONNECT_TO=''):
        with Client(queue('gateway'), slot=21) as client:
            client.post([b'by a parent'])
            tap.ok(client.flush() == 0, 'gateway: delivered, under the name of the hub', client.stats().text)
            tap.ok(len(parent.connections) == 1, 'gateway: the parent was asked', len(parent.connections))
            parent.close()
            client.post([b'while the parent is away'])
            wait_until(lambda: client.state() == 'offline, network', 'the state')
            address, parent = parent.address, Forwarder(parent.address)
            tap.ok(client.flush() == 0, 'gateway: goes on when the parent is back', client.stats().text)
        tap.ok(bodies()[-2:] == [b'by a parent', b'while the parent is away'], 'gateway: both arrived once',
               bodies()[-4:])
        parent.close()


def slow():
    """A full batch takes 2.6 times as long as a request may: smaller ones pass, and so does what cannot be smaller."""
    hub('/messages', 'DELETE')
    link = Slow()
    way = '::{}:{}'.format(*link.address).encode()
    with environment(), Client(queue('slow'), flags=binding.QUEUE_ONLY) as client:
        client.post([b'%03d' % number + b'x' * 997 for number in range(400)] + [b'y' * 200000])
    with environment(), Client(queue('slow'), connect_to=way, request_timeout_ms=1000) as client:
        tap.ok(client.flush(120000) == 0, 'slow link: delivered', (client.stats().text, client.stats().counts.waiting))
        tap.ok(client.stats().requests_failed > 0, 'slow link: which a full batch was not')
    arrived = [int(body[:3]) if body[:1] != b'y' else len(body) for body in bodies()]
    tap.ok(list(dict.fromkeys(arrived)) == [*range(400), 200000], 'slow link: all of it, in order', len(arrived))
    link.close()


# ---- HTTP proxies


def proxied():
    proxy = Proxy()
    with environment(https_proxy=proxy.url()), Client(queue('proxy')) as client:
        client.post([b'by a proxy'])
        tap.ok(client.flush() == 0, 'proxy: delivered', client.stats().text)
        tap.ok(len(proxy.heads) == 1 and proxy.heads[0].startswith('CONNECT '), 'proxy: through it', proxy.heads)
        tap.ok('SharedAccessSignature' not in proxy.heads[0] and 'iothub' not in proxy.heads[0].lower(),
               'proxy: it sees neither token nor properties', proxy.heads)
        proxy.close()
        client.post([b'while the proxy is away'])
        wait_until(lambda: client.state() == 'offline, network', 'the state')
        proxy.listen(proxy.address)
        tap.ok(client.flush() == 0, 'proxy: goes on when it is back', client.stats().text)
    tap.ok(bodies()[-2:] == [b'by a proxy', b'while the proxy is away'], 'proxy: both arrived once')
    proxy.close()


def proxy_with_password():
    proxy, secret = Proxy('us%er:s3cr3t'), 's3cr3t'
    with environment(https_proxy=proxy.url('us%25er:s3cr3t')), Client(queue('password')) as client:
        client.post([b'with a password'])
        tap.ok(client.flush() == 0, 'password: delivered', client.stats().text)
        before = len(proxy.heads)
        proxy.user = 'us%er:another'
        for connection in proxy.connections:
            connection.shutdown(socket.SHUT_RDWR)
        client.post([b'with a wrong password'])
        wait_until(lambda: client.state() == 'offline, proxy', 'the state')
        text = client.stats().text.decode()
        tap.ok('407' in text and 'password' in text, 'password: a wrong one is told', text)
        tap.ok(secret not in text and 'us%' not in text, 'password: but not which', text)
        tap.ok(client.stats().counts.waiting == 1 and len(proxy.heads) - before < 5,
               'password: kept, without hammering', len(proxy.heads) - before)
        proxy.user = 'us%er:s3cr3t'
        tap.ok(client.flush() == 0, 'password: goes on when it is right again', client.stats().text)
        tap.ok(client.stats().duplicates_possible <= 1, 'password: what the proxy refused was never sent twice')
    proxy.close()


def no_proxy():
    proxy = Proxy()
    with environment(https_proxy=proxy.url(), no_proxy='localhost,.azure-devices.net'), \
            Client(queue('no-proxy')) as client:
        client.post([b'past the proxy'])
        tap.ok(client.flush() == 0, 'no_proxy: delivered', client.stats().text)
    tap.ok(proxy.heads == [], 'no_proxy: not through the proxy', proxy.heads)
    proxy.close()


# ---- Trust


def untrusted():
    """A firewall that looks into TLS has a name; its roots may come while the client runs."""
    with open(os.environ['HUBKEY_CA_FILE'], 'rb') as file:
        right = file.read()
    issuer = subprocess.run(['openssl', 'x509', '-noout', '-subject', '-nameopt', 'RFC2253'], input=right, check=True,
                            stdout=subprocess.PIPE).stdout.decode().strip().removeprefix('subject=')
    with tempfile.NamedTemporaryFile(suffix='.pem') as roots:
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                        '-keyout', '/dev/null', '-subj', '/CN=somebody else', '-out', roots.name], check=True,
                       stderr=subprocess.DEVNULL)
        with Client(queue('trust'), ca_file=roots.name.encode()) as client:
            client.post([b'to nobody but the hub'])
            wait_until(lambda: client.state() == 'offline, tls', 'the state')
            text = client.stats().text.decode()
            tap.ok(f'issued by {issuer}' in text, 'trust: the issuer is named', (issuer, text))
            with open(roots.name, 'wb') as file:
                file.write(right)
            tap.ok(client.flush() == 0, 'trust: new roots are read by a running client', client.stats().text)
            tap.ok(client.stats().duplicates_possible == 0, 'trust: nothing was sent before')


# ---- A guest


def descriptors():
    """A program that is started while the client is online gets none of its connections."""
    proxyless = environment()
    with proxyless, Client(queue('descriptors')) as client:
        client.post([b'x'])
        tap.ok(client.flush() == 0, 'descriptors: online', client.stats().text)
        # Started as other languages do it, without Python's closing of descriptors.
        listed = subprocess.run(['ls', '-l', '/proc/self/fd'], close_fds=False, stdout=subprocess.PIPE,
                                check=False, text=True)
        inherited = [line.split(' -> ')[1] for line in listed.stdout.splitlines() if ' -> ' in line]
        tap.ok(len(inherited) >= 3, 'descriptors: a program lists what it inherited', listed)
        with open('/proc/net/tcp') as file:
            tcp = {line.split()[9] for line in list(file)[1:]}
        sockets = [name[len('socket:['):-1] for name in inherited if name.startswith('socket:[')]
        tap.ok(not tcp & set(sockets), 'descriptors: no connection to the hub is inherited', inherited)
        tap.ok(not [name for name in inherited if '.queue' in name], 'descriptors: no file of the queue is', inherited)


def post_and_close():
    """Of dead_dns: posts, closes when told so, and says how many ms that took."""
    os.environ['HUBKEY_CONNECT_TO'] = ''
    client = Client(queue('dns'), connect_timeout_ms=60000)
    client.post([b'to a name that nobody knows'])
    sys.stdin.readline()
    begun = time.monotonic()
    client.close()
    print(int((time.monotonic() - begun) * 1000), flush=True)
    os._exit(0)  # the name server has not answered yet


def dead_dns():
    if subprocess.run(['unshare', '-m', 'true'], stderr=subprocess.DEVNULL).returncode != 0:
        tap.note('no mount namespaces here: closing with a dead name server is not tried')
        return
    number = os.getpid() % 60000 + 256
    address = f'127.8.{number >> 8}.{number & 255}'
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, tempfile.NamedTemporaryFile('w') as file:
        server.bind((address, 53))
        server.settimeout(20)
        file.write(f'nameserver {address}\noptions timeout:15 attempts:2\n')
        file.flush()
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        child = subprocess.Popen(['unshare', '-m', 'sh', '-c', script, file.name,
                                  sys.executable, os.path.abspath(__file__),
                                  '--post-and-close'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        server.recv(512)  # the question for the hub's address; there is no answer
        out, _ = child.communicate('now\n', timeout=60)
        tap.ok(int(out) < 2000, 'dead name server: closing does not wait for it', f'{out.strip()} ms')


def main():
    if sys.argv[1:] == ['--post-and-close']:
        post_and_close()
    for name in PROXY_VARIABLES:
        os.environ.pop(name, None)
    for test in (descriptors, dead_dns, untrusted, proxied, proxy_with_password, no_proxy, module, gateway,
                 slow):
        try:
            test()
        except (OSError, ValueError, subprocess.SubprocessError, binding.Failed) as error:
            tap.ok(False, f'{test.__name__}: {type(error).__name__}', error)
    return tap.done()


if __name__ == '__main__':
    sys.exit(main())

# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""A bus, a software TPM and hubkeyd as often as somebody kills one of them; the states that everything starts from, and
the calls that change them."""

import contextlib
import os
import select
import shutil
import tempfile
import time
from typing import NamedTuple

import rawtpm
from crashservers import BUS, Failed, PlainBus, PlainDaemon, PlainTpm, Wrong, check, library

PATIENCE = 30

KEY_HANDLE, NV_INDEX = 0x81000100, 0x01400100
NEIGHBOUR, FILE_SLOT, STRANGERS_SLOT = 1, 12, 7
TPM_SLOTS = 10

KEYS = {'first': bytes(range(32)), 'second': bytes(range(32, 64)), 'third': bytes(range(64, 96)),
        'fourth': bytes(range(96, 128)), 'neighbour': bytes(range(100, 164)), 'theirs': b'what Windows put there'}
HOST, OTHER_HOST = 'hub.azure-devices.net', 'elsewhere.azure-devices.net'


class Content(NamedTuple):
    """What stands in a slot; key is one of KEYS, previous what UndoRotate brings back."""
    state: str = 'empty'
    host: str = ''
    device: str = ''
    key: str = ''
    previous: 'Content' = None


def rotated(content, key, host=None, device=None):
    """What a rotation makes of content. A key that was adopted cannot be brought back: nobody has its blob."""
    previous = None if content.key == 'theirs' else content._replace(previous=None)
    return Content('ready', host or content.host, device or content.device, key, previous)


EMPTY = Content()
FIRST = Content('ready', HOST, 'device-0', 'first')
SECOND = rotated(FIRST, 'second')
MOVED = rotated(SECOND, 'third', OTHER_HOST, 'device-9')
FOUND = Content('found', HOST, 'device-0', 'theirs')
ADOPTED = FOUND._replace(state='ready')
BESIDE = Content('ready', HOST, 'device-1', 'neighbour')


class Bench:
    """Plays the box for the servers: says where everything lies."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix='hk-crash.', dir='/tmp')
        for name in ('tpm', 'state', 'run', 'kept'):
            os.mkdir(self.at(name), 0o700)
        self.bus_address = f'unix:path={self.at("bus")}'
        with open(self.at('bus.conf'), 'w') as file:
            file.write(BUS.format(self.bus_address))
        with open(self.at('hubkeyd.conf'), 'w') as file:
            file.write(f'[hubkeyd]\nTcti={library("libtcti-spy.so")}:orders={self.at("tpm-orders")},'
                       f'pid={self.at("swtpm.pid")},child=swtpm:path={self.at("tpm/socket")}\n')
        self.raw = rawtpm.RawTpm(self.at('tpm/socket'))
        self.bus, self.tpm, self.daemon = PlainBus(self), PlainTpm(self), PlainDaemon(self)
        self.strangers = {}
        self.transient = None
        self.kept = {}  # name of a state: what is in its slots, and their highest generations so far
        self.contents, self.generations = {}, {}
        self.error = None  # of the last call

    def at(self, name):
        return os.path.join(self.path, name)

    @staticmethod
    def environment():
        return {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin'}

    def close(self):
        for server in (self.daemon, self.tpm, self.bus):
            if server.running():
                server.process.kill()
                server.process.wait()
        shutil.rmtree(self.path)

    # ---- the states that everything starts from ----

    def prepare(self):
        """fresh has no SRK; the later ones have slot 1 as a neighbour of the slot that something is done with, up to
        those that begin with what somebody else made."""
        self.bus.start()
        self.tpm.start()
        self.put_strangers()
        self.start_daemon()
        self.keep('fresh', {0: EMPTY})
        self.must(self.provision(0, FIRST))
        self.keep('ready', {0: FIRST})
        self.must(self.provision(NEIGHBOUR, BESIDE))
        self.must(self.rotate(0, SECOND))
        self.keep('rotated', {0: SECOND, NEIGHBOUR: BESIDE})
        self.must(self.rotate(0, MOVED))
        self.keep('moved', {0: MOVED, NEIGHBOUR: BESIDE})
        self.must(self.clear(0))
        self.keep('beside', {0: EMPTY, NEIGHBOUR: BESIDE, FILE_SLOT: EMPTY})
        self.prepare_file()
        self.prepare_found()

    def prepare_file(self):
        self.must(self.provision(FILE_SLOT, FIRST))
        self.keep('file', {FILE_SLOT: FIRST, NEIGHBOUR: BESIDE})
        self.must(self.rotate(FILE_SLOT, SECOND))
        self.keep('file-rotated', {FILE_SLOT: SECOND, NEIGHBOUR: BESIDE})

    def prepare_found(self):
        """As the Windows tool leaves a slot; both its parts go on working there only if not a byte of them changes. No
        other slot is in use, so that adopting this one pins the SRK."""
        self.must(self.clear(FILE_SLOT))
        self.must(self.clear(NEIGHBOUR))
        self.raw.put_key(KEY_HANDLE, KEYS['theirs'])
        self.raw.put_nv(NV_INDEX, f'{FOUND.host}/{FOUND.device}'.encode())
        self.theirs = self.raw.public(KEY_HANDLE), self.raw.nv_public(NV_INDEX)
        self.daemon.kill()
        self.start_daemon()
        self.keep('found', {0: FOUND})
        self.must(self.adopt(0, FOUND))
        self.keep('adopted', {0: ADOPTED})

    def must(self, answer):
        check(answer, f'preparing fails: {self.error}\n{self.daemon.tail()}')

    def keep(self, name, contents):
        for slot in contents:
            self.generations[slot] = max(self.generations.get(slot, 0), self.generation(slot))
        self.keep_files(name, contents, self.generations)

    def keep_files(self, name, contents, generations):
        self.kept[name] = dict(contents), dict(generations)
        for part in ('tpm', 'state'):
            copy_files(self.at(part), self.at(f'kept/{name}/{part}'))

    def restore(self, name):
        self.restore_tpm(name)
        self.start_daemon()

    def restore_tpm(self, name):
        """Everything but hubkeyd."""
        if self.daemon.running():
            self.daemon.kill()
        self.tpm.cut()
        self.contents, self.generations = (dict(part) for part in self.kept[name])
        for part in ('tpm', 'state'):
            copy_files(self.at(f'kept/{name}/{part}'), self.at(part))
        for orders in ('tpm-orders', 'file-orders'):
            for file in (orders, orders + '.fired'):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.at(file))
        self.tpm.start()
        # Where there is no resource manager the transient objects of others are in sight: one that looks like an SRK.
        self.transient = self.raw.create_primary(rawtpm.NULL, rawtpm.ECC_SRK)
        self.strangers[self.transient] = self.raw.public(self.transient)

    def start_daemon(self):
        self.daemon.start()
        self.await_ready()

    def await_ready(self):
        deadline = time.monotonic() + PATIENCE
        while not self.is_ready():
            if time.monotonic() > deadline:
                states = {slot: self.state(slot) for slot in self.contents}
                raise Wrong(f'not ready in {PATIENCE} s: TpmState {self.get("/org/hubkey", "Manager1", "TpmState")}, '
                            f'slots {states}\n{self.daemon.tail()}')
            select.select([], [], [], 0.005)

    def is_ready(self):
        return self.get('/org/hubkey', 'Manager1', 'TpmState') == 'ready' and \
            all(self.state(slot) != 'pending' for slot in self.contents)

    # ---- calls ----

    def call(self, path, interface, method, signature, *arguments):
        """The answer; None where it was refused or never came."""
        import dbus
        try:
            return self.daemon.call('org.hubkey', path, 'org.hubkey.' + interface, method, signature,
                                    *arguments) or True
        except dbus.exceptions.DBusException as error:
            self.error = error
            return None

    def get(self, path, interface, name):
        import dbus
        try:
            return self.daemon.call('org.hubkey', path, 'org.freedesktop.DBus.Properties', 'Get', 'ss',
                                    'org.hubkey.' + interface, name)
        except dbus.exceptions.DBusException as error:
            if error.get_dbus_name() == 'org.hubkey.Error.NotProvisioned':
                return 'empty'
            raise Failed(f'{path} does not tell its {name}: {error}') from None

    def get_slot(self, slot, name):
        return self.get(f'/org/hubkey/slot/{slot}', 'Slot1', name)

    def state(self, slot):
        return str(self.get_slot(slot, 'State'))

    def generation(self, slot):
        value = self.get_slot(slot, 'Generation')
        return 0 if value == 'empty' else int(value)

    def call_slot(self, slot, method, signature, *arguments):
        return self.call(f'/org/hubkey/slot/{slot}', 'Slot1', method, signature, *arguments)

    def provision(self, slot, content):
        with key_fd(content.key) as key:
            return self.call('/org/hubkey', 'Manager1', 'Provision', 'ua{sv}ha{sv}', slot, identity(content), key,
                             dictionary())

    def adopt(self, slot, content):
        expected = identity(content)
        expected['TpmName'] = self.get_slot(slot, 'TpmName')
        return self.call('/org/hubkey', 'Manager1', 'Adopt', 'ua{sv}a{sv}', slot, expected, dictionary())

    def rotate(self, slot, content):
        with key_fd(content.key) as key:
            return self.call_slot(slot, 'Rotate', 'ha{sv}', key, identity(content))

    def undo(self, slot):
        return self.call_slot(slot, 'UndoRotate', 'a{sv}', dictionary())

    def clear(self, slot):
        return self.call_slot(slot, 'Clear', 'a{sv}', dictionary())

    def token(self, slot):
        answer = self.call_slot(slot, 'GetToken', 'su', '', 0)
        return str(answer[0]) if answer else None

    # ---- strangers ----

    def put_strangers(self):
        """Keys and records beside ours: one that a slot could be taken for, and what only has a neighbouring number."""
        raw = self.raw
        for handle in (0x81000107, 0x81000101 + 9, 0x810000FF):
            raw.put_key(handle, handle.to_bytes(4, 'big') * 8)
            self.strangers[handle] = raw.public(handle)
        for index, content in ((0x01400107, b'other.azure-devices.net/other'), (0x01400108, b'\0\xff junk'),
                               (0x014000FF, b'other')):
            raw.put_nv(index, content)
            self.strangers[index] = raw.nv_public(index) + raw.nv_content(index)

    def after_power_cut(self):
        self.strangers.pop(self.transient, None)


@contextlib.contextmanager
def key_fd(name):
    import dbus
    fd = os.memfd_create('key')
    try:
        os.write(fd, KEYS[name])
        os.lseek(fd, 0, os.SEEK_SET)
        yield dbus.types.UnixFd(fd)
    finally:
        os.close(fd)


def dictionary(entries=()):
    import dbus
    return dbus.Dictionary(dict(entries), signature='sv')


def identity(content):
    return dictionary((('HostName', content.host), ('DeviceId', content.device)))


def copy_files(source, target):
    """Files only, with nothing left of what stood there: sockets and locks belong to who made them."""
    os.makedirs(target, exist_ok=True)
    for entry in os.scandir(target):
        if entry.is_file(follow_symlinks=False):
            os.unlink(entry.path)
    for entry in os.scandir(source):
        if entry.is_file(follow_symlinks=False) and entry.name != '.lock':
            shutil.copy(entry.path, target)

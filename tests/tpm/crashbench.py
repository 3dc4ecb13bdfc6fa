# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""A bus, a software TPM and hubkeyd as often as somebody kills one of them; and what must hold afterwards."""

import base64
import contextlib
import hashlib
import hmac
import os
import select
import shutil
import sys
import tempfile
import threading
import time
import urllib.parse

import rawtpm

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'sandbox'))
import servers  # noqa: E402
from servers import Failed  # noqa: E402, F401

BUILD = os.environ.get('HUBKEY_BUILDDIR', '.')
PATIENCE = 30

HOST, DEVICE, KEY = 'hub.azure-devices.net', 'device-0', bytes(range(32))
NEIGHBOUR_DEVICE, NEIGHBOUR_KEY = 'device-1', bytes(range(100, 164))
KEY_HANDLE, NV_INDEX, SRK_HANDLE = 0x81000100, 0x01400100, 0x81000001

BUS = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>{}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy>
</busconfig>
'''


class Wrong(Exception):
    """Something that must hold does not."""


def check(holds, text):
    if not holds:
        raise Wrong(text)


class PlainBus(servers.Bus):
    def environment(self):
        return self.box.environment()


class PlainTpm(servers.Tpm):
    as_hubkey = False
    has_pid_file = False  # written by start, once it answers: whoever cut the power waits for that

    def environment(self):
        return self.box.environment()

    def start(self):
        super().start()
        self.write_pid()

    def answers(self):
        return self.box.raw.answers()

    def cut(self):
        self.process.kill()
        self.process.wait()

    def kept_alive(self, call):
        """The answer of call, which runs in a thread of its own while this one starts the TPM again as often as
        somebody cuts its power. (Not the other way round: a server dies with the thread that started it.)"""
        answers = []
        ended, end = os.pipe()

        def run():
            try:
                answers.append(call())
            except Exception as error:  # noqa: BLE001, it is raised again in the other thread
                answers.append(error)
            os.close(end)

        thread = threading.Thread(target=run)
        thread.start()
        while self.died_before(ended):
            self.process.wait()
            self.start()
        thread.join()
        os.close(ended)
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

    def died_before(self, ended):
        process = os.pidfd_open(self.process.pid)
        ready, _, _ = select.select([ended, process], [], [])
        os.close(process)
        return process in ready


class PlainDaemon(servers.Daemon):
    as_hubkey = False

    def command(self):
        box = self.box
        return [os.path.join(BUILD, 'hubkeyd'), '--config', box.at('hubkeyd.conf'), '--state-dir', box.at('state'),
                '--runtime-dir', box.at('run')]

    def environment(self):
        # Preloaded ahead of a sanitizer's runtime, which wants to be asked first.
        sanitizer = os.environ.get('ASAN_OPTIONS', '')
        return {**self.box.environment(), 'DBUS_SYSTEM_BUS_ADDRESS': self.box.bus_address,
                'LD_PRELOAD': library('libkill-file-op.so'), 'KILL_FILE_OP_DIR': self.box.at('state'),
                'KILL_FILE_OP_ORDERS': self.box.at('file-orders'),
                'ASAN_OPTIONS': f'{sanitizer}:verify_asan_link_order=0'}

    def kill(self):
        self.process.kill()
        self.process.wait()


def library(name):
    return os.path.join(BUILD, 'tests/lib/.libs', name)


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
        """fresh: no SRK, slot 0 empty. ready: slot 0 provisioned. beside: slot 1 alone. both: both."""
        self.bus.start()
        self.tpm.start()
        self.put_strangers()
        self.start_daemon()
        self.keep('fresh')
        check(self.provision(), 'the first Provision fails: ' + self.daemon.tail())
        self.keep('ready')
        check(self.provision(1, NEIGHBOUR_DEVICE, NEIGHBOUR_KEY), 'Provision of slot 1 fails')
        self.keep('both')
        check(self.clear(), 'Clear fails')
        self.keep('beside')

    def keep(self, name):
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
        while self.get('/org/hubkey', 'Manager1', 'TpmState') != 'ready' or self.state() == 'pending':
            if time.monotonic() > deadline:
                raise Wrong(f'not ready in {PATIENCE} s: TpmState {self.get("/org/hubkey", "Manager1", "TpmState")}, '
                            f'slot 0 {self.state()}\n{self.daemon.tail()}')
            select.select([], [], [], 0.005)

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
            raise

    def state(self, slot=0):
        return self.get(f'/org/hubkey/slot/{slot}', 'Slot1', 'State')

    def provision(self, slot=0, device=DEVICE, key=KEY):
        import dbus
        fd = os.memfd_create('key')
        os.write(fd, key)
        os.lseek(fd, 0, os.SEEK_SET)
        settings = dbus.Dictionary({'HostName': HOST, 'DeviceId': device}, signature='sv')
        try:
            return self.call('/org/hubkey', 'Manager1', 'Provision', 'ua{sv}ha{sv}', dbus.UInt32(slot), settings,
                             dbus.types.UnixFd(fd), dbus.Dictionary({}, signature='sv'))
        finally:
            os.close(fd)

    def clear(self, slot=0):
        import dbus
        return self.call(f'/org/hubkey/slot/{slot}', 'Slot1', 'Clear', 'a{sv}', dbus.Dictionary({}, signature='sv'))

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

    def check_strangers(self):
        for handle, expected in self.strangers.items():
            if handle >> 24 == 0x01:
                found = self.raw.nv_public(handle) + self.raw.nv_content(handle)
            else:
                found = self.raw.public(handle)
            check(found == expected, f'the stranger at 0x{handle:08x} was touched')

    # ---- what must hold ----

    def leftovers(self):
        """Transient objects beside the stranger's, sessions loaded and saved: none, unless a process was killed."""
        transient = [handle for handle in self.raw.handles(rawtpm.TRANSIENT) if handle not in self.strangers]
        return transient, self.raw.handles(rawtpm.LOADED_SESSION), self.raw.handles(rawtpm.SAVED_SESSION)

    def after_power_cut(self):
        self.strangers.pop(self.transient, None)

    def check_disk(self):
        left = [name for name in os.listdir(self.at('state')) if not name.startswith('slot-') and name != 'srk' or
                name.endswith(('.intent', '.new'))]
        check(not left, f'left in the state directory: {left}')

    def check_slot(self, slot=0, device=DEVICE, key=KEY):
        """Exactly empty or exactly provisioned; says which."""
        handle, index = KEY_HANDLE + slot, NV_INDEX + slot
        key_there = handle in self.raw.handles(rawtpm.PERSISTENT)
        nv_there = index in self.raw.handles(rawtpm.NV)
        state = self.state(slot)
        check(state in ('empty', 'ready'), f'slot {slot} is {state}')
        check(key_there == nv_there == (state == 'ready'),
              f'slot {slot} is {state}, but key {key_there}, NV {nv_there}')
        if state == 'ready':
            self.check_ready(slot, device, key)
        return state

    def check_ready(self, slot, device, key):
        content = self.raw.nv_content(NV_INDEX + slot)
        check(content == f'{HOST}/{device}'.encode(), f'slot {slot}: NV holds {content}')
        public = self.raw.public(KEY_HANDLE + slot)
        size = int.from_bytes(public[:2], 'big')
        name = '000b' + hashlib.sha256(public[2:2 + size]).hexdigest()
        path = f'/org/hubkey/slot/{slot}'
        told = [str(self.get(path, 'Slot1', what)) for what in ('TpmName', 'HostName', 'DeviceId')]
        check(told == [name, HOST, device], f'slot {slot} tells of itself {told}')
        answer = self.call(path, 'Slot1', 'GetToken', 'su', '', 0)
        check(answer, f'slot {slot} gives no token')
        check_token(str(answer[0]), f'{HOST}/devices/{device}', key)

    def generation(self):
        value = self.get('/org/hubkey/slot/0', 'Slot1', 'Generation')
        return 0 if value == 'empty' else int(value)


def check_token(token, resource, key):
    kind, _, fields = token.partition(' ')
    check(kind == 'SharedAccessSignature', f'not a token: {token}')
    parts = dict(field.split('=', 1) for field in fields.split('&'))
    check(urllib.parse.unquote(parts['sr']) == resource, f'a token for {parts["sr"]}')
    mac = hmac.new(key, f'{parts["sr"]}\n{parts["se"]}'.encode(), 'sha256').digest()
    check(urllib.parse.unquote(parts['sig']) == base64.b64encode(mac).decode(), 'a token that is signed wrongly')


def copy_files(source, target):
    """Files only, with nothing left of what stood there: sockets and locks belong to who made them."""
    os.makedirs(target, exist_ok=True)
    for entry in os.scandir(target):
        if entry.is_file(follow_symlinks=False):
            os.unlink(entry.path)
    for entry in os.scandir(source):
        if entry.is_file(follow_symlinks=False) and entry.name != '.lock':
            shutil.copy(entry.path, target)

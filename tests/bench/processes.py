# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Servers that a measuring program starts beside those of the sandbox, and how it knows that they answer."""

import contextlib
import os
import pwd
import subprocess
import sys
import time
from typing import NamedTuple

import dbus
import dbus.bus

SANDBOX = os.environ['HUBKEY_SANDBOX']
LIMIT_SECONDS = 60
ABRMD = 'org.hubkey.test.Abrmd'  # a name that root may own on a sandbox's bus


class Daemon(NamedTuple):
    pid: int
    bus: dbus.bus.BusConnection
    address: str  # of its bus
    milliseconds: float  # from fork to the first token of the slot that was asked for


def as_hubkey():
    """The arguments of Popen that make it a process of user hubkey."""
    user = pwd.getpwnam('hubkey')
    return {'user': user.pw_uid, 'group': user.pw_gid, 'extra_groups': os.getgrouplist('hubkey', user.pw_gid)}


def make_folder(path):
    """One of user hubkey; False where it is there."""
    if os.path.isdir(path):
        return False
    user = pwd.getpwnam('hubkey')
    os.mkdir(path)
    os.chown(path, user.pw_uid, user.pw_gid)
    return True


@contextlib.contextmanager
def process(*command, **options):
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield running
    finally:
        running.terminate()
        running.wait(LIMIT_SECONDS)


def await_answer(ask, server):
    """What ASK returns as soon as it does; until then it raises dbus.DBusException. A look a millisecond."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            return ask()
        except dbus.DBusException as error:
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f'bench: {server.args[0]} does not answer: {error}')
        time.sleep(0.001)


@contextlib.contextmanager
def private_bus(path):
    """As the sandbox's, in PATH; its address."""
    address = f'unix:path={path}/bus'
    with open(os.path.join(SANDBOX, 'bus.conf')) as file:
        text = file.read().replace(os.environ['DBUS_SYSTEM_BUS_ADDRESS'], address)
    with open(os.path.join(path, 'bus.conf'), 'w') as file:
        file.write(text)
    command = ('/usr/bin/dbus-daemon', f'--config-file={path}/bus.conf', '--nofork', '--nopidfile')
    with open(f'{path}/bus.log', 'ab') as log, process(*command, stderr=log) as server:
        yield await_answer(lambda: dbus.bus.BusConnection(address), server), address


@contextlib.contextmanager
def hubkeyd(path, configuration, slot, *before, **environment):
    """A second one, with a bus of its own, its state and all else in PATH; from when it gives tokens of SLOT."""
    with private_bus(path) as (bus, address), open(f'{path}/hubkeyd.log', 'ab') as log:
        command = ['hubkeyd', '--config', configuration, '--state-dir', f'{path}/state', '--runtime-dir', f'{path}/run']
        begun = time.monotonic()
        with process(*before, *command, env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': address, **environment},
                     stderr=log, **as_hubkey()) as daemon:
            await_answer(lambda: bus.call_blocking('org.hubkey', f'/org/hubkey/slot/{slot}', 'org.hubkey.Slot1',
                                                   'GetToken', 'su', ('', 0), timeout=LIMIT_SECONDS), daemon)
            yield Daemon(daemon.pid, bus, address, (time.monotonic() - begun) * 1000)


@contextlib.contextmanager
def test_service(name, *command):
    """A server of root's on the sandbox's bus, from when it owns NAME: its pid."""
    with process(*command) as server:
        bus = dbus.bus.BusConnection(os.environ['DBUS_SYSTEM_BUS_ADDRESS'])
        await_answer(lambda: bus.get_name_owner(name), server)
        yield server.pid


@contextlib.contextmanager
def abrmd():
    """tpm2-abrmd before the sandbox's TPM: its pid, and the TCTI that reaches it."""
    with test_service(ABRMD, '/usr/sbin/tpm2-abrmd', '--allow-root', f'--tcti={os.environ["TPM2TOOLS_TCTI"]}',
                      f'--dbus-name={ABRMD}') as pid:
        yield pid, f'tabrmd:bus_name={ABRMD},bus_type=system'

# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Servers that a measuring program starts beside those of the sandbox, and how it knows that they answer."""

import contextlib
import os
import subprocess
import sys
import time

import dbus
import dbus.bus

SANDBOX = os.environ['HUBKEY_SANDBOX']
LIMIT_SECONDS = 60
ABRMD = 'org.hubkey.test.Abrmd'  # a name that root may own on a sandbox's bus


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
    with process('/usr/bin/dbus-daemon', f'--config-file={path}/bus.conf', '--nofork', '--nopidfile') as server:
        yield await_answer(lambda: dbus.bus.BusConnection(address), server), address


@contextlib.contextmanager
def abrmd():
    """tpm2-abrmd before the sandbox's TPM: its pid, and the TCTI that reaches it."""
    with process('/usr/sbin/tpm2-abrmd', '--allow-root', f'--tcti={os.environ["TPM2TOOLS_TCTI"]}',
                 f'--dbus-name={ABRMD}') as server:
        bus = dbus.bus.BusConnection(os.environ['DBUS_SYSTEM_BUS_ADDRESS'])
        await_answer(lambda: bus.get_name_owner(ABRMD), server)
        yield server.pid, f'tabrmd:bus_name={ABRMD},bus_type=system'

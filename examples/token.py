#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""A token for slot 0, by plain D-Bus: no library of hubkey's is needed.

Usage: token.py [SLOT [SCOPE [TTL]]]     needs python3-dbus, and membership of group hubkey
"""

import os
import sys
import time

# Python has a module called token too, and would find this file in its place.
sys.path = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]

import dbus


def main(slot='0', scope='', ttl='600'):
    try:
        bus = dbus.SystemBus()
        device = bus.get_object('org.hubkey', f'/org/hubkey/slot/{int(slot)}')
        token, expires = device.GetToken(scope, dbus.UInt32(ttl), dbus_interface='org.hubkey.Slot1')
    except dbus.DBusException as error:
        sys.exit(f'{error.get_dbus_name()}: {error.get_dbus_message()}')
    except ValueError:
        sys.exit('SLOT and TTL are numbers; see the head of this file')
    print(token)
    print(f'good for {int(expires) - int(time.time())} s', file=sys.stderr)


if __name__ == '__main__':
    main(*sys.argv[1:])

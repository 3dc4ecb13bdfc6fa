#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""What queue status tells of the sender: while it sends, after it ended, after it was killed; and to old callers."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
sys.dont_write_bytecode = True
from sandboxed import Tap, enter, hub, wait_until  # noqa: E402

enter()
import binding  # noqa: E402 (the library is the sandbox's)
from binding import Client  # noqa: E402

QUEUE = os.path.join(os.environ['HUBKEY_SANDBOX'], 'client', 'states.queue')
tap = Tap()


def status(*more):
    done = subprocess.run(['hubkeyctl', 'queue', 'status', '--queue', QUEUE, *more], check=True, timeout=20,
                          stdout=subprocess.PIPE, text=True)
    return done.stdout


def sender():
    return json.loads(status('--json'))['sender']


def start(*bodies):
    """A process that posts and sends until its stdin ends."""
    child = subprocess.Popen([sys.executable, os.path.abspath(__file__), *bodies], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    return child


def be_sender(bodies):
    with Client(QUEUE) as client:
        client.post([body.encode() for body in bodies])
        print('posted', flush=True)
        sys.stdin.read()


def old_size():
    """A program that was built with the header of before: as many bytes as it has room for, none behind them."""
    room = (ctypes.c_char * 1024)(*b'\xff' * 1024)
    ctypes.cast(room, ctypes.POINTER(ctypes.c_uint32))[0] = 688
    binding.LIB.hubkey_queue_status.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p]
    result = binding.LIB.hubkey_queue_status(QUEUE.encode(), room, None)
    tap.ok(result == 0 and room.raw[688:] == b'\xff' * (1024 - 688), 'an old struct is filled, and nothing behind it')
    ctypes.cast(room, ctypes.POINTER(ctypes.c_uint32))[0] = 680
    tap.ok(binding.LIB.hubkey_queue_status(QUEUE.encode(), room, None) != 0, 'one that never was is refused')


def main():
    if len(sys.argv) > 1:
        be_sender(sys.argv[1:])
        return 0
    with Client(QUEUE, flags=binding.QUEUE_ONLY) as client:
        client.post([b'nobody sends'])
    tap.ok(sender() is None, 'before anybody sent there is nothing to tell', status())

    child = start('1', '2')
    wait_until(lambda: (sender() or {}).get('last_delivery'), 'a delivery')
    seen = sender()
    tap.ok((seen['live'], seen['state'], seen['reason'], seen['text'], seen['http_status']) ==
           (True, 'online', '', '', 204), 'online', seen)
    tap.ok(abs(seen['last_delivery'] - time.time() * 1000) < 60000 and seen['next_attempt'] is None, 'its times', seen)
    child.communicate('', timeout=60)
    seen = sender()
    tap.ok(seen['state'] == 'stopped' and not seen['live'], 'stopped, once it ended', seen)

    hub('/faults', 'POST', {'kind': 'status', 'code': 404, 'errorCode': 'DeviceNotFound'})
    child = start('3')
    wait_until(lambda: sender()['state'] == 'rejected', 'the rejection')
    seen, text = sender(), status()
    tap.ok(seen['live'] and seen['reason'] == 'device' and 'DeviceNotFound' in seen['text'] and
           seen['http_status'] == 404, 'rejected, and why', seen)
    tap.ok(25000 < seen['next_attempt'] - time.time() * 1000 < 40000, 'and when it probes', seen)
    tap.ok('State' in text and 'rejected, device since' in text and 'Next try' in text and 'DeviceNotFound' in text,
           'also in words', text)
    child.send_signal(signal.SIGKILL)
    child.wait()
    seen, text = sender(), status()
    tap.ok(not seen['live'] and seen['state'] == 'rejected', 'killed: the last word stays, as such', seen)
    tap.ok('Last state' in text and 'Next try' not in text, 'also in words', text)
    with Client(QUEUE) as client:
        wait_until(lambda: sender()['live'], 'the next sender to speak')
        tap.ok(client.state() != 'stopped', 'the next sender overwrites it')
    old_size()
    hub('/faults', 'DELETE')
    return tap.done()


if __name__ == '__main__':
    sys.exit(main())

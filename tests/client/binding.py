# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""examples/hubkey.py for tests: results are numbers to be compared, many bodies go in one post, every look at the
counts checks that they add up, and the library may have a sanitizer in it."""

import ctypes
import importlib.util
import os
import sys
from ctypes import POINTER, c_char_p, c_int

from sandboxed import sanitizer_environment


def preload_sanitizer():
    """Starts Python again with what the library's sanitizer needs, and keeps that from programs that tests start."""
    wanted = sanitizer_environment()
    if wanted and 'libasan' not in os.environ.get('LD_PRELOAD', ''):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})
    for name in wanted:
        os.environ.pop(name)


def load_example():
    """By its path: the folder has a token.py, which Python would take for its own module of that name."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'examples', 'hubkey.py')
    spec = importlib.util.spec_from_file_location('hubkey', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


preload_sanitizer()
hubkey = load_example()
LIB, Failed, state_name = hubkey.LIB, hubkey.Error, hubkey.state_name
FORKED, TIMEOUT, GONE, QUEUE_HELD, QUEUE_ONLY = (hubkey.FORKED, hubkey.TIMEOUT, hubkey.GONE, hubkey.QUEUE_HELD,
                                                 hubkey.QUEUE_ONLY)
LIB.hubkey_queue_rebind.argtypes = [c_char_p, c_char_p, c_char_p, c_char_p, POINTER(hubkey.ErrorText)]
LIB.hubkey_queue_rebind.restype = c_int


def message(body, ident=None, properties=None, **more):
    return hubkey.message(body, properties, id=ident, **more)


def token(slot, scope='', ttl=0):
    return hubkey.token(slot, scope, ttl)


def rebind(path, host, device):
    error = hubkey.ErrorText()
    hubkey.check(LIB.hubkey_queue_rebind(path.encode(), hubkey.encoded(host), hubkey.encoded(device), None,
                                         ctypes.byref(error)), error)


def number_of(function, *arguments):
    """0, or the number of what it raised."""
    try:
        function(*arguments)
        return 0
    except Failed as error:
        return error.code


class Client(hubkey.Client):
    """with Client(path) as client: client.post([b'...'])"""

    close_timeout_ms = 0

    def __init__(self, queue_path, **options):
        super().__init__(queue_path=queue_path, **options)

    def post(self, bodies, **more):
        """Posts bodies (or messages) in one transaction; returns the first number."""
        return self.post_many([body if isinstance(body, hubkey.Message) else message(body, **more) for body in bodies],
                              5000)

    def flush(self, timeout_ms=30000):
        return number_of(super().flush, timeout_ms)

    def wait_seq(self, seq, timeout_ms=30000):
        return number_of(super().wait_seq, seq, timeout_ms)

    def stats(self):
        stats = super().stats()
        counts = stats.counts
        assert counts.accepted == counts.delivered + counts.waiting + counts.dead + counts.dropped + counts.removed
        return stats

    def state_code(self):
        """What asking for the state returns: 0, or why it cannot be asked for."""
        return number_of(super().stats)

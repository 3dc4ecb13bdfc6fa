# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""libhubkey in Python by ctypes, as far as the tests need it: what every other language would do with the header."""

import ctypes
import os
import re
import sys
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

STATES = ['', 'connecting', 'online', 'backing-off', 'throttled', 'quota', 'rejected', 'offline', 'stopped']
FORKED, TIMEOUT, GONE, QUEUE_HELD = -4, -5, -208, -206
QUEUE_ONLY = 1


class Error(ctypes.Structure):
    _fields_ = [('code', c_int32), ('http_status', c_int32), ('text', c_char * 504)]


class Options(ctypes.Structure):
    _fields_ = [('size', c_uint32), ('slot', c_uint32), ('queue_path', c_char_p), ('socket_path', c_char_p),
                ('connect_to', c_char_p), ('ca_file', c_char_p), ('max_messages', c_uint64), ('max_bytes', c_uint64),
                ('min_free_bytes', c_uint64), ('policy', c_uint32), ('flags', c_uint32), ('token_ttl_s', c_uint32),
                ('max_requests_per_minute', c_uint32), ('connect_timeout_ms', c_uint32),
                ('request_timeout_ms', c_uint32)]


class Property(ctypes.Structure):
    _fields_ = [('name', c_char_p), ('value', c_char_p)]


class Message(ctypes.Structure):
    _fields_ = [('size', c_uint32), ('n_properties', c_uint32), ('body', c_char_p), ('len', c_uint64), ('id', c_char_p),
                ('correlation_id', c_char_p), ('content_type', c_char_p), ('content_encoding', c_char_p),
                ('properties', POINTER(Property)), ('created_ms', c_int64)]


class Counts(ctypes.Structure):
    _fields_ = [(name, c_uint64) for name in ('accepted', 'delivered', 'waiting', 'dead', 'dropped', 'removed',
                                              'waiting_bytes', 'last_seq')]


class Stats(ctypes.Structure):
    _fields_ = [('size', c_uint32), ('state', c_int32), ('reason', c_int32), ('http_status', c_int32), ('counts', Counts),
                ('in_flight', c_uint64), ('requests', c_uint64), ('requests_failed', c_uint64), ('batches', c_uint64),
                ('token_fetches', c_uint64), ('duplicates_possible', c_uint64), ('events_lost', c_uint64),
                ('next_attempt_ms', c_int64), ('last_delivery_ms', c_int64), ('clock_skew_s', c_int64),
                ('text', c_char * 256)]


def preload_sanitizer():
    """A library built with AddressSanitizer wants the sanitizer's own to be there from the start: starts Python again."""
    for folder in os.environ.get('LD_LIBRARY_PATH', '').split(':'):
        try:
            with open(os.path.join(folder, 'libhubkey.so.0'), 'rb') as file:
                runtime = re.search(rb'libasan\.so\.\d+', file.read())
        except FileNotFoundError:
            continue
        if runtime and 'libasan' not in os.environ.get('LD_PRELOAD', ''):
            # What Python itself never frees is not ours to report.
            environment = {**os.environ, 'LD_PRELOAD': runtime[0].decode(), 'ASAN_OPTIONS': 'detect_leaks=0'}
            os.execve(sys.executable, [sys.executable, *sys.argv], environment)
        break
    os.environ.pop('LD_PRELOAD', None)
    os.environ.pop('ASAN_OPTIONS', None)


preload_sanitizer()
LIB = ctypes.CDLL('libhubkey.so.0')
LIB.hubkey_reason_name.restype = c_char_p
LIB.hubkey_free.argtypes = [c_void_p]
LIB.hubkey_client_open.argtypes = [POINTER(Options), POINTER(c_void_p), POINTER(Error)]
LIB.hubkey_client_close.argtypes = [c_void_p, c_int32]
LIB.hubkey_client_post_many.argtypes = [c_void_p, POINTER(POINTER(Message)), c_size_t, c_int32, POINTER(c_uint64),
                                        POINTER(Error)]
LIB.hubkey_client_wait_seq.argtypes = [c_void_p, c_uint64, c_int32]
LIB.hubkey_client_flush.argtypes = [c_void_p, c_int32, POINTER(Error)]
LIB.hubkey_client_stats.argtypes = [c_void_p, POINTER(Stats)]
LIB.hubkey_token.argtypes = [c_uint32, c_char_p, c_uint32, c_char_p, POINTER(c_void_p), POINTER(c_int64), POINTER(Error)]
LIB.hubkey_queue_rebind.argtypes = [c_char_p, c_char_p, c_char_p, c_char_p, POINTER(Error)]
LIB.hubkey_queue_rebind.restype = c_int


class Failed(Exception):
    def __init__(self, error):
        super().__init__(error.text.decode())
        self.code = error.code


def check(result, error):
    if result != 0:
        raise Failed(error)


def message(body, ident=None, properties=None, **more):
    """A Message; it keeps what it points to alive."""
    rows = (Property * len(properties or {}))(*[(n.encode(), v.encode()) for n, v in (properties or {}).items()])
    made = Message(ctypes.sizeof(Message), len(rows), body, len(body), ident and ident.encode(), **more)
    made.properties = rows
    return made


def token(slot, scope='', ttl=0):
    error, text, expires = Error(), c_void_p(), c_int64()
    check(LIB.hubkey_token(slot, scope.encode(), ttl, None, byref(text), byref(expires), byref(error)), error)
    copy = ctypes.string_at(text).decode()
    LIB.hubkey_free(text)
    return copy, expires.value


def rebind(path, host, device):
    error = Error()
    check(LIB.hubkey_queue_rebind(path.encode(), host and host.encode(), device and device.encode(), None, byref(error)),
          error)


class Client:
    """with Client(queue_path=...) as client: client.post([b'...'])"""

    def __init__(self, queue_path, **options):
        self.handle, error = c_void_p(), Error()
        given = Options(ctypes.sizeof(Options), queue_path=queue_path.encode(), **options)
        check(LIB.hubkey_client_open(byref(given), byref(self.handle), byref(error)), error)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self, timeout_ms=0):
        handle, self.handle = self.handle, None
        return LIB.hubkey_client_close(handle, timeout_ms) if handle else 0

    def post(self, bodies, **more):
        """Posts bodies (or messages) in one transaction; returns the first number."""
        made = [body if isinstance(body, Message) else message(body, **more) for body in bodies]
        pointers = (POINTER(Message) * len(made))(*[ctypes.pointer(one) for one in made])
        error, first = Error(), c_uint64()
        check(LIB.hubkey_client_post_many(self.handle, pointers, len(made), 5000, byref(first), byref(error)), error)
        return first.value

    def flush(self, timeout_ms=30000):
        return LIB.hubkey_client_flush(self.handle, timeout_ms, None)

    def wait_seq(self, seq, timeout_ms=30000):
        return LIB.hubkey_client_wait_seq(self.handle, seq, timeout_ms)

    def stats(self):
        stats = Stats(ctypes.sizeof(Stats))
        assert LIB.hubkey_client_stats(self.handle, byref(stats)) == 0
        counts = stats.counts
        assert counts.accepted == counts.delivered + counts.waiting + counts.dead + counts.dropped + counts.removed
        return stats

    def state_code(self):
        """What asking for the state returns: 0, or why it cannot be asked for."""
        return LIB.hubkey_client_stats(self.handle, byref(Stats(ctypes.sizeof(Stats))))

    def state(self):
        """"rejected, key" and the like."""
        stats = self.stats()
        reason = LIB.hubkey_reason_name(stats.reason).decode()
        return STATES[stats.state] + (f', {reason}' if reason else '')

#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""libhubkey in Python, without a compiler: copy this file beside your program.

    from hubkey import Client

    with Client(slot=0) as client:
        client.post(b'{"t": 21.5}', content_type='application/json', content_encoding='utf-8')

Run as a program it reports how full this machine's disks are, for a line in crontab: hubkey.py [SLOT [FOLDER...]].

What each function and field means stands in hubkey.h, which this follows name by name. Any language with a foreign
function interface can do the same: structs begin with their size, and only ever grow at their end.
"""

import ctypes
import json
import shutil
import sys
from ctypes import (CFUNCTYPE, POINTER, byref, c_char, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64,
                    c_void_p)

# HUBKEY_E_*, as far as a program has to tell them apart.
FORKED, TIMEOUT, NOT_AUTHORIZED, UNREACHABLE, FULL, QUEUE_HELD, GONE = -4, -5, -102, -116, -201, -206, -208
# HUBKEY_FLAG_*, HUBKEY_POLICY_*, HUBKEY_GONE_*
QUEUE_ONLY, MUST_SEND = 1, 2
REFUSE, BLOCK, DROP_OLDEST = 0, 1, 2
DELIVERED, DEAD, DROPPED, REMOVED, EXPIRED, LOST = 1, 2, 3, 4, 5, 6


class ErrorText(ctypes.Structure):
    """struct hubkey_error"""
    _fields_ = [('code', c_int32), ('http_status', c_int32), ('text', c_char * 504)]


class Options(ctypes.Structure):
    """struct hubkey_options"""
    _fields_ = [('size', c_uint32), ('slot', c_uint32), ('queue_path', c_char_p), ('socket_path', c_char_p),
                ('connect_to', c_char_p), ('ca_file', c_char_p), ('max_messages', c_uint64), ('max_bytes', c_uint64),
                ('min_free_bytes', c_uint64), ('policy', c_uint32), ('flags', c_uint32), ('token_ttl_s', c_uint32),
                ('max_requests_per_minute', c_uint32), ('connect_timeout_ms', c_uint32),
                ('request_timeout_ms', c_uint32), ('max_age_s', c_uint64)]


class Property(ctypes.Structure):
    """struct hubkey_property"""
    _fields_ = [('name', c_char_p), ('value', c_char_p)]


class Message(ctypes.Structure):
    """struct hubkey_message"""
    _fields_ = [('size', c_uint32), ('n_properties', c_uint32), ('body', c_char_p), ('len', c_uint64), ('id', c_char_p),
                ('correlation_id', c_char_p), ('content_type', c_char_p), ('content_encoding', c_char_p),
                ('properties', POINTER(Property)), ('created_ms', c_int64), ('ttl_s', c_uint64)]


class Counts(ctypes.Structure):
    """struct hubkey_counts"""
    _fields_ = [('accepted', c_uint64), ('delivered', c_uint64), ('waiting', c_uint64), ('dead', c_uint64),
                ('dropped', c_uint64), ('removed', c_uint64), ('waiting_bytes', c_uint64), ('last_seq', c_uint64)]


class Stats(ctypes.Structure):
    """struct hubkey_stats"""
    _fields_ = [('size', c_uint32), ('state', c_int32), ('reason', c_int32), ('http_status', c_int32),
                ('counts', Counts), ('in_flight', c_uint64), ('requests', c_uint64), ('requests_failed', c_uint64),
                ('batches', c_uint64), ('token_fetches', c_uint64), ('duplicates_possible', c_uint64),
                ('events_lost', c_uint64), ('next_attempt_ms', c_int64), ('last_delivery_ms', c_int64),
                ('clock_skew_s', c_int64), ('text', c_char * 256), ('expired', c_uint64),
                ('lost', c_uint64)]


STATE_FN = CFUNCTYPE(None, c_int32, c_int32, c_char_p, c_void_p)
GONE_FN = CFUNCTYPE(None, c_uint64, c_uint64, c_int32, c_char_p, c_void_p)
LOG_FN = CFUNCTYPE(None, c_int32, c_char_p, c_void_p)

LIB = ctypes.CDLL('libhubkey.so.0')
LIB.hubkey_state_name.restype = LIB.hubkey_reason_name.restype = LIB.hubkey_strerror.restype = c_char_p
LIB.hubkey_free.argtypes, LIB.hubkey_free.restype = [c_void_p], None
LIB.hubkey_token.argtypes = [c_uint32, c_char_p, c_uint32, c_char_p, POINTER(c_void_p), POINTER(c_int64),
                             POINTER(ErrorText)]
LIB.hubkey_client_open.argtypes = [POINTER(Options), POINTER(c_void_p), POINTER(ErrorText)]
LIB.hubkey_client_close.argtypes = [c_void_p, c_int32]
LIB.hubkey_client_post_many.argtypes = [c_void_p, POINTER(POINTER(Message)), c_size_t, c_int32, POINTER(c_uint64),
                                        POINTER(ErrorText)]
LIB.hubkey_client_wait_seq.argtypes = [c_void_p, c_uint64, c_int32]
LIB.hubkey_client_flush.argtypes = [c_void_p, c_int32, POINTER(ErrorText)]
LIB.hubkey_client_stats.argtypes = [c_void_p, POINTER(Stats)]
LIB.hubkey_client_set_callbacks.argtypes = [c_void_p, STATE_FN, GONE_FN, LOG_FN, c_void_p]
LIB.hubkey_client_fd.argtypes = LIB.hubkey_client_dispatch.argtypes = [c_void_p]
LIB.hubkey_client_wait.argtypes = [c_void_p, c_int32]


class Error(Exception):
    """What went wrong, in words; code is one of HUBKEY_E_*."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def check(result, error=None):
    """The result of a function; negative ones are raised."""
    if result < 0:
        text = error.text if error and error.text else LIB.hubkey_strerror(result)
        raise Error(result, text.decode())
    return result


def state_name(state, reason=0):
    """"online", "rejected, key" and the like."""
    names = LIB.hubkey_state_name(state).decode(), LIB.hubkey_reason_name(reason).decode()
    return ', '.join(name for name in names if name)


def encoded(text):
    return text if text is None or isinstance(text, bytes) else str(text).encode()


def message(body, properties=None, **fields):
    """A Message of bytes or text; fields are those of struct hubkey_message: id, content_type, ttl_s and so on. ctypes
    keeps alive what it points to."""
    body, properties = encoded(body), properties or {}
    rows = (Property * len(properties))(*[(encoded(name), encoded(value)) for name, value in properties.items()])
    fields = {name: encoded(value) if isinstance(value, str) else value for name, value in fields.items()}
    made = Message(ctypes.sizeof(Message), len(rows), body, len(body), **fields)
    made.properties = rows
    return made


def token(slot=0, scope='', ttl_s=0):
    """(token, when it expires in Unix time): for programs that talk to the hub themselves. It is a secret."""
    error, text, expires = ErrorText(), c_void_p(), c_int64()
    check(LIB.hubkey_token(slot, encoded(scope), ttl_s, None, byref(text), byref(expires), byref(error)), error)
    copy = ctypes.string_at(text).decode()
    LIB.hubkey_free(text)
    return copy, expires.value


def wrapped(kind, function):
    """A C callback that gets text as text, and not the last pointer. NULL for None."""
    if function is None:
        return kind()
    return kind(lambda *given: function(*[one.decode() if isinstance(one, bytes) else one for one in given[:-1]]))


class Client:
    """Options are the fields of struct hubkey_options. Every method may be called from every thread, but only one
    thread may close it, when no other uses it any more."""

    close_timeout_ms = 5000

    def __init__(self, **options):
        self.handle, self.callbacks, error = c_void_p(), (), ErrorText()
        options = {name: encoded(value) if isinstance(value, str) else value for name, value in options.items()}
        given = Options(ctypes.sizeof(Options), **options)
        check(LIB.hubkey_client_open(byref(given), byref(self.handle), byref(error)), error)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self, timeout_ms=None):
        """Waits a while for what is left to be delivered. True when all was; what was not is safe in the queue."""
        handle, self.handle = self.handle, None
        wait_ms = self.close_timeout_ms if timeout_ms is None else timeout_ms
        return not handle or LIB.hubkey_client_close(handle, wait_ms) == 0

    def post(self, body, timeout_ms=0, **fields):
        """Returns the message's number once it is on disk, from where it reaches the hub whatever happens."""
        return self.post_many([message(body, **fields)], timeout_ms)

    def post_many(self, messages, timeout_ms=0):
        """All or none, with one flush of the disk; returns the first number."""
        pointers = (POINTER(Message) * len(messages))(*[ctypes.pointer(one) for one in messages])
        error, first = ErrorText(), c_uint64()
        check(LIB.hubkey_client_post_many(self.handle, pointers, len(messages), timeout_ms, byref(first), byref(error)),
              error)
        return first.value

    def flush(self, timeout_ms=30000):
        """Waits until everything posted so far is delivered. Raises Error (TIMEOUT) with what holds it up."""
        error = ErrorText()
        check(LIB.hubkey_client_flush(self.handle, timeout_ms, byref(error)), error)

    def wait_seq(self, seq, timeout_ms=30000):
        """Waits until this message is delivered. Raises Error: TIMEOUT while it waits, GONE where it never will be."""
        check(LIB.hubkey_client_wait_seq(self.handle, seq, timeout_ms))

    def stats(self):
        stats = Stats(ctypes.sizeof(Stats))
        check(LIB.hubkey_client_stats(self.handle, byref(stats)))
        return stats

    def state(self):
        stats = self.stats()
        return state_name(stats.state, stats.reason)

    def set_callbacks(self, state=None, gone=None, log=None):
        """state(state, reason, text), gone(first, last, how, text), log(level, text); called by dispatch and wait."""
        made = wrapped(STATE_FN, state), wrapped(GONE_FN, gone), wrapped(LOG_FN, log)
        check(LIB.hubkey_client_set_callbacks(self.handle, *made, None))
        self.callbacks = made  # C knows them: they must not be collected

    def fileno(self):
        """Readable while there is something to dispatch: for select, selectors and asyncio's add_reader."""
        return check(LIB.hubkey_client_fd(self.handle))

    def dispatch(self):
        return check(LIB.hubkey_client_dispatch(self.handle))

    def wait(self, timeout_ms):
        return check(LIB.hubkey_client_wait(self.handle, timeout_ms))


def main(slot='0', *folders):
    """What cron says nothing about was delivered; what could not be is sent by the next run."""
    usage = {folder: shutil.disk_usage(folder) for folder in folders or ['/']}
    report = {folder: {'used': now.used, 'free': now.free} for folder, now in usage.items()}
    with Client(slot=int(slot)) as client:
        client.post(json.dumps(report), content_type='application/json', content_encoding='utf-8',
                    properties={'kind': 'disks'})
        client.flush()


if __name__ == '__main__':
    try:
        main(*sys.argv[1:])
    except (Error, OSError, ValueError) as problem:
        sys.exit(f'hubkey.py: {problem}')

# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""For Python programs that work in a sandbox: its hub, its servers, and TAP."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
RUN = os.path.join(SOURCE, 'run')


def enter():
    """Starts the calling test again inside a sandbox, unless it is in one already."""
    if 'HUBKEY_SANDBOX' in os.environ:
        return
    if os.geteuid() != 0:
        print('1..0 # SKIP needs root')
        sys.exit(0)
    os.execv(RUN, [RUN, 'sandbox', sys.executable, *sys.argv])


def hub(path, method='GET', body=None):
    """One call of the hub's admin port; returns what it answers, None where that is nothing."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(os.environ['HUBKEY_HUB_ADMIN'] + path, data, method=method)
    with opener.open(request, timeout=10) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def pages(path, kind, cursor=0):
    """All of a list behind cursor, however many pages that takes; each page moves the cursor on or is the last."""
    while items := (page := hub(f'{path}{"&" if "?" in path else "?"}after={cursor}&limit=10000'))[kind]:
        yield from items
        cursor = page['next']


def server_pid(name):
    with open(os.path.join(os.environ['HUBKEY_SANDBOX'], f'{name}.pid')) as file:
        return int(file.read())


def kill_server(name):
    os.kill(server_pid(name), signal.SIGKILL)


def restart_server(name):
    subprocess.run([RUN, 'sandbox-restart', name], check=True, timeout=60)


def is_sanitized(pid):
    """Whether a sanitizer is in the process: it keeps what was freed, or more beside it, so its size says nothing."""
    with open(f'/proc/{pid}/maps') as file:
        return re.search('lib[at]san', file.read()) is not None


def kib(pid, field):
    """A size of /proc/PID/status; None where the process has ended."""
    with open(f'/proc/{pid}/status') as file:
        return next((int(line.split()[1]) for line in file if line.startswith(f'{field}:')), None)


def sanitizer_environment():
    """What a program without AddressSanitizer needs to load a libhubkey with it: its runtime from the start."""
    for folder in os.environ.get('LD_LIBRARY_PATH', '').split(':'):
        try:
            with open(os.path.join(folder, 'libhubkey.so.0'), 'rb') as file:
                runtime = re.search(rb'libasan\.so\.\d+', file.read())
        except FileNotFoundError:
            continue
        # What Python itself never frees is not ours to report.
        return {'LD_PRELOAD': runtime[0].decode(), 'ASAN_OPTIONS': 'detect_leaks=0'} if runtime else {}
    return {}


def as_user(user, *command):
    return ['setpriv', '--reuid', user, '--regid', user, '--init-groups', '--', *command]


def wait_until(condition, what, seconds=60):
    """Looks until condition is true and returns what it gave; a look costs a call or a read, so few a second do."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f'waited {seconds} s for {what}')
        select.select([], [], [], 0.01)
    return value


def progress(text):
    """One line on a terminal, over and over again; '' takes it away."""
    if sys.stderr.isatty():
        print(f'\r\033[K{text}', end='', file=sys.stderr, flush=True)


class Tap:
    """Prints a line a case; the plan comes last."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def ok(self, good, what, detail=''):
        self.count += 1
        self.failed += not good
        print(f'{"ok" if good else "not ok"} {self.count} - {what}')
        if not good and detail:
            for line in str(detail).splitlines():
                print(f'# {line}')
        sys.stdout.flush()

    def skip(self, what, why):
        self.count += 1
        print(f'ok {self.count} - {what} # SKIP {why}', flush=True)

    def note(self, text):
        print(f'# {text}', flush=True)

    def done(self):
        """What the test exits with."""
        print(f'1..{self.count}')
        return 1 if self.failed else 0

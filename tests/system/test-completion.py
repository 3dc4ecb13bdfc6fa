#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Tab on a terminal: what bash makes of a line, with the package bash-completion and without it."""

import os
import pty
import select
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from sandboxed import SOURCE, Tap, enter  # noqa: E402

BOX = os.environ.get('HUBKEY_SANDBOX', '')
FILES = os.path.join(BOX, 'client', 'files')
PACKAGE = '/usr/share/bash-completion/bash_completion'

# What is typed before Tab, and what stands there afterwards.
CASES = (
    ('hubkeyctl prov', 'hubkeyctl provision '),
    ('hubkeyctl help aud', 'hubkeyctl help audit '),
    ('hubkeyctl --json queue st', 'hubkeyctl --json queue status '),
    ('hubkeyctl queue req', 'hubkeyctl queue requeue '),
    (f'hubkeyctl queue --queue {FILES}/q.queue pe', f'hubkeyctl queue --queue {FILES}/q.queue peek '),
    ('hubkeyctl show ', 'hubkeyctl show 0 '),
    ('hubkeyctl show 0 ', 'hubkeyctl show 0 '),
    ('hubkeyctl send ', 'hubkeyctl send 0 '),
    ('hubkeyctl send 0 --pol', 'hubkeyctl send 0 --policy '),
    ('hubkeyctl send 0 --dr', 'hubkeyctl send 0 --dry-run '),
    ('hubkeyctl send 0 --max', 'hubkeyctl send 0 --max-bytes '),
    ('hubkeyctl send 0 --policy dr', 'hubkeyctl send 0 --policy drop-oldest '),
    ('hubkeyctl send 0 --policy=bl', 'hubkeyctl send 0 --policy=block '),
    ('hubkeyctl token 0 --scope a/b --t', 'hubkeyctl token 0 --scope a/b --ttl '),
    ('hubkeyctl provision 1 --storage t', 'hubkeyctl provision 1 --storage tpm '),
    (f'hubkeyctl queue status --queue {FILES}/my', f'hubkeyctl queue status --queue {FILES}/my\\ own.queue '),
    (f'hubkeyctl queue import 0 {FILES}/wai', f'hubkeyctl queue import 0 {FILES}/waiting.json '),
    (f'hubkeyctl queue import 0 {BOX}/client/fil', f'hubkeyctl queue import 0 {FILES}/'),
    (f'hubkeyctl queue peek --queue {FILES}/q.queue ', f'hubkeyctl queue peek --queue {FILES}/q.queue 1 '),
    ('hubkeyctl queue requeue 0 --a', 'hubkeyctl queue requeue 0 --all '),
    ('hubkeyctl queue list 0 --li', 'hubkeyctl queue list 0 --limit '),
    ('hubkeyctl queue drop 0 --thr', 'hubkeyctl queue drop 0 --through '),
    ('hubkeyctl queue drop --through 1 ', 'hubkeyctl queue drop --through 1 0 '),
    ('hubkeyctl queue list 0 --limit ', 'hubkeyctl queue list 0 --limit '),
    ('hubkeyctl reload ', 'hubkeyctl reload '),
)


class Shell:
    """An interactive bash; a key prints the line that is being edited."""

    def __init__(self, *setup):
        environment = {**os.environ, 'TERM': 'dumb', 'PS1': '', 'COLUMNS': '1000', 'HISTFILE': ''}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe('bash', ['bash', '--noprofile', '--norc', '-i'], environment)
        self.type('PS1= PS2=; stty -echo; bind "set bell-style none"; bind "set completion-query-items 0"\n')
        self.type('''bind -x '"\\C-x\\C-p": printf "<<%s>>\\n" "$READLINE_LINE"'\n''')
        for command in setup:
            self.type(command + '\n')
        self.type('printf "%s\\n" re""ady\n')
        self.until('ready')

    def type(self, text):
        os.write(self.fd, text.encode())

    def until(self, end):
        seen, deadline = '', time.monotonic() + 20
        while end not in seen:
            if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f'{end} did not come: {seen!r}')
            seen += os.read(self.fd, 65536).decode()
        return seen

    def complete(self, line):
        """The line after Tab."""
        self.type(line + '\t\x18\x10')
        seen = self.until('>>')
        self.type('\x15')
        return seen[seen.rindex('<<') + 2:seen.rindex('>>')]

    def close(self):
        self.type('exit\n')
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def check(tap, how, *setup):
    shell = Shell(*setup)
    for line, expected in CASES:
        try:
            got = shell.complete(line)
        except TimeoutError as error:
            got = str(error)
        tap.ok(got == expected, f'{how}: {line.replace(BOX, "")}', f'got      {got}\nexpected {expected}')
    shell.close()


def installed():
    """The file under the name that the package's loader looks for, in a place of its own."""
    place = os.path.join(os.environ['HUBKEY_BUILDDIR'], 'tools', 'completion')
    user = os.path.join(BOX, 'client', 'user')
    os.makedirs(user)
    os.symlink(place, os.path.join(user, 'completions'))
    return user


def main():
    tap = Tap()
    os.makedirs(FILES)
    for name in ('my own.queue', 'waiting.json'):
        open(os.path.join(FILES, name), 'w').close()
    subprocess.run(['hubkeyctl', 'send', '0', '--queue-only', '--queue', os.path.join(FILES, 'q.queue')], input=b'x\n',
                   stderr=subprocess.DEVNULL, check=True)
    check(tap, 'bash alone', f'. {SOURCE}/tools/hubkeyctl.bash')
    if os.path.exists(PACKAGE):
        check(tap, 'bash-completion', f'BASH_COMPLETION_USER_DIR={installed()}', f'. {PACKAGE}')
    else:
        tap.skip('bash-completion', 'it is not installed')
    return tap.done()


if __name__ == '__main__':
    enter()
    sys.exit(main())

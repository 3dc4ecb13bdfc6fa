#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""kill -9 of the hub, of hubkeyd, of the TPM and of the sender, 20 times each, while messages flow.

Every message that was acknowledged must arrive, first arrivals in order, one request at a time, and nothing twice that
the sender could have known to be delivered.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from sandboxed import Tap, enter, kill_server, restart_server  # noqa: E402
from sender import Arrivals, Sender, judge, judge_complete, use_short_tokens, wait_for_arrivals  # noqa: E402

ROUNDS = 20


def break_server(sender, name):
    kill_server(name)
    sender.wait_for_more()  # the queue takes messages whatever is broken
    restart_server(name)
    sender.wait_for_more()
    wait_for_arrivals()


def break_sender(sender):
    sender.kill()
    sender.start()
    sender.wait_for_more()
    wait_for_arrivals()


def main():
    tap = Tap()
    use_short_tokens()
    sender = Sender('kill')
    try:
        sender.wait_for_more()
        wait_for_arrivals()
        for name in ('hub', 'hubkeyd', 'swtpm', 'sender'):
            start = time.monotonic()
            for _ in range(ROUNDS):
                break_sender(sender) if name == 'sender' else break_server(sender, name)
            tap.ok(True, f'messages flow again after each of {ROUNDS} kills of {name}')
            tap.note(f'{time.monotonic() - start:.1f} s')
        code = sender.end()
        tap.ok(code == 0, 'the sender delivers the rest and exits 0', f'exit code {code}')
        arrivals = Arrivals(sender)
        judge_complete(tap, arrivals)
        judge(tap, arrivals)
    except TimeoutError as error:
        tap.ok(False, 'nothing gets stuck', error)
        sender.kill()
    return tap.done()


if __name__ == '__main__':
    enter()
    sys.exit(main())

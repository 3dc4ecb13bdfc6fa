#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Tokens that live for four seconds: each is replaced before its end, not at the same part of its life each time, and
the hub never sees one that is over."""

import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
sys.dont_write_bytecode = True
from sandboxed import Tap, enter, hub, pages  # noqa: E402

enter()
import binding  # noqa: E402 (the library is the sandbox's)
from binding import Client  # noqa: E402
from sender import use_short_tokens  # noqa: E402

TOKENS = 8
SECONDS = 90


class Token:
    """As the hub saw it: its end, and when it was used first and last, in seconds of Unix time."""

    def __init__(self, expires, used):
        self.expires, self.first, self.last = expires, used, used

    def part(self):
        """Of its life, until its last use."""
        return (self.last - self.first) / (self.expires - self.first)


def send_until_renewed():
    """One message after the other, until so many tokens have come and gone."""
    end = time.monotonic() + SECONDS
    with Client(os.path.join(os.environ['HUBKEY_SANDBOX'], 'client', 'renewal.queue')) as client:
        while client.stats().token_fetches <= TOKENS:
            if client.wait_seq(client.post([b'x'])) != 0 or time.monotonic() > end:
                raise TimeoutError(f'{client.stats().token_fetches} tokens: {client.state()}')
        return client.stats()


def seen_tokens():
    expiry = {message['request']: message['tokenExpiry'] for message in pages('/messages', 'messages')}
    behind = time.time() - time.monotonic()
    tokens = {}
    for request in pages('/requests', 'requests'):
        used = request['start'] / 1e6 + behind
        tokens.setdefault(request['tokenId'], Token(expiry[request['n']], used)).last = used
    return list(tokens.values())


def main():
    tap = Tap()
    use_short_tokens()
    stats = send_until_renewed()
    tokens = seen_tokens()
    tap.ok(stats.requests_failed == 0 and hub('/stats')['refused'] == 0, 'nothing was refused', hub('/stats'))
    tap.ok(stats.token_fetches == len(tokens) == TOKENS + 1, 'one token after the other',
           (stats.token_fetches, len(tokens)))
    tap.ok(tokens == sorted(tokens, key=lambda token: token.expires), 'and none again')
    parts = [token.part() for token in tokens[:-1]]  # the last one was not used up
    tap.note(' '.join(f'{part:.3f}' for part in parts))
    tap.ok(all(0.5 < part < 0.95 for part in parts), 'each was replaced late in its life and before its end', parts)
    tap.ok(max(parts) - min(parts) > 0.01, 'not at the same part of it each time', parts)
    return tap.done()


if __name__ == '__main__':
    sys.exit(main())

#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""What ./run soak client [SECONDS] runs inside a sandbox: RATE messages a second, while the hub, a cutting and stalling
relay before it, hubkeyd, the TPM and the program itself are killed and revived at random for SECONDS. Afterwards a
tenth of it with a queue that is too small and drops the oldest: every message has arrived or was told as dropped.

As a test (`make check`) it is a minute. HUBKEY_SOAK_SEED repeats the choices of an earlier run, not its times."""

import os
import random
import select
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), os.path.join(HERE, '..', 'client')]
sys.dont_write_bytecode = True
from sandboxed import Tap, enter, hub, kill_server, pages, progress, restart_server  # noqa: E402

enter()
import binding  # noqa: E402 (the library is the sandbox's)
from relay import Relay  # noqa: E402
from sender import Arrivals, Sender, judge, judge_complete, use_short_tokens, wait_for_arrivals  # noqa: E402

SECONDS = 50
OVERFLOW_SECONDS_MIN = 10
RATE = 2000
OUTSTANDING = 1000
LIVELY_S = 120  # how long nothing may move once everything is mended
# About half a second of messages; what a request has in it is not to fill it.
SMALL_QUEUE = ('--policy', 'drop-oldest', '--max-bytes', '150000')


class Chaos:
    """Everything that can be broken between a sender and the hub, and in what order it was."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.relay = Relay(int(os.environ['HUBKEY_CONNECT_TO'].rsplit(':', 1)[1]))
        self.breaks = dict.fromkeys(('hub', 'hubkeyd', 'swtpm', 'sender', 'relay', 'cut', 'stall'), 0)
        self.sender = None
        self.history = []

    def send_by(self, name, *options):
        connect_to = '::{}:{}'.format(*self.relay.address)
        self.sender = Sender(name, *options, rate=RATE, outstanding=OUTSTANDING,
                             environment={'HUBKEY_CONNECT_TO': connect_to})
        self.sender.wait_for_more()
        wait_for_arrivals()

    def break_one(self, name):
        self.breaks[name] += 1
        if name == 'relay':
            self.relay.close()
        elif name == 'cut':
            self.relay.cut_after(self.random.randrange(100000))
        elif name == 'stall':
            self.relay.stall()
        elif name == 'sender':
            self.sender.kill()
            # What a dead program sent does not arrive after what its successor sends.
            self.relay.cut()
        else:
            kill_server(name)

    def mend(self, name):
        if name == 'relay':
            self.relay.open()
        elif name == 'cut':
            self.relay.cut_after(None)
        elif name == 'stall':
            self.relay.resume()
        elif name == 'sender':
            self.sender.start()
        else:
            restart_server(name)

    def round(self, names, least_s, most_s):
        """Breaks these, mends them some time later in another order, and sees that all goes on."""
        dwell = self.random.uniform(least_s, most_s)
        self.history.append(f'{" ".join(names)}, {dwell:.2f} s')
        for name in names:
            self.break_one(name)
        select.select([], [], [], dwell)
        for name in self.random.sample(names, len(names)):
            self.mend(name)
        self.sender.wait_for_more(LIVELY_S)
        wait_for_arrivals(LIVELY_S)
        return self.sender.counts()

    def run(self, seconds, choose, least_s, most_s):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            counts = self.round(choose(), least_s, most_s)
            progress(f'{left:.0f} s to go, {sum(self.breaks.values())} breaks: {counts["accepted"]} accepted, '
                     f'{counts["waiting"]} waiting, {counts["dropped"]} dropped')
        progress('')

    def any_parts(self):
        return self.random.sample(list(self.breaks), self.random.choice((1, 1, 1, 2, 2, 3)))

    def network_and_another(self):
        """The way to the hub is closed in any case, so that the queue overflows."""
        closed = self.random.choice(('stall', 'stall', 'relay', 'hub'))
        others = [name for name in self.breaks if name != closed]
        return [closed, *self.random.sample(others, self.random.choice((0, 0, 1)))]


def everything(tap, chaos, seconds):
    chaos.send_by('chaos')
    chaos.run(seconds, chaos.any_parts, 0, 2)
    sender = chaos.sender
    code = sender.end()
    tap.ok(code == 0, 'the program delivers the rest and exits 0', f'exit code {code}')
    arrivals = Arrivals(sender)
    tap.note(f'{", ".join(f"{name} {n}" for name, n in chaos.breaks.items())} times; '
             f'{sender.acknowledged / sender.seconds_up:.0f} messages a second')
    judge_complete(tap, arrivals)
    judge(tap, arrivals)


def fates(sender, n):
    """Of the messages 1 to n of its queue: whether each was delivered."""
    with binding.Client(sender.queue, flags=binding.QUEUE_ONLY) as client:
        return [None, *(client.wait_seq(seq, 0) == 0 for seq in range(1, n + 1))]


def lines_of(sender, n):
    """Of the messages 1 to n of its queue: the number of each one's line. Where the acknowledgement was lost with the
    program, they are those behind the last that was acknowledged."""
    lines = [0] * (n + 1)
    for number in range(1, sender.number + 1):
        if seq := sender.seqs.at(number):
            lines[seq] = number
    for seq in range(1, n + 1):
        lines[seq] = lines[seq] or lines[seq - 1] + 1
    return lines


def unconfirmed_requests(after):
    """Those whose answer the client may never have seen: none was sent on the same connection later."""
    last = {}
    for request in pages('/requests', 'requests', after):
        last[request['connection']] = request['n']
    return set(last.values())


def judge_drops(tap, arrivals, counts, after):
    n = counts['accepted']
    lines, delivered = lines_of(arrivals.sender, n), fates(arrivals.sender, n)
    arrived = [arrivals.marks.at(line) != 0 for line in lines]
    tap.ok(counts['waiting'] == counts['dead'] == counts['removed'] == 0 and counts['delivered'] == sum(delivered[1:]),
           'each was delivered or dropped, and told as counted', f'{counts}, {sum(delivered[1:])} told as delivered')
    missing = [seq for seq in range(1, n + 1) if delivered[seq] and not arrived[seq]]
    tap.ok(not missing, 'what did not arrive was told as dropped', f'missing: {missing[:5]} and {len(missing)} in all')
    both = [seq for seq in range(1, n + 1) if arrived[seq] and not delivered[seq]]
    unconfirmed = unconfirmed_requests(after)
    wrong = [seq for seq in both if arrivals.requests.at(lines[seq]) not in unconfirmed]
    tap.note(f'{len(both)} arrived and were dropped, as their answer was lost')
    tap.ok(not wrong, 'what arrived was not, unless its answer was lost', f'{wrong[:5]} and {len(wrong)} in all')
    tap.ok(arrivals.distinct == sum(arrived), 'nothing else arrived', (arrivals.distinct, sum(arrived)))


def overflow(tap, chaos, seconds):
    hub('/messages', 'DELETE')
    after = hub('/stats')['requests']
    chaos.send_by('overflow', *SMALL_QUEUE)
    chaos.run(seconds, chaos.network_and_another, 1, 3)
    sender = chaos.sender
    sender.end()
    arrivals, counts = Arrivals(sender), sender.counts()
    tap.note(f'{counts}; {sender.acknowledged / sender.seconds_up:.0f} messages a second')
    tap.ok(counts['dropped'] > RATE, 'the queue overflowed', counts)
    judge_drops(tap, arrivals, counts, after)
    judge(tap, arrivals)


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    seed = os.environ.get('HUBKEY_SOAK_SEED') or str(random.SystemRandom().randrange(1 << 32))
    tap = Tap()
    tap.note(f'HUBKEY_SOAK_SEED={seed}')
    use_short_tokens()
    chaos = Chaos(seed)
    try:
        everything(tap, chaos, seconds)
        overflow(tap, chaos, max(seconds // 10, OVERFLOW_SECONDS_MIN))
    except (TimeoutError, AssertionError) as error:
        tap.ok(False, 'nothing gets stuck, and the invariant holds all the time', error)
        chaos.sender.kill()
    if tap.failed:
        tap.note('\n# '.join((f'the last breaks with HUBKEY_SOAK_SEED={seed}:', *chaos.history[-10:])))
    return tap.done()


if __name__ == '__main__':
    sys.exit(main())

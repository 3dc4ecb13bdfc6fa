# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""hubkeyctl send in a sandbox, fed with numbered lines whatever happens to it, and what became of the lines.

A line is known by its number and a message by 64 random bits of its id, so that a million of them are a few arrays."""

import array
import base64
import json
import os
import select
import subprocess
import threading
import time

from sandboxed import as_user, hub, kill_server, pages, restart_server, wait_until

TICK_S = 0.005     # between two looks of who writes lines: load, not proof
STEP = 20          # acknowledged lines that show that posting goes on
USER = 'hubkey-in'
BOX = os.environ.get('HUBKEY_SANDBOX', '')
DEVICE = os.environ.get('HUBKEY_DEVICE_ID', '')
COUNTS = ('accepted', 'delivered', 'waiting', 'dead', 'dropped', 'removed')


def mark_of(message_id):
    """The random half of a UUIDv7; its variant bits keep it from being 0."""
    return int(message_id.replace('-', '')[16:], 16)


class Numbers(array.array):
    """An array of 64-bit numbers that begins with nothing and is as long as it has to be; what was never put is 0."""

    def __new__(cls):
        return super().__new__(cls, 'Q')

    def put(self, at, value):
        if at >= len(self):
            self.extend(bytes(at + 1024 - len(self)))
        self[at] = value

    def at(self, at):
        return self[at] if at < len(self) else 0


class Sender:
    """hubkeyctl send with a queue of its own, fed with RATE lines a second as long as no more than OUTSTANDING wait for
    their acknowledgement. Killed, it can be started again and goes on with the next number."""

    def __init__(self, name, *options, rate=500, outstanding=20, environment=()):
        self.state = os.path.join(BOX, 'client', name)
        subprocess.run(['install', '-d', '-o', USER, '-g', USER, '-m', '700', self.state], check=True)
        self.queue = os.path.join(self.state, 'slot-0.queue')
        self.command = as_user(USER, 'hubkeyctl', 'send', '0', '--ack', '--wait', '120', *options)
        self.environment = {**os.environ, **dict(environment), 'STATE_DIRECTORY': self.state}
        self.environment.pop('HUBKEY_DEVICE_KEY')
        self.rate, self.outstanding = rate, outstanding
        self.number = 0        # of the last line written, over all processes
        self.acknowledged = 0  # how many, over all processes
        self.marks = Numbers()  # number -> mark of the message that was acknowledged for it
        self.seqs = Numbers()   # number -> its number in the queue
        self.seconds_up = 0
        self.more = threading.Condition()
        self.log = open(os.path.join(BOX, f'sender-{name}.log'), 'ab')
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                        env=self.environment, text=True)
        self.begun = time.monotonic()
        self.first = self.number + 1  # of this process
        self.seen = 0                 # acknowledgements of this process
        self.ending = False
        self.threads = [threading.Thread(target=self.feed), threading.Thread(target=self.read)]
        for thread in self.threads:
            thread.start()

    def feed(self):
        credit, looked = 0, time.monotonic()
        try:
            while not self.ending:
                now = time.monotonic()
                credit, looked = min(credit + (now - looked) * self.rate, self.outstanding), now
                n = min(int(credit), self.outstanding - (self.number + 1 - self.first - self.seen))
                credit -= n
                self.number += n
                lines = range(self.number - n + 1, self.number + 1)
                self.process.stdin.write(''.join(f'{line}\n' for line in lines))
                self.process.stdin.flush()
                select.select([], [], [], TICK_S)
        except BrokenPipeError:
            pass
        finally:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass

    def read(self):
        """Acknowledgements come in the order of the lines."""
        for line in self.process.stdout:
            if not line.endswith('\n'):
                break  # cut short by the kill: not said
            seq, message_id = line.split()
            number = self.first + self.seen
            self.marks.put(number, mark_of(message_id))
            self.seqs.put(number, int(seq))
            self.seen += 1
            with self.more:
                self.acknowledged += 1
                self.more.notify()

    def join(self):
        for thread in self.threads:
            thread.join()
        self.process.stdout.close()
        self.seconds_up += time.monotonic() - self.begun

    def end(self, seconds=180):
        """Its exit code once it has read all lines and waited for their delivery."""
        self.ending = True
        code = self.process.wait(seconds)
        self.join()
        return code

    def kill(self):
        self.ending = True
        self.process.kill()
        self.process.wait()
        self.join()

    def wait_for_more(self, seconds=60):
        enough = self.acknowledged + STEP
        with self.more:
            if not self.more.wait_for(lambda: self.acknowledged >= enough, seconds):
                raise TimeoutError(f'waited for {STEP} lines to be acknowledged')

    def counts(self):
        """What the queue says of all its messages; the first half of the invariant is that the parts are the whole."""
        done = subprocess.run(['hubkeyctl', 'queue', 'status', '--queue', self.queue, '--json'], check=True, timeout=60,
                              stdout=subprocess.PIPE)
        status = json.loads(done.stdout)
        counts = {name: status[name] for name in COUNTS}
        if counts['accepted'] != sum(counts[name] for name in COUNTS[1:]):
            raise AssertionError(f'the queue lost count: {counts}')
        return counts


def accepted():
    return hub('/stats')['accepted']


def wait_for_arrivals(seconds=60):
    before = accepted()
    wait_until(lambda: accepted() > before, 'messages to arrive', seconds)


def use_short_tokens():
    """So that a new one is needed again and again, and the TPM's absence is noticed."""
    with open(os.path.join(BOX, 'hubkeyd.conf.d', 'short.conf'), 'w') as file:
        file.write('[slots]\nDefaultTtl=4\nMaxTtl=8\n')
    kill_server('hubkeyd')
    restart_server('hubkeyd')


class Arrivals:
    """What the hub has of a sender's lines, and how it came."""

    def __init__(self, sender):
        self.sender = sender
        self.marks = Numbers()     # number -> mark of the message that brought it first
        self.requests = Numbers()  # number -> request that brought it last
        self.count = self.distinct = 0
        self.faults = []
        self.last_number = self.last_created = 0
        for message in pages(f'/messages?device={DEVICE}', 'messages'):
            self.take(int(base64.b64decode(message['body'])), mark_of(message['messageId']), message)

    def take(self, number, mark, message):
        known = self.marks.at(number)
        self.count += 1
        self.requests.put(number, message['request'])
        if known and known != mark:
            self.faults.append(f'line {number} came as two messages')
        if known:
            return
        self.distinct += 1
        self.marks.put(number, mark)
        created = int(message['properties']['created'])
        if self.sender.marks.at(number) not in (0, mark):
            self.faults.append(f'line {number} was acknowledged as another message')
        if number < self.last_number:
            self.faults.append(f'line {number} came after line {self.last_number}')
        if created < self.last_created:
            self.faults.append(f'line {number} was made before line {self.last_number}')
        self.last_number, self.last_created = number, created

    def missing(self):
        """Lines that were acknowledged and are not there."""
        return [number for number in range(1, self.sender.number + 1)
                if self.sender.marks.at(number) and not self.marks.at(number)]


def judge(tap, arrivals):
    """What holds of every sender, whatever its queue does when it is full."""
    sender, stats = arrivals.sender, hub('/stats')
    tap.note(f'{sender.number} lines, {sender.acknowledged} acknowledged, {arrivals.count} arrived, '
             f'{arrivals.count - arrivals.distinct} of them again; {stats["requests"]} requests')
    tap.ok(not arrivals.faults, 'first arrivals came in the order of the lines, each line as one message',
           '\n'.join(arrivals.faults[:5]))
    tap.ok(stats['unexplainedDuplicates'] == 0, 'no duplicate without a reason', stats)
    tap.ok(stats['maxInFlight'].get(DEVICE) == 1, 'one request at a time', stats)


def judge_complete(tap, arrivals):
    """And of one whose queue never was full."""
    missing = arrivals.missing()
    tap.ok(not missing, 'every acknowledged message arrived', f'missing: {missing[:5]} and {len(missing)} in all')
    counts = arrivals.sender.counts()
    tap.ok(counts['accepted'] == counts['delivered'] == arrivals.distinct,
           'accepted is delivered is what the hub has, also of what was never acknowledged',
           f'{counts}, {arrivals.distinct} arrived')

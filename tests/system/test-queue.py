#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""hubkeyctl queue: looking at messages, moving them, and the service that sends them."""

import base64
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from sandboxed import SOURCE, Tap, enter, hub, pages, wait_until  # noqa: E402

BOX = os.environ.get('HUBKEY_SANDBOX', '')
DEVICE = os.environ.get('HUBKEY_DEVICE_ID')
PIPE = subprocess.PIPE


def queue_path(name):
    return os.path.join(BOX, 'client', name + '.queue')


def run(*arguments, text='', **options):
    """hubkeyctl, bytes on both sides."""
    text = text.encode() if isinstance(text, str) else text
    return subprocess.run(['hubkeyctl', *arguments], input=text, stdout=PIPE, stderr=PIPE, timeout=120, **options)


def ctl(*arguments, text=''):
    done = run(*arguments, text=text)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def status(path):
    code, out, _ = ctl('queue', 'status', '--queue', path, '--json')
    return json.loads(out) if code == 0 else None


def fill(path, text, *options):
    code, _, err = ctl('send', '0', '--queue', path, '--queue-only', *options, text=text)
    assert code == 0, err


def arrived():
    return [base64.b64decode(message['body']) for message in pages(f'/messages?device={DEVICE}', 'messages')]


def forget():
    hub('/messages', 'DELETE')


def make_dead(path, lines):
    """The hub refuses what stands before the last of the lines, each alone and for good, and takes that one."""
    hub('/faults', 'POST', {'kind': 'status', 'code': 413, 'count': 2})
    code, out, err = ctl('send', '0', '--queue', path, '--json', '--wait', '60', text=lines)
    assert code == 1 and objects(out)[-1]['dead'] == 1, (out, err)


def test_list_and_peek(tap):
    path = queue_path('list')
    fill(path, 'one\ntwo\n', '-p', 'unit=K', '--content-type', 'text/plain')
    fill(path, 'a\x1b[31mb\n')
    code, out, err = ctl('queue', 'list', '--queue', path)
    lines = out.splitlines()
    tap.ok(code == 0 and len(lines) == 4 and lines[0].split() == ['NUMBER', 'CREATED', 'BYTES', 'ID'],
           'list has a line for each message', (out, err))
    code, out, _ = ctl('queue', 'list', '--queue', path, '--json')
    rows = objects(out)
    tap.ok([row['seq'] for row in rows] == [1, 2, 3] and rows[0]['properties'] == {'unit': 'K'} and
           rows[0]['bytes'] == 3 and 'body' not in rows[0] and rows[0]['content_type'] == 'text/plain',
           'list --json has what is known but the body', out)
    code, out, err = ctl('queue', 'list', '--queue', path, '--limit', '2', '--json')
    tap.ok(len(objects(out)) == 2 and '--limit 0' in err, '--limit, and that there are more', (out, err))
    code, out, err = ctl('queue', 'list', '--queue', path, '--limit', '3', '--json')
    tap.ok(len(objects(out)) == 3 and err == '', 'and nothing is said where there are none', err)
    code, out, err = ctl('queue', 'list', '--queue', path, '--dead')
    tap.ok(code == 0 and out == '', 'none is dead', (out, err))

    code, out, _ = ctl('queue', 'peek', '--queue', path)
    tap.ok(code == 0 and out.endswith('\none\n') and 'unit=K' in out, 'peek shows the oldest', out)
    code, out, _ = ctl('queue', 'peek', '--queue', path, '2', '--json')
    tap.ok(code == 0 and base64.b64decode(objects(out)[0]['body']) == b'two', 'or the one that is named', out)
    code, out, _ = ctl('queue', 'peek', '--queue', path, '3')
    tap.ok(code == 0 and '\x1b' not in out and 'no text' in out, 'a body cannot do anything to the terminal', out)
    code, out, err = ctl('queue', 'peek', '--queue', path, '4')
    tap.ok(code == 1 and 'message 4 is not in' in err, 'a message that is not there', err)
    code, out, err = ctl('queue', 'peek', '--queue', path, '0')
    tap.ok(code == 2, 'a number that is none', err)
    code, out, err = ctl('queue', 'peek', '--queue', path, '1', '2')
    tap.ok(code == 2, 'two numbers are too many', err)


def test_export_and_import(tap):
    path, other = queue_path('from'), queue_path('to')
    fill(path, 'plain\n', '-p', 'a=1', '-p', "b='$", '--content-type', 'application/json', '--encoding', 'utf-8')
    done = run('send', '0', '--queue', path, '--queue-only', text=b'\x00\xff\n\n')
    code, exported, err = ctl('queue', 'export', '--queue', path)
    tap.ok(done.returncode == 0 and code == 0 and [row['seq'] for row in objects(exported)] == [1, 2, 3],
           'export writes all messages', err)
    tap.ok(err == 'hubkeyctl: 3 messages exported, the last is number 3\n', 'and says where it ended', err)
    code, out, err = ctl('queue', 'import', '--queue', other, '--json', text=exported)
    tap.ok(code == 0 and objects(out)[0]['imported'] == 3, 'import takes them into a new queue', (out, err))
    _, again, _ = ctl('queue', 'export', '--queue', other)
    tap.ok(again == exported, 'nothing of them has changed', again)
    tap.ok(status(path)['waiting'] == 3, 'and they stay where they were', status(path))

    fill(path, 'later\n')
    code, out, err = ctl('queue', 'drop', '--queue', path, '--yes', '--through', str(objects(exported)[-1]['seq']))
    tap.ok(code == 0 and out == '3 messages dropped\n' and status(path)['waiting'] == 1,
           'what was exported is dropped, and not what came later', (out, err))
    code, _, err = ctl('queue', 'drop', '--queue', path, '--yes', '--through', '')
    tap.ok(code == 2 and status(path)['waiting'] == 1, 'a number that is missing drops nothing', err)

    file = os.path.join(BOX, 'client', 'broken.json')
    with open(file, 'w') as out:
        first = exported.splitlines()[0]
        out.write('\n'.join([first, '', 'no json', '[]', '{"body":"eA=="}', '{"body":"e"}', '{"id":"x"}',
                             first.replace('"a":"1"', '"a b":"1"'), first.replace('"seq"', '"sequence"'),
                             '{"body":"' + 'A' * 400000 + '"}', first]))  # no newline at the end
    code, out, err = ctl('queue', 'import', '--queue', other, '--json', file)
    told = objects(out)[0]
    tap.ok(code == 1 and (told['imported'], told['refused']) == (3, 7), 'lines that are no message are left out',
           (out, err))
    tap.ok(all(f'line {number} was not imported' in err for number in (3, 4, 6, 7, 8, 9, 10)), 'by number', err)
    code, out, err = ctl('queue', 'import', '--queue', other, file + '.none')
    tap.ok(code == 1 and file in err, 'a file that is not there', err)

    forget()
    code, out, err = ctl('queue', 'flush', '0', '--queue', other, '--wait', '30')
    tap.ok(code == 0 and arrived() == [b'plain', b'\x00\xff', b'', b'plain', b'x', b'plain'],
           'what was imported is delivered in order', (out, err, arrived()))
    ids = [message['messageId'] for message in pages(f'/messages?device={DEVICE}', 'messages')]
    tap.ok(ids[:3] == [row['id'] for row in objects(exported)], 'with the ids it had', ids)


def test_requeue(tap):
    path = queue_path('dead')
    make_dead(path, 'bad\ngood\n')
    code, out, _ = ctl('queue', 'list', '--queue', path, '--dead', '--json')
    dead = objects(out)
    tap.ok(len(dead) == 1 and dead[0]['status'] == 413 and dead[0]['reason'] and dead[0]['buried'] > 0,
           'list --dead says why and when', out)
    code, out, _ = ctl('queue', 'list', '--queue', path, '--dead')
    tap.ok('413' in out and 'REASON' in out, 'also for people', out)
    code, out, _ = ctl('queue', 'peek', '--queue', path, str(dead[0]['seq']))
    tap.ok(code == 0 and 'HTTP 413' in out and out.endswith('\nbad\n'), 'peek finds it by its number', out)
    code, out, _ = ctl('queue', 'export', '--queue', path, '--dead')
    tap.ok(base64.b64decode(objects(out)[0]['body']) == b'bad', 'export --dead has it', out)
    for arguments in ([], ['--all', '1'], ['x']):
        code, out, err = ctl('queue', 'requeue', '--queue', path, *arguments)
        tap.ok(code == 2, f'requeue {arguments} is wrong usage', err)
    code, out, err = ctl('queue', 'requeue', '--queue', path, '99')
    tap.ok(code == 1 and 'no dead message 99' in err, 'a message that is not dead', err)
    forget()
    code, out, err = ctl('queue', 'requeue', '--queue', path, str(dead[0]['seq']), '--json')
    tap.ok(code == 0 and objects(out)[0]['requeued'] == 1, 'requeue', (out, err))
    counts = status(path)
    tap.ok((counts['waiting'], counts['dead'], counts['last_seq']) == (1, 0, 3), 'it has a new number', counts)
    code, out, err = ctl('queue', 'flush', '0', '--queue', path, '--wait', '30')
    ids = [message['messageId'] for message in pages(f'/messages?device={DEVICE}', 'messages')]
    tap.ok(code == 0 and arrived() == [b'bad'] and ids == [dead[0]['id']], 'and arrives with its id', (ids, err))
    make_dead(path, 'worse\nbetter\n')
    code, out, _ = ctl('queue', 'requeue', '--queue', path, '--all')
    tap.ok(code == 0 and out == '1 message will be sent again\n', 'requeue --all', out)


def test_manual(tap):
    """The recipe of hubkeyctl(1) for moving a queue, as it stands there."""
    page = subprocess.run(['man', '-P', 'cat', os.path.join(SOURCE, 'docs', 'hubkeyctl.1')], stdout=PIPE, stderr=PIPE,
                          text=True, env={**os.environ, 'MANWIDTH': '200', 'LC_ALL': 'C.UTF-8'}).stdout
    recipe = page[page.index('$ hubkeyctl queue export 0') + 2:page.index('Post with curl')]
    for name in ('slot-0', 'slot-1'):
        for end in ('', '.lock', '-wal', '-shm', '.state'):
            if os.path.exists(queue_path(name) + end):
                os.unlink(queue_path(name) + end)
    fill(queue_path('slot-0'), ''.join(f'{number}\n' for number in range(300)))
    spoil(queue_path('slot-0'), 0, 4096)
    fill(queue_path('slot-0'), 'later\n')
    environment = {**os.environ, 'STATE_DIRECTORY': os.path.join(BOX, 'client')}
    done = subprocess.run(['sh', '-c', recipe], cwd=os.path.join(BOX, 'client'), env=environment, stdout=PIPE,
                          stderr=PIPE, text=True, timeout=60)
    counts = status(queue_path('slot-0'))
    tap.ok(done.returncode == 1 and counts['waiting'] == 301 and counts['removed'] == 0,
           'moving a queue of which not all can be read moves nothing', (done.stderr, counts))
    ctl('queue', 'rebind', '0')
    done = subprocess.run(['sh', '-c', recipe], cwd=os.path.join(BOX, 'client'), env=environment, stdout=PIPE,
                          stderr=PIPE, text=True, timeout=60)
    tap.ok(done.returncode == 0 and status(queue_path('slot-0'))['removed'] == 301 and
           status(queue_path('slot-1'))['waiting'] == 301, 'and then all of it', (recipe, done.stderr))


def test_check(tap):
    path = queue_path('check')
    fill(path, 'a\nb\n')
    code, out, err = ctl('queue', 'check', '--queue', path)
    tap.ok(code == 0 and 'whole' in out, 'a whole queue', (out, err))
    with sqlite3.connect(path) as database:
        database.execute('UPDATE state SET waiting = 5')
    database.close()
    code, out, err = ctl('queue', 'check', '--queue', path, '--json')
    told = objects(out)[0]
    tap.ok(code == 1 and told['found'] == len(told['faults']) == 2 and 'export' in err, 'a counter that is wrong', out)
    code, out, err = ctl('queue', 'check', '--queue', path)
    tap.ok(code == 1 and 'the counter of waiting messages is 5, but there are 2' in out, 'also for people', out)
    text = os.path.join(BOX, 'client', 'text.queue')
    with open(text, 'w') as file:
        file.write('no queue at all\n' * 100)
    code, out, err = ctl('queue', 'check', '--queue', text)
    tap.ok(code == 1 and 'not a queue' in err, 'a file that is none', err)


def test_other_forms(tap):
    """Whoever only looks is told what to do, changes nothing, and what he is told to do helps."""
    path = queue_path('older')
    fill(path, 'kept\n')
    with sqlite3.connect(path) as database:
        newest = database.execute('PRAGMA user_version').fetchone()[0]
        database.execute('PRAGMA user_version = 0')
    database.close()
    for verb in ('status', 'list', 'peek', 'export', 'check'):
        code, out, err = ctl('queue', verb, '--queue', path)
        tap.ok(code == 1 and f'hubkeyctl queue flush SLOT --queue {path}' in err,
               f'{verb} of an older form', (out, err))
    with sqlite3.connect(path) as database:
        tap.ok(database.execute('PRAGMA user_version').fetchone()[0] == 0, 'changes nothing')
        database.execute('PRAGMA user_version = 1000')
    database.close()
    for verb in ('status', 'list', 'peek', 'export', 'check'):
        code, out, err = ctl('queue', verb, '--queue', path)
        tap.ok(code == 1 and f'its form is 1000, this one knows {newest}' in err, f'{verb} of a newer form', (out, err))
    with sqlite3.connect(path) as database:
        database.executescript('ALTER TABLE state DROP COLUMN lost; DROP TABLE salvage; DROP TABLE owner;'
                               'PRAGMA user_version = 3;')
    database.close()
    forget()
    code, out, err = ctl('queue', 'flush', '0', '--queue', path, '--wait', '30')
    tap.ok(code == 0 and arrived() == [b'kept'] and status(path)['delivered'] == 1, 'a flush brings it up to date',
           (out, err))


def test_odd_texts(tap):
    """A path that is no UTF-8, a hub's text that was cut off inside of a character: --json has them all the same."""
    path = os.path.join(os.fsencode(BOX), b'client', b'odd-\xff.queue')
    done = run('send', '0', '--queue', path, '--json', '--wait', '30', text='a\n')
    told = json.loads(done.stdout)
    tap.ok(done.returncode == 0 and told['delivered'] == 1 and told['queue'].endswith('odd-\ufffd.queue'),
           'send to a path that is no UTF-8', done)
    with open(path + b'.state', 'rb') as file:
        state = file.read()
    with open(path + b'.state', 'wb') as file:
        file.write(state[:state.index(b'text=')] + b'text=' + b'x' * 254 + 'é'.encode())
    done = run('queue', 'status', '--queue', path, '--json')
    told = json.loads(done.stdout)
    tap.ok(done.returncode == 0 and {'oldest', 'holder', 'sender', 'lost', 'salvage'} <= set(told) and
           told['sender']['text'] == 'x' * 254, 'status has all members, its text ends with a character', done)
    for verb in ('list', 'export', 'check', 'flush', 'drop', 'requeue', 'import'):
        extra = {'flush': ['0'], 'drop': ['--yes'], 'requeue': ['--all']}.get(verb, [])
        done = run('queue', verb, '--queue', path, '--json', *extra)
        tap.ok(done.returncode == 0 and all(json.loads(line) for line in done.stdout.splitlines()),
               f'{verb} of such a path', done)


class Pump:
    """hubkeyctl queue pump, and what it printed."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(['hubkeyctl', 'queue', 'pump', *arguments], stdin=subprocess.DEVNULL,
                                        stdout=PIPE, stderr=PIPE, text=True)
        self.seen = ''

    def until(self, text):
        def look():
            while select.select([self.process.stdout], [], [], 0)[0]:
                part = os.read(self.process.stdout.fileno(), 65536).decode()
                self.seen += part
                if not part:
                    break
            return text in self.seen
        wait_until(look, f'{text} in {self.seen}')

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        self.seen += out
        return self.process.returncode, err


def test_pump(tap):
    path = queue_path('pump')
    forget()
    fill(path, 'before\n')
    pump = Pump('0', '--queue', path, '--json')
    pump.until('"state":"online"')
    fill(path, 'meanwhile\n')
    wait_until(lambda: arrived() == [b'before', b'meanwhile'], 'both to arrive')
    tap.ok(True, 'pump sends what others put into the queue')
    told = objects(pump.seen)
    tap.ok(all(set(line) == {'time', 'state', 'reason', 'text'} for line in told), 'with --json a state is an object',
           pump.seen)
    for verb in (['pump', '0'], ['drop', '--yes'], ['requeue', '--all'], ['import'], ['rebind']):
        code, out, err = ctl('queue', verb[0], '--queue', path, *verb[1:] if verb[0] != 'pump' else ['0'],
                             text='{"body":"eA=="}')
        tap.ok(code == 6 and f'process {pump.process.pid} (hubkeyctl) sends from this queue since 20' in err,
               f'{verb[0]} beside it is exit 6 and says by whom the queue is held', (code, out, err))
    for verb in ('status', 'list', 'export', 'check'):
        code, out, err = ctl('queue', verb, '--queue', path)
        tap.ok(code == 0, f'{verb} works beside it', err)
    code, out, err = ctl('queue', 'status', '--queue', path)
    tap.ok(f'hubkeyctl (process {pump.process.pid}) since 20' in out, 'status says who sends since when', out)
    code, err = pump.end()
    tap.ok(code == 0, 'SIGTERM ends it with 0', err)
    last = objects(pump.seen)[-1]
    tap.ok(last['state'] == 'stopped' and last['waiting'] == 0, 'and it says what waits', last)


def test_pump_offline(tap):
    path = queue_path('pump-offline')
    hub('/faults', 'POST', {'kind': 'refuse-connect'})
    fill(path, 'kept\n')
    ctl('queue', 'rebind', '0', '--queue', path)
    pump = Pump('--queue', path)
    pump.until('offline: ')
    code, err = pump.end(signal.SIGINT)
    hub('/faults', 'DELETE')
    tap.ok(code == 0 and 'stopped; 1 messages wait' in pump.seen, 'offline, a pump ends at once, and loses nothing',
           (pump.seen, err))
    pump = Pump('--queue', path)
    pump.until('online\n')
    wait_until(lambda: status(path)['waiting'] == 0, 'the message to be delivered')
    pump.process.stdout.close()
    tap.ok(pump.process.poll() is None, 'the slot is found by whom the queue is for')
    pump.process.terminate()
    pump.process.wait(30)


def spoil(path, offset, length):
    with open(path, 'r+b') as file:
        file.seek(offset)
        file.write(b'\xa5' * length)


def test_damage(tap):
    """Readers say what helps, posting goes on, everything arrives in order, and it is told."""
    path = queue_path('damaged')
    forget()
    fill(path, ''.join(f'{number}\n' for number in range(500)))
    spoil(path, 0, 4096)
    code, out, err = ctl('queue', 'status', '--queue', path)
    tap.ok(code == 1 and f'hubkeyctl queue flush SLOT --queue {path}' in err, 'who looks at it is told what helps', err)
    fill(path, ''.join(f'{number}\n' for number in range(500, 510)))
    counts = status(path)
    tap.ok((counts['salvage'], counts['waiting'], counts['lost']) == (1, 510, 0), 'posting goes on at once', counts)
    code, out, _ = ctl('queue', 'status', '--queue', path)
    tap.ok(f'{path}.salvage-1' in out, 'status says what is to come', out)
    for verb in ('list', 'peek', 'export', 'check'):
        code, out, err = ctl('queue', verb, '--queue', path)
        tap.ok(code == 1 and f'{path}.salvage-1' in out + err and 'queue flush' in out + err,
               f'{verb} says that there is more than it shows', (out, err))
    pump = Pump('0', '--queue', path)
    wait_until(lambda: len(arrived()) == 510, 'all to arrive')
    tap.ok(arrived() == [b'%d' % number for number in range(510)], 'the old before the new, all in order')
    code, err = pump.end()
    tap.ok('was damaged' in pump.seen + err and f'{path}.damaged-1' in err and '500 messages; 0 could not' in err,
           'the pump says so', (pump.seen, err))
    counts = status(path)
    tap.ok((counts['salvage'], counts['damaged_files'], counts['delivered']) == (None, 1, 510), 'and so does status',
           counts)
    code, out, _ = ctl('queue', 'check', '--queue', path)
    tap.ok(code == 0 and os.path.exists(path + '.damaged-1'), 'the queue is whole, the damaged file is kept', out)


def test_damage_is_told(tap):
    """Whoever sets a damaged file aside, or carries it over, says so, whatever else he was asked for."""
    for verb in (['drop', '--yes', '--through', '1'], ['requeue', '--all'], ['import'], ['rebind'], ['flush', '0']):
        path = queue_path('told-' + verb[0])
        fill(path, ''.join(f'{number}\n' for number in range(100)))
        spoil(path, 0, 4096)
        code, _, err = ctl('send', '0', '--queue', path, '--queue-only', text='later\n')
        tap.ok(code == 0 and f'{path} is damaged' in err and 'set aside' in err, 'send says what it found', err)
        code, out, err = ctl('queue', verb[0], '--queue', path, *verb[1:])
        tap.ok(code == 0 and '100 messages' in err and ' 0 could not be read any more' in err and
               err.count('.damaged-1') == 1, f'{verb[0]} says what came of it', (out, err))


def test_damage_beside_a_pump(tap):
    """Damage under a running sender and a running writer; some of it takes messages with it, and they are counted."""
    path = queue_path('damaged-live')
    forget()
    hub('/faults', 'POST', {'kind': 'refuse-connect'})
    fill(path, ''.join(f'{number} {"x" * 500}\n' for number in range(2000)))
    pump = Pump('0', '--queue', path)
    pump.until('offline: ')
    for offset in range(100 * 4096, 130 * 4096, 4096):
        spoil(path, offset, 4096)
    writer = subprocess.Popen(['hubkeyctl', 'send', '0', '--queue', path, '--queue-only'], stdin=PIPE)
    for number in range(2000, 2100):
        writer.stdin.write(b'%d\n' % number)
        writer.stdin.flush()
    hub('/faults', 'DELETE')
    wait_until(lambda: (status(path) or {}).get('damaged_files') == 1, 'the file to be set aside and carried over')
    writer.stdin.close()
    tap.ok(writer.wait(30) == 0, 'a writer beside it is not disturbed')
    wait_until(lambda: status(path)['waiting'] == 0, 'the queue to be empty')
    counts, numbers = status(path), [int(body.split()[0]) for body in arrived()]
    tap.ok(numbers == sorted(set(numbers)) and set(range(2000, 2100)) <= set(numbers), 'none twice, all in order')
    tap.ok(0 < counts['lost'] < 400 and counts['lost'] + len(numbers) == counts['accepted'] == 2100,
           'what could not be read is counted', counts)
    code, err = pump.end()
    tap.ok(code == 0 and f'{counts["lost"]} could not be read any more' in err, 'and told', err)


def test_flush_beside_a_writer(tap):
    """Who never rests does not keep a flush from its end."""
    path = queue_path('flush')
    fill(path, 'first\n')
    hub('/faults', 'POST', {'kind': 'delay', 'ms': 1000})
    writer = subprocess.Popen(['hubkeyctl', 'send', '0', '--queue', path, '--queue-only'], stdin=PIPE,
                              stderr=subprocess.DEVNULL)
    resting = threading.Event()

    def pour():
        while not resting.wait(0.001):
            writer.stdin.write(b'more\n')
            writer.stdin.flush()

    thread = threading.Thread(target=pour)
    thread.start()
    try:
        wait_until(lambda: status(path)['accepted'] > 10, 'the writer to write')
        code, out, err = ctl('queue', 'flush', '0', '--queue', path)
        tap.ok(code == 0 and 'came meanwhile and wait' in out, 'a flush beside a steady writer ends', (out, err))
    finally:
        resting.set()
        thread.join()
        writer.stdin.close()
        writer.wait(30)
        hub('/faults', 'DELETE')


def test_beside_a_sender(tap):
    """A slow reader of an export does not keep the journal of a busy queue from being emptied."""
    path = queue_path('busy')
    fill(path, ''.join(f'{number} {"x" * 2000}\n' for number in range(3000)))
    reader = subprocess.Popen(['hubkeyctl', 'queue', 'export', '--queue', path], stdout=PIPE)
    first = reader.stdout.readline()
    for _ in range(3):
        fill(path, ''.join(f'{number} {"y" * 2000}\n' for number in range(3000)))
    size = os.path.getsize(path + '-wal') if os.path.exists(path + '-wal') else 0
    rest = reader.stdout.read().splitlines()
    tap.ok(reader.wait(30) == 0 and json.loads(first)['seq'] == 1, 'an export beside writers ends')
    seqs = [json.loads(line)['seq'] for line in rest]
    tap.ok(seqs[:2999] == list(range(2, 3001)) and seqs == sorted(set(seqs)), 'and has every message once, in order')
    tap.ok(size < 12 << 20, 'and the journal did not grow with it', size)


def test_vmstat(tap):
    """The line of the manual."""
    forget()
    path = queue_path('vmstat')
    source = subprocess.Popen(['vmstat', '-n', '1'], stdout=PIPE)
    sender = subprocess.Popen(['hubkeyctl', 'send', '0', '--queue', path], stdin=source.stdout, stderr=PIPE, text=True)
    source.stdout.close()
    wait_until(lambda: len(arrived()) >= 4, 'lines to arrive while vmstat runs')
    source.terminate()
    source.wait()
    _, err = sender.communicate(timeout=30)
    lines = arrived()
    tap.ok(sender.returncode == 0 and b'procs' in lines[0] and b'swpd' in lines[1] and lines[2].split()[0].isdigit(),
           'vmstat -n 1 | hubkeyctl send 0', (lines, err))


def main():
    tap = Tap()
    test_list_and_peek(tap)
    test_export_and_import(tap)
    test_requeue(tap)
    test_manual(tap)
    test_check(tap)
    test_other_forms(tap)
    test_odd_texts(tap)
    test_pump(tap)
    test_pump_offline(tap)
    test_damage(tap)
    test_damage_is_told(tap)
    test_damage_beside_a_pump(tap)
    test_flush_beside_a_writer(tap)
    test_beside_a_sender(tap)
    test_vmstat(tap)
    return tap.done()


if __name__ == '__main__':
    enter()
    sys.exit(main())

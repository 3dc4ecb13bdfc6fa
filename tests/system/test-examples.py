#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""The examples work as they stand, for a member of group hubkey."""

import base64
import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from sandboxed import SOURCE, Tap, as_user, enter, pages, sanitizer_environment  # noqa: E402

STATE = os.path.join(os.environ.get('HUBKEY_SANDBOX', ''), 'client', 'examples')


def example(*command, user='hubkey-in', more=None, **options):
    environment = {**os.environ, 'STATE_DIRECTORY': STATE, **(more or {})}
    environment.pop('HUBKEY_DEVICE_KEY')
    # Other users need not be able to read where the source lies: scripts come on standard input.
    return subprocess.run(as_user(user, *command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
                          timeout=60, **options)


def script(name):
    path = os.path.join(os.environ['HUBKEY_SANDBOX'], name)
    subprocess.run(['install', '-m', '755', os.path.join(SOURCE, 'examples', name), path], check=True)
    return path


def of_kind(kind):
    """What the examples sent under this application property."""
    return [message for message in pages('/messages', 'messages') if message['properties'].get('kind') == kind]


def test_python(tap):
    done = example('/usr/bin/python3', script('token.py'), '0', 'messages/events', '60')
    tap.ok(done.returncode == 0 and done.stdout.startswith(b'SharedAccessSignature sr='), 'token.py prints a token',
           done.stderr.decode())
    done = example('/usr/bin/python3', script('token.py'), user='hubkey-out')
    tap.ok(done.returncode == 1 and b'org.hubkey.Error.NotAuthorized' in done.stderr, 'or says why there is none')


def test_binding(tap):
    """The libhubkey of Python, as a cron job and step by step."""
    path, more = script('hubkey.py'), sanitizer_environment()
    done = example('/usr/bin/python3', path, '0', '/', '/proc', more=more)
    sent = of_kind('disks')
    tap.ok(done.returncode == 0 and not done.stderr and len(sent) == 1, 'hubkey.py reports once',
           f'{done.returncode} {done.stderr.decode()}')
    report = json.loads(base64.b64decode(sent[0]['body']))
    tap.ok(list(report) == ['/', '/proc'] and report['/']['free'] > 0, 'what was asked for', report)
    done = example('/usr/bin/python3', path, '65536', more=more)
    tap.ok(done.returncode == 1 and b'slot must be 0 to 65535' in done.stderr, 'or says what is wrong',
           done.stderr.decode())
    done = example('/usr/bin/python3', '-', os.path.dirname(path), input=BINDING.encode(), more=more)
    tap.ok(done.returncode == 0, 'its client tells by callbacks, dispatched by select', done.stderr.decode())


BINDING = '''
import os, select, sys
sys.path.append(sys.argv[1])
import hubkey

told = []
with hubkey.Client(queue_path=os.environ["STATE_DIRECTORY"] + "/binding.queue") as client:
    client.set_callbacks(state=lambda *given: told.append(given), gone=lambda *given: told.append(given))
    seq = client.post("text", properties={"kind": "binding"}, id="of-our-own", ttl_s=60)
    while (seq, seq, hubkey.DELIVERED, "") not in told:
        assert select.select([client], [], [], 30)[0], told
        client.dispatch()
    client.wait_seq(seq)
    assert client.state() == "online" and client.stats().counts.delivered == 1, client.state()
    try:
        client.post(b"", id="not an id")
        assert False, "accepted"
    except hubkey.Error as error:
        assert error.code == -1 and "id" in str(error), error
    text, expires = hubkey.token(0, "messages/events", 60)
    assert text.startswith("SharedAccessSignature ") and client.flush() is None
'''


def test_shell(tap):
    done = example('sh', script('token.sh'), input=b'from a shell\n')
    bodies = [base64.b64decode(message['body']) for message in pages('/messages', 'messages')]
    tap.ok(done.returncode == 0 and b'from a shell\n' in bodies, 'token.sh posts its input', done.stderr.decode())


def test_weather_station(tap):
    done = example('weather-station', '--interval-ms', '50', '--count', '5')
    readings = [json.loads(base64.b64decode(message['body'])) for message in of_kind('weather')]
    tap.ok(done.returncode == 0 and [reading['n'] for reading in readings] == [1, 2, 3, 4, 5],
           'weather-station posts its readings', f'{done.returncode} {readings} {done.stderr.decode()}')


def test_threads(tap):
    """As many threads as there are network interfaces, each in its own order."""
    interfaces = os.listdir('/sys/class/net')
    done = example('threads', '5', '1')
    sent = of_kind('counters')
    by_interface = {name: [] for name in interfaces}
    for message in sent:
        by_interface[message['properties']['interface']].append(json.loads(base64.b64decode(message['body']))['n'])
    tap.ok(done.returncode == 0 and by_interface == {name: [1, 2, 3, 4, 5] for name in interfaces},
           'threads posts from all of them', f'{done.returncode} {by_interface} {done.stderr.decode()}')


def test_poll(tap):
    done = example('poll', input=b'door 1 open\ndoor 1 closed\ndoor 2 open')
    bodies = [base64.b64decode(message['body']) for message in of_kind('door')]
    tap.ok(done.returncode == 0 and bodies == [b'door 1 open', b'door 1 closed', b'door 2 open'],
           'poll posts lines, and one without its end', f'{done.returncode} {bodies} {done.stderr.decode()}')
    tap.ok(b'-- online' in done.stdout and b'delivered' in done.stdout, 'and hears of their delivery',
           done.stdout.decode())


def test_glib_loop(tap):
    done = example('glib-loop', '3', '10')
    tap.ok(done.returncode == 0 and len(of_kind('load')) == 3,
           'glib-loop posts by a timer, and ends with the last delivery',
           f'{done.returncode} {done.stdout.decode()} {done.stderr.decode()}')
    child = subprocess.Popen(as_user('hubkey-in', 'glib-loop', '0', '10'), stdout=subprocess.PIPE,
                             env={**os.environ, 'STATE_DIRECTORY': STATE})
    line = child.stdout.readline()
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    tap.ok(line.startswith(b'-- ') and child.returncode == 0, 'or with Ctrl-C', f'{line} {child.returncode}')


def test_alone(tap):
    """What the head of each says of building it is all that it needs, beside an installed header and library."""
    box, lib = os.environ['HUBKEY_SANDBOX'], os.environ['LD_LIBRARY_PATH'].split(':')[0]
    with open(os.path.join(lib, 'pkgconfig', 'hubkey.pc')) as file, open(os.path.join(box, 'hubkey.pc'), 'w') as moved:
        moved.write(re.sub('^prefix=', f'prefix={box}/root', file.read(), flags=re.M))
    for name in ('glib-loop', 'poll', 'threads', 'weather-station'):
        path = os.path.join(SOURCE, 'examples', f'{name}.c')
        with open(path) as file:
            command = re.search(r'Build it with: (cc .*)', file.read())[1]
        command = command.replace('cc ', 'cc -Wall -Wextra -Werror ').replace(f'{name}.c', path)
        done = subprocess.run(command.replace(f'-o {name}', '-o /dev/null'), shell=True,
                              capture_output=True, timeout=60, env={**os.environ, 'PKG_CONFIG_PATH': box})
        tap.ok(done.returncode == 0, f'{name}.c is built as it says', done.stderr.decode())


def main():
    tap = Tap()
    subprocess.run(['install', '-d', '-o', 'hubkey-in', '-g', 'hubkey-in', '-m', '700', STATE], check=True)
    test_python(tap)
    test_binding(tap)
    test_shell(tap)
    test_weather_station(tap)
    test_threads(tap)
    test_poll(tap)
    test_glib_loop(tap)
    test_alone(tap)
    return tap.done()


if __name__ == '__main__':
    enter()
    sys.exit(main())

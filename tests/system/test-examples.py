#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""The examples work as they stand, for a member of group hubkey."""

import base64
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from sandboxed import SOURCE, Tap, as_user, enter, pages  # noqa: E402

STATE = os.path.join(os.environ.get('HUBKEY_SANDBOX', ''), 'client', 'examples')


def example(*command, user='hubkey-in', **options):
    environment = {**os.environ, 'STATE_DIRECTORY': STATE}
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
    path = script('hubkey.py')
    done = example('/usr/bin/python3', path, '0', '/', '/proc')
    sent = of_kind('disks')
    tap.ok(done.returncode == 0 and not done.stderr and len(sent) == 1, 'hubkey.py reports once',
           f'{done.returncode} {done.stderr.decode()}')
    report = json.loads(base64.b64decode(sent[0]['body']))
    tap.ok(list(report) == ['/', '/proc'] and report['/']['free'] > 0, 'what was asked for', report)
    done = example('/usr/bin/python3', path, '65536')
    tap.ok(done.returncode == 1 and b'slot must be 0 to 65535' in done.stderr, 'or says what is wrong', done.stderr.decode())
    done = example('/usr/bin/python3', '-', os.path.dirname(path), input=BINDING.encode())
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


def main():
    tap = Tap()
    subprocess.run(['install', '-d', '-o', 'hubkey-in', '-g', 'hubkey-in', '-m', '700', STATE], check=True)
    test_python(tap)
    test_binding(tap)
    test_shell(tap)
    test_weather_station(tap)
    tap.done()


if __name__ == '__main__':
    enter()
    main()

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


def test_python(tap):
    done = example('/usr/bin/python3', script('token.py'), '0', 'messages/events', '60')
    tap.ok(done.returncode == 0 and done.stdout.startswith(b'SharedAccessSignature sr='), 'token.py prints a token',
           done.stderr.decode())
    done = example('/usr/bin/python3', script('token.py'), user='hubkey-out')
    tap.ok(done.returncode == 1 and b'org.hubkey.Error.NotAuthorized' in done.stderr, 'or says why there is none')


def test_shell(tap):
    done = example('sh', script('token.sh'), input=b'from a shell\n')
    bodies = [base64.b64decode(message['body']) for message in pages('/messages', 'messages')]
    tap.ok(done.returncode == 0 and b'from a shell\n' in bodies, 'token.sh posts its input', done.stderr.decode())


def test_weather_station(tap):
    subprocess.run(['install', '-d', '-o', 'hubkey-in', '-g', 'hubkey-in', '-m', '700', STATE], check=True)
    done = example('weather-station', '--interval-ms', '50', '--count', '5')
    sent = [message for message in pages('/messages', 'messages')
            if message['systemProperties'].get('iothub-contenttype') == 'application/json']
    readings = [json.loads(base64.b64decode(message['body'])) for message in sent]
    tap.ok(done.returncode == 0 and [reading['n'] for reading in readings] == [1, 2, 3, 4, 5],
           'weather-station posts its readings', f'{done.returncode} {readings} {done.stderr.decode()}')


def main():
    tap = Tap()
    test_python(tap)
    test_shell(tap)
    test_weather_station(tap)
    tap.done()


if __name__ == '__main__':
    enter()
    main()

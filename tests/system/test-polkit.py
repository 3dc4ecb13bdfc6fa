#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Administration as the real polkitd decides it, with our actions and a rule for one user; root alone without it."""

import fcntl
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import termios

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from sandboxed import Tap, as_user, enter, kill_server, restart_server, server_pid, wait_until  # noqa: E402
import rawbus  # noqa: E402

BOX = os.environ.get('HUBKEY_SANDBOX', '')
POLKITD = '/usr/lib/polkit-1/polkitd'
BUS_POLICY = '/usr/share/dbus-1/system.d/org.freedesktop.PolicyKit1.conf'
RULE = '''polkit.addRule(function(action, subject) {
    if (action.id == "org.hubkey.provision" && subject.user == "hubkey-in" &&
        action.lookup("method") == "Provision" && action.lookup("slot") == "5")
        return polkit.Result.YES;
    if (action.id == "org.hubkey.clear" && subject.user == "hubkey-in")
        return polkit.Result.NO;
});
'''


def installed(name):
    """A file that `make install` put somewhere into the sandbox's copy."""
    for folder, _, names in os.walk(os.path.join(BOX, 'root')):
        if name in names:
            return os.path.join(folder, name)
    raise FileNotFoundError(name)


def run(*command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, **options)


def provision(user, slot):
    host, key = os.environ['HUBKEY_HUB_HOST'], os.environ['HUBKEY_DEVICE_KEY']
    string = f'HostName={host};DeviceId=d{slot};SharedAccessKey={key}'
    return run(*as_user(user, 'hubkeyctl', 'provision', str(slot), '--connection-string-file', '-'), input=string)


def clear(user, slot):
    return run(*as_user(user, 'hubkeyctl', 'clear', str(slot), '--yes'))


def outcome(done):
    return f'{done.returncode} {done.stdout!r} {done.stderr!r}'


def log():
    with open(os.path.join(BOX, 'hubkeyd.log'), errors='replace') as file:
        return file.read()


def has_record(*fields):
    return any(all(field in line.split() for field in fields) for line in log().splitlines())


def why_not():
    """Why the real thing cannot run here, or None."""
    for path in (POLKITD, BUS_POLICY, '/etc/polkit-1/rules.d'):
        if not os.path.exists(path):
            return f'{path} is missing'
    if run('unshare', '--mount', 'true').returncode != 0:
        return 'mount namespaces are not allowed'
    return None


def start_polkitd():
    """In mounts of its own: our actions alone, and our rule alone, where polkitd looks for both."""
    actions, rules = os.path.join(BOX, 'actions'), os.path.join(BOX, 'rules.d')
    for folder in (actions, rules):
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
    shutil.copy(installed('org.hubkey.policy'), actions)
    with open(os.path.join(rules, '50-test.rules'), 'w') as file:
        file.write(RULE)
    shutil.copy(BUS_POLICY, os.path.dirname(installed('org.hubkey.conf')))
    bus = rawbus.Connection(os.path.join(BOX, 'bus'))
    bus.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'ReloadConfig', destination='org.freedesktop.DBus')
    log_file = open(os.path.join(BOX, 'polkitd.log'), 'w')
    process = subprocess.Popen(
        ['setpriv', '--pdeathsig', 'KILL', '--', 'unshare', '--mount', '--propagation', 'private', 'sh', '-c',
         'mount --bind "$1" /usr/share/polkit-1/actions && mount --bind "$2" /etc/polkit-1/rules.d && '
         'exec "$3" --no-debug',
         'sh', actions, rules, POLKITD],
        stdout=log_file, stderr=subprocess.STDOUT, env={**os.environ, 'LD_LIBRARY_PATH': ''})

    def there():
        answer = bus.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'NameHasOwner',
                          rawbus.body('s', 'org.freedesktop.PolicyKit1'), destination='org.freedesktop.DBus')
        return process.poll() is not None or answer.body == b'\1\0\0\0'

    wait_until(there, 'polkitd')
    return process


def test_absent(tap, when):
    done = provision('hubkey-in', 4)
    tap.ok(done.returncode == 3 and 'is for root' in done.stderr, f'{when}: root alone', outcome(done))
    tap.ok(has_record('HUBKEY_EVENT=provision', 'HUBKEY_DECISION=denied', 'HUBKEY_RULE=not-root'), f'{when}: on record')
    done = provision('root', 4)
    tap.ok(done.returncode == 0 and clear('root', 4).returncode == 0, f'{when}: and root still', outcome(done))


def test_decisions(tap):
    done = provision('hubkey-in', 5)
    tap.ok(done.returncode == 0, 'whom a rule lets may provision', outcome(done))
    tap.ok(has_record('HUBKEY_EVENT=provision', 'HUBKEY_DECISION=allowed', 'HUBKEY_RULE=polkit', 'HUBKEY_SLOT=5'),
           'the record says that polkit decided')
    done = provision('hubkey-in', 6)
    tap.ok(done.returncode == 3 and "an administrator's password" in done.stderr,
           'a rule for one slot is for no other', outcome(done))
    tap.ok(has_record('HUBKEY_EVENT=provision', 'HUBKEY_DECISION=denied', 'HUBKEY_RULE=polkit', 'HUBKEY_SLOT=6'),
           'and the record says which')
    done = clear('hubkey-in', 5)
    tap.ok(done.returncode == 3 and 'polkit does not let you do org.hubkey.clear: run' in done.stderr
           and '/etc/polkit-1/rules.d' in done.stderr, 'whom a rule forbids may not, and is told what would help',
           outcome(done))
    tap.ok(has_record('HUBKEY_EVENT=clear', 'HUBKEY_DECISION=denied', 'HUBKEY_RULE=polkit'), 'that is on record too')
    done = provision('hubkey-out', 6)
    tap.ok(done.returncode == 3 and "an administrator's password" in done.stderr and '(hubkey-out)' in done.stderr,
           'for whom no rule stands, a password is needed', outcome(done))
    done = clear('root', 5)
    tap.ok(done.returncode == 0, 'root is not asked about', outcome(done))


def test_terminal(tap):
    """On a terminal polkit may ask; there is no agent here that could, so it says no without delay."""
    here, there = pty.openpty()
    child = subprocess.Popen(as_user('hubkey-out', 'hubkeyctl', 'clear', '5', '--yes'), stdin=there, stdout=there,
                             stderr=there)
    os.close(there)
    code = child.wait(30)
    text = os.read(here, 4096).decode(errors='replace')
    tap.ok(code == 3 and 'pkttyagent' in text, 'on a terminal the answer names the agent that is missing',
           f'{code} {text}')
    os.close(here)


def test_question(tap):
    """With an agent on the terminal polkit asks, and its question names the slot."""
    here, there = pty.openpty()
    script = ('mkfifo "$0" && { pkttyagent --process $$ --notify-fd 3 3>"$0" & } && cat "$0" && '
              'exec hubkeyctl clear 5 --yes')
    fifo = os.path.join('/tmp', os.path.basename(BOX) + '.agent')
    child = subprocess.Popen(as_user('hubkey-out', 'sh', '-c', script, fifo), stdin=there, stdout=there, stderr=there,
                             start_new_session=True, preexec_fn=lambda: fcntl.ioctl(there, termios.TIOCSCTTY, 0))
    os.close(there)
    text = ''

    def asked():
        nonlocal text
        if select.select([here], [], [], 0)[0]:
            text += os.read(here, 4096).decode(errors='replace')
        return 'assword:' in text or child.poll() is not None

    wait_until(asked, 'a question')
    tap.ok('remove the IoT key in slot 5 of hubkeyd' in text, 'what polkit asks names the slot', text)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait(30)
    os.close(here)
    os.unlink(fifo)


def test_hanging(tap, polkitd):
    """A polkit that hangs holds nobody up but who administers, and that for a few seconds."""
    os.kill(polkitd.pid, signal.SIGSTOP)
    waiting = rawbus.Connection(os.path.join(BOX, 'bus'), 'hubkey-in')
    serial = waiting.post('/org/hubkey/slot/0', 'org.hubkey.Slot1', 'Clear', rawbus.body('e'))
    left = rawbus.Connection(os.path.join(BOX, 'bus'), 'hubkey-out')
    left.post('/org/hubkey/slot/0', 'org.hubkey.Slot1', 'Clear', rawbus.body('e'))
    token = rawbus.Connection(os.path.join(BOX, 'bus'), 'hubkey-in').get_token(seconds=3)
    tap.ok(token.startswith('SharedAccessSignature '), 'tokens flow while polkit hangs', token)
    before = log().count('HUBKEY_EVENT=clear')
    left.close()
    wait_until(lambda: log().count('HUBKEY_EVENT=clear') > before, 'the record of a caller that left')
    tap.ok(True, 'the question of a caller that leaves is taken back')
    answer = waiting.answer(serial, 20).text()
    tap.ok('NotAuthorized' in answer and 'for root' in answer, 'and the other one is refused', answer)
    os.kill(polkitd.pid, signal.SIGCONT)


def audit(user):
    """The records of a user since hubkeyd was started last."""
    lines = log().split('ready: org.hubkey is on the bus')[-1]
    done = run('hubkeyctl', 'audit', '--json', '--user', user, '--file', '-', input=lines)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_ending(tap, polkitd):
    """Who still waits for polkit when hubkeyd ends is on record like everybody else, within the bounds of the log."""
    kill_server('hubkeyd')
    restart_server('hubkeyd')
    daemon = os.pidfd_open(server_pid('hubkeyd'))
    os.kill(polkitd.pid, signal.SIGSTOP)
    caller = rawbus.Connection(os.path.join(BOX, 'bus'), 'hubkey-out')
    refused = [caller.get_token() for _ in range(65)]
    for _ in range(4):
        caller.post('/org/hubkey/slot/0', 'org.hubkey.Slot1', 'Clear', rawbus.body('e'))
    refused.append(caller.get_token())  # so hubkeyd has seen what came before
    tap.ok(all('NotAuthorized' in text for text in refused), 'who may not is refused', refused[-1])
    signal.pidfd_send_signal(daemon, signal.SIGTERM)
    ended = select.select([daemon], [], [], 30)[0]
    os.close(daemon)
    rows = audit('hubkey-out')
    told = sum(row.get('count', 1) for row in rows)
    tap.ok(ended and told == 70 and len(rows) == 61 and rows[-1]['event'] == 'refusals',
           'all refusals are on record when it ends, those above the bound as a number', f'{told} in {len(rows)}')
    os.kill(polkitd.pid, signal.SIGCONT)
    restart_server('hubkeyd')


def main():
    tap = Tap()
    if (reason := why_not()) is not None:
        tap.skip('the real polkitd', reason)
        return tap.done()
    test_absent(tap, 'before polkit')
    polkitd = start_polkitd()
    tap.ok(polkitd.poll() is None, 'polkitd runs')
    test_decisions(tap)
    test_terminal(tap)
    test_question(tap)
    test_hanging(tap, polkitd)
    test_ending(tap, polkitd)
    tap.ok(provision('hubkey-in', 5).returncode == 0, 'polkit is back')
    polkitd.kill()
    polkitd.wait()
    test_absent(tap, 'polkit was killed')
    return tap.done()


if __name__ == '__main__':
    enter()
    sys.exit(main())

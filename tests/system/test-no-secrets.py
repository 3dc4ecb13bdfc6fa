#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Runs after all other tests: no key, signature or token stands where it could be seen.

First every command is at work in a sandbox while onlookers without rights look: at the bus with dbus-monitor, and at
the command line and environment of each process in /proc. Then everything that the suite and its servers have logged is
searched, in each form that a careless line could show a secret in, and the folders for core files.
"""

import base64
import glob
import json
import os
import re
import resource
import signal
import shutil
import subprocess
import sys
import threading
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from sandboxed import SOURCE, Tap, as_user, enter, kill_server, restart_server, server_pid, wait_until  # noqa: E402

LOGS = os.environ.get('HUBKEY_LOG_DIR', '')
BUILD = os.environ.get('HUBKEY_BUILDDIR', '')
BOX = os.environ.get('HUBKEY_SANDBOX', '')
WATCHED = ('hubkeyd', 'hubkeyctl')
SCRATCH = os.path.join(BOX, 'onlookers')
OWNER_FILE = os.path.join(BOX, 'owner-password')

# A signature is 44 characters of base64, percent-encoded in a token; a connection string carries the key openly.
OPENLY = re.compile(rb'sig=[A-Za-z0-9%+/]{30,}|SharedAccessKey=[^;\s]{8,}|SharedAccessSignature=SharedAccessSignature')


def forms(secret):
    """The bytes of a secret as they are, and in each way of writing them down."""
    text = base64.b64encode(secret).decode()
    written = {text, text.rstrip('='), base64.urlsafe_b64encode(secret).decode().rstrip('='),
               urllib.parse.quote(text, safe=''), secret.hex(), secret.hex().upper(), secret.hex(' '),
               secret.hex(':'), ', '.join(str(byte) for byte in secret)}
    return {secret} | {form.encode() for form in written}


class Secrets:
    """What must not be seen, and the search for it."""

    def __init__(self):
        self.known = set()

    def add_key(self, secret):
        self.known |= forms(secret)

    def add_token(self, token):
        signature = re.search(r'sig=([^&]+)', token)[1]
        self.known |= forms(base64.b64decode(urllib.parse.unquote(signature))) | {signature.encode()}

    def found_in(self, data):
        return bool(OPENLY.search(data)) or any(form in data for form in self.known)

    def leaks(self, paths):
        leaks = []
        for path in paths:
            with open(path, 'rb') as file:
                if self.found_in(file.read()):
                    leaks.append(path)
        return '\n'.join(leaks)


# ---- the onlookers ----


class ProcessWatch(threading.Thread):
    """Reads the command line and environment of each watched process, over and over, until told to stop."""

    def __init__(self):
        super().__init__()
        self.seen = {}  # (pid, program) -> what stood there
        self.daemon = server_pid('hubkeyd')
        self.stopped = threading.Event()

    def look(self):
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as file:
                    _, name, _, parent = re.match(r'(\d+) \((.*)\) (\S) (\d+) ', file.read()).groups()
                # Others' sandboxes may run beside ours.
                if name in WATCHED and (int(pid) == self.daemon or int(parent) == os.getpid()):
                    with open(f'/proc/{pid}/cmdline', 'rb') as line, open(f'/proc/{pid}/environ', 'rb') as environment:
                        self.seen.setdefault((pid, name), set()).update((line.read(), environment.read()))
            except OSError:
                pass  # it has ended

    def run(self):
        while not self.stopped.wait(0.002):
            self.look()

    def stop(self):
        self.stopped.set()
        self.join()

    def programs(self):
        return {name for _, name in self.seen}

    def leaks(self, secrets):
        """(pid, program, how the word or variable begins)"""
        return [(*process, part.split(b'=')[0][:40]) for process, parts in self.seen.items()
                for words in parts for part in words.split(b'\0') if secrets.found_in(part)]


class BusWatch:
    """dbus-monitor, as somebody without rights."""

    def __init__(self):
        self.path = os.path.join(SCRATCH, 'dbus-monitor.log')
        with open(self.path, 'wb') as out:
            self.process = subprocess.Popen(as_user('hubkey-out', 'stdbuf', '-oL', 'dbus-monitor', '--system'),
                                            stdout=out, stderr=subprocess.STDOUT)
        wait_until(lambda: b'NameAcquired' in self.read(), 'dbus-monitor to listen', 20)

    def read(self):
        with open(self.path, 'rb') as file:
            return file.read()

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def may_become_monitor(user):
    call = as_user(user, 'busctl', 'call', 'org.freedesktop.DBus', '/org/freedesktop/DBus',
                   'org.freedesktop.DBus.Monitoring', 'BecomeMonitor', 'asu', '0', '0')
    return subprocess.run(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60).returncode == 0


# ---- all commands at work ----


class Owner:
    """The owner of the TPM, whose password hubkeyd reads from OwnerAuthFile=."""

    def __init__(self, secrets):
        self.secrets = secrets
        self.give('')
        path = os.path.join(BOX, 'hubkeyd.conf.d', 'owner.conf')
        with open(path, 'w', encoding='ascii') as file:
            file.write(f'[hubkeyd]\nOwnerAuthFile={OWNER_FILE}\n')
        os.chmod(path, 0o644)

    def give(self, password):
        with open(OWNER_FILE, 'w', encoding='ascii') as file:
            file.write(password)
        shutil.chown(OWNER_FILE, 'hubkey', 'hubkey')
        os.chmod(OWNER_FILE, 0o400)

    def new(self):
        password = os.urandom(12).hex()
        self.secrets.add_key(password.encode())
        return password

    def change(self):
        self.password = self.new()
        self.give(self.password)
        subprocess.run(['tpm2_changeauth', '-c', 'owner', f'file:{OWNER_FILE}'], check=True, timeout=60)

    def reset(self):
        self.give(self.password)
        subprocess.run(['tpm2_changeauth', '-c', 'owner', '-p', f'file:{OWNER_FILE}'], check=True, timeout=60)
        self.give('')


def leave_found(secrets):
    """A key in slot 4 whose record is gone, for Adopt."""
    key = os.urandom(32)
    secrets.add_key(key)
    subprocess.run(['hubkeyctl', 'provision', '4', '--host-name', os.environ['HUBKEY_HUB_HOST'], '--device-id', 'found',
                    '--key-file', '-'], input=base64.b64encode(key), env=environment(), check=True, timeout=60)
    kill_server('hubkeyd')
    os.unlink(os.path.join(BOX, 'state', 'slot-4'))
    restart_server('hubkeyd')


def environment():
    """Ours without the key that the sandbox tells its tests."""
    kept = {**os.environ, 'STATE_DIRECTORY': os.path.join(SCRATCH, 'client')}
    kept.pop('HUBKEY_DEVICE_KEY')
    return kept


class Workload:
    def __init__(self, secrets, watch, owner):
        self.secrets = secrets
        self.watch = watch
        self.owner = owner
        self.said = b''
        self.ran = []

    def command(self, *words, given=b'', user=None, is_secret=False):
        """Runs hubkeyctl; what goes in is given only once the onlooker has seen the process."""
        line = ('hubkeyctl', *words) if user is None else as_user(user, 'hubkeyctl', *words)
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=environment()) as process:
            if '-' in words:  # it waits for its input
                wait_until(lambda: (str(process.pid), 'hubkeyctl') in self.watch.seen, 'a process to be seen', 20)
            out, err = process.communicate(given, timeout=60)
        self.ran.append((words[0], process.returncode))
        self.said += err if is_secret else out + err
        return out.decode()

    def token(self, *words, user='hubkey-in'):
        self.secrets.add_token(self.command('token', *words, user=user, is_secret=True))

    def key(self):
        key = os.urandom(32)
        self.secrets.add_key(key)
        return base64.b64encode(key).decode()

    def provision(self):
        host, key = os.environ['HUBKEY_HUB_HOST'], self.key()
        self.command('provision', '1', '--connection-string-file', '-',
                     given=f'HostName={host};DeviceId=watched;SharedAccessKey={key}\n'.encode())
        self.command('provision', '2', '--host-name', host, '--device-id', 'watched-2', '--key-file', '-',
                     given=f'{self.key()}\n'.encode())

    def mistakes(self):
        """Each ends in an error, none of which may repeat what was given."""
        host, key = os.environ['HUBKEY_HUB_HOST'], self.key()
        name = ('--host-name', host, '--device-id', 'd', '--key-file', '-')
        whole = f'HostName={host};DeviceId=d;SharedAccessKey={key}'
        self.command('provision', '1', *name, given=key.encode())  # in use
        self.command('provision', '3', *name, given=f'{key}!'.encode())
        self.command('provision', '3', *name, given=whole.encode())
        self.command('provision', '3', '--connection-string-file', '-', given=f'{whole};X=1'.encode())
        self.command('provision', '3', '--connection-string-file', '-', given=key.encode())
        self.command('provision', '3', *name, given=key.encode(), user='hubkey-in')
        self.command('token', '1', user='hubkey-out')
        self.command('token', '1', '--scope', 'a/../b')
        self.command('token', '9')
        self.owner.give(self.owner.new())
        self.command('provision', '3', *name, given=key.encode())  # the owner's password is wrong
        self.owner.give(self.owner.password)

    def adopt(self):
        found = json.loads(self.command('show', '4', '--json'))
        self.command('adopt', '4', '--host-name', found['host_name'], '--device-id', found['device_id'], '--name',
                     found['tpm_name'])
        self.token('4', user='root')

    def rotate(self):
        self.command('rotate', '1', '--key-file', '-', given=f'{self.key()}\n'.encode())
        self.token('1')
        self.command('rotate', '1', '--undo')

    def run(self):
        self.provision()
        self.token('1')
        self.token('1', '--scope', 'messages/events', '--ttl', '60')
        self.token('2', user='root')
        self.token('0', '--json', user='root')
        self.token('1', '--scope', 'socket', '--socket', os.environ['HUBKEY_SOCKET'])
        self.rotate()
        self.adopt()
        self.mistakes()
        for words in (('status',), ('list', '--json'), ('show', '1')):
            self.command(*words)
        self.command('send', '0', '--wait', '30', given=b'one\ntwo\n')
        self.command('queue', 'status', '0')
        self.command('doctor')
        self.command('audit', '--file', os.path.join(BOX, 'hubkeyd.log'))
        self.command('audit', '--json', '--file', os.path.join(BOX, 'hubkeyd.log'))
        self.command('why', '1', '--user', 'hubkey-in')
        self.command('reload')
        for slot in ('1', '2', '4'):
            self.command('clear', slot, '--yes')


def core_limit(pid):
    with open(f'/proc/{pid}/limits', encoding='ascii') as file:
        return re.search(r'Max core file size +(\S+ +\S+)', file.read())[1].split()


def cores():
    places = [BOX, SCRATCH, '/', '/var/lib/hubkey', BUILD, os.path.join(BUILD, 'tests'), SOURCE, LOGS]
    found = [path for place in places if place for path in glob.glob(os.path.join(place, 'core*'))]
    found += glob.glob(os.path.join(BUILD, '**', 'core'), recursive=True)
    return '\n'.join(path for path in found if os.path.isfile(path))


def test_crash(tap):
    """A program that holds secrets leaves no core, even where its user wants cores."""
    daemon = server_pid('hubkeyd')
    tap.ok(core_limit(daemon) == ['0', '0'], 'hubkeyd wants no core', core_limit(daemon))
    with subprocess.Popen(['hubkeyctl', 'send', '0'], stdin=subprocess.PIPE, env=environment(), cwd=SCRATCH,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 << 30))) as tool:
        tap.ok(wait_until(lambda: core_limit(tool.pid) == ['0', '0'] or tool.poll() is not None, 'hubkeyctl', 20) and
               tool.poll() is None, 'nor does hubkeyctl')
        tool.send_signal(signal.SIGABRT)
        tap.ok(tool.wait(20) == -signal.SIGABRT, 'hubkeyctl ends by a signal')
        tool.stdin.close()
    os.kill(daemon, signal.SIGABRT)
    restart_server('hubkeyd')
    tap.ok(cores() == '', 'no core file lies anywhere', cores())


def test_onlookers(tap, secrets):
    subprocess.run(['install', '-d', '-m', '1777', SCRATCH, os.path.join(SCRATCH, 'client')], check=True)
    tap.ok(not may_become_monitor('hubkey-out'), 'who has no rights cannot become a monitor of the bus')
    owner = Owner(secrets)
    leave_found(secrets)
    owner.change()
    bus, watch = BusWatch(), ProcessWatch()
    watch.look()
    watch.start()
    work = Workload(secrets, watch, owner)
    try:
        work.run()
    finally:
        watch.stop()
        bus.stop()
        owner.reset()
    failed = [ran for ran in work.ran if ran[0] not in ('provision', 'token', 'doctor') and ran[1] != 0]
    tap.ok(not failed, 'all commands have run', f'{failed} {work.said.decode(errors="replace")}')
    tap.ok(b'OwnerAuthFile' in work.said, 'a wrong password of the owner was refused')
    seen = bus.read()
    tap.ok(b'TokensInvalidated' in seen, 'dbus-monitor sees the signals', seen.decode(errors='replace')[-2000:])
    tap.ok(b'member=GetToken' not in seen and not secrets.found_in(seen), 'and neither calls nor answers')
    tap.ok(watch.programs() == set(WATCHED), 'both programs were looked at in /proc', watch.programs())
    leaks = watch.leaks(secrets)
    tap.ok(not leaks, 'nothing secret in a command line or environment', leaks)
    tap.ok(not secrets.found_in(work.said), 'nothing secret in what hubkeyctl says')
    tap.note(f'{len(work.ran)} commands, {len(secrets.known)} forms of secrets, {len(seen)} bytes of dbus-monitor')


def test_state(tap, secrets):
    """What hubkeyd and the queue keep, and the logs of this sandbox. Not what the hub and the software TPM keep, which
    have the keys."""
    files = glob.glob(os.path.join(BOX, '*.log'))
    for folder in ('state', 'run', 'client', 'onlookers', 'hubkeyd.conf.d'):
        files += [path for path in glob.glob(os.path.join(BOX, folder, '**'), recursive=True) if os.path.isfile(path)]
    tap.ok(len(files) > 5, 'there are files to search', files)
    tap.ok(not secrets.leaks(files), 'nothing secret in the state, the queue and the logs here', secrets.leaks(files))


# ---- what all tests have left ----


def suite_keys():
    """The keys that stand in tests, and those of all sandboxes, which left them beside their logs."""
    for path in glob.glob(os.path.join(SOURCE, 'tests', 'system', '*')):
        with open(path, encoding='utf-8') as file:
            yield from (base64.b64decode(key) for key in re.findall(r'\b[A-Za-z0-9+/]{43}=', file.read()))
    for path in glob.glob(os.path.join(LOGS, '*', 'device-key')):
        with open(path, encoding='ascii') as file:
            yield from (base64.b64decode(line) for line in file)


def suite_logs():
    places = [os.path.join(BUILD, 'tests'), LOGS]
    return [path for place in places if place for path in glob.glob(os.path.join(place, '**', '*.log'), recursive=True)
            if not os.path.basename(path).startswith('test-no-secrets')]


def test_search(tap):
    """The search finds what it looks for."""
    secrets, key = Secrets(), os.urandom(32)
    token = 'SharedAccessSignature sr=h&sig=' + urllib.parse.quote(base64.b64encode(os.urandom(32)), safe='') + '&se=1'
    tap.ok(not secrets.found_in(key + key.hex().encode()), 'what is no secret is not found')
    tap.ok(secrets.found_in(f'a line with {token} in it'.encode()), 'any signature is found')
    tap.ok(secrets.found_in(b'HostName=h;SharedAccessKey=c2VjcmV0LXNlY3JldA=='), 'so is any connection string')
    secrets.add_key(key)
    tap.ok(all(secrets.found_in(b'x' + form + b'x') for form in forms(key)), 'and a key in each of its forms')


def test_suite(tap, secrets):
    logs = suite_logs()
    for key in suite_keys():
        secrets.add_key(key)
    tap.ok(not secrets.leaks(logs), 'nothing secret in any log of the suite', secrets.leaks(logs))
    tap.note(f'{len(logs)} logs')


def main():
    if os.geteuid() == 0 and not os.environ.get('HUBKEY_BUILDDIR', ''):
        print('1..0 # SKIP HUBKEY_BUILDDIR is not set')
        return 0
    if os.geteuid() == 0:
        enter()
    tap, secrets = Tap(), Secrets()
    test_search(tap)
    if BOX:
        secrets.add_key(base64.b64decode(os.environ['HUBKEY_DEVICE_KEY']))
        test_onlookers(tap, secrets)
        test_crash(tap)
        test_state(tap, secrets)
    test_suite(tap, secrets)
    return tap.done()


sys.exit(main())

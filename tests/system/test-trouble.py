#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""A TPM that misbehaves under a hubkeyd that runs, while callers keep asking: every trouble ends with tokens flowing
again in the same process, with nothing left behind in the TPM and no descriptor more."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'lib'))
sys.path.insert(0, os.path.join(HERE, '..', 'tpm'))
from rawtpm import (ECC_SRK, HMAC_KEY, LOADED_SESSION, OWNER, SAVED_SESSION, TRANSIENT, RawTpm, Refused,  # noqa: E402
                    sized)
from sandboxed import Tap, enter, kill_server, restart_server, wait_until  # noqa: E402

BOX = os.environ.get('HUBKEY_SANDBOX', '')
SOCKET = os.path.join(BOX, 'tpm/socket')
RULES = os.path.join(BOX, 'rules/rules')
OWNER_FILE = os.path.join(BOX, 'rules/owner')
# Which slot each caller asks: one in the TPM, and two in files, so that a key is loaded for almost each of their
# tokens.
CALLERS = (0, 0, 0, 10, 11)
FILE_SLOTS = (10, 11)
ANSWER_SECONDS = 5
# What a busy machine may add to an answer that comes at the limit.
GRACE_SECONDS = 2


class Caller(threading.Thread):
    """Asks for one fresh token after the other, over a connection of its own."""

    def __init__(self, number, slot):
        super().__init__(daemon=True)
        self.number = number
        self.slot = slot
        self.tokens = 0
        self.errors = []        # (name, text) of each refusal, the last ones
        self.slowest = 0
        self.ending = False

    def run(self):
        import dbus.bus
        bus = dbus.bus.BusConnection(os.environ['DBUS_SYSTEM_BUS_ADDRESS'])
        for number in range(10 ** 9):
            if self.ending:
                return
            start = time.monotonic()
            try:
                bus.call_blocking('org.hubkey', f'/org/hubkey/slot/{self.slot}', 'org.hubkey.Slot1', 'GetToken',
                                  'su', (f'trouble/{self.number}/{number}', 600), timeout=60)
                self.tokens += 1
            except dbus.exceptions.DBusException as error:
                self.errors = self.errors[-9:] + [(error.get_dbus_name().rpartition('.')[2], error.get_dbus_message())]
            self.slowest = max(self.slowest, time.monotonic() - start)


class Daemon:
    """hubkeyd as callers and the kernel see it."""

    def __init__(self):
        import dbus.bus
        self.bus = dbus.bus.BusConnection(os.environ['DBUS_SYSTEM_BUS_ADDRESS'])

    def get(self, path, interface, name):
        return str(self.bus.call_blocking('org.hubkey', path, 'org.freedesktop.DBus.Properties', 'Get', 'ss',
                                          (f'org.hubkey.{interface}', name), timeout=60))

    def tpm_state(self):
        return self.get('/org/hubkey', 'Manager1', 'TpmState')

    def slot_state(self):
        return self.get('/org/hubkey/slot/0', 'Slot1', 'State')

    def ping(self):
        start = time.monotonic()
        self.bus.call_blocking('org.hubkey', '/org/hubkey', 'org.freedesktop.DBus.Peer', 'Ping', '', (), timeout=60)
        return time.monotonic() - start

    def pid(self):
        return int(self.bus.call_blocking('org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus',
                                          'GetConnectionUnixProcessID', 's', ('org.hubkey',)))

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.pid()}/fd'))


class Bench:
    def __init__(self, tap):
        self.tap = tap
        self.tpm = RawTpm(SOCKET)
        self.inject_between()
        self.daemon = Daemon()
        provision_files()
        self.callers = [Caller(number, slot) for number, slot in enumerate(CALLERS)]
        for caller in self.callers:
            caller.start()
        self.await_flow()
        self.pid = self.daemon.pid()
        wait_until(lambda: not self.tpm.handles(TRANSIENT), 'a moment with no key loaded')
        self.before = [[], *self.usage()[1:]]

    def inject_between(self):
        """The daemon reads its TCTI once, so it is started again here and never after."""
        folder = os.path.dirname(RULES)
        subprocess.run(['install', '-d', '-o', 'hubkey', folder], check=True)
        library = os.path.join(os.environ['HUBKEY_BUILDDIR'], 'tests/lib/.libs/libtcti-inject.so')
        library = shutil.copy(library, folder)
        with open(os.path.join(BOX, 'hubkeyd.conf.d/trouble.conf'), 'w') as file:
            file.write(f'[hubkeyd]\nTcti={library}:rules={RULES},child=swtpm:path={SOCKET}\n'
                       f'OwnerAuthFile={OWNER_FILE}\n')
        self.give_owner('')
        kill_server('hubkeyd')
        restart_server('hubkeyd')

    def give_owner(self, password):
        with open(OWNER_FILE, 'w') as file:
            file.write(password)
        os.chmod(OWNER_FILE, 0o644)

    # ---- what must hold ----

    def usage(self):
        """What anybody holds in the TPM between two commands of the daemon. Of itself that is nothing in the moments in
        which no caller asks, and else the key of one file slot."""
        return [self.tpm.handles(first) for first in (TRANSIENT, LOADED_SESSION, SAVED_SESSION)]

    def tokens(self):
        return [caller.tokens for caller in self.callers]

    def await_flow(self):
        """Every caller gets tokens, from now on."""
        start = self.tokens()
        wait_until(lambda: all(now > then + 1 for now, then in zip(self.tokens(), start)), 'tokens for everybody')

    def await_error(self, *names, words=''):
        """Callers are refused by one of these names and told these words; returns that text."""
        for caller in self.callers:
            caller.errors = []

        def told():
            return next((text for caller in self.callers for name, text in caller.errors
                         if name in names and words in text), None)
        try:
            return wait_until(told, f'{names} with "{words}"', 20)
        except TimeoutError:
            raise AssertionError(f'no {names} with "{words}" in {[caller.errors for caller in self.callers]}') from None

    def await_state(self, state):
        wait_until(lambda: self.daemon.tpm_state() == state, f'TpmState {state}, not {self.daemon.tpm_state()}', 20)

    def inject(self, *lines):
        with open(RULES + '.new', 'w') as file:
            file.write(''.join(line + '\n' for line in lines))
        os.chmod(RULES + '.new', 0o644)
        os.rename(RULES + '.new', RULES)

    def injected(self):
        try:
            with open(RULES + '.fired') as file:
                return int(file.read() or 0)
        except FileNotFoundError:
            return 0

    def case(self, what, trouble):
        """Makes the trouble happen and ends it; then all is as before."""
        descriptors = self.daemon.descriptors()
        detail = ''
        start = time.monotonic()
        try:
            trouble(self)
            self.await_flow()
            self.await_state('ready')
            if self.daemon.pid() != self.pid:
                detail = 'hubkeyd is another process'
            wait_until(lambda: self.usage() == self.before, f'nothing left in the TPM but {self.before}', 20)
            wait_until(lambda: self.daemon.descriptors() == descriptors, 'no descriptor more', 20)
        except (AssertionError, TimeoutError, Refused, OSError, subprocess.SubprocessError) as error:
            detail = f'{type(error).__name__}: {error}'
        self.tap.note(f'{time.monotonic() - start:.1f} s: {what}')
        self.tap.ok(not detail, f'{what}, and tokens flow again in the same process', detail)

    def swtpm_pid(self):
        with open(os.path.join(BOX, 'swtpm.pid')) as file:
            return int(file.read())


# ---- the way to the TPM, and its power ----

def reset(bench):
    """The firmware that would start it again is slow: until then it answers 0x100."""
    subprocess.run(['swtpm_ioctl', '--unix', SOCKET + '.ctrl', '-i'], check=True)
    bench.await_error('TpmFailed', words='not started by the firmware')
    bench.await_state('failed')
    bench.tpm.send(0x144, parameters=b'\0\0')  # TPM2_Startup(CLEAR)


def power_cut(bench):
    kill_server('swtpm')
    restart_server('swtpm')


def gone_for_long(bench):
    kill_server('swtpm')
    bench.await_error('TpmAbsent')
    bench.await_state('absent')
    assert bench.daemon.ping() < 1
    restart_server('swtpm')


def broken_connection(bench):
    bench.inject('any 1 6 break')
    wait_until(lambda: bench.injected() == 6, 'six broken connections', 20)


def lost_answers(bench):
    bench.inject('0x155 1 6 lose')
    wait_until(lambda: bench.injected() == 6, 'six lost answers', 20)


def hang(bench):
    for caller in bench.callers:
        caller.slowest = 0
    os.kill(bench.swtpm_pid(), signal.SIGSTOP)
    try:
        bench.await_error('TpmFailed', 'Busy')
        bench.await_state('failed')
        assert bench.daemon.ping() < 1 and bench.daemon.slot_state() == 'ready'
        wait_until(lambda: all(caller.errors for caller in bench.callers), 'an answer for everybody', 20)
    finally:
        os.kill(bench.swtpm_pid(), signal.SIGCONT)
    slowest = max(caller.slowest for caller in bench.callers)
    assert slowest < ANSWER_SECONDS + GRACE_SECONDS, f'a caller waited {slowest:.1f} s'


def slow(bench):
    bench.inject('0x155 1 3 delay 300')
    wait_until(lambda: bench.injected() == 3, 'three slow commands', 20)


# ---- what it answers ----

def again(code, times):
    def trouble(bench):
        """Nobody notices. The System API repeats nothing by itself: all of them reach our own waiting, ten at most."""
        for caller in bench.callers:
            caller.errors = []
        bench.inject(f'0x155 1 {times} refuse 0x{code:x}')
        wait_until(lambda: bench.injected() == times, f'{times} refusals', 20)
        bench.await_flow()
        assert not any(caller.errors for caller in bench.callers), [caller.errors for caller in bench.callers]
    return trouble


def refused(code, name, words):
    def trouble(bench):
        bench.inject(f'any 1 0 refuse 0x{code:x}')
        bench.await_error(name, words=words)
        bench.inject()
    return trouble


def failure_mode(bench):
    """As swtpm goes into it: its state cannot be written. The state comes back with the next power."""
    state = os.path.join(BOX, 'tpm/tpm2-00.permall')
    shutil.copy2(state, BOX + '/kept')
    folder = os.path.dirname(state)
    os.rename(folder, folder + '.away')
    try:
        RawTpm(folder + '.away/socket').put_nv(0x01800001, b'cannot be written')
    except Refused:
        pass
    finally:
        os.rename(folder + '.away', folder)
    bench.await_error('TpmFailed', words='failure mode')
    bench.await_state('failed')
    kill_server('swtpm')
    shutil.copy2(BOX + '/kept', state)
    shutil.chown(state, 'hubkey', 'hubkey')
    restart_server('swtpm')


# ---- others who use the same TPM ----

def strangers_objects(bench):
    handles = []
    while len(handles) < 3:
        try:
            handles.append(bench.tpm.create_primary(OWNER, HMAC_KEY, b'a stranger'))
        except Refused:
            pass  # hubkeyd's command takes a place for a moment
    text = bench.await_error('Busy', words='3 loaded objects')
    assert 'tpm2_flushcontext -t' in text and all(f'0x{handle:08x}' in text for handle in handles), text
    assert bench.tpm.handles(TRANSIENT) == sorted(handles), 'a stranger\'s object was flushed'
    with open(os.path.join(BOX, 'hubkeyd.log')) as log:
        assert '3 loaded objects' in log.read()
    for handle in handles:
        bench.tpm.flush(handle)


def start_session(tpm):
    parameters = sized(bytes(16)) + sized(b'') + b'\0' + b'\0\x10' + b'\0\x0b'
    return int.from_bytes(tpm.send(0x176, (0x40000007, 0x40000007), parameters)[:4], 'big')


def provision(slot):
    return subprocess.run(['hubkeyctl', 'provision', str(slot), '--host-name', 'trouble.azure-devices.net',
                           '--device-id', 'trouble', '--key-file', '-'], input=b'dHJvdWJsZQ==\n',
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)


def provision_files():
    for slot in FILE_SLOTS:
        done = provision(slot)
        assert done.returncode == 0, done.stdout


def clear(slot):
    return subprocess.run(['hubkeyctl', 'clear', str(slot), '--yes'], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60)


def expect_provision_refused(*words):
    done = provision(1)
    text = done.stdout.decode()
    assert done.returncode != 0 and all(word in text for word in words), text


def expect_provision_done():
    for done in (provision(1), clear(1)):
        assert done.returncode == 0, done.stdout


def strangers_loaded_sessions(bench):
    """Everyday tokens need none; provisioning does, and says whose they are."""
    handles = []
    try:
        while True:
            handles.append(start_session(bench.tpm))
    except Refused as error:
        assert '0x903' in str(error), error
    bench.await_flow()
    expect_provision_refused('open sessions', f'0x{handles[0]:08x}', 'tpm2_flushcontext -l')
    assert bench.tpm.handles(LOADED_SESSION) == handles
    for handle in handles:
        bench.tpm.flush(handle)
    expect_provision_done()


def strangers_saved_sessions(bench):
    handles = []
    try:
        while True:
            handles.append(start_session(bench.tpm))
            bench.tpm.send(0x162, (handles[-1],))  # TPM2_ContextSave
    except Refused as error:
        assert '0x905' in str(error), error
    bench.await_flow()
    expect_provision_refused('saved sessions', 'tpm2_flushcontext -s')
    for handle in handles:
        bench.tpm.flush(handle)
    expect_provision_done()


def tpm2(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 0, done.stdout


def flush_all():
    """What the tools left, and whatever hubkeyd has loaded; that may be gone before the tool comes to it."""
    wait_until(lambda: subprocess.run(['tpm2_flushcontext', '-t'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      timeout=60).returncode == 0, 'tpm2_flushcontext -t')


def lockout(bench):
    """Keys without dictionary attack protection go on; whoever guesses at another's is what locks it."""
    tpm2('tpm2_dictionarylockout', '-s', '-n', '1', '-t', '3600', '-l', '3600')
    context = os.path.join(BOX, 'guarded')
    tpm2('tpm2_createprimary', '-Q', '-C', 'o', '-G', 'ecc', '-p', 'right', '-c', context)
    flush_all()
    for _ in range(2):
        subprocess.run(['tpm2_create', '-Q', '-C', context, '-P', 'wrong', '-u', context + '.pub'],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        flush_all()
    locked = subprocess.run(['tpm2_getcap', 'properties-variable'], stdout=subprocess.PIPE, text=True, timeout=60)
    assert re.search(r'inLockout:\s+1', locked.stdout), locked.stdout
    bench.await_flow()
    tpm2('tpm2_dictionarylockout', '-c')


def passwords(bench):
    """The endorsement hierarchy's is nobody's business; the owner's is asked for by name, and taken when there."""
    tpm2('tpm2_changeauth', '-c', 'endorsement', 'e-secret')
    expect_provision_done()
    tpm2('tpm2_changeauth', '-c', 'owner', 'o-secret')
    try:
        bench.await_flow()
        expect_provision_refused('OwnerAuthFile')
        bench.give_owner('wrong')
        expect_provision_refused('OwnerAuthFile')
        bench.await_flow()
        bench.give_owner('o-secret\n')
        expect_provision_done()
    finally:
        tpm2('tpm2_changeauth', '-c', 'owner', '-p', 'o-secret')
        tpm2('tpm2_changeauth', '-c', 'endorsement', '-p', 'e-secret')
        bench.give_owner('')
    expect_provision_done()


# ---- another SRK ----

def cleared_by(make_srk):
    def trouble(bench):
        tpm2('tpm2_clear', '-c', 'p')
        bench.await_error('Tampered', words='hubkeyctl clear 0')
        bench.await_state('cleared')
        assert bench.daemon.slot_state() == 'tampered'
        bench.await_error('Damaged', words='this one was cleared since')
        persistent = bench.tpm.handles(0x81000000)
        assert not any(handle < 0x81010000 for handle in persistent), f'something was made: {persistent}'
        make_srk(bench.tpm)
        for slot in (0, *FILE_SLOTS):
            done = clear(slot)
            assert done.returncode == 0, done.stdout
        text = f'HostName={os.environ["HUBKEY_HUB_HOST"]};DeviceId={os.environ["HUBKEY_DEVICE_ID"]};' \
               f'SharedAccessKey={os.environ["HUBKEY_DEVICE_KEY"]}\n'
        done = subprocess.run(['hubkeyctl', 'provision', '0', '--connection-string-file', '-'], input=text.encode(),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        assert done.returncode == 0, done.stdout
        provision_files()
    return trouble


def no_srk(tpm):
    pass


def ecc_srk(tpm):
    handle = tpm.create_primary(OWNER, ECC_SRK)
    tpm.evict(handle, 0x81000001)
    tpm.flush(handle)


def absent_at_start(bench):
    """The one case with a daemon started anew: the TPM comes when that has long said that it is absent."""
    kill_server('hubkeyd')
    kill_server('swtpm')
    restart_server('hubkeyd')
    bench.pid = bench.daemon.pid()
    bench.await_error('TpmAbsent')
    bench.await_state('absent')
    restart_server('swtpm')


CASES = (
    ('power cut and return', power_cut),
    ('gone for long', gone_for_long),
    ('reset, started late (0x100)', reset),
    ('connections that break', broken_connection),
    ('answers that get lost', lost_answers),
    ('slow answers', slow),
    ('RETRY', again(0x922, 8)),
    ('YIELDED', again(0x908, 8)),
    ('TESTING', again(0x90A, 8)),
    ('OBJECT_MEMORY for a moment', again(0x902, 4)),
    ('LOCKOUT for everything', refused(0x921, 'TpmFailed', 'locked out')),
    ('MEMORY for long', refused(0x904, 'Busy', 'retry in 1000 ms')),
    ('a code that nobody knows', refused(0x12F, 'TpmFailed', '0x12f')),
    ('failure mode (0x101)', failure_mode),
    ('lockout', lockout),
    ('transient objects of strangers (0x902)', strangers_objects),
    ('loaded sessions of strangers (0x903)', strangers_loaded_sessions),
    ('saved sessions of strangers (0x905)', strangers_saved_sessions),
    ('passwords of owner and endorsement', passwords),
    ('hang', hang),
    ('cleared', cleared_by(no_srk)),
    ('cleared, then an ECC SRK of another program', cleared_by(ecc_srk)),
    ('absent at start', absent_at_start),
)


def main():
    tap = Tap()
    bench = Bench(tap)
    chosen = sys.argv[1:]
    for what, trouble in CASES:
        if not chosen or any(word in what for word in chosen):
            bench.case(what, trouble)
    for caller in bench.callers:
        caller.ending = True
    return tap.done()


if __name__ == '__main__':
    enter()
    sys.exit(main())

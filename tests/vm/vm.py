#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""A whole machine around hubkey: QEMU with a software TPM, this host's root read-only under a layer in memory, systemd.

  vm.py BUILD KERNEL     BUILD is a build folder configured with --prefix=/usr, KERNEL a kernel package unpacked

The machine runs tests/vm/guest/acceptance.sh and prints TAP on its second serial port, which is our stdout. Exits with
0, with 1 when a case failed or the machine ended without a plan, and with 77 where no machine can run.
"""

import fcntl
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(TESTS, 'sandbox'))

from box import MAKING, PARENT, PREFIX, Failed, locked, read_stage, remove_box, remove_leftovers, say  # noqa: E402
import initramfs  # noqa: E402

# The machine's memory; the layer above the host's root lives in it too.
MEMORY_MIB = 1536
# From power on to power off. An idle host of two processors takes three minutes, a busy one eight.
LIMIT_SECONDS = 1200
# A socket that a child of ours listens on appears within this.
SOCKET_SECONDS = 20
# QEMU 7.2's emulation of two processors crashes now and then while a kernel looks for its devices, and KVM on some
# processors that are virtual themselves. That tells nothing of hubkey, and is tried again without KVM; once the machine
# has said anything, it is not.
ATTEMPTS = (('kvm', 'tcg'), ('tcg',), ('tcg',))
SKIPPED = 77
VIRTIOFSD = ('/usr/lib/qemu/virtiofsd', '/usr/libexec/virtiofsd')
PROGRAMS = ('bench-bus', 'bench-tpm', 'hubkey-probe')
CONSOLE_LINES = 60


class CannotRun(Exception):
    """There is no machine to be had here; the text says why."""


class Folder:
    """Like a sandbox's, so that the next sandbox or machine removes what a killed one left."""

    def __enter__(self):
        with locked(MAKING):
            remove_leftovers()
            self.path = tempfile.mkdtemp(prefix=PREFIX, dir=PARENT)
            self.lock = open(self.at('lock'), 'w')
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_):
        with locked(MAKING):
            remove_box(self.path)
        self.lock.close()

    def at(self, name):
        return os.path.join(self.path, name)


class Children:
    """Ended with us, and by us in the other order."""

    def __init__(self):
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.kill()
            process.wait()

    def start(self, command, log, stdout=None):
        with open(log, 'ab') as file:
            process = subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', '--', *command], stdin=subprocess.DEVNULL,
                                       stdout=stdout or file, stderr=file, start_new_session=True)
        self.processes.append(process)
        return process


def install(build, target, log):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(('MAKE', 'MFLAGS'))}
    with open(log, 'w') as file:
        done = subprocess.run(['make', '-s', '-C', build, 'install', f'DESTDIR={target}'], stdin=subprocess.DEVNULL,
                              stdout=file, stderr=file, env=environment)
    if done.returncode != 0:
        raise Failed(f'make install failed:\n{tail(log)}')


def fill_share(folder, build):
    """What the machine sees as /hubkey: what is installed, the cases, and the programs that are not installed."""
    share = folder.at('share')
    stage = read_stage(build)
    if stage['sbindir'] != '/usr/sbin':
        raise Failed(f'{build} installs into {stage["sbindir"]}; the machine wants a build with --prefix=/usr')
    install(build, share + '/root', folder.at('install.log'))
    shutil.copytree(os.path.join(HERE, 'guest'), os.path.join(share, 'guest'))
    os.makedirs(os.path.join(share, 'bin'))
    os.makedirs(os.path.join(share, 'lib'))
    shutil.copy(os.path.join(TESTS, 'lib/tap.sh'), os.path.join(share, 'lib'))
    for program in PROGRAMS:
        shutil.copy(build + '/stage' + stage['bindir'] + '/' + program, os.path.join(share, 'bin'))
    # Whatever umask the build had.
    subprocess.run(['chmod', '-R', 'a+rX,go-w', share], check=True)
    os.chmod(folder.path, 0o755)
    return share


def await_socket(path, process, what):
    deadline = time.monotonic() + SOCKET_SECONDS
    while not os.path.exists(path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise CannotRun(f'{what} does not run')
        select.select([], [], [], 0.01)


def start_tpm(folder, children):
    os.mkdir(folder.at('tpm'))
    path = folder.at('tpm.sock')
    await_socket(path, children.start(['swtpm', 'socket', '--tpm2', '--tpmstate', 'dir=' + folder.at('tpm'), '--ctrl',
                                       'type=unixio,path=' + path], folder.at('swtpm.log')), 'swtpm')
    return path


def start_files(folder, children):
    program = next(filter(os.path.exists, VIRTIOFSD), None)
    if program is None:
        raise CannotRun('virtiofsd is not installed')
    path = folder.at('files.sock')
    # A chroot and not namespaces: those may not be had in a container.
    process = children.start([program, '--socket-path=' + path, '-o', 'source=/', '-o', 'sandbox=chroot',
                              '-o', 'cache=always', '--rlimit-nofile=0'], folder.at('virtiofsd.log'))
    await_socket(path, process, 'virtiofsd')
    return path


def kernel_line(share):
    words = ('console=ttyS0', 'panic=-1', 'mitigations=off', 'systemd.unit=hubkey-acceptance.service',
             'systemd.show_status=error', 'systemd.condition-first-boot=no', 'systemd.condition-needs-update=no',
             'systemd.machine_id=' + os.urandom(16).hex(), 'hubkey.share=' + share)
    return ' '.join(words)


def start_machine(folder, children, kernel, share, accelerators):
    boot = os.path.join(kernel, 'boot')
    image = next((name for name in os.listdir(boot) if name.startswith('vmlinuz-')), None)
    if image is None:
        raise Failed(f'{boot} has no kernel; remove {kernel}, and it is fetched again')
    initramfs.make(kernel, os.path.join(HERE, 'init.sh'), folder.at('initramfs'))
    tpm, files = start_tpm(folder, children), start_files(folder, children)
    return children.start([
        'qemu-system-x86_64', *(word for name in accelerators for word in ('-accel', name)), '-cpu', 'max', '-smp', '2',
        '-M', 'q35,memory-backend=memory', '-m', f'{MEMORY_MIB}M',
        # Shared with virtiofsd, which reads and writes in it.
        '-object', f'memory-backend-memfd,id=memory,size={MEMORY_MIB}M,share=on',
        '-nodefaults', '-no-user-config', '-nic', 'none', '-display', 'none', '-monitor', 'none', '-no-reboot',
        '-kernel', os.path.join(boot, image), '-initrd', folder.at('initramfs'), '-append', kernel_line(share),
        '-chardev', f'socket,id=tpm,path={tpm}', '-tpmdev', 'emulator,id=tpm,chardev=tpm',
        '-device', 'tpm-tis,tpmdev=tpm',
        '-chardev', f'socket,id=files,path={files}', '-device', 'vhost-user-fs-pci,chardev=files,tag=hostroot',
        '-serial', 'file:' + folder.at('console.log'), '-serial', 'stdio',
    ], folder.at('qemu.log'), stdout=subprocess.PIPE)


class Tap:
    """Passes the machine's lines on, and counts."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.plan = None
        self.said_anything = False
        self.rest = b''

    def take(self, data):
        self.said_anything = True
        *lines, self.rest = (self.rest + data).split(b'\n')
        for line in lines:
            text = line.decode(errors='replace').rstrip('\r')
            print(text, flush=True)
            self.count(text)

    def count(self, line):
        if plan := re.fullmatch(r'1\.\.(\d+)', line):
            self.plan = int(plan[1])
        elif line.startswith('not ok '):
            self.failed += 1
        elif line.startswith('ok ') and '# SKIP' in line:
            self.skipped += 1
        elif line.startswith('ok '):
            self.passed += 1

    def complete(self):
        return self.plan == self.passed + self.failed + self.skipped and self.plan > 0

    def summary(self):
        print(f'{self.passed} passed, {self.failed} failed, {self.skipped} skipped', flush=True)


def relay(machine, tap):
    """Until the machine is off; returns whether it was in time."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        if select.select([machine.stdout], [], [], left)[0]:
            data = os.read(machine.stdout.fileno(), 65536)
            if not data:
                return True
            tap.take(data)
    return False


def tail(path):
    try:
        with open(path, errors='replace') as file:
            return ''.join(file.readlines()[-CONSOLE_LINES:])
    except FileNotFoundError:
        return ''


def explain(folder, machine, in_time):
    """The machine did not come to the end of its cases: whatever it and its helpers have said."""
    say(f'QEMU ended with {machine.wait()} before the last case' if in_time else
        f'the machine did not end within {LIMIT_SECONDS} s')
    for name in ('console.log', 'qemu.log', 'virtiofsd.log', 'swtpm.log'):
        say(f'the end of its {name}:\n{tail(folder.at(name))}')


def attempt(build, kernel, accelerators):
    """One machine; returns what it printed, or None where QEMU crashed before the machine said anything."""
    tap = Tap()
    with Folder() as folder, Children() as children:
        share = fill_share(folder, build)
        machine = start_machine(folder, children, kernel, share, accelerators)
        in_time = relay(machine, tap)
        if in_time and machine.wait() < 0 and not tap.said_anything:
            say(f'QEMU was ended by signal {-machine.returncode}\n{tail(folder.at("qemu.log"))}')
            return None
        if not os.path.exists(folder.at('console.log')) or os.path.getsize(folder.at('console.log')) == 0:
            raise CannotRun('QEMU does not run: ' + tail(folder.at('qemu.log')).strip().replace('\n', ' '))
        if not tap.complete():
            tap.failed += 1
            explain(folder, machine, in_time)
    return tap


def run(build, kernel):
    for accelerators in ATTEMPTS:
        if tap := attempt(build, kernel, accelerators):
            tap.summary()
            return 1 if tap.failed else 0
    raise Failed(f'QEMU crashed {len(ATTEMPTS)} times before the machine had booted')


def main(build, kernel):
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    try:
        return run(build, kernel)
    except CannotRun as error:
        print(f'1..0 # SKIP {error}')
        print('0 passed, 0 failed, 1 skipped')
        return SKIPPED
    except Failed as error:
        say(str(error))
    except subprocess.CalledProcessError as error:
        say(f'this failed: {" ".join(error.cmd)}')
    return 1


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))

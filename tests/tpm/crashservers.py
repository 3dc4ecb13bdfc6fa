# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""The servers that are killed and started again: a bus, a software TPM and hubkeyd, with what kills them preloaded."""

import os
import select
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'sandbox'))
import servers  # noqa: E402
from servers import Failed  # noqa: E402, F401

BUILD = os.path.abspath(os.environ.get('HUBKEY_BUILDDIR', '.'))

BUS = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>{}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy>
</busconfig>
'''


class Wrong(Exception):
    """Something that must hold does not."""


def check(holds, text):
    if not holds:
        raise Wrong(text)


class PlainBus(servers.Bus):
    def environment(self):
        return self.box.environment()


class PlainTpm(servers.Tpm):
    as_hubkey = False
    has_pid_file = False  # written by start, once it answers: whoever cut the power waits for that

    def environment(self):
        return self.box.environment()

    def start(self):
        super().start()
        self.write_pid()

    def answers(self):
        return self.box.raw.answers()

    def cut(self):
        self.process.kill()
        self.process.wait()

    def kept_alive(self, call):
        """The answer of call, which runs in a thread of its own while this one starts the TPM again as often as
        somebody cuts its power. (Not the other way round: a server dies with the thread that started it.)"""
        answers = []
        ended, end = os.pipe()

        def run():
            try:
                answers.append(call())
            except Exception as error:  # noqa: BLE001, it is raised again in the other thread
                answers.append(error)
            os.close(end)

        thread = threading.Thread(target=run)
        thread.start()
        while self.died_before(ended):
            self.process.wait()
            self.start()
        thread.join()
        os.close(ended)
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

    def died_before(self, ended):
        process = os.pidfd_open(self.process.pid)
        ready, _, _ = select.select([ended, process], [], [])
        os.close(process)
        return process in ready


class PlainDaemon(servers.Daemon):
    as_hubkey = False

    def command(self):
        box = self.box
        return [os.path.join(BUILD, 'hubkeyd'), '--config', box.at('hubkeyd.conf'), '--state-dir', box.at('state'),
                '--runtime-dir', box.at('run')]

    def environment(self):
        # Preloaded ahead of a sanitizer's runtime, which wants to be asked first.
        sanitizer = os.environ.get('ASAN_OPTIONS', '')
        return {**self.box.environment(), 'DBUS_SYSTEM_BUS_ADDRESS': self.box.bus_address,
                'LD_PRELOAD': library('libkill-file-op.so'), 'KILL_FILE_OP_DIR': self.box.at('state'),
                'KILL_FILE_OP_ORDERS': self.box.at('file-orders'),
                'ASAN_OPTIONS': f'{sanitizer}:verify_asan_link_order=0'}

    def kill(self):
        self.process.kill()
        self.process.wait()


def library(name):
    return os.path.join(BUILD, 'tests/lib/.libs', name)

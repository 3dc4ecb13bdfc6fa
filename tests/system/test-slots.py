#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Every kind of slot by hubkeyctl, judged by an HMAC of our own; a rotation as the hub sees it; and every state that a
slot can get into, made to happen to a running hubkeyd and cured by the command that its message names."""

import base64
import concurrent.futures
import hashlib
import hmac
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from sandboxed import Tap, as_user, enter, hub, kill_server, pages, restart_server, server_pid, wait_until  # noqa: E402
import rawbus  # noqa: E402

HOST = 'slots.azure-devices.net'
KEY, NEXT_KEY = b'k' * 32, b'n' * 32
AUDIENCE = 'sb://ns.servicebus.windows.net/events'


def run(*command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def ctl(*words, key=None):
    """(exit code, standard output, standard error); key is what --key-file - reads."""
    done = run('hubkeyctl', *words, input=b'' if key is None else key)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def on_terminal(command):
    """Runs a command as a person does, who says yes when asked."""
    words, answered = shlex.split(command), []
    leader, follower = pty.openpty()
    process = subprocess.Popen(words, stdin=follower, stdout=subprocess.DEVNULL, stderr=follower)
    os.close(follower)
    try:
        while chunk := os.read(leader, 4096):
            answered.append(chunk)
            if b'[y/N]' in chunk:
                os.write(leader, b'y\n')
    except OSError:  # the other end is closed
        pass
    os.close(leader)
    return process.wait(60), b''.join(answered).decode()


def base64_of(key):
    return base64.b64encode(key) + b'\n'


def show(slot):
    code, out, _ = ctl('show', str(slot), '--json')
    return json.loads(out) if code == 0 else {'state': 'empty', 'state_reason': ''}


def judge(token, key):
    """(resource, genuine, skn) as a verifier finds them."""
    fields = dict(field.split('=', 1) for field in token.strip().removeprefix('SharedAccessSignature ').split('&'))
    signed = f'{fields["sr"]}\n{fields["se"]}'.encode()
    mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return urllib.parse.unquote(fields['sr']), urllib.parse.unquote(fields['sig']) == mac, fields.get('skn')


def expect_token(tap, slot, key, resource, what, skn=None):
    code, out, err = ctl('token', str(slot))
    good = code == 0 and judge(out, key) == (resource, True, skn)
    tap.ok(good, what, f'{out}{err}')


# ---- kinds ----

def test_kinds(tap):
    ctl('provision', '12', '--host-name', HOST, '--device-id', 'd', '--key-file', '-', key=base64_of(KEY))
    expect_token(tap, 12, KEY, f'{HOST}/devices/d', 'a device in a file')
    ctl('provision', '13', '--host-name', HOST, '--device-id', 'd', '--module-id', 'm', '--gateway', 'edge.local',
        '--key-file', '-', key=base64_of(KEY))
    expect_token(tap, 13, KEY, f'{HOST}/devices/d/modules/m', 'a module')
    text = b'the text itself, not base64='
    ctl('provision', '14', '--audience', AUDIENCE, '--key-name', 'send', '--key-file', '-', key=text)
    expect_token(tap, 14, text, AUDIENCE, 'an audience: its key is the text', 'send')
    answer = run('busctl', 'call', 'org.hubkey', '/org/hubkey/slot/14', 'org.hubkey.Slot1',
                 'GetConnectionString', 'u', '0')
    tap.ok(answer.returncode != 0 and b'Audience' in answer.stderr, 'which has no connection string', answer.stderr)
    code, out, _ = ctl('list', '--json')
    kinds = {line['slot']: line['storage'] for line in map(json.loads, out.splitlines())}
    tap.ok(kinds == {0: 'tpm', 12: 'file', 13: 'file', 14: 'file'}, 'list tells where each is kept', kinds)
    kill_server('hubkeyd')
    restart_server('hubkeyd')
    expect_token(tap, 14, text, AUDIENCE, 'after hubkeyd was killed they are still there', 'send')
    held = run('tpm2_getcap', 'handles-transient').stdout
    tap.ok(held == b'', 'and none of their keys stays loaded in the TPM', held)


# ---- rotation ----

def hub_has(body):
    wanted = base64.b64encode(body).decode()
    return any(message['body'] == wanted for message in pages('/messages', 'messages'))


def send(body):
    return ctl('send', '0', '--wait', '5', key=body + b'\n')


def test_rotation(tap):
    device = os.environ['HUBKEY_DEVICE_ID']
    old = base64.b64decode(os.environ['HUBKEY_DEVICE_KEY'])
    code, out, err = ctl('rotate', '0', '--key-file', '-', key=base64_of(NEXT_KEY))
    tap.ok(code == 0 and 'hubkeyctl rotate 0 --undo' in out, 'rotate, which says what undoes it', f'{out} {err}')
    hub('/devices', 'POST', {'deviceId': device, 'primaryKey': base64.b64encode(NEXT_KEY).decode()})
    code, _, err = send(b'after the rotation')
    tap.ok(code == 0 and hub_has(b'after the rotation'), 'the hub takes what the new key signs', err)
    hub('/devices', 'POST', {'deviceId': device, 'primaryKey': base64.b64encode(old).decode()})
    code, _, err = send(b'before the undoing')
    tap.ok(code == 5, 'and nothing of it once it has the old key again', f'{code} {err}')
    code, _, err = ctl('rotate', '0', '--undo')
    tap.ok(code == 0, 'rotate --undo', err)
    code, _, err = ctl('queue', 'flush', '0', '--wait', '30')
    tap.ok(code == 0 and hub_has(b'before the undoing'), 'then the hub has what was queued', err)
    connection_string = f'HostName={HOST};DeviceId=moved;SharedAccessKey={base64.b64encode(KEY).decode()}'
    code, _, err = ctl('rotate', '12', '--connection-string-file', '-', key=connection_string.encode())
    expect_token(tap, 12, KEY, f'{HOST}/devices/moved', 'a move to another device in one step')
    ctl('rotate', '12', '--undo')
    expect_token(tap, 12, KEY, f'{HOST}/devices/d', 'and back')


# ---- states and their cures ----

def named_command(reason, begins):
    """The command in a message: it ends in the number of a slot or a handle."""
    found = re.search(rf'{begins} ([-a-zA-Z ]*)(0x[0-9a-f]+|[0-9]+)', reason)
    return found[0] if found else 'false'


def restart_with(change):
    kill_server('hubkeyd')
    change(os.path.join(os.environ['HUBKEY_SANDBOX'], 'state'))
    restart_server('hubkeyd')


def flip_a_bit(path):
    with open(path, 'r+b') as file:
        file.seek(40)
        byte = file.read(1)[0]
        file.seek(40)
        file.write(bytes([byte ^ 1]))


def expect_state(tap, slot, state, what):
    told = show(slot)
    tap.ok(told['state'] == state, f'{what}: slot {slot} is {state}', told)
    return told.get('state_reason', '')


def test_damaged(tap):
    restart_with(lambda state: flip_a_bit(os.path.join(state, 'slot-13')))
    reason = expect_state(tap, 13, 'damaged', 'a flipped bit')
    expect_token(tap, 12, KEY, f'{HOST}/devices/d', 'others go on')
    restart_with(lambda state: os.replace(os.path.join(state, 'slot-14'), os.path.join(state, 'slot-15')))
    expect_state(tap, 15, 'damaged', 'a record under another number')
    code, text = on_terminal('hubkeyctl clear 15')
    tap.ok(code == 0, 'which is cleared', text)
    code, text = on_terminal(named_command(reason, 'hubkeyctl clear'))
    tap.ok(code == 0 and show(13)['state'] == 'empty', 'the command that the message names cures it', text)


def doctors_findings():
    _, out, _ = ctl('doctor', '--json')
    findings = map(json.loads, out.splitlines())
    return [finding for finding in findings if finding['check'] == 'slots' and finding['level'] != 'ok']


def test_many_damaged(tap):
    """Slots that fell to one cause are one finding, a few are told one by one; each names the command for its state."""
    numbers = range(20, 26)
    for number in numbers:
        ctl('provision', str(number), '--host-name', HOST, '--device-id', 'd', '--key-file', '-', key=base64_of(KEY))
    restart_with(lambda state: [flip_a_bit(os.path.join(state, f'slot-{number}')) for number in numbers])
    found = doctors_findings()
    tap.ok(len(found) == 1 and '6 slots (20, 21, 22, 23, 24 and 1 more) are damaged' in found[0]['text'] and
           found[0]['mend'].endswith('hubkeyctl clear N'), 'the doctor tells of six damaged slots at once', found)
    ctl('clear', '20', '--yes')
    mends = [finding['mend'] for finding in doctors_findings()]
    tap.ok(mends == [f'hubkeyctl clear {number}' for number in numbers[1:]], 'and of five one by one', mends)
    for number in numbers[1:]:
        ctl('clear', str(number), '--yes')


def provision_in_tpm(slot):
    code, _, err = ctl('provision', str(slot), '--host-name', HOST, '--device-id', 'd', '--key-file', '-',
                       key=base64_of(KEY))
    return code == 0 or err


def test_found(tap):
    provision_in_tpm(2)
    restart_with(lambda state: os.unlink(os.path.join(state, 'slot-2')))
    reason = expect_state(tap, 2, 'found', 'a record that is gone')
    code, _, err = ctl('token', '2')
    tap.ok(code == 1, 'it gives no tokens', err)
    mends = [finding['mend'] for finding in doctors_findings()]
    tap.ok(mends == ['hubkeyctl adopt 2'], 'the doctor names what cures it', mends)
    code, text = on_terminal(named_command(reason, 'hubkeyctl adopt'))
    tap.ok(code == 0 and HOST in text, 'the command that the message names shows it and asks', text)
    expect_token(tap, 2, KEY, f'{HOST}/devices/d', 'adopted, it signs as before')


def swap_record():
    """A member of group tss redefines the identity's NV index, as the honest limit of an empty owner password is."""
    path = os.path.join(os.environ['HUBKEY_SANDBOX'], 'client', 'evil')
    text = b'evil.azure-devices.net/d'
    with open(path, 'wb') as file:
        file.write(text)
    run('tpm2_nvundefine', '-C', 'o', '0x1400102')
    run('tpm2_nvdefine', '-C', 'o', '-s', str(len(text)), '-a', 'authread|authwrite|no_da', '0x1400102')
    return run('tpm2_nvwrite', '-C', '0x1400102', '-i', path, '0x1400102').returncode == 0


def test_tampered_and_foreign(tap):
    generation = str(show(2)['generation'])
    tap.ok(swap_record(), 'a stranger writes another host into the TPM')
    run(*as_user('hubkey-in', 'busctl', 'call', 'org.hubkey', '/org/hubkey/slot/2', 'org.hubkey.Slot1',
                 'ReportRejected', 'ts', generation, 'x'))
    wait_until(lambda: show(2)['state'] == 'tampered', 'slot 2 tampered')
    reason = expect_state(tap, 2, 'tampered', 'a rejected token makes hubkeyd look')
    code, _, err = ctl('token', '2')
    tap.ok(code == 1 and 'evil' not in err, 'no token is made for that host', err)
    code, text = on_terminal(named_command(reason, 'hubkeyctl clear'))
    tap.ok(code == 0, 'the command that the message names forgets the slot', text)
    reason = expect_state(tap, 2, 'foreign', 'and leaves what is a stranger\'s')
    undefine = named_command(reason, 'tpm2_nvundefine')
    tap.ok(undefine and run(*shlex.split(undefine)).returncode == 0, 'whose message names what frees it', reason)
    made = provision_in_tpm(2)
    tap.ok(made is True, 'so that it can be provisioned', made)
    expect_token(tap, 2, KEY, f'{HOST}/devices/d', 'and signs')
    code, out, _ = ctl('clear', '2', '--yes')
    tap.ok(code == 0 and out == 'slot 2 is empty\n', 'clear says that it is empty now', out)


def swap_key():
    run('tpm2_evictcontrol', '-C', 'o', '-c', '0x81000103')
    path = os.path.join(os.environ['HUBKEY_SANDBOX'], 'client', 'theirs')
    run('tpm2_createprimary', '-C', 'o', '-G', 'hmac:sha256', '-a',
        'userwithauth|sign|noda|fixedtpm|fixedparent|sensitivedataorigin', '-c', path)
    return run('tpm2_evictcontrol', '-C', 'o', '-c', path, '0x81000103').returncode == 0


def test_swapped_key(tap):
    provision_in_tpm(3)
    expect_token(tap, 3, KEY, f'{HOST}/devices/d', 'a slot in use')
    tap.ok(swap_key(), 'a stranger\'s key takes its place')
    run('tpm2_flushcontext', '-t')
    run(*as_user('hubkey-in', 'busctl', 'call', 'org.hubkey', '/org/hubkey/slot/3', 'org.hubkey.Slot1',
                 'ReportRejected', 'ts', str(show(3)['generation']), 'x'))
    wait_until(lambda: show(3)['state'] == 'tampered', 'slot 3 tampered')
    code, _, err = ctl('token', '3')
    tap.ok(code == 1 and 'another key' in err, 'is noticed, and nothing is signed with it', err)
    code, out, _ = ctl('clear', '3', '--yes', '--json')
    told = json.loads(out)
    tap.ok(code == 0 and told == {'slot': 3, 'state': show(3)['state']} and told['state'] != 'empty',
           'clear says that something still stands there', told)


def test_adoption_by_configuration(tap):
    provision_in_tpm(4)
    folder = os.path.join(os.environ['HUBKEY_SANDBOX'], 'hubkeyd.conf.d')
    path = os.path.join(folder, 'adopt.conf')
    with open(path, 'w') as file:
        file.write(f'[slot 4]\nHostName={HOST}\nDeviceId=d\n')
    os.chmod(path, 0o644)
    restart_with(lambda state: os.unlink(os.path.join(state, 'slot-4')))
    wait_until(lambda: show(4)['state'] == 'ready', 'slot 4 adopted')
    expect_token(tap, 4, KEY, f'{HOST}/devices/d', 'a key that the configuration names is adopted without hands')
    os.unlink(path)
    ctl('clear', '4', '--yes')


def write_cleared(state, slots):
    """Records of slots that were used once: nobody sees them, but each is read."""
    text = b'[slot]\nGeneration=1\n'
    data = text + f'# sha256 {hashlib.sha256(text).hexdigest()}\n'.encode()
    for slot in slots:
        path = os.path.join(state, f'slot-{slot}')
        with open(path, 'wb') as file:
            file.write(data)
        shutil.chown(path, 'hubkey', 'hubkey')


def stop_while_reading(state, before):
    """SIGSTOPs the next hubkeyd while it reads its records: it is on the bus, and lists the directory."""
    pid = 0

    def is_reading():
        nonlocal pid
        pid = server_pid('hubkeyd')
        try:
            open_files = [os.readlink(f'/proc/{pid}/fd/{fd}') for fd in os.listdir(f'/proc/{pid}/fd')]
        except FileNotFoundError:  # the one before, or a descriptor that was closed meanwhile
            return False
        return pid != before and open_files.count(state) > 1 and any(name.startswith('socket:') for name in open_files)

    while not is_reading():
        pass
    os.kill(pid, signal.SIGSTOP)
    return pid


def told_at_start(box):
    """How often somebody is told of slot 0 by a hubkeyd that is stopped while it reads its records."""
    before = server_pid('hubkeyd')
    kill_server('hubkeyd')
    bus = rawbus.Connection(os.path.join(box, 'bus'))
    rule = "interface='org.freedesktop.DBus.Properties',path='/org/hubkey/slot/0'"
    bus.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'AddMatch', rawbus.body('s', rule),
             destination='org.freedesktop.DBus')
    with concurrent.futures.ThreadPoolExecutor() as pool:
        restarted = pool.submit(restart_server, 'hubkeyd')
        pid = stop_while_reading(os.path.join(box, 'state'), before)
        time.sleep(0.6)  # NAME_LIMIT_MS of daemon/serve.c, and a little
        os.kill(pid, signal.SIGCONT)
        restarted.result()
    wait_until(lambda: show(0)['hardware_device_id'], 'the look at the TPM')
    serial = bus.post('/org/hubkey', 'org.freedesktop.DBus.Peer', 'Ping')
    told = 0
    while (got := bus.receive()).fields.get(rawbus.REPLY_SERIAL) != serial:
        told += got.kind == rawbus.SIGNAL
    bus.close()
    return told


def test_slow_start(tap):
    """Reading the records takes longer than the bus is kept waiting for the TPM, which is quick: what it tells is there
    before anybody can ask, so nobody is told that it came. On a machine that is busy enough the TPM is not quick."""
    box, slots = os.environ['HUBKEY_SANDBOX'], range(30000, 45000)
    write_cleared(os.path.join(box, 'state'), slots)
    tap.ok(any(told_at_start(box) == 0 for _ in range(5)), 'a start that takes long is over before slots are told of')
    restart_with(lambda state: [os.unlink(os.path.join(state, f'slot-{slot}')) for slot in slots])


def main():
    tap = Tap()
    test_kinds(tap)
    test_rotation(tap)
    test_damaged(tap)
    test_many_damaged(tap)
    test_found(tap)
    test_tampered_and_foreign(tap)
    test_swapped_key(tap)
    test_adoption_by_configuration(tap)
    test_slow_start(tap)
    return tap.done()


if __name__ == '__main__':
    enter()
    sys.exit(main())

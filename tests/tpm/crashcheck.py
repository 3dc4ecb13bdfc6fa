# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""What must hold whatever was killed: every slot is exactly one of the contents that it may have, nothing of the way
there is left over, and what belongs to others is untouched."""

import base64
import hashlib
import hmac
import os
import select
import time
import urllib.parse

import rawtpm
from crashbench import EMPTY, KEY_HANDLE, KEYS, NV_INDEX, PATIENCE, TPM_SLOTS
from crashservers import Wrong, check


def visible(content):
    """What callers can see of it."""
    return content.state, content.host, content.device, content.key, content.previous is not None


def recognise(bench, slot, candidates):
    """Which of the contents stands in the slot, in hubkeyd's words and in the TPM's."""
    seen = look(bench, slot)
    for content in candidates:
        if visible(content) == seen:
            check_medium(bench, slot, content)
            return content
    raise Wrong(f'slot {slot} is {seen}, which is none of {[visible(content) for content in candidates]}\n'
                f'{bench.daemon.tail()}')


def look(bench, slot):
    state = bench.state(slot)
    if state == 'empty':
        return visible(EMPTY)
    host, device = str(bench.get_slot(slot, 'HostName')), str(bench.get_slot(slot, 'DeviceId'))
    key = key_by_token(bench, slot, f'{host}/devices/{device}') if state == 'ready' else key_by_hmac(bench, slot)
    return state, host, device, key, bool(bench.get_slot(slot, 'CanUndo'))


def key_by_token(bench, slot, resource):
    token = bench.token(slot)
    check(token, f'slot {slot} gives no token: {bench.error}\n{bench.daemon.tail()}')
    kind, _, fields = token.partition(' ')
    check(kind == 'SharedAccessSignature', f'not a token: {token}')
    parts = dict(field.split('=', 1) for field in fields.split('&'))
    check(urllib.parse.unquote(parts['sr']) == resource, f'a token for {parts["sr"]}')
    return name_key(f'{parts["sr"]}\n{parts["se"]}'.encode(), base64.b64decode(urllib.parse.unquote(parts['sig'])))


def key_by_hmac(bench, slot):
    check(KEY_HANDLE + slot in bench.raw.handles(rawtpm.PERSISTENT), f'slot {slot} has no key')
    return name_key(b'text', bench.raw.hmac(KEY_HANDLE + slot, b'text'))


def name_key(text, mac):
    names = [name for name, key in KEYS.items() if hmac.new(key, text, 'sha256').digest() == mac]
    check(names, 'signed by a key that nobody gave')
    return names[0]


def check_medium(bench, slot, content):
    if slot >= TPM_SLOTS:
        told = [bench.get_slot(slot, name) for name in ('Storage', 'TpmName')]
        check(content.state == 'empty' or told == ['file', ''], f'slot {slot} tells of itself {told}')
        return
    raw, handle, index = bench.raw, KEY_HANDLE + slot, NV_INDEX + slot
    key_there, nv_there = handle in raw.handles(rawtpm.PERSISTENT), index in raw.handles(rawtpm.NV)
    check(key_there == nv_there == (content.state != 'empty'),
          f'slot {slot} is {content.state}, but key {key_there}, NV {nv_there}')
    if key_there:
        check_objects(bench, slot, content, raw.public(handle), raw.nv_public(index))


def check_objects(bench, slot, content, public, nv_public):
    text = bench.raw.nv_content(NV_INDEX + slot)
    check(text == f'{content.host}/{content.device}'.encode(), f'slot {slot}: NV holds {text}')
    size = int.from_bytes(public[:2], 'big')
    name = '000b' + hashlib.sha256(public[2:2 + size]).hexdigest()
    told = [str(bench.get_slot(slot, property)) for property in ('Storage', 'TpmName')]
    check(told == ['tpm', name], f'slot {slot} tells of itself {told}, not {name}')
    check(content.key != 'theirs' or (public, nv_public) == bench.theirs, 'what Windows made is not what it was')


# ---- what is not ours, or not for ever ----

def check_strangers(bench):
    for handle, expected in bench.strangers.items():
        if handle >> 24 == 0x01:
            found = bench.raw.nv_public(handle) + bench.raw.nv_content(handle)
        else:
            found = bench.raw.public(handle)
        check(found == expected, f'the stranger at 0x{handle:08x} was touched')


def check_disk(bench):
    left = [name for name in os.listdir(bench.at('state')) if not name.startswith('slot-') and name != 'srk' or
            name.endswith(('.intent', '.new'))]
    check(not left, f'left in the state directory: {left}')


def check_tpm(bench, sessions):
    """No sessions but as many as a killed process may leave. The key of a file slot is let go just after its token was
    given away, so that is waited for."""
    deadline = time.monotonic() + PATIENCE
    while transient := [handle for handle in bench.raw.handles(rawtpm.TRANSIENT) if handle not in bench.strangers]:
        check(time.monotonic() < deadline, f'transient objects left: {[hex(handle) for handle in transient]}')
        select.select([], [], [], 0.005)
    loaded, saved = bench.raw.handles(rawtpm.LOADED_SESSION), bench.raw.handles(rawtpm.SAVED_SESSION)
    check(not saved and len(loaded) <= sessions, f'sessions left: {len(loaded)} loaded, {len(saved)} saved')


def check_all(bench, slot, candidates, sessions):
    """Which of the contents stands in the slot."""
    found = recognise(bench, slot, candidates)
    for other, content in bench.contents.items():
        if other != slot:
            recognise(bench, other, (content,))
    check_disk(bench)
    check_strangers(bench)
    check_tpm(bench, sessions)
    return found

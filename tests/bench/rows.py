# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""The rows of ./run bench: what each measures, beside what, and what it should come to."""

import operator
from typing import Callable, NamedTuple, Optional

COMPARE = {'<=': operator.le, '>=': operator.ge, '<': operator.lt, '>': operator.gt}


def meets(value, goal):
    comparison, bound = goal.split()
    return COMPARE[comparison](value, float(bound))


class Row(NamedTuple):
    name: str
    # What measures it; '' for a row that is another one held against something else: the first of those it needs.
    program: str
    what: str
    # Rows that are measured before it. What the row is compared with is made of their medians of the same round.
    needs: tuple = ()
    peer: Optional[Callable] = None
    # Held against the ratio where there is one, else against the median.
    goal: str = ''
    # Goal and ratio are of the 99th percentiles, its own and the other rows'.
    tails: bool = False
    # One call after the other, so that which processor wakes up would decide: everything takes its turn on one of them.
    pinned: bool = False  # see is_pinned
    # It takes long, and comes out the same every time: only in the first round.
    once: bool = False


ROWS = (
    Row('ping', 'bench-bus', 'Ping of a bare service (libdbus, GLib)', pinned=True),
    Row('echo', 'bench-bus', 'a 250-byte echo of the bare service', pinned=True),
    Row('raw-hmac', 'bench-tpm', 'TPM2_HMAC by ESYS, no daemon between', pinned=True),
    Row('protect-bus', 'bench-tpm', 'TPM2_HMAC as with ProtectBus=always / raw-hmac', ('raw-hmac',),
        lambda m: m['raw-hmac'], pinned=True),
    Row('token-shared', 'bench-bus', 'GetToken, same slot, scope and second / echo', ('echo',), lambda m: m['echo'],
        '<= 1.10', pinned=True),
    Row('token-fresh', 'bench-bus', 'GetToken, new scope / (echo + raw-hmac)', ('echo', 'raw-hmac'),
        lambda m: m['echo'] + m['raw-hmac'], '<= 1.20', pinned=True),
    # What is left above the goals where nothing is done but to take the message and to answer it, and to hand it to a
    # thread that has the TPM, as the bus must not wait for that: no users, rules, scopes, sharing, log. With hubkeyd's
    # tricks: an answer that is there is copied, the TPM is asked by the System API, one event tells of many answers.
    Row('floor-shared', 'bench-bus', "a bare service's ready answer to the message of GetToken / echo", ('echo',),
        lambda m: m['echo'], pinned=True),
    Row('floor-fresh', 'bench-bus', 'TPM2_HMAC by a thread of that service / (echo + raw-hmac)',
        ('echo', 'raw-hmac'), lambda m: m['echo'] + m['raw-hmac'], pinned=True),
    Row('token-socket', 'bench-bus', 'token-shared by the private socket / over the bus', ('token-shared',),
        lambda m: m['token-shared'], '<= 0.5', pinned=True),
    # An HMAC of the same size, as people have it from a TPM, or from no TPM, without hubkeyd.
    Row('hmac-abrmd', 'bench-peer.py', 'TPM2_HMAC through tpm2-abrmd', pinned=True),
    Row('token-abrmd', '', 'token-fresh / hmac-abrmd', ('token-fresh', 'hmac-abrmd'), lambda m: m['hmac-abrmd'],
        '<= 0.55'),
    Row('floor-abrmd', '', 'floor-fresh / hmac-abrmd', ('floor-fresh', 'hmac-abrmd'), lambda m: m['hmac-abrmd']),
    Row('sign-pkcs11', 'bench-peer.py', 'C_SignInit and C_Sign of tpm2-pkcs11', pinned=True),
    Row('token-pkcs11', '', 'token-fresh / sign-pkcs11', ('token-fresh', 'sign-pkcs11'), lambda m: m['sign-pkcs11'],
        '<= 0.04'),
    Row('sign-softhsm', 'bench-peer.py', 'C_SignInit and C_Sign of SoftHSM2, which has no TPM', pinned=True),
    Row('hmac-process', 'bench-peer.py', 'one tpm2_hmac process', pinned=True),
    Row('token-process', '', 'token-fresh / hmac-process', ('token-fresh', 'hmac-process'), lambda m: m['hmac-process'],
        '<= 0.01'),
    Row('node-tpm', 'bench-node.sh', "an HMAC by Azure's Node.js client for keys in a TPM", once=True, pinned=True),
    Row('token-node', '', 'token-fresh / node-tpm', ('token-fresh', 'node-tpm'), lambda m: m['node-tpm'], once=True),
    Row('echo-8', 'bench-rate', 'echo, 8 clients at once'),
    Row('rate-8', 'bench-rate', 'tokens, 8 clients, all scopes different / echo-8', ('echo-8',), lambda m: m['echo-8'],
        '>= 0.6'),
    Row('floor-8', 'bench-rate', 'TPM2_HMAC in a thread of the bare service, 8 clients / echo-8', ('echo-8',),
        lambda m: m['echo-8']),
    Row('echo-32', 'bench-rate', 'echo, 32 clients at once'),
    Row('rate-32', 'bench-rate', 'tokens, 32 clients, all scopes different / echo-32', ('echo-32',),
        lambda m: m['echo-32'], '>= 0.6'),
    Row('floor-32', 'bench-rate', 'the same, 32 clients / echo-32', ('echo-32',), lambda m: m['echo-32']),
    Row('echo-1000', 'bench-rate', 'echo, 1000 clients of five users'),
    Row('rate-1000', 'bench-rate', 'tokens, 1000 clients of five users, same scope / echo-1000', ('echo-1000',),
        lambda m: m['echo-1000'], '>= 0.9'),
    Row('floor-1000', 'bench-rate', 'ready answers of the bare service, 1000 clients / echo-1000', ('echo-1000',),
        lambda m: m['echo-1000']),
    Row('rate-1000-tpm', 'bench-rate', 'commands of the TPM a second meanwhile, as hubkeyd counts them', ('rate-1000',),
        goal='<= 1'),
    Row('chip-5', 'bench-chip.py', 'GetToken, new scope, TPM of 5 ms a command / 5 ms', (), lambda m: 5e3),
    Row('chip-20', 'bench-chip.py', 'GetToken, new scope, TPM of 20 ms a command / 20 ms', (), lambda m: 20e3),
    Row('chip-100', 'bench-chip.py', 'GetToken, new scope, TPM of 100 ms a command / 100 ms', (), lambda m: 100e3,
        once=True),
    Row('chip-same', 'bench-chip.py', 'TPM of 20 ms: 200 programs, same token once a second; p99', goal='< 25',
        tails=True),
    Row('chip-same-tpm', 'bench-chip.py', 'commands of the TPM a second meanwhile', ('chip-same',), goal='<= 1'),
    Row('chip-burst', 'bench-chip.py', 'the same, all 200 at the same moment', once=True),
    Row('chip-scopes', 'bench-chip.py',
        'TPM of 20 ms: how much of the time 8 programs with different scopes keep it busy', goal='>= 98'),
    Row('raw-load-hmac', 'bench-tpm', 'TPM2_Load, TPM2_HMAC, TPM2_FlushContext by ESYS', pinned=True),
    Row('raw-flush', 'bench-tpm', 'the flush of it', pinned=True),
    Row('sys-load-hmac', 'bench-tpm', 'TPM2_Load, TPM2_HMAC by the System API', pinned=True),
    # By ESYS, which is what another program would take; hubkeyd flushes after it has answered. Most of ESYS's time is
    # spent in the program and not in the TPM, so the next row tells what is left above the commands alone, which
    # hubkeyd sends by the System API.
    Row('cold-slot', 'bench-bus', 'GetToken of a slot whose key is not loaded / (raw-load-hmac - raw-flush + ping)',
        ('raw-load-hmac', 'raw-flush', 'ping'), lambda m: m['raw-load-hmac'] - m['raw-flush'] + m['ping'], '<= 1.2',
        pinned=True),
    Row('cold-slot-sys', '', 'cold-slot / (sys-load-hmac + ping)', ('cold-slot', 'sys-load-hmac', 'ping'),
        lambda m: m['sys-load-hmac'] + m['ping']),
    Row('no-rules', 'bench-rules', 'shared token by the private socket, no rules', pinned=True),
    Row('rules', 'bench-rules', 'the same under rules of every kind / no-rules', ('no-rules',),
        lambda m: m['no-rules'], '<= 1.05', pinned=True),
    Row('quiet', 'bench-rules', 'fresh token by the private socket'),
    Row('fairness', 'bench-rules', 'the same while another user asks as fast as it can; p99 / p99 of quiet', ('quiet',),
        lambda m: m['quiet'], '<= 2', tails=True),
    # With more to do than there are processors, everybody waits for one, whoever he asks. What a user cannot take from
    # others is the TPM: that is the next but one, where a TPM of hardware is what everybody waits for.
    Row('quiet-echo', 'bench-rules', 'echo of a bare service'),
    Row('fairness-echo', 'bench-rules', 'the same while that other user asks hubkeyd; p99 / p99 of quiet-echo',
        ('quiet-echo',), lambda m: m['quiet-echo'], tails=True),
    Row('quiet-20', 'bench-chip.py', 'quiet, TPM of 20 ms a command', once=True),
    Row('fairness-20', 'bench-chip.py', 'fairness, TPM of 20 ms a command; p99 / p99 of quiet-20', ('quiet-20',),
        lambda m: m['quiet-20'], tails=True, once=True),
    Row('append', 'bench-queue', 'write and fdatasync of 256 bytes'),
    Row('post-idle', 'bench-queue', 'hubkey_client_post of 256 bytes, no sender at work / append', ('append',),
        lambda m: m['append'], '<= 1.25'),
    Row('post-busy', 'bench-send', 'the same while the sender is at work; p99 / p99 of append', ('append',),
        lambda m: m['append'], '<= 3', tails=True),
    Row('post-1', 'bench-group', 'durable posts by one thread'),
    Row('post-8', 'bench-group', 'by 8 threads of one client / post-1', ('post-1',), lambda m: m['post-1'], '>= 3'),
    Row('post-32', 'bench-group', 'by 32 threads / post-1', ('post-1',), lambda m: m['post-1'], '>= 5'),
    Row('open-million', 'bench-backlog', 'hubkey_client_open, a million messages wait, nothing in the cache',
        goal='< 200', once=True),
    Row('rss-drain', 'bench-backlog', 'private memory (RssAnon) of a program that sends them', goal='<= 8192',
        once=True),
    Row('rss-drain-more', 'bench-backlog', 'more than of the same program that sends a thousand', goal='<= 2048',
        once=True),
    Row('raw-post', 'bench-send', 'libcurl alone, one POST to a hub 20 ms away'),
    Row('post-rtt', 'bench-send', 'post to delivered, hub 20 ms away / raw-post', ('raw-post',),
        lambda m: m['raw-post'], '<= 1.05'),
    Row('post-rtt-disk', '', 'post-rtt / (append + raw-post + append)', ('post-rtt', 'raw-post', 'append'),
        lambda m: m['raw-post'] + 2 * m['append']),
    Row('raw-drain', 'bench-send', 'libcurl alone, batches to the hub 20 ms away'),
    Row('drain', 'bench-send', 'a backlog to the hub 20 ms away / raw-drain', ('raw-drain',), lambda m: m['raw-drain'],
        '>= 0.85'),
    Row('drain-single', '', 'drain / one at a time (raw-post)', ('drain', 'raw-post'), lambda m: 1e6 / m['raw-post']),
    Row('node-post', 'bench-node.sh', "Azure's Node.js client, one event a request", once=True),
    Row('node-drain', 'bench-node.sh', "Azure's Node.js client, batches", once=True),
    Row('drain-node', '', 'drain / node-drain', ('drain', 'node-drain'), lambda m: m['node-drain'], once=True),
    Row('hub', 'bench-hub', 'messages in batches that the test hub takes', goal='>= 80000'),
    Row('rss-abrmd', 'bench-process.py', 'memory (RSS) of tpm2-abrmd', once=True),
    Row('rss-minimal', 'bench-process.py', 'memory of a minimal daemon (libdbus, GLib, ESYS)', once=True),
    Row('rss-10', 'bench-process.py', 'memory of hubkeyd with 10 slots / rss-minimal', ('rss-minimal',),
        lambda m: m['rss-minimal'], '<= 1.15', once=True),
    Row('rss-10-abrmd', '', 'rss-10 / rss-abrmd', ('rss-10', 'rss-abrmd'), lambda m: m['rss-abrmd'], '<= 1.1',
        once=True),
    Row('rss-10000', 'bench-process.py', 'memory of hubkeyd with 10 000 slots in files', goal='<= 24576', once=True),
    Row('start', 'bench-process.py', "fork to the first token, without the TPM's commands", goal='<= 30'),
    Row('start-10000', 'bench-process.py', 'the same with 10 000 slots, commands and all', goal='< 1000', once=True),
    Row('allocations', 'bench-process.py', "allocations for a shared token, without libdbus's own", goal='<= 0',
        once=True),
    Row('allocations-libdbus', 'bench-process.py', "libdbus's own", ('allocations',), once=True),
)


def is_pinned(row, by_name):
    """Whether it is, or all that it is made of."""
    return row.pinned or (not row.program and all(is_pinned(by_name[name], by_name) for name in row.needs))

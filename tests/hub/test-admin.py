#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""The admin port: cursors, limits, filters, DELETE, statistics, and bad input."""

import base64
import json

from hubtest import KEY, Client, case, equal, item, main, post, until

KEY_TEXT = base64.b64encode(KEY).decode()


def refuses(hub, method, path, status=400, **more):
    got, body = hub.admin(method, path, **more)
    equal(got, status, f'status of {method} {path}')
    equal(list(body), ['error'], 'body')
    assert len(body['error']) > 8, body


@case('nothing has arrived: empty lists, cursors as given')
def empty(hub):
    equal(hub.admin('GET', '/messages'), (200, {'messages': [], 'next': 0}))
    equal(hub.admin('GET', '/requests?after=0&limit=5'), (200, {'requests': [], 'next': 0}))
    equal(hub.admin('GET', '/messages?after=77'), (200, {'messages': [], 'next': 77}))
    equal(hub.stats(), {'requests': 0, 'accepted': 0, 'refused': 0, 'messages': 0, 'duplicates': 0,
                        'unexplainedDuplicates': 0,
                        'connections': 0, 'maxInFlight': {}})


@case('messages have exactly their fields')
def fields(hub):
    equal(post(hub, body=b'x').status, 204, 'status')
    message = hub.messages()[-1]
    equal(sorted(message), sorted(['seq', 'device', 'module', 'messageId', 'body', 'properties', 'systemProperties',
                                   'request',
                                   'tokenExpiry']), 'fields')
    request = hub.last_request()
    equal(sorted(request), sorted(['n', 'start', 'end', 'connection', 'device', 'module', 'path', 'apiVersion',
                                   'contentType', 'items',
                                   'bytes', 'tokenId', 'srRaw', 'status', 'fault', 'replySent', 'accepted',
                                   'messageIds']), 'fields')


def send_many(hub, device='d1', batches=5, each=7):
    with Client(hub) as client:
        for number in range(batches):
            equal(client.batch([item('x', f'{device}-{number}-{i}') for i in range(each)], device=device).status, 204,
                  'status')


@case('a cursor walks over every message once, whatever the limit')
def cursors(hub):
    send_many(hub)
    everything = hub.messages()
    equal([m['seq'] for m in everything], list(range(1, len(everything) + 1)), 'seq')
    for limit in (1, 2, 3, 7, 8, 1000, 10000):
        equal(list(hub.pages('messages', limit=limit)), everything, f'messages in pages of {limit}')
    for after in (0, 1, 5, len(everything) - 1, len(everything)):
        equal(hub.messages(after), everything[after:], f'messages after {after}')
    page = hub.admin('GET', '/messages?after=3&limit=4')[1]
    equal(([m['seq'] for m in page['messages']], page['next']), ([4, 5, 6, 7], 7), 'page')


@case('a cursor walks over every request once')
def request_cursors(hub):
    everything = hub.requests()
    equal([r['n'] for r in everything], list(range(1, len(everything) + 1)), 'n')
    for limit in (1, 2, 1000):
        equal(list(hub.pages('requests', limit=limit)), everything, f'requests in pages of {limit}')


@case('messages of one device only')
def filtered(hub):
    hub.put_device('filter#1')
    send_many(hub, 'filter#1', batches=2)
    send_many(hub, 'd1', batches=1)
    send_many(hub, 'filter#1', batches=1)
    wanted = [m for m in hub.messages() if m['device'] == 'filter#1']
    equal(len(wanted), 21, 'messages')
    equal(hub.messages(query='&device=filter%231'), wanted, 'messages of the device')
    equal(list(hub.pages('messages', limit=4, query='&device=filter%231')), wanted, 'the same in pages of 4')
    equal(hub.messages(query='&device=nobody'), [], 'messages of nobody')


@case('DELETE forgets the messages; numbers go on, requests stay')
def delete(hub):
    last, requests = hub.last_seq(), hub.requests()
    equal(hub.admin('DELETE', '/messages'), (204, None))
    equal(hub.messages(), [], 'messages')
    equal(hub.requests(), requests, 'requests')
    equal(post(hub, headers=[('iothub-messageid', 'd1-0-0')]).status, 204, 'status')
    message, = hub.messages()
    equal(message['seq'], last + 1, 'seq')
    equal(hub.admin('GET', f'/messages?after={last}')[1]['next'], last + 1, 'next')


@case('DELETE forgets the ids too')
def delete_ids(hub):
    request = {'headers': [('iothub-messageid', 'again')]}
    with Client(hub) as client:
        client.post(**request)
        before = hub.stats()
        hub.admin('DELETE', '/messages')
        client.post(**request)
    after = hub.stats()
    equal((after['duplicates'], after['unexplainedDuplicates']),
          (before['duplicates'], before['unexplainedDuplicates']), 'duplicates')


@case('statistics count what happened')
def stats(hub):
    before = hub.stats()
    with Client(hub) as client:
        client.batch([item('x', f'stats-{i}') for i in range(10)])
        client.post(headers=[('iothub-messageid', 'stats-single')])
        client.post(auth=[])
    after = hub.stats()
    equal({name: after[name] - before[name] for name in after if name != 'maxInFlight'},
          {'requests': 3, 'accepted': 2, 'refused': 1, 'messages': 11, 'duplicates': 0, 'unexplainedDuplicates': 0,
           'connections': 1},
          'difference')
    equal(after['maxInFlight']['d1'], 1, 'maxInFlight')


def sends(hub, client, message_id):
    equal(client.post(headers=[('iothub-messageid', message_id)]).status, 204, 'status')
    return hub.stats()


def difference(hub, before):
    after = hub.stats()
    return after['duplicates'] - before['duplicates'], after['unexplainedDuplicates'] - before['unexplainedDuplicates']


@case('a duplicate is explained while the last answer of its connection may not have been read')
def explained(hub):
    before = hub.stats()
    with Client(hub) as first:
        sends(hub, first, 'e-1')
    with Client(hub) as second:
        sends(hub, second, 'e-1')
    equal(difference(hub, before), (1, 0), 'duplicates')


@case('a duplicate is unexplained once the connection has carried a further request')
def unexplained(hub):
    before = hub.stats()
    with Client(hub) as first:
        sends(hub, first, 'u-1')
        sends(hub, first, 'u-2')
    with Client(hub) as second:
        sends(hub, second, 'u-2')
        equal(difference(hub, before), (1, 0), 'after the last of the first connection')
        sends(hub, second, 'u-1')
    equal(difference(hub, before), (2, 1), 'after the one before')


@case('a refused further request is one as well')
def refused_further(hub):
    before = hub.stats()
    with Client(hub) as first:
        sends(hub, first, 'r-1')
        equal(first.post(auth=[]).status, 401, 'status')
    with Client(hub) as second:
        sends(hub, second, 'r-1')
    equal(difference(hub, before), (1, 1), 'duplicates')


@case('what was accepted but not answered explains its repetition for good')
def unanswered(hub):
    before = hub.stats()
    hub.fault('reset-after', count=1)
    with Client(hub) as first:
        first.send(headers=[('iothub-messageid', 'n-1')])
        equal(first.ending()[1], 'reset', 'the end')
    with Client(hub) as second:
        sends(hub, second, 'n-1')
        equal(difference(hub, before), (1, 0), 'the repetition')
        sends(hub, second, 'n-2')
    with Client(hub) as third:
        sends(hub, third, 'n-1')
    equal(difference(hub, before), (2, 1), 'a repetition after the repetition was confirmed')


@case('a late acceptance does not accuse who sent again before it')
def late(hub):
    before = hub.stats()
    hub.fault('late-accept', ms=700, count=1)
    with Client(hub) as first:
        first.send(headers=[('iothub-messageid', 'l-1')])
        first.ending()
    with Client(hub) as second:
        sends(hub, second, 'l-1')
        sends(hub, second, 'l-2')
        until(lambda: [m['messageId'] for m in hub.messages()].count('l-1') == 2, 'the late one is accepted')
    equal(difference(hub, before), (1, 0), 'duplicates')


@case('an unexplained arrival counts even when it is refused by a fault')
def unexplained_refused(hub):
    before = hub.stats()
    with Client(hub) as first:
        sends(hub, first, 'f-1')
        hub.fault('status', code=503, count=1)
        equal(first.post(headers=[('iothub-messageid', 'f-1')]).status, 503, 'status')
    equal(difference(hub, before), (0, 1), 'duplicates')


@case('ids are those of one device and case-sensitive')
def scoped(hub):
    before = hub.stats()
    hub.put_device('scoped')
    with Client(hub) as client:
        for device, message_id in (('d1', 'case'), ('scoped', 'case'), ('d1', 'CASE')):
            equal(client.post(device=device, headers=[('iothub-messageid', message_id)]).status, 204, 'status')
    equal(difference(hub, before), (0, 0), 'duplicates')


@case('the same id twice in one batch is a duplicate, an explained one')
def in_batch(hub):
    before = hub.stats()
    with Client(hub) as client:
        equal(client.batch([item('x', 'b-1'), item('y', 'b-1')]).status, 204, 'status')
    equal(difference(hub, before), (1, 0), 'duplicates')


@case('bad cursors, limits and parameters are refused')
def bad_query(hub):
    for what in ('/messages', '/requests'):
        for query in ('after=-1', 'after=x', 'after=', 'after', 'after=1.5', 'limit=0', 'limit=10001', 'limit=-1',
                      'limit=x', 'limit=', 'x=1',
                      'after=99999999999999999999'):
            refuses(hub, 'GET', f'{what}?{query}')
    refuses(hub, 'GET', '/requests?device=d1')
    refuses(hub, 'GET', '/messages?device=a%20b')


@case('bad devices are refused, and change nothing')
def bad_devices(hub):
    good = {'deviceId': 'bad', 'primaryKey': KEY_TEXT}
    for change in ({'deviceId': None}, {'deviceId': ''}, {'deviceId': 'a b'}, {'deviceId': 'a/b'},
                   {'deviceId': 'x' * 129}, {'deviceId': 1},
                   {'primaryKey': None}, {'primaryKey': ''}, {'primaryKey': 'x'}, {'primaryKey': KEY_TEXT[:-1]},
                   {'primaryKey': base64.b64encode(bytes(15)).decode()},
                   {'primaryKey': base64.b64encode(bytes(65)).decode()},
                   {'primaryKey': 'A' * 1000}, {'secondaryKey': 'x'}, {'enabled': 'yes'}, {'enabled': 1},
                   {'moduleId': ''}, {'moduleId': 5},
                   {'surprise': 1}):
        refuses(hub, 'POST', '/devices', body={**good, **change})
    for missing in good:
        refuses(hub, 'POST', '/devices', body={name: value for name, value in good.items() if name != missing})
    for raw in ('', 'x', '[]', '1', 'null', '{"deviceId":"bad","deviceId":"bad","primaryKey":"' + KEY_TEXT + '"}',
                '{' * 70000):
        refuses(hub, 'POST', '/devices', raw=raw)
    equal(post(hub, device='bad').status, 401, 'status')


@case('keys of 16 and of 64 bytes are taken, and come back nowhere')
def key_sizes(hub):
    for size in (16, 64):
        status, body = hub.admin('POST', '/devices', {'deviceId': 'sized',
                                                      'primaryKey': base64.b64encode(bytes(size)).decode()})
        equal((status, body), (201, {'deviceId': 'sized', 'moduleId': None, 'enabled': True}), 'answer')


@case('bad faults are refused, and change nothing')
def bad_faults(hub):
    for fault in ({}, {'kind': 'x'}, {'kind': 1}, {'kind': 'status'}, {'kind': 'status', 'code': 199},
                  {'kind': 'status', 'code': 200}, {'kind': 'status', 'code': 299, 'shape': 'B'},
                  {'kind': 'status', 'code': 600}, {'kind': 'status', 'code': '503'},
                  {'kind': 'status', 'code': 503, 'shape': 'C'},
                  {'kind': 'status', 'code': 503, 'retryAfter': -1},
                  {'kind': 'status', 'code': 503, 'retryAfter': 'a\r\nb: c'},
                  {'kind': 'status', 'code': 503, 'errorCode': 5}, {'kind': 'status', 'code': 503, 'ms': 5},
                  {'kind': 'stall', 'ms': 5},
                  {'kind': 'stall', 'count': 0}, {'kind': 'stall', 'count': 1.5}, {'kind': 'stall', 'skip': -1},
                  {'kind': 'stall', 'seconds': 0},
                  {'kind': 'stall', 'seconds': '1'}, {'kind': 'stall', 'device': 5}, {'kind': 'stall', 'device': ''},
                  {'kind': 'stall', 'onlyBatch': 'yes'}, {'kind': 'stall', 'surprise': 1}, {'kind': 'delay'},
                  {'kind': 'delay', 'ms': -1},
                  {'kind': 'delay', 'ms': 600001}, {'kind': 'late-accept'}, {'kind': 'date'},
                  {'kind': 'date', 'offset': 'x'},
                  {'kind': 'refuse-connect', 'device': 'd1'}, {'kind': 'refuse-connect', 'skip': 1},
                  {'kind': 'refuse-connect', 'count': 1}):
        refuses(hub, 'POST', '/faults', body=fault)
    for raw in ('', '[]', 'x'):
        refuses(hub, 'POST', '/faults', raw=raw)
    equal(post(hub).status, 204, 'status')


@case('resources that are not there, and methods')
def not_there(hub):
    for method, path, status in (('GET', '/', 404), ('GET', '/nothing', 404), ('GET', '/devices', 405),
                                 ('PUT', '/messages', 405),
                                 ('POST', '/stats', 405), ('DELETE', '/requests', 405), ('GET', '/faults', 405)):
        refuses(hub, method, path, status)


@case('ten thousand messages in one page')
def big_page(hub):
    hub.admin('DELETE', '/messages')
    after = hub.stats()['messages']
    with Client(hub) as client:
        for _ in range(5):
            equal(client.batch(json.dumps([{'body': ''}] * 2500).encode()).status, 204, 'status')
    page = hub.admin('GET', '/messages?limit=10000')[1]
    equal(len(page['messages']), 10000, 'messages')
    equal(len(hub.admin('GET', f'/messages?limit=10000&after={page["next"]}')[1]['messages']), 2500, 'the rest')
    equal(hub.stats()['messages'] - after, 12500, 'messages counted')


main()

#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Every kind of fault: what the client sees on the wire, and what the hub says of it afterwards."""

import email.utils
import json
import socket
import time

from hubtest import HOST, Client, case, device_token, equal, item, main, post, until

ids = (f'fault-{n}' for n in range(1000000))


def with_id():
    return {'headers': [('iothub-messageid', next(ids))], 'body': b'x'}


def id_of(request):
    return request['headers'][0][1]


def arrived(hub, request):
    return sum(m['messageId'] == id_of(request) for m in hub.messages())


def recorded(hub, request):
    """The last record of a request with this message id."""
    found = [r for r in hub.requests() if id_of(request) in r['messageIds']]
    assert found, 'no such request is recorded'
    return found[-1]


def check(hub, request, **wanted):
    record = recorded(hub, request)
    for name, value in wanted.items():
        equal(record[name], value, name)
    equal(arrived(hub, request), 1 if wanted.get('accepted') else 0, 'messages')
    return record


def fault_case(text):
    def add(function):
        def run(hub):
            try:
                function(hub)
            finally:
                hub.no_faults()
            equal(post(hub, **with_id()).status, 204, 'status once the faults are gone')
        return case(text)(run)
    return add


@fault_case('status: the code, nothing accepted, the connection goes on')
def status(hub):
    for code, name in ((429, 'ThrottlingException'), (500, 'ServerError'), (503, 'ServiceUnavailable'),
                       (403, 'IotHubQuotaExceeded'),
                       (401, 'IotHubUnauthorizedAccess'), (404, 'DeviceNotFound'), (400, 'ArgumentInvalid'),
                       (413, 'MessageTooLarge')):
        hub.fault('status', code=code, count=1)
        request = with_id()
        with Client(hub) as client:
            answer = client.post(**request)
            equal(answer.status, code, 'status')
            equal(answer.header('retry-after'), None, 'Retry-After')
            check(hub, request, status=code, fault='status', accepted=False, replySent=True)
            equal(client.post(**request).status, 204, 'status afterwards')
        check(hub, request, status=204, fault=None, accepted=True)
        if code != 404:
            equal(answer.code, name, 'iothub-errorcode')


@fault_case('status: Retry-After in seconds and as a date')
def retry_after(hub):
    date = 'Fri, 01 Jan 2027 00:00:00 GMT'
    for value, text in ((0, '0'), (7, '7'), (date, date)):
        hub.fault('status', code=429, retryAfter=value, count=1)
        equal(post(hub).header('retry-after'), text, 'Retry-After')


@fault_case('status: shapes A and B')
def shapes(hub):
    hub.fault('status', code=404, errorCode='DeviceNotFound', shape='A', count=1)
    answer = post(hub)
    equal(answer.code, 'DeviceNotFound', 'iothub-errorcode')
    assert json.loads(answer.body)['Message'].startswith('ErrorCode:DeviceNotFound;'), answer.body
    hub.fault('status', code=404, errorCode='DeviceNotFound', shape='B', count=1)
    answer = post(hub)
    equal(answer.code, 'DeviceNotFound', 'iothub-errorcode')
    outer = json.loads(answer.body)
    inner = json.loads(outer['Message'])
    equal((outer['ExceptionMessage'], inner['errorCode'], sorted(inner)),
          ('', 404001, ['errorCode', 'message', 'timestampUtc', 'trackingId']), 'body')


@fault_case('status: html and empty bodies are a proxy\'s, without an error code')
def proxy(hub):
    hub.fault('status', code=502, shape='html', count=1)
    answer = post(hub)
    equal((answer.status, answer.code, answer.header('content-type')), (502, None, 'text/html'), 'answer')
    assert answer.body.startswith(b'<html>'), answer.body
    hub.fault('status', code=401, shape='empty', count=1)
    answer = post(hub)
    equal((answer.status, answer.code, answer.header('content-type'), answer.body), (401, None, None, b''), 'answer')


@fault_case('status: the number of an error in the body alone')
def number(hub):
    for given, wanted in (('DeviceNotFound', 404001), ('404103', 404103), (None, 404001)):
        hub.fault('status', code=404, shape='number', count=1, **({'errorCode': given} if given else {}))
        answer = post(hub)
        equal((answer.status, answer.code), (404, None), 'answer')
        equal(json.loads(json.loads(answer.body)['Message'])['errorCode'], wanted, 'errorCode')


@fault_case('status: 2xx of a portal accepts nothing, an empty one does')
def successes(hub):
    for code, shape, accepted in ((200, 'html', False), (200, 'empty', True), (201, 'empty', True),
                                  (204, 'html', False)):
        hub.fault('status', code=code, shape=shape, count=1)
        request = with_id()
        equal(post(hub, **request).status, code, 'status')
        check(hub, request, status=code, fault='status', accepted=accepted, replySent=True)
    hub.fault('status', code=200, shape='empty', count=1)
    request = with_id()
    equal(post(hub, auth=[], **request).status, 401, 'status of a request without a token')
    equal(arrived(hub, request), 0, 'messages of a request that the hub would not take')


@fault_case('status: big and chunked bodies')
def long_bodies(hub):
    for shape in ('big', 'chunked'):
        hub.fault('status', code=503, errorCode='ServerBusy', shape=shape, count=1)
        with Client(hub) as client:
            answer = client.post(**with_id())
            equal((answer.status, answer.code), (503, 'ServerBusy'), 'answer')
            equal(answer.header('transfer-encoding'), 'chunked' if shape == 'chunked' else None, 'Transfer-Encoding')
            if shape == 'big':
                equal(len(answer.body), 1 << 20, 'bytes of the body')
                assert json.loads(answer.body)['Message'].startswith('ErrorCode:ServerBusy;'), answer.body[:100]
            equal(client.post(**with_id()).status, 204, 'status of the next on the same connection')


@fault_case('status: cut in the middle of the body')
def cut_body(hub):
    hub.fault('status', code=503, errorCode='ServerBusy', shape='cut', count=1)
    request = with_id()
    with Client(hub) as client:
        client.send(**request)
        data, _ = client.ending()
    head, body = data.split(b'\r\n\r\n')
    length = int(head.lower().split(b'content-length:')[1].split()[0])
    assert head.startswith(b'HTTP/1.1 503 ') and 0 < len(body) < length, data
    check(hub, request, status=503, fault='status', accepted=False, replySent=False)


@fault_case('status: a redirect says where to')
def redirect(hub):
    hub.fault('status', code=307, count=1)
    answer = post(hub)
    equal((answer.status, answer.header('location')), (307, f'https://{HOST}/elsewhere'), 'answer')


@fault_case('stall: no answer and nothing accepted; closed when the faults are deleted')
def stall(hub):
    hub.fault('stall', count=1)
    request = with_id()
    with Client(hub) as client:
        client.send(**request)
        until(lambda: hub.last_request()['fault'] == 'stall', 'the stall is recorded')
        check(hub, request, status=0, end=0, accepted=False, replySent=False)
        equal(post(hub, **with_id()).status, 204, 'status of another request meanwhile')
        assert client.is_quiet(), 'an answer to a stalled request'
        hub.no_faults()
        equal(client.ending()[0], b'', 'answer')
    record = until(lambda: recorded(hub, request)['end'] and recorded(hub, request), 'the request ends')
    equal((record['status'], record['replySent'], record['accepted']), (0, False, False), 'record')
    equal(arrived(hub, request), 0, 'messages')


@fault_case('stall: ends by itself after its seconds')
def stall_seconds(hub):
    hub.fault('stall', seconds=0.3)
    start = time.monotonic()
    with Client(hub) as client:
        client.send(**with_id())
        equal(client.ending()[0], b'', 'answer')
    took = time.monotonic() - start
    assert 0.2 < took < 5, f'{took} s'


@fault_case('stall: a client that goes away is not in flight any more')
def stall_gone(hub):
    hub.put_device('stalled')
    hub.fault('stall', device='stalled')
    for _ in range(3):
        with Client(hub) as client:
            client.send(device='stalled', **with_id())
            until(lambda: hub.last_request()['fault'] == 'stall' and hub.last_request()['end'] == 0,
                  'the stall is recorded')
    until(lambda: hub.last_request()['end'], 'the request ends with its connection')
    equal(hub.stats()['maxInFlight']['stalled'], 1, 'maxInFlight')


@fault_case('two requests at once are two in flight')
def two_in_flight(hub):
    hub.put_device('twice')
    hub.fault('stall', device='twice', count=1)
    with Client(hub) as client:
        client.send(device='twice', **with_id())
        until(lambda: hub.last_request()['fault'] == 'stall', 'the stall is recorded')
        equal(post(hub, device='twice').status, 204, 'status')
        equal(hub.stats()['maxInFlight']['twice'], 2, 'maxInFlight')


@fault_case('delay: accepted and answered after so long, others are not held up')
def delay(hub):
    hub.fault('delay', ms=400, count=1)
    request = with_id()
    with Client(hub) as client:
        start = time.monotonic()
        client.send(**request)
        until(lambda: recorded_fault(hub, 'delay'), 'the request has arrived')
        equal(post(hub, **with_id()).status, 204, 'status of another request meanwhile')
        if time.monotonic() - start < 0.3:
            equal(arrived(hub, request), 0, 'messages before the delay')
        equal(client.receive().status, 204, 'status')
        assert time.monotonic() - start >= 0.39, 'answered too early'
        record = check(hub, request, status=204, fault='delay', accepted=True, replySent=True)
        assert record['end'] - record['start'] >= 390000, 'the record says it was faster'
        equal(client.post(**with_id()).status, 204, 'status of the next on the same connection')


def recorded_fault(hub, kind):
    return any(r['fault'] == kind for r in hub.requests()[-3:])


@fault_case('delay: accepted all the same when the client does not wait')
def delay_gone(hub):
    hub.fault('delay', ms=300, count=1)
    request = with_id()
    with Client(hub) as client:
        client.send(**request)
        until(lambda: hub.last_request()['fault'] == 'delay', 'the request has arrived')
    until(lambda: arrived(hub, request), 'it is accepted')
    check(hub, request, fault='delay', accepted=True, replySent=False)


@fault_case('reset-before: RST, nothing accepted')
def reset_before(hub):
    hub.fault('reset-before', count=1)
    request = with_id()
    with Client(hub) as client:
        client.send(**request)
        equal(client.ending(), (b'', 'reset'), 'what was seen')
    check(hub, request, status=0, fault='reset-before', accepted=False, replySent=False)


@fault_case('reset-after: accepted, RST for an answer')
def reset_after(hub):
    hub.fault('reset-after', count=1)
    request = with_id()
    with Client(hub) as client:
        client.send(**request)
        equal(client.ending(), (b'', 'reset'), 'what was seen')
    check(hub, request, status=204, fault='reset-after', accepted=True, replySent=False)


@fault_case('reset-after: a bad request is not accepted by it')
def reset_after_bad(hub):
    hub.fault('reset-after', count=1)
    before = hub.stats()['messages']
    with Client(hub) as client:
        client.send(auth=[], body=b'x')
        equal(client.ending(), (b'', 'reset'), 'what was seen')
    equal(hub.stats()['messages'], before, 'messages')


@fault_case('close-between: answered, then closed without a word')
def close_between(hub):
    hub.fault('close-between', count=1)
    request = with_id()
    with Client(hub) as client:
        answer = client.post(**request)
        equal((answer.status, answer.header('connection')), (204, None), 'answer')
        equal(client.ending(), (b'', 'closed'), 'what was seen')
    check(hub, request, status=204, fault='close-between', accepted=True, replySent=True)


@fault_case('truncate: accepted, cut inside the reply\'s header')
def truncate(hub):
    hub.fault('truncate', count=1)
    request = with_id()
    with Client(hub) as client:
        client.send(**request)
        data, how = client.ending()
    equal(how, 'closed', 'the end')
    assert data.startswith(b'HTTP/1.1 204 No Content\r\nDate: ') and b'\r\n\r\n' not in data, data
    check(hub, request, status=204, fault='truncate', accepted=True, replySent=False)


@fault_case('date: Date and the judgement of se go ahead together')
def date(hub):
    for offset in (3600, -7200):
        hub.fault('date', offset=offset)
        now = time.time()
        answer = post(hub, auth=device_token(se=int(now) + offset - 290))
        equal(answer.status, 204, 'status of a token that has not expired there')
        seen = email.utils.parsedate_to_datetime(answer.header('date')).timestamp()
        assert abs(seen - now - offset) < 5, f'Date is off by {seen - now - offset} s'
        answer = post(hub, auth=device_token(se=int(now) + offset - 310))
        equal((answer.status, answer.code), (401, 'IotHubUnauthorizedAccess'), 'a token that has expired there')
        equal(hub.last_request()['fault'], 'date', 'fault')
        hub.no_faults()


@fault_case('late-accept: closed unanswered, accepted later')
def late_accept(hub):
    hub.fault('late-accept', ms=500, count=1)
    request = with_id()
    start = time.monotonic()
    with Client(hub) as client:
        client.send(**request)
        equal(client.ending(), (b'', 'closed'), 'what was seen')
    record = recorded(hub, request)
    if time.monotonic() - start < 0.4:
        equal((arrived(hub, request), record['accepted']), (0, False), 'before its time')
    until(lambda: arrived(hub, request), 'it is accepted')
    assert time.monotonic() - start >= 0.49, 'accepted too early'
    check(hub, request, fault='late-accept', accepted=True, replySent=False, n=record['n'])


@fault_case('refuse-connect: connections are reset and refused, then taken again on the same port')
def refuse_connect(hub):
    with Client(hub) as idle, Client(hub) as used, Client(hub) as stalled:
        hub.put_device('held')
        equal(used.post(**with_id()).status, 204, 'status before')
        hub.fault('stall', device='held')
        stalled.send(device='held', **with_id())
        until(lambda: hub.last_request()['fault'] == 'stall', 'the stall is recorded')
        hub.fault('refuse-connect')
        for client in (idle, used, stalled):
            equal(client.ending(), (b'', 'reset'), 'an open connection')
    for _ in range(20):
        try:
            socket.create_connection(('127.0.0.1', hub.port), timeout=5).close()
            raise AssertionError('a connection was taken')
        except ConnectionRefusedError:
            pass
    hub.no_faults()
    equal(post(hub, **with_id()).status, 204, 'status afterwards')


@fault_case('refuse-connect: ends by itself after its seconds')
def refuse_seconds(hub):
    hub.fault('refuse-connect', seconds=0.3)

    def taken():
        try:
            return post(hub, **with_id()).status == 204
        except OSError:
            return False
    assert not taken(), 'a connection was taken'
    until(taken, 'connections are taken again')


@fault_case('first posted, first matched; skip passes first; count ends it')
def order(hub):
    hub.fault('status', code=500, count=2, skip=1)
    hub.fault('status', code=503, count=2)
    equal([post(hub).status for _ in range(6)], [503, 500, 500, 503, 204, 204], 'statuses')


@fault_case('a fault of one device leaves the others alone')
def one_device(hub):
    hub.put_device('other')
    hub.fault('status', code=503, device='other')
    equal([post(hub).status, post(hub, device='other').status, post(hub).status], [204, 503, 204], 'statuses')


@fault_case('onlyBatch leaves single events alone')
def only_batch(hub):
    hub.fault('status', code=503, onlyBatch=True)
    with Client(hub) as client:
        equal([client.post().status, client.batch([item('x')]).status, client.post().status], [204, 503, 204],
              'statuses')


@fault_case('a fault with seconds ends in time, one with neither at DELETE')
def ends(hub):
    hub.fault('status', code=503, seconds=0.2)
    equal(post(hub).status, 503, 'status')
    until(lambda: post(hub).status == 204, 'the fault ends')
    hub.fault('status', code=500)
    equal([post(hub).status for _ in range(5)], [500] * 5, 'statuses')
    hub.no_faults()
    equal(post(hub).status, 204, 'status')


@fault_case('a batch under a fault is recorded with its ids and accepted whole or not at all')
def batch(hub):
    for kind, accepted in (('reset-before', False), ('reset-after', True)):
        names = [next(ids) for _ in range(5)]
        hub.fault(kind, count=1)
        with Client(hub) as client:
            client.send(body=json.dumps([item('x', name) for name in names]).encode(),
                        kind='application/vnd.microsoft.iothub.json')
            equal(client.ending(), (b'', 'reset'), 'what was seen')
        equal((hub.last_request()['messageIds'], hub.last_request()['accepted']), (names, accepted), 'request')
        equal([m['messageId'] for m in hub.messages() if m['messageId'] in names], names if accepted else [],
              'messages')


@fault_case('many faults in a row leave no connection hanging')
def many(hub):
    for _ in range(10):
        for kind, more in (('reset-before', {}), ('reset-after', {}), ('truncate', {}), ('close-between', {}),
                           ('late-accept', {'ms': 1})):
            hub.fault(kind, count=1, **more)
            with Client(hub) as client:
                client.send(**with_id())
                client.ending()
    stats = hub.stats()
    until(lambda: all(r['end'] for r in hub.requests()[-50:]), 'every request has ended')
    equal(hub.stats()['requests'], stats['requests'], 'requests')


main()

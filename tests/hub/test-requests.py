#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Host, path, method, api-version and properties of single events, and how the hub words its answers."""

import base64
import email.utils
import json
import re
import time

from hubtest import HOST, VERSION, Client, case, equal, main, post, until

EVENTS = '/devices/d1/messages/events'


def refuses(hub, status, code, **request):
    before = hub.stats()['messages']
    answer = post(hub, **request)
    equal((answer.status, answer.code), (status, code), 'answer')
    equal(hub.stats()['messages'], before, 'messages')


def refuse_case(text, status, code, **request):
    case(f'refused: {text}')(lambda hub: refuses(hub, status, code, **request))


def accept_case(text, **request):
    case(f'accepted: {text}')(lambda hub: equal(post(hub, **request).status, 204, 'status'))


refuse_case('another server name', 401, 'IotHubNotFound', server_name='other.azure-devices.net')
refuse_case('no server name', 401, 'IotHubNotFound', server_name=None)
refuse_case('another Host', 401, 'IotHubNotFound', host='other.azure-devices.net')
refuse_case('a Host that begins alike', 401, 'IotHubNotFound', host=HOST + '.example')
refuse_case('a Host with a foreign port', 401, 'IotHubNotFound', host=HOST + ':8443')
refuse_case('two Host headers', 401, 'IotHubNotFound', host=[HOST, HOST])
accept_case('Host in upper case', host=HOST.upper())
accept_case('Host with the port of HTTPS', host=HOST + ':443')


@case('refused: no Host header')
def no_host(hub):
    equal(post(hub, host=[]).status, 400, 'status')


@case('accepted: Host with the port of the connection')
def own_port(hub):
    equal(post(hub, host=f'{HOST}:{hub.port}').status, 204, 'status')


for path in ('/', '/devices', '/devices/d1', '/devices/d1/messages', EVENTS + '/', '/devices//messages/events',
             '/devices/d1/messages/devicebound', '/devices/d1/files', '/twins/d1', '/devices/d1/Messages/events',
             '/devices/d1/modules/messages/events', '/devices/d%zz/messages/events', '/devices/d%001/messages/events',
             '/devices/' + 'x' * 129 + '/messages/events', '/devices/d%20/messages/events',
             '//devices/d1/messages/events'):
    refuse_case(f'path {path[:60]}', 404, 'GenericNotFound', path=f'{path}?api-version={VERSION}')

for method in ('GET', 'PUT', 'PATCH', 'DELETE'):
    refuse_case(method, 405, 'GenericMethodNotAllowed', method=method)

for query in ('', '?', '?api-version=', '?api-version=2021-04-13', '?api-version=2021-04-12x',
              f'?api-version={VERSION}&api-version={VERSION}',
              f'?Api-Version={VERSION}', '?api-version=2017-11-08-preview'):
    refuse_case(f'query "{query}"', 400, 'InvalidProtocolVersion', path=EVENTS + query)

for known in ('2016-11-14', '2020-03-13', '2020-09-30', '2021-04-12'):
    accept_case(f'api-version {known}', path=f'{EVENTS}?api-version={known}')

APP_SPECIALS = "!#$%&'*+-.^_`|~"
ID_SPECIALS = "-:.+%_#*?!(),=@;$'"

for text in ('a b', 'a,b', 'a:b', 'a"b', 'caf\xe9', 'a(b', 'a/b', 'a=b', 'a\\b', '{}', 'a@b', 'a;b'):
    refuse_case(f'application property value {text}', 400, 'ArgumentInvalid', headers=[('iothub-app-k', text)])
for name in ('', 'a"b', 'a/b', 'a(b', 'a@b'):
    refuse_case(f'application property name "{name}"', 400, 'ArgumentInvalid', headers=[(f'iothub-app-{name}', 'v')])
refuse_case('an application property twice', 400, 'ArgumentInvalid',
            headers=[('iothub-app-k', '1'), ('IOTHUB-APP-K', '2')])
refuse_case('a system property twice', 400, 'ArgumentInvalid',
            headers=[('iothub-messageid', '1'), ('iothub-messageid', '1')])
for text in ('', 'a b', 'a/b', 'a"b', 'a|b', 'caf\xe9', 'x' * 129):
    refuse_case(f'message id "{text[:20]}"', 400, 'ArgumentInvalid', headers=[('iothub-messageid', text)])
for text in ('2024-05-01T12:00:00+02:00', '2024-05-01T12:00:00', '2024-05-01', '2024-13-01T12:00:00Z', 'now', ''):
    refuse_case(f'creation time "{text}"', 400, 'ArgumentInvalid', headers=[('iothub-creation-time-utc', text)])
refuse_case('an acknowledgement that is none', 400, 'ArgumentInvalid', headers=[('iothub-ack', 'maybe')])
refuse_case('a content type that is not ASCII', 400, 'ArgumentInvalid', headers=[('iothub-contenttype', 'caf\xe9')])

accept_case('an empty body', body=b'')
accept_case('an application property without a value', headers=[('iothub-app-k', '')])
accept_case('a message id of 128 characters', headers=[('iothub-messageid', 'x' * 128)])
accept_case('a Content-Type that is not the batch one', body=b'[]', kind='application/json')


@case('body and properties arrive as they were sent')
def properties(hub):
    body = bytes(range(256))
    headers = [('iothub-messageid', ID_SPECIALS), ('iothub-app-' + APP_SPECIALS, APP_SPECIALS),
               ('IoTHub-CorrelationId', 'c 1'),
               ('iothub-contenttype', 'application/json'), ('iothub-contentencoding', 'utf-8'), ('iothub-userid', 'u'),
               ('iothub-creation-time-utc', '2024-05-01T12:00:00.000Z'), ('iothub-to', '/devices/d1/messages/events'),
               ('iothub-interface-id', 'urn:x'), ('dt-subject', 's'), ('iothub-messageschema', 'm'),
               ('iothub-ack', 'full'),
               ('iothub-expiry', '2034-05-01T12:00:00Z')]
    equal(post(hub, headers=headers, body=body).status, 204, 'status')
    message = hub.messages()[-1]
    equal(base64.b64decode(message['body']), body, 'body')
    equal(message['messageId'], ID_SPECIALS, 'messageId')
    equal(message['properties'], {APP_SPECIALS: APP_SPECIALS}, 'properties')
    system = message['systemProperties']
    for name, value in headers:
        if not name.startswith('iothub-app-'):
            equal(system[name.lower()], value, name)


@case('what only the hub may say of a message is dropped and said by the hub')
def stamped(hub):
    headers = [('iothub-connection-device-id', 'someone-else'), ('iothub-enqueuedtime', 'long ago')]
    equal(post(hub, headers=headers).status, 204, 'status')
    system = hub.messages()[-1]['systemProperties']
    equal(system['iothub-connection-device-id'], 'd1', 'device')
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z', system['iothub-enqueuedtime']), 'no time of arrival'


@case('a message without an id has none')
def no_id(hub):
    equal(post(hub).status, 204, 'status')
    equal(hub.messages()[-1]['messageId'], None, 'messageId')
    equal(hub.last_request()['messageIds'], [None], 'messageIds')


@case('204 has Date and a request id, no body, no Content-Type')
def no_content(hub):
    with Client(hub) as client:
        answer = client.post(body=b'x')
        equal(answer.status, 204, 'status')
        equal(answer.header('content-type'), None, 'Content-Type')
        assert answer.header('content-length') in (None, '0'), 'a length'
        assert re.fullmatch(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}',
                            answer.header('x-ms-request-id')), 'no request id'
        seen = email.utils.parsedate_to_datetime(answer.header('date')).timestamp()
        assert abs(seen - time.time()) < 5, 'Date is not now'
        assert client.is_quiet() and not client.data, 'something follows the answer'


@case('an error has its name in a header and a body of shape A')
def shape_a(hub):
    answer = post(hub, auth=[])
    equal(answer.header('content-type'), 'application/json; charset=utf-8', 'Content-Type')
    body = json.loads(answer.body)
    equal(sorted(body), ['ExceptionMessage', 'Message'], 'fields')
    assert body['Message'].startswith('ErrorCode:IotHubUnauthorizedAccess;Unauthorized'), body['Message']
    assert re.fullmatch(r'Tracking ID:[0-9a-f]{32}-G:0-TimeStamp:\d\d/\d\d/\d{4} \d\d:\d\d:\d\d',
                        body['ExceptionMessage'])


@case('a refusal does not end the connection')
def goes_on(hub):
    with Client(hub) as client:
        for status in (401, 204, 400, 204):
            more = {401: {'auth': []}, 400: {'headers': [('iothub-messageid', '')]}}.get(status, {})
            equal(client.post(**more).status, status, 'status')
    equal(len({request['connection'] for request in hub.requests()[-4:]}), 1, 'connections')


@case('a request is recorded as it was')
def recorded(hub):
    with Client(hub) as client:
        equal(client.post(body=b'12345', headers=[('iothub-messageid', 'r-1')], kind='text/x').status, 204, 'status')
        equal(client.post(path='/nothing/here').status, 404, 'status')
    first, second = hub.requests()[-2:]
    for name, value in {'device': 'd1', 'module': None, 'path': EVENTS, 'apiVersion': VERSION, 'contentType': 'text/x',
                        'items': 1,
                        'bytes': 5, 'status': 204, 'fault': None, 'replySent': True, 'accepted': True,
                        'messageIds': ['r-1']}.items():
        equal(first[name], value, name)
    for name, value in {'device': None, 'path': '/nothing/here', 'apiVersion': None, 'items': 0, 'status': 404,
                        'accepted': False,
                        'messageIds': [], 'n': first['n'] + 1, 'connection': first['connection']}.items():
        equal(second[name], value, name)
    assert 0 < first['start'] <= first['end'] <= second['start'] <= second['end'], 'times are out of order'
    equal(hub.messages()[-1]['request'], first['n'], 'request of the message')


@case('a request that breaks off is recorded, accepts nothing and is not in flight any more')
def broken_off(hub):
    hub.put_device('broken')
    before = hub.stats()
    for part in (1, -1):
        with Client(hub) as client:
            head = client.head(device='broken', length=100)
            client.write(head + b'x' * (50 if part > 0 else 0))
            until(lambda: hub.last_request()['device'] == 'broken' and not hub.last_request()['end'], 'it has begun')
    until(lambda: hub.last_request()['end'], 'it has ended')
    record = hub.last_request()
    equal((record['status'], record['accepted'], record['replySent'], record['items']), (0, False, False, 0), 'record')
    after = hub.stats()
    equal((after['requests'], after['messages'], after['refused']),
          (before['requests'] + 2, before['messages'], before['refused']), 'statistics')
    equal(post(hub, device='broken').status, 204, 'status')
    equal(hub.stats()['maxInFlight']['broken'], 1, 'maxInFlight')


main()

#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Batches: the JSON, the properties, and the sizes of batches and single events."""

import base64
import json

from hubtest import BATCH, Client, case, device_token, equal, item, main, post

LIMIT = 262144
GOOD = item('good', 'good')


def refuses(hub, status, code, body):
    before = hub.stats()['messages']
    with Client(hub) as client:
        answer = client.batch(body)
    equal((answer.status, answer.code), (status, code), 'answer')
    equal(hub.stats()['messages'], before, 'messages')


def refuse_case(text, code, body):
    case(f'refused: {text}')(lambda hub: refuses(hub, 400, code, body))


for text in (b'', b'x', b'[', b'[{]', b'[{"body":"YQ=="},]', b'[{"body":"YQ=="}] x', b'[{"body":"YQ=="}][]',
             b'[{"body":"YQ=="',
             b'[{"body":"YQ==" "properties":{}}]', b"[{'body':'YQ=='}]", b'[{"body":"YQ==",}]',
             b'[{"body":"YQ==","properties":{,}}]',
             b'[{"body":"a\x01","base64Encoded":false}]', b'[{"body":"\xff","base64Encoded":false}]',
             b'[{"body":"\\x","base64Encoded":false}]',
             b'[{"body":"YQ==","body":"YQ=="}]',
             b'[{"body":"YQ==","properties":{"iothub-app-a":"1","iothub-app-a":"1"}}]',
             b'[{"body":"YQ==","base64Encoded":true,"base64Encoded":true}]', b'\xef\xbb\xbf[{"body":"YQ=="}]',
             b'[{"body":"YQ=="}]\x00'):
    refuse_case(f'not JSON: {text[:60]!r}', 'DeserializationError', text)

for value in ({}, 'x', 1, None, [1], ['x'], [None], [[]], [{}], [{'properties': {}}], [{'body': 1}], [{'body': None}],
              [{'body': {}}],
              [{'body': 'YQ==', 'base64Encoded': 'true'}], [{'body': 'YQ==', 'base64Encoded': 1}],
              [{'body': 'YQ==', 'base64Encoded': None}],
              [{'body': 'YQ==', 'Properties': {}}], [{'body': 'YQ==', 'x': 1}], [{'Body': 'YQ=='}],
              [{'body': 'YQ==', 'properties': []}],
              [{'body': 'YQ==', 'properties': 'x'}], [{'body': 'YQ==', 'properties': None}],
              [{'body': 'YQ==', 'properties': {'iothub-app-a': 1}}],
              [{'body': 'YQ==', 'properties': {'iothub-app-a': None}}]):
    refuse_case(f'shape: {json.dumps(value)}', 'DeserializationError', json.dumps(value).encode())
refuse_case('an empty batch', 'ArgumentInvalid', b'[]')
refuse_case('an empty batch with space', 'ArgumentInvalid', b' [ ] ')

for text in ('YQ', 'YQ=', 'YQ===', 'Y===', 'YR==', 'YWJ=', 'YQ==YQ==', 'Y Q==', 'YQ==\\n', 'YW-_', '=', '====',
             'YQ==\\u0000', 'é'):
    refuse_case(f'base64: {text}', 'DeserializationError', f'[{{"body":"{text}"}}]'.encode())

for name, value in (('app', 'v'), ('iothub-unknown', 'v'), ('iothub-app-', 'v'), ('iothub-app-a b', 'v'),
                    ('iothub-app-a', 'b c'),
                    ('iothub-app-a', 'é'), ('iothub-app-é', 'a'), ('iothub-app-a', 'a\0b'), ('iothub-messageid', ''),
                    ('iothub-messageid', 'a b'), ('iothub-messageid', 'x' * 129), ('iothub-creation-time-utc', 'today'),
                    ('iothub-app-iothub-creation-time-utc', '2024-05-01T12:00:00+01:00'),
                    ('iothub-contenttype', 'a\nb'), ('iothub-ack', 'x')):
    refuse_case(f'property {name}: {value[:20]!r}', 'ArgumentInvalid',
                json.dumps([{'body': 'YQ==', 'properties': {name: value}}]).encode())


@case('one bad element refuses the whole batch, wherever it stands')
def atomic(hub):
    for place in range(3):
        items = [GOOD, GOOD, GOOD]
        items[place] = {'body': '?'}
        refuses(hub, 400, 'DeserializationError', json.dumps(items).encode())


@case('a batch arrives in order, with ids, properties and bodies')
def arrives(hub):
    items = [item('one', 'b-1', **{'iothub-app-k': 'v1'}), {'body': '{"t":22}', 'base64Encoded': False},
             item('', 'b-3'),
             {'body': base64.b64encode(bytes(range(256))).decode(), 'base64Encoded': True, 'properties': {}},
             item('five', 'b-5', **{'iothub-contenttype': 'application/json',
                                    'iothub-app-iothub-creation-time-utc': '2024-05-01T12:00:00Z'})]
    with Client(hub) as client:
        equal(client.batch(items).status, 204, 'status')
    messages = hub.messages()[-5:]
    equal([m['messageId'] for m in messages], ['b-1', None, 'b-3', None, 'b-5'], 'ids')
    equal([base64.b64decode(m['body']) for m in messages], [b'one', b'{"t":22}', b'', bytes(range(256)), b'five'],
          'bodies')
    equal([m['properties'] for m in messages], [{'k': 'v1'}, {}, {}, {}, {}], 'properties')
    equal(messages[4]['systemProperties']['iothub-contenttype'], 'application/json', 'content type')
    equal(messages[4]['systemProperties']['iothub-creation-time-utc'], '2024-05-01T12:00:00Z', 'creation time')
    equal([m['seq'] for m in messages], list(range(messages[0]['seq'], messages[0]['seq'] + 5)), 'seq')
    request = hub.last_request()
    equal((request['items'], request['messageIds']), (5, ['b-1', None, 'b-3', None, 'b-5']), 'request')
    equal({m['request'] for m in messages}, {request['n']}, 'requests of the messages')


@case('the same batch written with escapes, odd spaces and another order says the same')
def written_otherwise(hub):
    plain = (b'[{"body":"YQ==","properties":{"iothub-messageid":"w","iothub-app-k":"v"}},'
             b'{"body":"text","base64Encoded":false}]')
    others = (b'[{"bo\\u0064y":"YQ==","properties":{"iothub-messageid":"w","iothub-app-k":"v"}},'
              b'{"body":"text","base64Encoded":false}]',
              b'[{"body":"\\u0059Q==","properties":{"iothub-app-k":"\\u0076","iothub-messageid":"w"}},'
              b'{"base64Encoded":false,"body":"te\\u0078t"}]',
              b' [ { "properties" : { "iothub-messageid" : "w" ,\r\n"iothub-app-k":"v"} , "body" : "YQ==" } ,'
              b'\t{ "base64Encoded" : false , "body" : "text" } ] \n')
    with Client(hub) as client:
        seen = []
        for body in (plain,) + others:
            equal(client.batch(body).status, 204, 'status')
            seen.append([(m['body'], m['messageId'], m['properties']) for m in hub.messages()[-2:]])
    for other in seen[1:]:
        equal(other, seen[0], 'messages')


@case('a text body is taken as UTF-8, whatever stands in it')
def text_body(hub):
    text = 'é\0\n"\\/ \u20ac \U0001f600'
    with Client(hub) as client:
        for ascii_only in (True, False):
            body = json.dumps([{'body': text, 'base64Encoded': False}], ensure_ascii=ascii_only).encode()
            equal(client.batch(body).status, 204, 'status')
            equal(base64.b64decode(hub.messages()[-1]['body']), text.encode(), 'body')


@case('base64 may be written with escaped slashes')
def escaped_slash(hub):
    with Client(hub) as client:
        equal(client.batch(b'[{"body":"\\/\\/\\/\\/"}]').status, 204, 'status')
    equal(hub.messages()[-1]['body'], '////', 'body')


@case('a property list of any length is taken')
def many_properties(hub):
    for n in (15, 16, 17, 40):
        properties = {f'iothub-app-k{i}': f'v{i}' for i in range(n)}
        with Client(hub) as client:
            equal(client.batch([{'body': '', 'properties': properties}]).status, 204, 'status')
        equal(hub.messages()[-1]['properties'], {f'k{i}': f'v{i}' for i in range(n)}, 'properties')


@case('the batch type may have parameters, and is known in any case')
def type_parameters(hub):
    for kind in (BATCH + '; charset=utf-8', BATCH.upper()):
        equal(post(hub, body=json.dumps([GOOD, GOOD]).encode(), kind=kind).status, 204, 'status')
        equal(hub.last_request()['items'], 2, 'items')
    equal(post(hub, body=b'[1', kind=BATCH + 'x').status, 204, 'status of another type')


@case('several requests go over one connection, chunked ones too')
def chunked(hub):
    with Client(hub) as client:
        body = json.dumps([GOOD]).encode()
        client.send(body=b'')
        client.receive()
        head = (f'POST /devices/d1/messages/events?api-version=2021-04-12 HTTP/1.1\r\nHost: {hub.host}\r\n'
                f'Content-Type: {BATCH}\r\nTransfer-Encoding: chunked\r\n')
        head += f'Authorization: {device_token()}\r\n\r\n'
        client.write(head.encode())
        for piece in (body[:7], body[7:]):
            client.write(f'{len(piece):x}\r\n'.encode() + piece + b'\r\n')
        client.write(b'0\r\n\r\n')
        equal(client.receive().status, 204, 'status')
    equal((hub.last_request()['bytes'], hub.last_request()['items']), (len(body), 1), 'bytes and items')


def big_batch(size):
    """A batch whose JSON has exactly so many bytes."""
    frame = len(json.dumps([{'body': '', 'base64Encoded': False}]))
    return json.dumps([{'body': 'x' * (size - frame), 'base64Encoded': False}]).encode()


@case('a single event of 262144 counted bytes is taken, one more is not')
def single_size(hub):
    headers = [('iothub-app-name', 'value'), ('iothub-contenttype', 'text/plain'), ('iothub-messageid', '12')]
    counted = len('name') + len('value') + len('text/plain') + len('12')
    for body, properties, status in ((LIMIT, [], 204), (LIMIT + 1, [], 413), (LIMIT - counted, headers, 204),
                                     (LIMIT - counted + 1, headers, 413), (2 * LIMIT, [], 413)):
        answer = post(hub, body=b'x' * body, headers=properties)
        equal(answer.status, status, f'status of {body}')
        equal(answer.code, 'MessageTooLarge' if status == 413 else None, 'iothub-errorcode')
        equal(hub.last_request()['accepted'], status == 204, 'accepted')


@case('a batch of 262144 bytes is taken, one more is not')
def batch_size(hub):
    for size, status in ((LIMIT, 204), (LIMIT + 1, 413), (4 * LIMIT, 413)):
        body = big_batch(size)
        equal(len(body), size, 'size')
        with Client(hub) as client:
            answer = client.batch(body)
        equal(answer.status, status, f'status of {size}')
        equal(hub.last_request()['bytes'], size, 'bytes')
        equal(hub.last_request()['accepted'], status == 204, 'accepted')


@case('a batch of many small messages arrives whole')
def many(hub):
    ids = [f'many-{i}' for i in range(3000)]
    with Client(hub) as client:
        equal(client.batch([item('', i) for i in ids]).status, 204, 'status')
    equal([m['messageId'] for m in hub.messages()[-3000:]], ids, 'ids')
    equal(hub.last_request()['messageIds'], ids, 'ids of the request')


main()

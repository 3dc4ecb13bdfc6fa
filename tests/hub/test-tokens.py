#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Which tokens the test hub takes, and which it refuses."""

import base64
import hashlib
import time

from hubtest import HOST, KEY, OTHER_KEY, VERSION, case, device_token, equal, main, post, quote, token

RESOURCE = f'{HOST}/devices/d1'
SR = quote(RESOURCE)


def accepts(hub, auth, **more):
    answer = post(hub, auth=auth, **more)
    equal(answer.status, 204, f'status ({answer.code})')


def refuses(hub, auth, **more):
    before = hub.stats()
    answer = post(hub, auth=auth, **more)
    equal(answer.status, 401, 'status')
    equal(answer.code, 'IotHubUnauthorizedAccess', 'iothub-errorcode')
    after = hub.stats()
    equal((after['accepted'], after['refused']), (before['accepted'], before['refused'] + 1), 'accepted and refused')


def accept_case(text, make):
    case(f'accepted: {text}')(lambda hub: accepts(hub, make()))


def refuse_case(text, make):
    case(f'refused: {text}')(lambda hub: refuses(hub, make()))


def with_plus():
    """A token whose signature has a plus sign that is not encoded."""
    for se in range(int(time.time()) + 1000, int(time.time()) + 2000):
        made = token(SR, se=se, fields='sr={sr}&sig={plainsig}&se={se}')
        if '+' in made:
            return made
    raise AssertionError('no signature with a plus sign')


def escape_lower(text):
    return ''.join(c if c.isalnum() or c in '-._~' else f'%{ord(c):02x}' for c in text)


now = time.time

accept_case('%2F upper', lambda: token(SR))
accept_case('%2f lower', lambda: token(escape_lower(RESOURCE)))
accept_case('raw slashes and an empty skn, as the C SDK writes',
            lambda: token(RESOURCE, fields='sr={sr}&sig={sig}&se={se}&skn='))
accept_case('skn before se', lambda: token(SR, fields='sr={sr}&sig={sig}&skn=&se={se}'))
accept_case('any order of fields', lambda: token(SR, fields='se={se}&sr={sr}&sig={sig}'))
accept_case('field names in upper case', lambda: token(SR, fields='SR={sr}&Sig={sig}&SE={se}'))
accept_case('the host in upper case', lambda: token(quote(f'{HOST.upper()}/devices/d1')))
accept_case('a scope of messages only', lambda: token(quote(f'{RESOURCE}/messages')))
accept_case('a scope of messages/events only', lambda: token(quote(f'{RESOURCE}/messages/events')))
accept_case('expired less than five minutes ago', lambda: token(SR, se=int(now()) - 290))
accept_case('an id that is encoded twice', lambda: token(quote(f'{HOST}/devices/' + quote('d1'))))

refuse_case('no Authorization header', lambda: [])
refuse_case('two Authorization headers', lambda: [token(SR), token(SR)])
refuse_case('another scheme', lambda: 'Basic ZDE6ZDE=')
refuse_case('the scheme in lower case', lambda: token(SR).replace('SharedAccessSignature', 'sharedaccesssignature'))
refuse_case('two spaces after the scheme', lambda: token(SR).replace(' ', '  '))
refuse_case('white space between fields', lambda: token(SR, fields='sr={sr}& sig={sig}&se={se}'))
refuse_case('no fields', lambda: 'SharedAccessSignature x')
refuse_case('no sr', lambda: token(SR, fields='sig={sig}&se={se}'))
refuse_case('an empty sr', lambda: token('', fields='sr=&sig={sig}&se={se}'))
refuse_case('no sig', lambda: token(SR, fields='sr={sr}&se={se}'))
refuse_case('no se', lambda: token(SR, fields='sr={sr}&sig={sig}'))
refuse_case('sr twice', lambda: token(SR, fields='sr={sr}&sr={sr}&sig={sig}&se={se}'))
refuse_case('se twice', lambda: token(SR, fields='sr={sr}&sig={sig}&se={se}&SE={se}'))
refuse_case('an unknown field', lambda: token(SR, fields='sr={sr}&sig={sig}&se={se}&nbf=0'))
refuse_case('an empty field', lambda: token(SR, fields='sr={sr}&sig={sig}&se={se}&'))
refuse_case('a policy that the hub does not have', lambda: token(SR, fields='sr={sr}&sig={sig}&se={se}&skn=device'))
refuse_case('se that is no number', lambda: token(SR, se='soon'))
refuse_case('a negative se', lambda: token(SR, se=-5))
refuse_case('se with a fraction', lambda: token(SR, se=f'{now() + 60:.1f}'))
refuse_case('an empty se', lambda: token(SR, se=''))
refuse_case('expired more than five minutes ago', lambda: token(SR, se=int(now()) - 310))
refuse_case('a plus sign in sig that is not encoded', with_plus)
refuse_case('sig that is not base64', lambda: token(SR, fields='sr={sr}&sig=abc&se={se}'))
for size in (31, 32, 33):
    refuse_case(f'sig of {size} zeros', lambda zeros=base64.b64encode(bytes(size)).decode():
                token(SR, fields='sr={sr}&se={se}&sig=' + quote(zeros)))
refuse_case('signed over the decoded sr', lambda: token(SR, signed=RESOURCE))
refuse_case('signed over an sr in the other case of hex', lambda: token(SR, signed=escape_lower(RESOURCE)))
refuse_case('signed with a line feed at the end', lambda: token(SR, signed=SR + '\n'))
refuse_case('another key', lambda: token(SR, key=OTHER_KEY))
refuse_case('the text of the key as key', lambda: token(SR, key=base64.b64encode(KEY)))
refuse_case('another host', lambda: token(quote('other.azure-devices.net/devices/d1')))
refuse_case('a host that only begins alike', lambda: token(quote(f'{HOST}.example/devices/d1')))
refuse_case('no host', lambda: token(quote('devices/d1')))
refuse_case('the whole hub', lambda: token(quote(HOST)))
refuse_case('all devices', lambda: token(quote(f'{HOST}/devices')))
refuse_case('another device', lambda: token(quote(f'{HOST}/devices/d2')))
refuse_case('a device whose name begins alike', lambda: token(quote(f'{HOST}/devices/d')))
refuse_case('half a segment of the path', lambda: token(quote(f'{RESOURCE}/mess')))
refuse_case('another part of the device', lambda: token(quote(f'{RESOURCE}/files')))
refuse_case('a slash at the end', lambda: token(quote(RESOURCE + '/')))
refuse_case('a broken escape in sr', lambda: token(SR + '%2'))


@case('the secondary key is as good as the primary one')
def secondary(hub):
    hub.put_device('two-keys', secondaryKey=base64.b64encode(OTHER_KEY).decode())
    accepts(hub, device_token('two-keys'), device='two-keys')
    accepts(hub, device_token('two-keys', key=OTHER_KEY), device='two-keys')
    refuses(hub, device_token('two-keys', key=bytes(32)), device='two-keys')


@case('a disabled device is refused, and taken again once it is enabled')
def disabled(hub):
    hub.put_device('off', enabled=False)
    refuses(hub, None, device='off')
    hub.put_device('off')
    accepts(hub, None, device='off')


@case('an unknown device is refused')
def unknown(hub):
    refuses(hub, None, device='nobody')


@case('the old key of a device is refused once it has a new one')
def replaced(hub):
    hub.put_device('rekeyed')
    accepts(hub, None, device='rekeyed')
    hub.put_device('rekeyed', OTHER_KEY)
    refuses(hub, None, device='rekeyed')
    accepts(hub, device_token('rekeyed', key=OTHER_KEY), device='rekeyed')


@case('a module has its own key and scope')
def module(hub):
    hub.put_device('d1', OTHER_KEY, moduleId='m1')
    path = f'/devices/d1/modules/m1/messages/events?api-version={VERSION}'
    resource = quote(f'{RESOURCE}/modules/m1')
    accepts(hub, token(resource, key=OTHER_KEY), path=path)
    equal((hub.messages()[-1]['device'], hub.messages()[-1]['module']), ('d1', 'm1'))
    refuses(hub, token(resource), path=path)
    refuses(hub, token(SR), path=path)
    refuses(hub, token(SR, key=OTHER_KEY), path=path)
    refuses(hub, token(quote(f'{RESOURCE}/modules/m2'), key=OTHER_KEY), path=path)


ODD_IDS = ("a-:.+%_#*?!(),=@$'z", 'a%2Fb', 'a+b', 'a#b', 'a?b', '(a)', "it's", 'x' * 128)


@case('device ids with every legal character, encoded once')
def odd_once(hub):
    for device in ODD_IDS:
        hub.put_device(device)
        accepts(hub, None, device=device)
        equal(hub.messages()[-1]['device'], device)


@case('device ids with every legal character, encoded twice as .NET and Node do')
def odd_twice(hub):
    for device in ODD_IDS:
        hub.put_device(device)
        accepts(hub, token(quote(f'{HOST}/devices/{quote(device)}')), device=device)


@case('the token is recorded by its hash, its raw sr and its expiry')
def recorded(hub):
    auth = token(escape_lower(RESOURCE), se=int(now()) + 77)
    accepts(hub, auth)
    request = hub.last_request()
    equal(request['tokenId'], hashlib.sha256(auth.encode()).hexdigest()[:16], 'tokenId')
    equal(request['srRaw'], escape_lower(RESOURCE), 'srRaw')
    equal(hub.messages()[-1]['tokenExpiry'], int(auth.rpartition('se=')[2]), 'tokenExpiry')


main()

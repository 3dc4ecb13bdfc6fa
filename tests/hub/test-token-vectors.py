#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Precomputed tokens against the hub's verifier, at the time for which they were made."""

import time

from hubtest import VERSION, case, equal, main, post, quote

HOST = 'myhub.azure-devices.net'
EXPIRY = 1700000000

# key 00..1f, se 1700000000: sr as written -> sig before encoding
DEVICE = {
    'myhub.azure-devices.net%2fdevices%2fdevice1': 'iIyvul1z7xsjQDMXvGvUxZi+lqnXkFn5lOgyNrICYDM=',
    'myhub.azure-devices.net%2Fdevices%2Fdevice1': 'gFSfLGMXDOvf906/iaX3KwzLLNFHgaFZyCbsGjxtd1Y=',
    'myhub.azure-devices.net/devices/device1': 'NlrxHOPrp0Ykah29gS5LOHFu7Y/i4fWSpV//MjSnuQ8=',
}
MODULE_SR = 'myhub.azure-devices.net%2Fdevices%2Fdevice1%2Fmodules%2Fmod1'
MODULE_SIG = 'AXjj7ZMV66oOI2zG1PugMgZ11Jn6WP2K6XWP9Wc2Z30='


def send(hub, sr, sig, resource='/devices/device1'):
    hub.put_device('device1')
    hub.put_device('device1', moduleId='mod1')
    # The vectors expired long ago: the hub's clock goes back to then.
    hub.fault('date', offset=EXPIRY - 60 - int(time.time()))
    try:
        return post(hub, HOST, path=f'{resource}/messages/events?api-version={VERSION}',
                    auth=f'SharedAccessSignature sr={sr}&sig={quote(sig)}&se={EXPIRY}').status
    finally:
        hub.no_faults()


for written, signature in DEVICE.items():
    case(f'sr={written}')(lambda hub, sr=written, sig=signature: equal(send(hub, sr, sig), 204, 'status'))


@case('a module')
def module(hub):
    equal(send(hub, MODULE_SR, MODULE_SIG, '/devices/device1/modules/mod1'), 204, 'status')


@case('none fits the sr of another')
def mixed(hub):
    for sr in DEVICE:
        for other, sig in DEVICE.items():
            if other != sr:
                equal(send(hub, sr, sig), 401, 'status')


@case('they are expired at the hub\'s own time')
def expired(hub):
    sr, sig = next(iter(DEVICE.items()))
    answer = post(hub, HOST, device='device1', auth=f'SharedAccessSignature sr={sr}&sig={quote(sig)}&se={EXPIRY}')
    equal(answer.status, 401, 'status')


main(HOST)

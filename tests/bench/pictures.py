#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Two pictures of a run of ./run bench as SVG, from its results:

    pictures.py latency|rate FILE    of what `./run bench --json FILE` left; to stdout
"""

import json
import math
import sys

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 44, 56
COLOURS = ('#1b6ca8', '#d1495b', '#2e8b57', '#8a5fbf', '#d98e04', '#4d4d4d', '#00a6a6', '#a0522d')
LATENCIES = ('raw-hmac', 'echo', 'token-socket', 'token-shared', 'token-fresh', 'hmac-abrmd', 'sign-softhsm',
             'sign-pkcs11', 'hmac-process')
# A line of the second picture: clients -> (row, whether it is a latency, of which one client makes so many calls).
RATES = {
    'echo': {1: ('echo', True), 8: ('echo-8', False), 32: ('echo-32', False), 1000: ('echo-1000', False)},
    'tokens, new scopes': {1: ('token-fresh', True), 8: ('rate-8', False), 32: ('rate-32', False)},
    'tokens, same scope': {1: ('token-shared', True), 1000: ('rate-1000', False)},
}


class Axis:
    """A logarithmic one, or a linear one that begins at 0, between two pixels."""

    def __init__(self, values, first, last, logarithmic):
        self.first, self.last, self.logarithmic = first, last, logarithmic
        self.low = 10 ** math.floor(math.log10(min(values))) if logarithmic else 0
        self.high = max(10 ** math.ceil(math.log10(max(values))), 10 * self.low) if logarithmic else nice(max(values))

    def at(self, value):
        if self.logarithmic:
            part = math.log10(value / self.low) / math.log10(self.high / self.low)
        else:
            part = value / self.high
        return round(self.first + part * (self.last - self.first), 1)

    def ticks(self):
        if not self.logarithmic:
            return [self.high * fifth / 5 for fifth in range(6)]
        decades = range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)
        return [10.0 ** decade for decade in decades]


def nice(value):
    """The next 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(value))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= value)


def words(x, y, content, anchor='start', more=''):
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{more}>{content}</text>'


def frame(title, x_axis, x_name, y_axis, y_name):
    yield words(LEFT, 24, title, more=' font-size="15"')
    for value in x_axis.ticks():
        x = x_axis.at(value)
        yield f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>'
        yield words(x, HEIGHT - BOTTOM + 18, f'{value:g}', 'middle')
    for value in y_axis.ticks():
        y = y_axis.at(value)
        yield f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#ddd"/>'
        yield words(LEFT - 8, y + 4, f'{value:g}', 'end')
    yield words((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, x_name, 'middle')
    yield words(16, (TOP + HEIGHT - BOTTOM) / 2, y_name, 'middle',
                f' transform="rotate(-90 16 {(TOP + HEIGHT - BOTTOM) / 2})"')


def curves(lines, x_axis, y_axis, dots):
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(x_axis.at(x), y_axis.at(y)) for x, y in points]
        path = ' '.join(f'{x},{y}' for x, y in places)
        dashes = ' stroke-dasharray="6 3"' if number >= len(COLOURS) else ''
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
        if dots:
            yield from (f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>' for x, y in places)
        y = TOP + 10 + number * 20
        yield f'<line x1="{WIDTH - RIGHT + 12}" y1="{y}" x2="{WIDTH - RIGHT + 32}" y2="{y}" stroke="{colour}" ' \
              f'stroke-width="3"{dashes}/>'
        yield words(WIDTH - RIGHT + 38, y + 4, name)


def picture(title, lines, x_name, y_name, y_high=None, dots=False):
    if not any(lines.values()):
        return '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>\n'
    points = [point for line in lines.values() for point in line]
    x_axis = Axis([x for x, _ in points], LEFT, WIDTH - RIGHT, True)
    y_axis = Axis([y_high] if y_high else [y for _, y in points], HEIGHT - BOTTOM, TOP, False)
    parts = [*frame(title, x_axis, x_name, y_axis, y_name), *curves(lines, x_axis, y_axis, dots)]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
            + '\n'.join(parts) + '\n</svg>\n')


def latency(results):
    lines = {name: [(value, percent) for percent, value in enumerate(results[name]['percentiles'][:100]) if value > 0]
             for name in LATENCIES if results.get(name, {}).get('percentiles')}
    return picture('How long one call takes', lines, 'microseconds', 'per cent of the calls that took no longer', 100)


def rate(results):
    lines = {}
    for name, points in RATES.items():
        found = [(clients, 1e6 / results[row]['median'] if is_latency else results[row]['median'])
                 for clients, (row, is_latency) in points.items() if row in results]
        if found:
            lines[name] = found
    return picture('How many calls a second are answered', lines,
                   'clients; 1: one call after the other, everything on one processor', 'calls a second', dots=True)


if __name__ == '__main__':
    draw = {'latency': latency, 'rate': rate}
    if len(sys.argv) != 3 or sys.argv[1] not in draw:
        sys.exit('usage: pictures.py latency|rate FILE')
    with open(sys.argv[2]) as source:
        print(draw[sys.argv[1]]({result['name']: result for result in map(json.loads, source)}), end='')

# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""That client/hubkey.h explains all that it declares, and that what says the same elsewhere says the same: the exported
symbols, the version script, libhubkey(3), and examples/hubkey.py. TAP."""

import ast
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from sandboxed import Tap  # noqa: E402

TOP = os.environ.get('HUBKEY_SRCDIR') or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get('HUBKEY_BUILDDIR') or os.path.join(TOP, 'build')
# Explained once, at the head of the header.
EVERYWHERE = {'client', 'error', 'user', 'size'}

ITEM = re.compile(r'''
    (?P<comment>/\*.*?\*/)
  | ^\#define\ (?P<define>HUBKEY_(?!H\b)\w+)(?:\ [^\n/]*)?
  | ^(?:struct\ (?P<struct>\w+)\ \{(?P<members>.*?)^\};)
  | ^typedef\ (?:int|void)\ \(\*(?P<callback>\w+)\)\((?P<given>[^;]*)\);
  | ^(?P<result>const\ char\ \*|int\ |void\ )(?P<function>hubkey_\w+)\((?P<parameters>[^;]*)\);
''', re.S | re.M | re.X)


def read(*path):
    with open(os.path.join(*path), encoding='utf-8') as file:
        return file.read()


def names_of(parameters):
    """The names in a list of parameters."""
    return [re.search(r'(\w+)\s*$', one)[1] for one in parameters.split(',') if one.strip() != 'void']


class Item:
    def __init__(self, kind, name, comment, **more):
        self.kind, self.name, self.comment, self.own = kind, name, comment, ''
        self.__dict__.update(more)


def parse(header):
    """What is declared, each with its comment: the one before it, with at most others of its kind in between, or the
    one behind it on its line."""
    items, comment, end = [], '', 0
    for found in ITEM.finditer(header):
        between, kind = header[end:found.start()], found.lastgroup
        end = found.end()
        if found['comment']:
            if items and '\n' not in between:
                items[-1].comment = items[-1].own = found['comment']
                continue
            comment, kind = found['comment'], None
            continue
        if '\n\n' in between or header[:found.start()].endswith('#endif\n'):
            comment = ''
        if found['define']:
            items.append(Item('define', found['define'], comment))
        elif found['struct']:
            items.append(Item('struct', found['struct'], comment, members=parse_members(found['members'])))
        elif found['callback']:
            items.append(Item('callback', found['callback'], comment, parameters=names_of(found['given'])))
        elif found['function']:
            items.append(Item('function', found['function'], comment, parameters=names_of(found['parameters']),
                              result=found['result'].strip(), text=found['parameters']))
    return items


def parse_members(text):
    """[(name, comment)]"""
    members, before = [], ''
    for found in re.finditer(r'(?P<comment>/\*.*?\*/)|(?P<member>\w[^;/]*);[ \t]*(?P<behind>/\*.*?\*/)?', text, re.S):
        if found['comment']:
            before = found['comment']
            continue
        name = re.search(r'(\w+)(?:\[\d+\])?\s*$', found['member'])[1]
        members.append((name, found['behind'] or before))
        before = ''
    return members


def of_kind(items, kind):
    return [item for item in items if item.kind == kind]


def missing_comments(items):
    faults = [f'{item.name} has no comment' for item in items if not item.comment and item.kind != 'struct']
    faults += [f'{item.name} has no comment of its own' for item in of_kind(items, 'define')
               if item.comment and not item.own and not item.name.startswith('HUBKEY_VERSION_')]
    faults += [f'{item.name}.{name} has no comment' for item in of_kind(items, 'struct')
               for name, comment in item.members if not comment and name not in EVERYWHERE]
    return faults


def unexplained_parameters(items):
    return [f'{item.name}: {name} is not explained' for item in of_kind(items, 'function') + of_kind(items, 'callback')
            for name in item.parameters if name not in EVERYWHERE and not re.search(rf'\b{name}\b', item.comment)]


def untold_errors(items):
    return [f'{item.name} does not say which errors it returns' for item in of_kind(items, 'function')
            if item.result == 'int' and not re.search(r'HUBKEY_E_|-[12]xx', item.comment)]


def unknown_names(items, header):
    known = {item.name for item in items} | set(re.findall(r'^typedef .*?(\w+);', header, re.M))
    named = set(re.findall(r'\b(?:HUBKEY_[A-Z]\w*[A-Z]|hubkey_[a-z]\w*[a-z])\b', header)) - {'HUBKEY_H'}
    variables = set(re.findall(r'\$(HUBKEY_\w+)', header))
    families = {name for name in named if f'{name}_*' in header}
    return [f'{name} is named, but there is none' for name in sorted(named - known - variables - families)]


def differing(what, there, functions):
    return ([f'{name} is not in {what}' for name in sorted(functions - there)] +
            [f'{name} is in {what}, but not in hubkey.h' for name in sorted(there - functions)])


def exported():
    lines = subprocess.run(['nm', '-D', '--defined-only', os.path.join(BUILD, '.libs', 'libhubkey.so')], check=True,
                           stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return {line.split()[2].split('@')[0] for line in lines if line.split()[1] in 'TDBR'}


def in_man_page(page):
    """{function: [parameters]} of a SYNOPSIS in mdoc."""
    found = {}
    for line in page.split('.Sh DESCRIPTION')[0].splitlines():
        words = re.findall(r'"[^"]*"|\S+', line)
        if words[:1] == ['.Fo']:
            current = found.setdefault(words[1], [])
        elif words[:1] == ['.Fa']:
            current.append(words[1].strip('"'))
        elif words[:1] == ['.Fn']:
            found[words[1]] = [word.strip('"') for word in words[2:] if word != 'void']
    return found


def man_page_faults(items, page):
    functions = {item.name: [' '.join(one.split()) for one in item.text.split(',') if one.strip() != 'void']
                 for item in of_kind(items, 'function')}
    there = in_man_page(page)
    faults = differing('libhubkey(3)', set(there), set(functions))
    return faults + [f'{name}: libhubkey(3) says {there[name]}, hubkey.h {functions[name]}'
                     for name in sorted(functions) if name in there and there[name] != functions[name]]


def python_structs(source):
    """{struct of C: [members]}, by the docstrings."""
    found = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef):
            continue
        fields = [one.value for one in node.body if isinstance(one, ast.Assign) and one.targets[0].id == '_fields_']
        if fields:
            found[ast.get_docstring(node).removeprefix('struct ')] = [pair.elts[0].value for pair in fields[0].elts]
    return found


def python_faults(items, source):
    structs = {item.name: [name for name, _ in item.members] for item in of_kind(items, 'struct')}
    there = python_structs(source)
    if len(there) < 6:
        return [f'only {sorted(there)} were found']
    return [f'{name}: hubkey.py has {members}, hubkey.h {structs.get(name)}' for name, members in there.items()
            if structs.get(name) != members]


BAD = '''
/* Good. */
#define HUBKEY_GOOD 1 /* this */
#define HUBKEY_NEXT 3

#define HUBKEY_BARE 2
struct hubkey_thing {
    uint32_t size;
    int32_t good; /* this */
    int32_t bare;
};

/* Returns what HUBKEY_MISSING says of one. */
int hubkey_do(int one, int other);
'''


def self_test():
    """That the checks can fail at all."""
    items = parse(BAD)
    expected = {
        'comments': missing_comments(items) == ['HUBKEY_BARE has no comment', 'HUBKEY_NEXT has no comment of its own',
                                                'hubkey_thing.bare has no comment'],
        'parameters': unexplained_parameters(items) == ['hubkey_do: other is not explained'],
        'errors': untold_errors(items) == ['hubkey_do does not say which errors it returns'],
        'names': unknown_names(items, BAD) == ['HUBKEY_MISSING is named, but there is none'],
        'lists': len(differing('x', {'a', 'b'}, {'b', 'c'})) == 2,
        'man page': len(man_page_faults(items, '.Fn hubkey_do "int one" "long other"\n.Fn hubkey_more void')) == 2,
        'Python': bool(python_faults(items, 'class X:\n    """struct hubkey_thing"""\n    _fields_ = [("size", 1)]')),
    }
    return [f'{name}: {items}' for name, good in expected.items() if not good]


def main():
    header = read(TOP, 'client', 'hubkey.h')
    items = parse(header)
    functions = {item.name for item in of_kind(items, 'function')}
    script = set(re.findall(r'^\s+(hubkey_\w+);', read(TOP, 'client', 'libhubkey.map'), re.M))
    checks = (
        ('these checks find what they look for', self_test()),
        ('hubkey.h was read', [] if len(functions) > 20 and len(of_kind(items, 'struct')) > 6 else [sorted(functions)]),
        ('all that is declared has a comment', missing_comments(items)),
        ('every parameter is explained', unexplained_parameters(items)),
        ('functions say which errors they return', untold_errors(items)),
        ('what comments name is there', unknown_names(items, header)),
        ('libhubkey exports what is declared', differing('libhubkey.so', exported(), functions)),
        ('so does its version script', differing('libhubkey.map', script, functions)),
        ('libhubkey(3) has the same functions', man_page_faults(items, read(TOP, 'docs', 'libhubkey.3'))),
        ('examples/hubkey.py has the same structs', python_faults(items, read(TOP, 'examples', 'hubkey.py'))),
    )
    tap = Tap()
    for text, faults in checks:
        tap.ok(not faults, text, '\n'.join(map(str, faults)))
    return tap.done()


if __name__ == '__main__':
    sys.exit(main())

# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""How the programs that are measured were built, from the Makefile of their build folder."""

import os
import re
import shlex
import subprocess


def variables(names):
    """NAME = VALUE of each, as in the Makefile."""
    with open(os.path.join(os.environ['HUBKEY_BUILDDIR'], 'Makefile')) as file:
        return re.findall(f'^(?:{names}) = .*$', file.read(), re.MULTILINE)


def flags():
    return variables('CFLAGS|HARDEN_CFLAGS')


def compiler():
    """What it says of itself; its package has a version of its own, that of a name."""
    words = shlex.split(variables('CC')[0])[2:]
    return subprocess.run([*words, '--version'], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[0]


def is_sanitized():
    return any('-fsanitize' in flag for flag in flags())

#!/usr/bin/python3
# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""The same work as a fresh token's, done by what people use instead: an HMAC-SHA256 of 80 bytes.

  hmac-abrmd     TPM2_HMAC with slot 0's key through tpm2-abrmd, which stands on the sandbox's bus and before its TPM
  hmac-process   one tpm2_hmac process with that key a time
  sign-pkcs11    C_SignInit and C_Sign of tpm2-pkcs11, with a key of its own in the sandbox's TPM, below the same SRK
  sign-softhsm   the same of SoftHSM2, which has no TPM

The two modules have stores of their own in $STATE_DIRECTORY, made once a run of ./run bench.
"""

import os
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import processes  # noqa: E402

CANNOT_RUN = 77
PROCESS_SAMPLES = 50
PKCS11_SAMPLES = 200  # each takes milliseconds
SOFTHSM_SAMPLES = 3000
SOFTHSM = '/usr/lib/softhsm/libsofthsm2.so'
DATA = b'x' * 80


def cannot(why):
    print(f'bench: {why}', file=sys.stderr)
    sys.exit(CANNOT_RUN)


def run(*command, **environment):
    """Its output, which is shown where it fails."""
    try:
        done = subprocess.run(command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError:
        cannot(f'{command[0]} is not installed')
    if done.returncode != 0:
        cannot(f'{" ".join(command)} exited with {done.returncode}: {done.stdout}')
    return done.stdout


def store(name, make):
    """A folder for the store of a PKCS#11 module, filled by MAKE when it is wanted for the first time."""
    path = os.path.join(os.environ['STATE_DIRECTORY'], name)
    done = os.path.join(path, 'done')
    if not os.path.exists(done):
        os.makedirs(path, exist_ok=True)
        make(path)
        open(done, 'w').close()
    return path


def make_tpm2_store(path):
    """tpm2_ptool leaves objects behind in the TPM for a resource manager to flush, so that it needs one."""
    with processes.abrmd() as (_, tcti):
        for words in (('init', '--primary-handle', '0x81000001'),
                      ('addtoken', '--pid', '1', '--label', 'bench', '--sopin', '1234', '--userpin', '1234'),
                      ('addkey', '--label', 'bench', '--userpin', '1234', '--algorithm', 'hmac:sha256')):
            run('tpm2_ptool', *words, '--path', path, TPM2TOOLS_TCTI=tcti, TPM2_PKCS11_TCTI=tcti)


def make_softhsm_store(path):
    with open(f'{path}/softhsm2.conf', 'w') as file:
        file.write(f'directories.tokendir = {path}\nobjectstore.backend = file\nlog.level = ERROR\n')
    run('softhsm2-util', '--init-token', '--free', '--label', 'bench', '--so-pin', '1234', '--pin', '1234',
        SOFTHSM2_CONF=f'{path}/softhsm2.conf')


def sign(row, module, samples, **environment):
    print(run('bench-pkcs11', row, module, str(samples), **environment), end='')


def sign_pkcs11(row):
    sign(row, 'libtpm2_pkcs11.so.1', PKCS11_SAMPLES, TPM2_PKCS11_STORE=store('tpm2-pkcs11', make_tpm2_store),
         TPM2_PKCS11_TCTI=os.environ['TPM2TOOLS_TCTI'], TPM2_PKCS11_LOG_LEVEL='0')


def sign_softhsm(row):
    path = store('softhsm', make_softhsm_store)
    sign(row, SOFTHSM, SOFTHSM_SAMPLES, SOFTHSM2_CONF=f'{path}/softhsm2.conf')


def hmac_abrmd(row):
    with processes.abrmd() as (_, tcti):
        words = run('bench-tpm', 'raw-hmac', TPM2TOOLS_TCTI=tcti).split()
    print(row, *words[1:])


def hmac_process(row):
    path = os.path.join(os.environ['STATE_DIRECTORY'], 'hmac-process')
    with open(path, 'wb') as file:
        file.write(DATA)
    command = ('tpm2_hmac', '-c', '0x81000100', '-g', 'sha256', '-o', '/dev/null', path)
    run(*command)
    samples = []
    for _ in range(PROCESS_SAMPLES):
        begun = time.monotonic()
        pid = os.posix_spawnp(command[0], command, os.environ)
        if os.waitpid(pid, 0)[1] != 0:
            sys.exit(f'bench: {" ".join(command)} failed')
        samples.append((time.monotonic() - begun) * 1e6)
    percentiles = statistics.quantiles(samples, n=100, method='inclusive')
    more = (min(samples), *percentiles, max(samples)) if 'HUBKEY_BENCH_PERCENTILES' in os.environ else ()
    print(f'{row} {statistics.median(samples):.2f} {percentiles[-1]:.2f} us', *more)


ROWS = {'hmac-abrmd': hmac_abrmd, 'hmac-process': hmac_process, 'sign-pkcs11': sign_pkcs11,
        'sign-softhsm': sign_softhsm}

if __name__ == '__main__':
    if len(sys.argv) != 2 or sys.argv[1] not in ROWS:
        sys.exit(f'usage: bench-peer.py {"|".join(ROWS)}    in ./run sandbox')
    ROWS[sys.argv[1]](sys.argv[1])

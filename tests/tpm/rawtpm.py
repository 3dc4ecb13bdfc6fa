# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""Another program's view of the TPM: plain commands over swtpm's socket, byte by byte, no library between."""

import socket
import struct

OWNER, NULL, PASSWORD = 0x40000001, 0x40000007, 0x40000009
TRANSIENT, PERSISTENT, NV = 0x80000000, 0x81000000, 0x01000000
LOADED_SESSION, SAVED_SESSION = 0x02000000, 0x03000000
SHA256, KEYEDHASH, HMAC, ECC, RSA, AES, CFB, NOTHING = 0x0B, 0x08, 0x05, 0x23, 0x01, 0x06, 0x43, 0x10

# TPMA_OBJECT of an SRK and of an HMAC key, TPMA_NV as the Windows tool gives it.
SRK_ATTRIBUTES, KEY_ATTRIBUTES, NV_ATTRIBUTES = 0x00030472, 0x00040440, 0x02040004
START_AUTH_SESSION, CREATE, EVICT_CONTROL = 0x176, 0x153, 0x120
NV_WRITE_LOCK, NV_UNDEFINE_SPACE = 0x138, 0x122


class Refused(Exception):
    def __init__(self, code, answer):
        super().__init__(f'TPM command 0x{code:03x}: 0x{struct.unpack(">I", answer[6:10])[0]:03x}')


def sized(data):
    return struct.pack('>H', len(data)) + data


ECC_SRK = struct.pack('>HHI H HHH H H H HH', ECC, SHA256, SRK_ATTRIBUTES, 0, AES, 128, CFB, NOTHING, 3, NOTHING, 0, 0)
HMAC_KEY = struct.pack('>HHI H HH H', KEYEDHASH, SHA256, KEY_ATTRIBUTES, 0, HMAC, SHA256, 0)


class RawTpm:
    """One connection for each command, as swtpm wants it when several talk to it."""

    def __init__(self, path):
        self.path = path

    def send(self, code, handles=(), parameters=b'', auths=0):
        """What stands in the answer after its header."""
        body = b''.join(struct.pack('>I', handle) for handle in handles)
        if auths:
            area = struct.pack('>IHBH', PASSWORD, 0, 0, 0) * auths
            body += struct.pack('>I', len(area)) + area
        body += parameters
        command = struct.pack('>HII', 0x8002 if auths else 0x8001, 10 + len(body), code) + body
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(30)
            peer.connect(self.path)
            peer.sendall(command)
            answer = receive(peer)
        if answer[6:10] != bytes(4):
            raise Refused(code, answer)
        return answer[10:]

    # ---- looking ----

    def answers(self):
        try:
            return len(self.send(0x17B, parameters=struct.pack('>H', 4))) == 6
        except (OSError, Refused, struct.error):
            return False

    def handles(self, first):
        answer = self.send(0x17A, parameters=struct.pack('>III', 1, first, 254))
        count, = struct.unpack('>I', answer[5:9])
        return list(struct.unpack(f'>{count}I', answer[9:9 + 4 * count]))

    def public(self, handle):
        return self.send(0x173, (handle,))

    def nv_public(self, index):
        return self.send(0x169, (index,))

    def nv_content(self, index):
        size, = struct.unpack('>H', self.nv_public(index)[14:16])
        return self.send(0x14E, (index, index), struct.pack('>HH', size, 0), auths=1)[6:6 + size]

    def hmac(self, handle, data):
        return self.send(0x155, (handle,), sized(data) + struct.pack('>H', SHA256), auths=1)[6:38]

    # ---- changing ----

    def create_primary(self, hierarchy, public, secret=b''):
        sensitive = sized(sized(b'') + sized(secret))
        answer = self.send(0x131, (hierarchy,), sensitive + sized(public) + sized(b'') + struct.pack('>I', 0), auths=1)
        return struct.unpack('>I', answer[:4])[0]

    def evict(self, handle, persistent):
        self.send(0x120, (OWNER, handle), struct.pack('>I', persistent), auths=1)

    def flush(self, handle):
        self.send(0x165, parameters=struct.pack('>I', handle))

    def put_key(self, persistent, secret):
        handle = self.create_primary(OWNER, HMAC_KEY, secret)
        self.evict(handle, persistent)
        self.flush(handle)

    def put_nv(self, index, content, attributes=NV_ATTRIBUTES):
        public = struct.pack('>IHIHH', index, SHA256, attributes, 0, len(content))
        self.send(0x12A, (OWNER,), sized(b'') + sized(public), auths=1)
        self.send(0x137, (index, index), sized(content) + struct.pack('>H', 0), auths=1)


def receive(peer):
    answer = b''
    while len(answer) < 10 or len(answer) < struct.unpack('>I', answer[2:6])[0]:
        part = peer.recv(8192)
        if not part:
            raise OSError('swtpm closed the connection')
        answer += part
    return answer

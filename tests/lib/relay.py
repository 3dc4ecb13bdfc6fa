# Copyright (c) 2026 the hubkey authors
# SPDX-License-Identifier: BSD-2-Clause
"""A network to misuse: passes bytes between a client and a server on this machine, holds them back, or cuts."""

import asyncio
import os
import socket
import struct
import threading

PIECE = 16384
RESET = struct.pack('ii', 1, 0)  # SO_LINGER: close() sends RST


class Relay:
    """Listens while it is open. What it holds back is lost when it cuts; all is done on a thread of its own."""

    def __init__(self, port):
        self.port = port
        # Nobody else's, so that it is still free when it is opened again.
        pid = os.getpid() % 65024 + 256
        self.address = (f'127.9.{pid >> 8}.{pid & 255}', 4433)
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.left = None  # bytes until it cuts by itself
        self.writers = set()
        self.server = None
        self.open()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    # What others ask for.

    def open(self):
        self.call(self._open())

    def close(self):
        """As if its machine died: every connection is reset, and further ones are refused."""
        self.call(self._close())

    def cut(self):
        self.call(self._cut())

    def cut_after(self, n):
        """Once n more bytes have passed, in whatever direction; None: not any more."""
        self.loop.call_soon_threadsafe(setattr, self, 'left', n)

    def stall(self):
        self.loop.call_soon_threadsafe(self.flowing.clear)

    def resume(self):
        self.loop.call_soon_threadsafe(self.flowing.set)

    # On the loop's thread.

    async def _open(self):
        self.server = await asyncio.start_server(self.serve, *self.address)

    async def _close(self):
        self.server.close()
        await self._cut()

    async def _cut(self):
        for writer in self.writers:
            if not writer.is_closing():
                writer.get_extra_info('socket').setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    async def serve(self, reader, writer):
        try:
            there, back = await asyncio.open_connection('127.0.0.1', self.port)
        except OSError:
            writer.transport.abort()
            return
        self.writers |= {writer, back}
        await asyncio.gather(self.pass_on(reader, back), self.pass_on(there, writer))
        self.writers -= {writer, back}

    async def pass_on(self, reader, writer):
        """Until either side ends; then both do."""
        try:
            while data := await reader.read(PIECE):
                await self.flowing.wait()
                writer.write(data[:self.left])
                await writer.drain()
                if self.left is not None:
                    self.left -= len(data)
                    if self.left <= 0:
                        self.left = None
                        await self._cut()
        except OSError:
            pass
        finally:
            writer.close()

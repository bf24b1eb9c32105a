"""The hash of a whole, and of each of its mebibytes: so that any part of it can be verified by itself."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Self

BLOCK: Final = 1024 * 1024
_POOL: Final = ThreadPoolExecutor(4, thread_name_prefix="hashing")


class Altered(Exception):
    """Bytes are not those that were kept."""


class Missing(Exception):
    """A store does not have what was asked for."""


@dataclass(frozen=True)
class Sum:
    """What bytes are: SHA-256 of all, how many, and the SHA-256 of each block; `blocks` is empty where one is all."""

    hash: bytes
    size: int
    blocks: bytes

    def of_block(self, index: int) -> bytes:
        """The hash of one block."""
        return self.blocks[32 * index : 32 * index + 32] if self.blocks else self.hash

    @property
    def count(self) -> int:
        """How many blocks there are; nothing has none."""
        return -(-self.size // BLOCK)


class Summing:
    """Sums up bytes as they come by. The whole is hashed in another thread while the caller goes on."""

    def __init__(self) -> None:
        self.size = 0
        self._whole = hashlib.sha256()
        self._blocks: list[bytes] = []
        self._block = hashlib.sha256()
        self._in_block = 0
        self._running: Future[None] | None = None

    def update(self, data: bytes) -> None:
        """The next bytes; they must not change afterwards."""
        self._wait()
        if len(data) >= BLOCK // 4:
            self._running = _POOL.submit(self._whole.update, data)
        else:
            self._whole.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            piece = view[: BLOCK - self._in_block]
            self._block.update(piece)
            self._in_block += len(piece)
            view = view[len(piece) :]
            if self._in_block == BLOCK:
                self._end_block()

    def done(self) -> Sum:
        """What has come by so far; more may follow."""
        self._wait()
        last = [self._block.digest()] if self._in_block else []
        blocks = [*self._blocks, *last]
        return Sum(self._whole.digest(), self.size, b"".join(blocks) if len(blocks) > 1 else b"")

    def _end_block(self) -> None:
        self._blocks.append(self._block.digest())
        self._block, self._in_block = hashlib.sha256(), 0

    def _wait(self) -> None:
        if self._running is not None:
            self._running.result()
            self._running = None

    @classmethod
    def over(cls, chunks: Iterable[bytes]) -> Self:
        """All of these."""
        summing = cls()
        for chunk in chunks:
            summing.update(chunk)
        return summing


def verified(chunks: Iterator[bytes], wanted: Sum, start: int, stop: int) -> Iterator[bytes]:
    """Bytes `start` to `stop` (exclusive) out of `chunks`, which begin at the block of `start`.

    No block is given out before it was verified. Raises `Altered`.
    """
    index = start // BLOCK
    for block in _blocks(chunks, wanted, index, -(-stop // BLOCK)):
        if hashlib.sha256(block).digest() != wanted.of_block(index):
            raise Altered(f"block {index}")
        first = index * BLOCK
        index += 1
        yield (
            block
            if start <= first and first + len(block) <= stop
            else block[max(start - first, 0) : stop - first]
        )


def _blocks(chunks: Iterator[bytes], wanted: Sum, index: int, end: int) -> Iterator[bytes]:
    """The chunks cut anew, at the ends of blocks. Raises `Altered` where there are fewer bytes than there should be."""
    held = b""
    while index < end:
        size = min(BLOCK, wanted.size - index * BLOCK)
        parts, have = [held], len(held)
        while have < size:
            chunk = next(chunks, None)
            if chunk is None:
                raise Altered(f"block {index} is short")
            parts.append(chunk)
            have += len(chunk)
        whole = parts[1] if not parts[0] and len(parts) == 2 else b"".join(parts)
        held = whole[size:]
        yield whole[:size] if held else whole
        index += 1

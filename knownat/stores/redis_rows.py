"""Packed rows in Redis: one string a key, replaced only by a row that outranks it.

The comparison is a script, so a batch takes one round trip and two writers cannot lose a row.
Lua's own ``<`` compares text by the server's locale; the script compares bytes.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from knownat.errors import StoreUnavailable
from knownat.stores.codec import BIAS, RowSchema
from knownat.stores.redis_login import RedisLogin
from knownat.stores.redis_pipe import RedisPipe
from knownat.stores.redis_wire import RedisWire
from knownat.stores.resp import ServerError, pack
from knownat.stores.row_keys import ViewName, project_prefix
from knownat.stores.rows import Found, Stored

_ROWS, _SCHEMAS, _WATERMARKS, _SHAPES = b"knownat:r:", b"knownat:s:", b"knownat:w:", b"knownat:f:"

# A script blocks every other caller while it runs, so a batch is several short ones.
_KEYS_A_SCRIPT = 256
# Up to here the answers to MGET cost less than the script that joins them.
_FEW = 8
_SCANNED_AT_ONCE = 1_000

_WRITE = b"""\
local function outranks(a, b)
  local length = math.min(#a, #b)
  for i = 2, length, 8 do
    local last = math.min(i + 7, length)
    if string.sub(a, i, last) ~= string.sub(b, i, last) then
      for j = i, last do
        local x, y = string.byte(a, j), string.byte(b, j)
        if x ~= y then return x > y end
      end
    end
  end
  return #a > #b
end
local stored = 0
for i = 1, #KEYS do
  local old = redis.call('GET', KEYS[i])
  if not old or (old ~= ARGV[i] and outranks(ARGV[i], old)) then
    redis.call('SET', KEYS[i], ARGV[i])
    stored = stored + 1
  end
end
return stored
"""

_READ = b"""\
local sizes, rows = {}, {}
for first = 1, #KEYS, 1000 do
  local found = redis.call('MGET', unpack(KEYS, first, math.min(first + 999, #KEYS)))
  for i = 1, #found do
    local row = found[i] or ''
    sizes[#sizes + 1] = struct.pack('>I4', #row)
    rows[#rows + 1] = row
  end
end
return table.concat(sizes) .. table.concat(rows)
"""


class _Script:
    def __init__(self, text: bytes) -> None:
        self.text = text
        self.digest = hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()

    def call(self, prefix: bytes, keys: Sequence[bytes], values: Sequence[bytes] = ()) -> bytes:
        count = b"%d" % len(keys)
        return pack(b"EVALSHA", self.digest, count, keys=keys, prefix=prefix, values=values)

    def tell(self, prefix: bytes, keys: Sequence[bytes]) -> bytes:
        return pack(b"EVAL", self.text, b"%d" % len(keys), keys=keys, prefix=prefix)


_WRITER, _READER = _Script(_WRITE), _Script(_READ)


class RedisRows:
    """Packed rows in one Redis. Opening it connects to nothing; the first call does."""

    waits = True

    def __init__(
        self,
        url: str,
        *,
        socket_seconds: float = 0.05,
        read_deadline_seconds: float = 0.1,
        write_deadline_seconds: float = 10.0,
    ) -> None:
        self._login = login = RedisLogin.at(url)
        self._read = RedisWire(login, socket_seconds=socket_seconds, deadline_seconds=read_deadline_seconds)
        # One script of 256 wide rows may take longer than a reader would wait.
        self._write = RedisWire(
            login, socket_seconds=write_deadline_seconds, deadline_seconds=write_deadline_seconds
        )
        self._socket_seconds = socket_seconds
        self._deadline = read_deadline_seconds
        self._pipe: RedisPipe | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the rows under these keys in one round trip, None where there is none."""
        if not keys:
            return []
        if len(keys) <= _FEW:
            (answer,) = self._read.ask(pack(b"MGET", keys=keys, prefix=_ROWS))
            self._read.check([answer])
            return self._few(answer, len(keys))
        (answer,) = self._asked(self._read, _READER, [_READER.call(_ROWS, keys)])
        return self._many(answer, len(keys))

    async def read_async(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Do as :meth:`read` does, on an event loop; use a store on one loop at a time."""
        if not keys:
            return []
        count = len(keys)
        try:
            if count <= _FEW:
                # So short an answer comes at once, if it comes.
                seconds = min(self._socket_seconds, self._deadline)
                answer = await self._piped().ask(pack(b"MGET", keys=keys, prefix=_ROWS), seconds)
            else:
                answer = await self._asked_async(_READER, keys)
        except OSError as error:
            raise self._read.unavailable(error) from error
        self._read.check([answer])
        return self._few(answer, count) if count <= _FEW else self._many(answer, count)

    def fetch(self, keys: Sequence[bytes], seconds: float, then: Callable[[Found], None]) -> None:
        """Read without a task, and hand on what was found once it is there."""
        if not keys:
            then([])
            return
        # A list of rows is asked for, however long: a script would hold up those who ask meanwhile.
        within = min(seconds, self._socket_seconds, self._deadline)
        asked = self._piped().ask(pack(b"MGET", keys=keys, prefix=_ROWS), within)
        asked.add_done_callback(lambda answer: then(self._found(answer, len(keys))))

    def _found(self, answered: asyncio.Future[object], count: int) -> Found:
        try:
            answer = answered.result()
            self._read.check([answer])
            return self._few(answer, count)
        except OSError as error:
            return self._read.unavailable(error)
        except StoreUnavailable as error:
            return error

    async def _asked_async(self, script: _Script, keys: Sequence[bytes]) -> object:
        answer = await self._piped().ask(script.call(_ROWS, keys), self._deadline)
        if isinstance(answer, ServerError) and answer.code == "NOSCRIPT":
            answer = await self._piped().ask(script.tell(_ROWS, keys), self._deadline)
        return answer

    def _piped(self) -> RedisPipe:
        loop = asyncio.get_running_loop()
        # The connection of a loop that has ended can not be used, nor closed, on another.
        if self._pipe is None or self._loop is not loop:
            self._loop = loop
            self._pipe = RedisPipe(self._login, connect_seconds=self._socket_seconds)
        return self._pipe

    def _few(self, answer: object, count: int) -> list[bytes | None]:
        if isinstance(answer, list) and len(answer) == count:
            return answer
        raise self._read.unavailable(ValueError("the answer is no list of rows"))

    def _many(self, answer: object, count: int) -> list[bytes | None]:
        if not isinstance(answer, bytes) or len(answer) < 4 * count:
            raise self._read.unavailable(ValueError("the answer is no list of rows"))
        sizes = np.frombuffer(answer, dtype=">u4", count=count)
        if 4 * count + int(sizes.sum(dtype=np.int64)) != len(answer):
            raise self._read.unavailable(ValueError("the answer is not as long as it says"))
        # Rows without text of one view have one length: such a run is cut by numpy.
        starts = [0, *(np.flatnonzero(sizes[1:] != sizes[:-1]) + 1).tolist(), count]
        rows: list[bytes | None] = []
        at = 4 * count
        for first, last in pairwise(starts):
            size, number = int(sizes[first]), last - first
            if size == 0:
                rows += [None] * number
            elif number == 1:
                rows.append(answer[at : at + size])
            else:
                rows += np.frombuffer(answer, dtype=f"V{size}", count=number, offset=at).tolist()
            at += size * number
        return rows

    def schemas(self, view: ViewName) -> dict[bytes, RowSchema]:
        """Return every schema a row of this view may name."""
        (answer,) = self._read.ask(pack(b"HGETALL", _SCHEMAS + view.prefix))
        self._read.check([answer])
        if not isinstance(answer, list):
            raise self._read.unavailable(ValueError("the answer is no table of schemas"))
        return {bytes(k): RowSchema.parse(v) for k, v in zip(answer[::2], answer[1::2], strict=True)}

    def watermark(self, view: ViewName) -> int | None:
        """Return the time up to which visible rows are in, in UTC microseconds, or None."""
        (answer,) = self._read.ask(pack(b"GET", _WATERMARKS + view.prefix))
        self._read.check([answer])
        return int.from_bytes(answer[1:], "big") - BIAS if isinstance(answer, bytes) else None

    def write(
        self, view: ViewName, schema: RowSchema, keys: Sequence[bytes], rows: Sequence[bytes]
    ) -> Stored:
        """Write one batch in one round trip, newest wins; each row is whole or not there.

        Raises
        ------
        StoreFull
            If Redis is at its memory limit.
        StoreUnavailable
            If it did not answer by the deadline. Some rows may be in; writing again is safe.
        """
        commands = [pack(b"HSET", _SCHEMAS + view.prefix, schema.identity, schema.text.encode())]
        for first in range(0, len(keys), _KEYS_A_SCRIPT):
            some = slice(first, first + _KEYS_A_SCRIPT)
            commands.append(_WRITER.call(_ROWS, keys[some], rows[some]))
        answers = self._asked(self._write, _WRITER, commands)
        stored = sum(answer for answer in answers[1:] if isinstance(answer, int))
        return Stored(stored, len(keys) - stored)

    def shape(self, view: ViewName) -> bytes:
        """Return the shape that was last recorded with a watermark; empty if there was none."""
        (answer,) = self._read.ask(pack(b"GET", _SHAPES + view.prefix))
        self._read.check([answer])
        return answer if isinstance(answer, bytes) else b""

    def set_watermark(self, view: ViewName, us: int, *, shape: bytes = b"") -> None:
        """Record the time up to which visible rows are in, which never goes back, and their shape."""
        # Behind a byte that the script skips, as a row's version is, the later time outranks. The shape
        # goes first: killed in between, the next run reads again what the older watermark leaves open.
        value = b"\1" + (us + BIAS).to_bytes(8, "big")
        commands = [pack(b"SET", _SHAPES + view.prefix, shape)]
        commands.append(_WRITER.call(_WATERMARKS, [view.prefix], [value]))
        self._asked(self._write, _WRITER, commands)

    def _asked(self, wire: RedisWire, script: _Script, commands: list[bytes]) -> list[object]:
        """Run commands of one script; a server that does not know it yet is told once."""
        answers = wire.ask(*commands)
        if any(isinstance(answer, ServerError) and answer.code == "NOSCRIPT" for answer in answers):
            answers = wire.ask(pack(b"SCRIPT", b"LOAD", script.text), *commands)[1:]
        wire.check(answers)
        return answers

    def scan(self, view: ViewName) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key and row of a view, in no order."""
        for named in self._scanned(_ROWS + view.prefix):
            keys = [key[len(_ROWS) :] for key in named]
            for key, row in zip(keys, self.read(keys), strict=True):
                if row is not None:
                    yield key, row

    def delete_view(self, view: ViewName) -> int:
        """Delete a view's rows, schemas, watermark and shape; return how many rows there were."""
        return self._delete(view.prefix)

    def delete_project(self, project: str) -> int:
        """Delete everything of a project; return how many rows there were."""
        return self._delete(project_prefix(project))

    def _delete(self, prefix: bytes) -> int:
        deleted = 0
        for kind in (_ROWS, _SCHEMAS, _WATERMARKS, _SHAPES):
            for named in self._scanned(kind + prefix):
                answers = self._write.ask(pack(b"UNLINK", *named))
                self._write.check(answers)
                if kind == _ROWS and isinstance(answers[0], int):
                    deleted += answers[0]
        return deleted

    def _scanned(self, prefix: bytes) -> Iterator[list[bytes]]:
        pattern = b"".join(b"\\" + bytes([c]) if c in b"*?[]\\^-" else bytes([c]) for c in prefix) + b"*"
        cursor = b"0"
        while True:
            (answer,) = self._write.ask(
                pack(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"%d" % _SCANNED_AT_ONCE)
            )
            self._write.check([answer])
            if not isinstance(answer, list) or len(answer) != 2:
                raise self._write.unavailable(ValueError("the answer is no scan"))
            cursor, found = answer
            if found:
                yield found
            if cursor == b"0":
                return

    def dangers(self) -> list[str]:
        """Say what of the store's own settings may cost rows: Redis may evict some to make room."""
        (answer,) = self._read.ask(pack(b"INFO", b"memory"))
        self._read.check([answer])
        lines = answer.decode("utf-8", "replace").splitlines() if isinstance(answer, bytes) else []
        settings = dict(line.split(":", 1) for line in lines if ":" in line)
        policy = settings.get("maxmemory_policy", "noeviction")
        if settings.get("maxmemory", "0") == "0" or policy == "noeviction":
            return []
        danger = f"Redis at {self._read.name} evicts rows when its memory is full ({policy})"
        return [f"{danger}; an older row could take an evicted one's place. Set maxmemory-policy noeviction."]

    def close(self) -> None:
        """Close idle connections; those of an event loop end with :meth:`close_async`."""
        self._read.close()
        self._write.close()

    async def close_async(self) -> None:
        """Close the connection of the event loop."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None and self._loop is asyncio.get_running_loop():
            pipe.close()

"""Parts of a file at an address: ranges of its bytes, and only those of the content that its stamp is of."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
from collections.abc import Coroutine, Sequence
from typing import Any

from ...errors import StorageError
from .places import CopyStopped, Stamp, Stopped, failed, file_system, naming, stamp_of

__all__ = ["Ranges", "WholeFilesOnlyError", "read_ranges"]

Ranges = Sequence[tuple[int, int]]
"""Ranges of bytes, each [begin, end)."""

AT_ONCE = 16
"""Requests of one call that a server has at the same time."""

_OTHER = "expected the content that was read before, got another: the file was changed or replaced at its source"


class WholeFilesOnlyError(StorageError):
    """A server sends the whole file when it is asked for a part."""


def read_ranges(place: str, stamp: Stamp, ranges: Ranges, stopped: Stopped) -> list[bytes]:
    """Return ranges of the bytes of a file.

    Servers of http tell with each part which content it is of. Others are asked after the last part: what has changed before
    that is never taken.

    Raises:
        CopyStopped: `stopped()` became true.
        WholeFilesOnlyError: the server does not send parts.
        StorageError: the file cannot be read, or does not have the content of `stamp` any more.
    """
    with naming(place):
        files = file_system(place)
        if place.startswith(("http://", "https://")):
            parts = _wait(files, _of_http(files, place, stamp, ranges), place, stopped)
        else:
            path = files._strip_protocol(place)
            begins, ends = [begin for begin, _ in ranges], [end for _, end in ranges]
            at_once = {"batch_size": AT_ONCE} if files.async_impl else {}
            parts = files.cat_ranges([path] * len(ranges), begins, ends, on_error="raise", **at_once)
            if stamp_of(place) != stamp:
                raise failed(place, _OTHER)
        for (begin, end), part in zip(ranges, parts, strict=True):
            if len(part) != end - begin:
                raise failed(place, f"expected {end - begin} bytes from byte {begin} on, got {len(part)}", passing=True)
        return parts


def _wait(files: Any, work: Coroutine[Any, Any, list[bytes]], place: str, stopped: Stopped) -> list[bytes]:
    """Return the result of work in fsspec's thread."""
    future = asyncio.run_coroutine_threadsafe(work, files.loop)
    while not future.done():
        concurrent.futures.wait([future], timeout=0.2)
        if stopped() and not future.done():
            future.cancel()
            raise CopyStopped(f"[{place}] expected to be read, got a loader that was closed")
    return future.result()


async def _of_http(files: Any, place: str, stamp: Stamp, ranges: Ranges) -> list[bytes]:
    session = await files.set_session()
    url, arguments, limit = files.encode_url(place), dict(files.kwargs), asyncio.Semaphore(AT_ONCE)
    # Parts of what was compressed for the way are not parts of the file.
    headers = {**arguments.pop("headers", {}), "Accept-Encoding": "identity"}

    async def one(begin: int, end: int) -> bytes:
        range_ = {"Range": f"bytes={begin}-{end - 1}"}
        async with limit, session.get(url, headers={**headers, **range_}, **arguments) as answer:
            if answer.status in (404, 410):
                raise FileNotFoundError(place)
            if answer.status == 416:  # it is shorter now
                raise failed(place, _OTHER)
            answer.raise_for_status()
            _check(place, stamp, begin, answer)
            return bytes(await answer.read())

    requests = [asyncio.ensure_future(one(begin, end)) for begin, end in ranges]
    try:
        return list(await asyncio.gather(*requests))
    finally:
        for request in requests:
            request.cancel()  # where another one failed


def _check(place: str, stamp: Stamp, begin: int, answer: Any) -> None:
    """Raise a StorageError unless this is the answer to a request of a part of the file with this stamp."""
    for name in ("ETag", "Last-Modified"):
        told, known = answer.headers.get(name), f"{name.lower()}="
        if told and known in stamp.mark and known + told not in stamp.mark:
            raise failed(place, _OTHER)
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if answer.status != 206 or found is None or int(found[1]) != begin:
        reason = f"expected a server that sends parts of files, got answer {answer.status} to the request of one"
        raise WholeFilesOnlyError(f"[{place}] {reason}", file=place, reason=reason, passing=True)
    if found[2] not in ("*", str(stamp.size)):
        raise failed(place, _OTHER)

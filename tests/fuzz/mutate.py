"""Breaks files and values the way disks, networks and people with time on their hands do."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from typing import Any

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
# Beginnings of chunks, boxes, segments and tags, by which parts are told from each other.
_PARTS = re.compile(rb"[A-Za-z][A-Za-z0-9]{3}|\xff[\xc0-\xfe]|\x1a\x45\xdf\xa3|\x1f\x43\xb6\x75|\x2c\0\0\0\0|\x21\xf9")
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1e300, -1e300, float("nan"), float("inf"), 10**400, -(10**30), 2**63, 0.5, "", "nan"),
    *("1e999", "x" * 5000, "\0", "é\ud800", [], [[]], [None] * 6, {}, {"a": 1}, [1, [2, [3, [4]]]], list("abcdef")),
)


def broken(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Returns a file with one to three things wrong."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(_WAYS)(data, others, rng) or data
    return data


def _at(data: bytes, rng: random.Random) -> int:
    # Half of all damage is done where the headers are.
    return rng.randrange(len(data) if rng.random() < 0.5 else min(len(data), 200))


def _truncate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    return data[: rng.randrange(1, len(data) + 1)]


def _flip(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 40))):
        changed[_at(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    at, size = _at(data, rng), rng.choice((1, 4, 16, 200, 2000))
    filling = rng.choice((b"\0" * size, b"\xff" * size, rng.randbytes(size)))
    return data[:at] + filling + data[at + size :]


def _extreme(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    at, size = _at(data, rng), rng.choice((1, 2, 4, 8))
    value = rng.choice(_EXTREMES) & ((1 << 8 * size) - 1)
    return data[:at] + value.to_bytes(size, rng.choice(("big", "little"))) + data[at + size :]


def _parts(data: bytes, rng: random.Random) -> list[bytes]:
    starts = [found.start() for found in _PARTS.finditer(data)] or [len(data) // 2]
    cuts = sorted({0, len(data), *rng.sample(starts, min(len(starts), 4))})
    return [data[a:b] for a, b in pairwise(cuts)]


def _shuffle(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    parts = _parts(data, rng)
    tail = parts[1:]
    rng.shuffle(tail)
    return b"".join(parts[:1] + tail)


def _drop(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    parts = _parts(data, rng)
    parts.pop(rng.randrange(len(parts)))
    return b"".join(parts)


def _repeat(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    parts = _parts(data, rng)
    at = rng.randrange(len(parts))
    return b"".join(parts[:at] + [parts[at]] * rng.choice((2, 3, 20)) + parts[at + 1 :])[: 4 * len(data)]


def _graft(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    other = rng.choice(others)
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


_WAYS = (_truncate, _flip, _flip, _overwrite, _extreme, _extreme, _shuffle, _drop, _repeat, _graft)


def broken_value(value: Any, rng: random.Random) -> Any:
    """Returns a structure of JSON with one thing replaced, left out or added."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.15:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: broken_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        if rng.random() < 0.2:
            return value[:at] if rng.random() < 0.5 else [*value, rng.choice(VALUES)]
        return [*value[:at], broken_value(value[at], rng), *value[at + 1 :]]
    return rng.choice(VALUES)


def broken_lines(text: str, rng: random.Random) -> str:
    """Returns the text of a TOML file with values of other kinds, or keys and tables that are not where they were."""
    lines = text.splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        key, equals, _ = lines[at].partition("=")
        value = rng.choice(
            (
                *("true", "-1", "0", "1e400", "nan", '"x"', "[]", "[[0, 0]]", "[1, 2, 3]", "{}", "{ a = 1 }", ""),
                *("1979-05-27", "9" * 30, "[" * 200, '"' + "y" * 5000 + '"', '"a\\u0000b"', '"../../x"'),
            )
        )
        how = rng.randrange(4)
        if how == 0 and equals:
            lines[at] = f"{key}= {value}"
        elif how == 1:
            lines[at] = rng.choice(lines)
        elif how == 2:
            lines.insert(at, rng.choice((f"extra = {value}", "[heads.x]", "[detector]", "[attributes.verifier]", "[")))
        elif len(lines) > 1:
            del lines[at]
    return "\n".join(lines)

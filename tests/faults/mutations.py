"""Releases with one thing wrong, as disks, editors and people make them."""

import hashlib
import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from knownat.contract.release import MANIFEST, MODEL, Deployed


@dataclass(frozen=True)
class Mutant:
    """A changed copy of a release, and what was done to it."""

    deployed: Deployed
    how: str
    resealed: bool
    """Whether the manifest names the changed bytes, so that no digest gives it away."""


def mutate(release: Path, version: str, dice: random.Random, *, resealed: bool) -> Mutant:
    """Copy a release beside itself under another version and change the copy."""
    folder = release.with_name(version)
    shutil.copytree(release, folder)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    file = MODEL if resealed else dice.choice([MODEL, MODEL, MANIFEST])
    content = (folder / file).read_bytes()
    how = dice.choice(list(_WAYS))
    changed = _WAYS[how](content, dice)
    while changed == content:
        how = dice.choice(list(_WAYS))
        changed = _WAYS[how](content, dice)
    (folder / file).write_bytes(changed)
    if resealed:
        manifest["version"] = version
        manifest["files"][MODEL] = hashlib.sha256(changed).hexdigest()
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2))
        digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    return Mutant(Deployed(version=version, digest=digest), f"{file}: {how}", resealed)


def _truncate(content: bytes, dice: random.Random) -> bytes:
    return content[: dice.randrange(len(content))]


def _crlf(content: bytes, dice: random.Random) -> bytes:
    return content.replace(b"\n", b"\r\n")


def _flip(content: bytes, dice: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice([1, 1, 8])):
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def _digit(content: bytes, dice: random.Random) -> bytes:
    places = [i for i, byte in enumerate(content) if 48 <= byte <= 57]
    changed = bytearray(content)
    changed[dice.choice(places)] = 48 + dice.randrange(10)
    return bytes(changed)


def _drop_line(content: bytes, dice: random.Random) -> bytes:
    lines = content.split(b"\n")
    del lines[dice.randrange(len(lines))]
    return b"\n".join(lines)


def _swap_lines(content: bytes, dice: random.Random) -> bytes:
    lines = content.split(b"\n")
    one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def _splice(content: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(content))
    return content[:start] + content[start + dice.randrange(1, 200) :]


def _zeros(content: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(content))
    return content[:start] + bytes(len(content) - start)


_WAYS = {
    "cut off": _truncate,
    "CRLF": _crlf,
    "bits flipped": _flip,
    "a digit changed": _digit,
    "a line dropped": _drop_line,
    "lines swapped": _swap_lines,
    "a piece cut out": _splice,
    "zeros to the end": _zeros,
}

"""The signing keys of a queue, read from where its entry says they are."""

from __future__ import annotations

import binascii
import os
import re
from base64 import b64decode

from celadon.delegation.entries import KeySource
from celadon.errors import UnusableKeys
from celadon.settings import secret

PREFIX = "whsec_"
MOST = 2  # The new key and the one before it: what a rotation needs.
# As the Standard Webhooks specification has it: less can be guessed, more is no safer.
LEAST_BYTES, MOST_BYTES = 24, 64

_Stamp = tuple[int, int, int]
_files: dict[str, tuple[_Stamp, tuple[bytes, ...]]] = {}


def keys_of(source: KeySource | None) -> tuple[bytes, ...]:
    """One or two keys, the newest first; none if there is no source, which means: not signed.

    A file is read again when it has changed; put a new one in its place in one move. Raises UnusableKeys, which names
    the source and never a key.
    """
    if source is None:
        return ()
    if source.file is not None:
        return _of_file(source.file)
    text = secret(source.env or "")
    if text is None:
        raise UnusableKeys(f"the variable {source.env} is not set; give it one or two keys, `{PREFIX}…`")
    return _parse(text, f"the variable {source.env}")


def _of_file(path: str) -> tuple[bytes, ...]:
    try:
        with open(path, "rb") as file:
            about = os.fstat(file.fileno())
            stamp = (about.st_mtime_ns, about.st_ino, about.st_size)
            known = _files.get(path)
            if known is not None and known[0] == stamp:
                return known[1]
            text = file.read(10_000).decode("ascii", "replace")
    except OSError as error:
        raise UnusableKeys(f"the file {path} can't be read: {error.strerror}; give it one or two keys") from error
    keys = _parse(text, f"the file {path}")
    _files[path] = stamp, keys
    return keys


def _parse(text: str, where: str) -> tuple[bytes, ...]:
    words = [word for word in re.split(r"[\s,]+", text) if word]
    if not 1 <= len(words) <= MOST:
        raise UnusableKeys(f"{where} holds {len(words) or 'no'} keys; one or two are meant, the newest first")
    return tuple(_key(word, f"key {number} of {where}") for number, word in enumerate(words, 1))


def _key(word: str, which: str) -> bytes:
    if not word.startswith(PREFIX):
        raise UnusableKeys(f"{which} does not begin with `{PREFIX}`; a key is that and some bytes in base64")
    try:
        key = b64decode(word.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        # Without its cause, which might be shown with the word in it.
        raise UnusableKeys(f"{which} is no base64 after `{PREFIX}`; was it cut?") from None
    if not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise UnusableKeys(f"{which} has {len(key)} bytes; {LEAST_BYTES} to {MOST_BYTES} are allowed")
    return key

"""The signing keys of a queue, read from where its entry says they are."""

from __future__ import annotations

from celadon.delegation.entries import KeySource


def keys_of(source: KeySource | None) -> tuple[bytes, ...]:
    """One or two keys, the newest first; none if there is no source, which means: not signed.

    A file is read again when it has changed. Raises UnusableKeys, which names the source and never a key.
    """
    raise NotImplementedError

"""Secrets at rest: encrypted with a key that lies beside the database, for root's eyes only.

Who gets the database alone (a backup, a bug report) learns nothing; who can read the whole data root is root. The
cipher is ChaCha20-Poly1305 (RFC 8439) from the package cryptography, which is loaded when there are secrets.
"""

from __future__ import annotations

import os
from pathlib import Path

from knarr.errors import KnarrError

_KEY_SIZE, _NONCE_SIZE = 32, 12


class Sealer:
    """Seals with the key in the file at `path`, which is made on first use."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def seal(self, id: str, data: bytes) -> bytes:
        """`data` so that only this key opens it, and only as the secret `id`. Raises OSError."""
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        nonce = os.urandom(_NONCE_SIZE)
        return nonce + ChaCha20Poly1305(self._key()).encrypt(nonce, data, id.encode())

    def unseal(self, id: str, sealed: bytes) -> bytes:
        """What was sealed. Raises KnarrError if this key does not open it."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        try:
            key = self._path.read_bytes()
            nonce, text = sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:]
            return ChaCha20Poly1305(key).decrypt(nonce, text, id.encode())
        except (OSError, ValueError, InvalidTag) as error:
            raise KnarrError(f"secret {id} cannot be read with the key in {self._path}: {error!r}") from error

    def _key(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            self._make_key()
            return self._path.read_bytes()

    def _make_key(self) -> None:
        """Whole or not at all, and on the disk before anything is sealed with it."""
        fresh = self._path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, os.urandom(_KEY_SIZE))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(fresh, self._path)

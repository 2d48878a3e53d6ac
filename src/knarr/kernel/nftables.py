"""nftables through libnftables: rule sets as text (nft(8)), each call a transaction: all of it or nothing."""

from __future__ import annotations

import ctypes
import threading

from knarr.errors import KnarrError

_OUTPUT_HANDLE = 1 << 3
_OUTPUT_JSON = 1 << 4


class NftablesError(KnarrError):
    """The kernel or the library refused a command; the text is nft's."""


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError as error:
        raise KnarrError(
            "libnftables.so.1 is missing: install the package libnftables1 (Debian, Ubuntu) or nftables"
        ) from error
    context = ctypes.c_void_p
    library.nft_ctx_new.restype = context
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_free.argtypes = [context]
    library.nft_ctx_buffer_output.argtypes = [context]
    library.nft_ctx_buffer_error.argtypes = [context]
    library.nft_ctx_get_output_buffer.argtypes = [context]
    library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    library.nft_ctx_get_error_buffer.argtypes = [context]
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    library.nft_ctx_output_set_flags.argtypes = [context, ctypes.c_uint]
    library.nft_run_cmd_from_buffer.argtypes = [context, ctypes.c_char_p]
    return library


class Nftables:
    """A libnftables context in the network namespace of the thread that makes it; any thread may use it, in turn."""

    def __init__(self) -> None:
        """Raises KnarrError if the library is missing or no context can be made."""
        self._library = _load()
        self._lock = threading.Lock()
        self._context: int | None = self._library.nft_ctx_new(0)
        if not self._context:
            raise KnarrError("libnftables gave no context: is nf_tables in this kernel?")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def run(self, commands: str) -> str:
        """Carry out `commands` in one transaction and return what they print. Raises NftablesError."""
        return self._run(commands, 0)

    def run_json(self, commands: str) -> str:
        """As `run`; listings come as JSON (libnftables-json(5)), with handles. Raises NftablesError."""
        return self._run(commands, _OUTPUT_JSON | _OUTPUT_HANDLE)

    def _run(self, commands: str, flags: int) -> str:
        with self._lock:
            if self._context is None:
                raise NftablesError("the nftables context is closed")
            self._library.nft_ctx_output_set_flags(self._context, flags)
            failed = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
            output: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
            errors: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if failed:
            raise NftablesError(f"nftables: {errors.decode(errors='replace').strip()}")
        return output.decode()

    def close(self) -> None:
        """Free the context; closing twice is fine."""
        with self._lock:
            if self._context is not None:
                self._library.nft_ctx_free(self._context)
                self._context = None

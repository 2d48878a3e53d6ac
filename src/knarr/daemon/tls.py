"""The TLS side of tcp addresses."""

from __future__ import annotations

import ssl

from knarr.errors import InvalidParameter


def server_context(certificate: str, key: str, authority: str | None) -> ssl.SSLContext:
    """TLS with our certificate; with an `authority`, only for clients that show a certificate signed by it.

    Raises InvalidParameter for files that are missing or do not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidParameter(
            f"could not load X509 key pair (cert: {certificate}, key: {key}): {_why(error)}"
        ) from None
    if authority is not None:
        try:
            context.load_verify_locations(authority)
        except (OSError, ssl.SSLError) as error:
            raise InvalidParameter(f"could not read CA certificate {authority}: {_why(error)}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _why(error: OSError) -> str:
    return error.strerror or str(error)

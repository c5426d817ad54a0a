"""What to do where the certificate of a server is refused."""

from __future__ import annotations

import ssl

_NAMES_DIFFER = (62, 64)
"""OpenSSL's codes of a host name and of an address that a certificate is not for."""


def certificate_problem(error: BaseException | None) -> str | None:
    """A sentence about the certificate that `error` came from, with what to do; None for any other error."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    if error is None:
        return None
    what = error.verify_message.rstrip(".")
    if error.verify_code in _NAMES_DIFFER:
        return f"the server's certificate is for another host ({what}): check the address"
    return f"the server's certificate is not trusted ({what}): give its authority's certificate in SSL_CERT_FILE"

"""Whom a board believes over TLS: ``ca.der`` or ``ca.pem`` at the root of its flash, or the fingerprint in ``pin.txt``.

A fingerprint is the SHA-256 of the certificate in hexadecimal. Where there is neither nobody is believed.
"""

import binascii
import hashlib
import tls


def _file(name):
    try:
        with open(name, "rb") as file:
            return file.read()
    except OSError:
        return None


def wrap(sock, host):
    """``sock`` with TLS. Raises OSError when there is nothing to know the other side by, or it is another one."""
    pin = _file("pin.txt")
    authority = _file("ca.der") or _file("ca.pem")
    if not pin and not authority:
        raise OSError("no ca.der, ca.pem or pin.txt: nobody is trusted over TLS")
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    if pin:
        wanted = pin.decode().strip().lower().replace(":", "")

        def look(certificate, depth):
            # Whoever signed it does not matter then.
            return 0 if depth or binascii.hexlify(hashlib.sha256(certificate).digest()).decode() == wanted else 1

        context.verify_mode = tls.CERT_OPTIONAL
        context.verify_callback = look
    else:
        context.verify_mode = tls.CERT_REQUIRED
    if authority:
        context.load_verify_locations(authority)
    wrapped = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    wrapped.setblocking(False)
    return wrapped

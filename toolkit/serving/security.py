"""API keys: who has one may ask. The service knows their hashes only."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence

from starlette.requests import HTTPConnection

from toolkit.serving.service_errors import AuthenticationError


def new_key() -> str:
    """A key that nobody can guess: 256 random bits."""
    return f"asr-{secrets.token_urlsafe(32)}"


def hash_of(key: str) -> str:
    """What the service keeps of a key. Keys are random: nothing can be guessed that a salt would save."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def key_of(connection: HTTPConnection) -> str | None:
    """What the client shows: ``Authorization: Bearer KEY``."""
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def check_key(key: str | None, hashes: Sequence[str]) -> None:
    """Nothing, when the key has one of the hashes, or there are none to have.

    Raises
    ------
    AuthenticationError
        It has none of them, or is None.
    """
    if not hashes:
        return
    if key is None:
        raise AuthenticationError("an API key is needed, in the header Authorization: Bearer KEY")
    shown = hash_of(key)
    if not any([hmac.compare_digest(shown, known) for known in hashes]):  # noqa: C419 - all, whichever fits
        raise AuthenticationError("the API key is not known; ask for one where the service is run")

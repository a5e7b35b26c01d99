"""Why the service does not answer a request, as HTTP says it.

    ServiceError (ToolkitError)
    ├── BadRequestError        400  the request makes no sense
    ├── AuthenticationError    401  no API key, or a wrong one
    ├── ForbiddenError         403  a page of another server, which is not named in cors_origins
    ├── NotFoundError          404  no such model
    ├── TooLargeError          413  more bytes, or more seconds of audio, than are allowed
    ├── UnsupportedMediaError  415  not audio that can be decoded
    ├── InvalidInputError      422  a field has a value that cannot be, or the audio is damaged
    ├── BusyError              429  as much is waiting as may wait: come again
    └── UnavailableError       503  the model is not there (yet, or any more), or did not answer in time

Messages are for the one who asks: they name the field or the value, and nothing of the server's paths.
"""

from __future__ import annotations

from toolkit.errors import ToolkitError


class ServiceError(ToolkitError):
    """Base of every answer that is not a transcript.

    Attributes
    ----------
    status
        Of HTTP.
    kind
        One word for programs, ``error.type`` of the answer.
    code
        What OpenAI's clients know it by, where they do.
    param
        The field of the request that is to blame, where there is one.
    retry_after
        Seconds after which to ask again, where that may help; where not, OpenAI's clients are told not to.
    """

    status = 500
    kind = "server_error"
    code: str | None = None

    def __init__(self, message: str, *, param: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.param, self.retry_after = param, retry_after


class BadRequestError(ServiceError):
    """The request makes no sense."""

    status, kind = 400, "invalid_request_error"


class AuthenticationError(ServiceError):
    """There is no API key, or a wrong one."""

    status, kind, code = 401, "authentication_error", "invalid_api_key"


class ForbiddenError(ServiceError):
    """A page of another server asks, which is not one of those that may."""

    status, kind = 403, "permission_error"


class NotFoundError(ServiceError):
    """There is no such model."""

    status, kind, code = 404, "not_found_error", "model_not_found"


class TooLargeError(ServiceError):
    """There are more bytes, or more seconds of audio, than are allowed."""

    status, kind = 413, "too_large_error"


class UnsupportedMediaError(ServiceError):
    """The file is not audio that can be decoded."""

    status, kind = 415, "unsupported_media_error"


class InvalidInputError(ServiceError):
    """A field has a value that cannot be, or the audio is damaged."""

    status, kind = 422, "invalid_input_error"


class BusyError(ServiceError):
    """As much is waiting as may wait."""

    status, kind, code = 429, "rate_limit_error", "rate_limit_exceeded"


class UnavailableError(ServiceError):
    """The model is not there, or did not answer in time."""

    status, kind = 503, "unavailable_error"

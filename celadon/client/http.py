"""httpx in the flows' words."""

from __future__ import annotations

from typing import Any

import httpx

from celadon.client.flow import Answer, Failure, Request

# What another try may better; anything else that httpx raises is a mistake, and is raised as it is.
TRANSIENT = (
    httpx.TimeoutException,
    httpx.NetworkError,
    httpx.RemoteProtocolError,
    httpx.ProxyError,
    httpx.DecodingError,
)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


def arguments(request: Request) -> dict[str, Any]:
    """A request as httpx takes it. Redirects are not followed: the key is for this server."""
    return {
        "method": request.method,
        "url": request.url,
        "params": request.params if request.wait_s is None else {**request.params, "wait": request.wait_s},
        "headers": request.headers if request.body is None else {**request.headers, "Content-Type": "application/json"},
        "content": request.body,
        "timeout": httpx.Timeout(
            request.timeout_s, read=request.timeout_s + (request.wait_s or 0.0) + request.silent_s
        ),
        "follow_redirects": False,
    }


def answer(response: httpx.Response) -> Answer:
    """An answer that was read."""
    return Answer(response.status_code, dict(response.headers), response.content)


def opened(response: httpx.Response) -> Answer:
    """The beginning of a stream."""
    return Answer(response.status_code, dict(response.headers))


def failure(error: Exception) -> Failure:
    return Failure(f"{type(error).__name__}: {error}", in_doubt=not isinstance(error, _NEVER_SENT))

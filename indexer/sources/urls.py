"""Pictures from http and https URLs, within limits on size, time, redirects, connections and addresses.

Knows httpx, and httpcore below it: names are resolved and checked at the one place where connections are opened, so
that no redirect and no changing DNS answer leads to an address that was not checked. Proxies, cookies and ``.netrc``
are ignored.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Iterable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from indexer.errors import PictureError
from indexer.images import Limits, check_size, file_error
from indexer.sources.addresses import resolve

if TYPE_CHECKING:
    import ssl

MAX_REDIRECTS = 5
_HEADERS = {"User-Agent": "diptych (picture indexer)", "Accept": "image/*", "Accept-Encoding": "identity"}
_RETRY = frozenset({408, 425, 429})


class Fetcher:
    """Fetches pictures; one serves all threads. ``timeout`` is in seconds and covers a whole fetch, redirects included
    (only the system's name resolver keeps its own time).
    """  # noqa: D205

    def __init__(self, *, allow_private: bool = False, timeout: float = 30.0, connections: int = 16) -> None:
        self.timeout = timeout
        self._clock = _Clock()
        self._client = httpx.Client(
            transport=_Transport(_Backend(self._clock, allow_private=allow_private), connections),
            headers=_HEADERS,
            timeout=httpx.Timeout(min(timeout, 10.0), pool=timeout),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
        )

    def fetch(self, url: str, limits: Limits | None = None) -> bytes:
        """Give the bytes at a URL. Raises ``PictureError``; it is ``transient`` when trying again may help."""
        limits = limits or Limits()
        self._clock.start(self.timeout)
        try:
            return self._follow(httpx.URL(url), limits)
        except (TimeoutError, httpx.TimeoutException):
            raise PictureError(
                "timeout",
                f"The picture did not arrive within {self.timeout:g} seconds",
                "try again, or fetch it by other means",
                transient=True,
            ) from None
        except httpx.HTTPError as error:
            raise PictureError(
                "network", f"The connection failed ({error})", "check the URL and the network", transient=True
            ) from None
        except (httpx.InvalidURL, ValueError) as error:
            raise _bad_url(f"This is no valid URL ({error})") from None

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _follow(self, url: httpx.URL, limits: Limits) -> bytes:
        """Go from hop to hop; the address of each is checked when it is connected to."""
        for _ in range(MAX_REDIRECTS + 1):
            _check(url)
            response = self._client.send(self._client.build_request("GET", url), stream=True)
            try:
                if not response.has_redirect_location:
                    return self._body(response, limits)
                url = response.url.join(response.headers["location"])
            finally:
                response.close()
        raise PictureError(
            "too-many-redirects", f"The URL was redirected more than {MAX_REDIRECTS} times", "give the final URL"
        )

    def _body(self, response: httpx.Response, limits: Limits) -> bytes:
        if response.status_code != 200:
            raise _status_error(response)
        length = response.headers.get("content-length", "")
        check_size(int(length) if length.isdecimal() else 0, limits)
        data = _collect(response.iter_raw(), limits)
        if response.headers.get("content-encoding", "identity").lower() in {"gzip", "x-gzip"}:
            data = _unzipped(data, limits)
        if not data:
            raise file_error("empty")
        return data


def fetch_url(url: str, *, limits: Limits | None = None, allow_private: bool = False, timeout: float = 30.0) -> bytes:
    """Fetch a single URL; keep a ``Fetcher`` for more than one."""
    fetcher = Fetcher(allow_private=allow_private, timeout=timeout, connections=1)
    try:
        return fetcher.fetch(url, limits)
    finally:
        fetcher.close()


def _check(url: httpx.URL) -> None:
    if url.scheme not in {"http", "https"}:
        raise _bad_url(f"Only http and https URLs are fetched, not {url.scheme or 'a relative one'}")
    if not url.host or (url.port or 0) > 65535:
        raise _bad_url("The URL names no host, or no possible port")
    if url.userinfo:
        raise _bad_url("The URL carries a user name or password")


def _bad_url(message: str) -> PictureError:
    return PictureError("bad-url", message, "correct the URL")


def _status_error(response: httpx.Response) -> PictureError:
    code = response.status_code
    transient = code >= 500 or code in _RETRY
    remedy = "try again later" if transient else "correct the URL"
    return PictureError(
        "http-status", f"The server answered {code} {response.reason_phrase}".strip(), remedy, transient=transient
    )


def _collect(pieces: Iterable[bytes], limits: Limits) -> bytes:
    kept, total = [], 0
    for piece in pieces:
        total += len(piece)
        check_size(total, limits)
        kept.append(piece)
    return b"".join(kept)


def _unzipped(data: bytes, limits: Limits) -> bytes:
    """Unpack what a server compressed unasked, but no more of it than the limit."""
    try:
        plain = zlib.decompressobj(wbits=31).decompress(data, limits.max_bytes + 1)
    except zlib.error as error:
        raise PictureError(
            "damaged", f"The server's compression is damaged ({error})", "try again later", transient=True
        ) from None
    check_size(len(plain), limits)
    return plain


class _Clock(threading.local):
    """When the fetch of the present thread must be over. httpx's own timeouts are for each read, not for the whole."""

    end = 0.0

    def start(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def left(self, timeout: float | None) -> float:
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left if timeout is None else min(left, timeout)


class _Backend(httpcore.NetworkBackend):
    """Opens connections to checked addresses only; TLS and the Host header still see the name."""

    def __init__(self, clock: _Clock, *, allow_private: bool) -> None:
        self._clock, self._allow_private = clock, allow_private
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError(f"no address of {host} answers")
        for address in resolve(host, port, allow_private=self._allow_private):
            try:
                left = self._clock.left(timeout)
                stream = self._sockets.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self._clock)
        raise failure


class _Stream(httpcore.NetworkStream):
    """A connection on which no read or write outlasts the fetch it belongs to."""

    def __init__(self, stream: httpcore.NetworkStream, clock: _Clock) -> None:
        self._stream, self._clock = stream, clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._clock.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._clock.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secure = self._stream.start_tls(ssl_context, server_hostname, self._clock.left(timeout))
        return _Stream(secure, self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Transport(httpx.HTTPTransport):
    """httpx's transport over a pool with our backend; httpx itself offers no way to hand one in."""

    def __init__(self, backend: httpcore.NetworkBackend, connections: int) -> None:
        context = httpx.create_ssl_context(trust_env=False)
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context, max_connections=connections, keepalive_expiry=5.0, network_backend=backend
        )

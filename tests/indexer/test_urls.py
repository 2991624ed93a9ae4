"""Fetching: bounded in size, time and hops, and never from an address that is not public."""

import gzip
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpcore
import pytest

from indexer.errors import PictureError
from indexer.images import Limits
from indexer.sources import addresses
from indexer.sources.addresses import is_public
from indexer.sources.urls import Fetcher, fetch_url

BODY = b"picture" * 100


class Shop(BaseHTTPRequestHandler):
    """A server that behaves as badly as its paths say."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))
        name, _, rest = self.path[1:].partition("/")
        getattr(self, f"_{name}")(rest)

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _good(self, rest: str) -> None:
        self._answer(200, BODY, Set_Cookie="id=1; Path=/")

    def _status(self, rest: str) -> None:
        self._answer(int(rest), b"no")

    def _hop(self, rest: str) -> None:
        self._answer(302, Location="/good" if rest == "0" else f"/hop/{int(rest) - 1}")

    def _to(self, rest: str) -> None:
        self._answer(302, Location=rest)

    def _empty(self, rest: str) -> None:
        self._answer(200)

    def _gzip(self, rest: str) -> None:
        self._answer(200, gzip.compress(bytes(int(rest))), Content_Encoding="gzip")

    def _endless(self, rest: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        try:
            while True:
                self.wfile.write(bytes(65536))
        except OSError:
            pass

    def _slow(self, rest: str) -> None:
        """Drip the head or the body, always fast enough for any timeout on a single read."""
        self.close_connection = True
        try:
            if rest == "head":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            else:
                self.send_response(200)
                self.end_headers()
            while True:
                self.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            pass

    def _short(self, rest: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"half")
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Quiet(ThreadingHTTPServer):
    """Says nothing when a client hangs up, which ours do a lot."""

    def handle_error(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def shop() -> Iterator[ThreadingHTTPServer]:
    server = Quiet(("127.0.0.1", 0), Shop)
    server.daemon_threads, server.seen = True, []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def base(shop: ThreadingHTTPServer) -> str:
    shop.seen.clear()
    return f"http://127.0.0.1:{shop.server_port}"


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    fetcher = Fetcher(allow_private=True, timeout=5)
    yield fetcher
    fetcher.close()


def refusal(fetcher: Fetcher, url: str, limits: Limits | None = None) -> PictureError:
    with pytest.raises(PictureError) as caught:
        fetcher.fetch(url, limits)
    return caught.value


def test_a_picture_is_fetched_without_cookies_or_proxies(
    base: str, shop: ThreadingHTTPServer, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetcher.fetch(f"{base}/good") == fetcher.fetch(f"{base}/good") == BODY
    assert fetch_url(f"{base}/good", allow_private=True) == BODY
    for _, headers in shop.seen:
        assert headers["Host"] == base.removeprefix("http://")
        assert headers["User-Agent"].startswith("diptych")
        assert "Cookie" not in headers


@pytest.mark.parametrize(
    ("status", "transient"), [(404, False), (410, False), (403, False), (429, True), (500, True), (503, True)]
)
def test_statuses(base: str, fetcher: Fetcher, status: int, transient: bool) -> None:
    error = refusal(fetcher, f"{base}/status/{status}")
    assert (error.reason, error.transient) == ("http-status", transient)
    assert error.message.startswith(f"The server answered {status} ")


def test_redirects_are_followed_five_times(base: str, fetcher: Fetcher) -> None:
    assert fetcher.fetch(f"{base}/hop/4") == BODY
    error = refusal(fetcher, f"{base}/hop/5")
    assert str(error) == "The URL was redirected more than 5 times; give the final URL"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://a:b@127.0.0.1/", "gopher://x"])
def test_redirects_to_other_schemes_are_refused(base: str, fetcher: Fetcher, target: str) -> None:
    assert refusal(fetcher, f"{base}/to/{target}").reason == "bad-url"


def test_redirects_to_private_addresses_are_refused(
    base: str, shop: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``public.example`` passes for public though it is our server; the address it redirects to does not."""
    plain = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda a: str(a) == "127.0.0.1" or plain(a))
    resolve_to(monkeypatch, {"public.example": ["127.0.0.1"], "inner.example": ["192.168.0.1"]})
    fetcher = Fetcher(timeout=5)
    port = shop.server_port
    assert fetcher.fetch(f"http://public.example:{port}/good") == BODY
    assert shop.seen[-1][1]["Host"] == f"public.example:{port}"
    for target in ("http://127.0.0.2/", "http://169.254.169.254/meta", "http://[::1]/", "http://inner.example/"):
        assert refusal(fetcher, f"http://public.example:{port}/to/{target}").reason == "forbidden-address"
    fetcher.close()


def resolve_to(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> list[str]:
    """Answer for these hosts; numeric addresses still resolve to themselves. Returns the hosts asked for."""
    asked: list[str] = []
    plain = socket.getaddrinfo

    def answer(host: str, port: int, *args: object, **kwargs: object) -> list[object]:
        asked.append(host)
        known = [a for address in names.get(host, []) for a in plain(address, port, *args, **kwargs)]
        return known or plain(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


def test_one_private_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, {"two.example": ["93.184.215.14", "10.0.0.1"]})
    error = refusal(Fetcher(timeout=5), "http://two.example/")
    assert (error.reason, error.transient) == ("forbidden-address", False)
    assert str(error) == (
        "The host two.example is at 10.0.0.1, and only public addresses are fetched from; "
        "allow private addresses if this network is yours (--allow-private)"
    )


def test_a_name_is_resolved_once_and_that_address_is_used(
    base: str, shop: ThreadingHTTPServer, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = resolve_to(monkeypatch, {"once.example": ["127.0.0.1"]})
    assert fetcher.fetch(f"http://once.example:{shop.server_port}/good") == BODY
    assert asked.count("once.example") == 1
    assert set(asked) == {"once.example", "127.0.0.1"}


def test_tls_is_told_the_name_and_not_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []

    class Wire(httpcore.NetworkStream):
        def start_tls(self, _: object, server_hostname: str | None = None, __: object = None) -> httpcore.NetworkStream:
            told.append(server_hostname)
            raise httpcore.ConnectError("far enough")

    def connect(backend: object, host: str, *_: object, **__: object) -> Wire:
        told.append(host)
        return Wire()

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    resolve_to(monkeypatch, {"shop.example": ["93.184.215.14"]})
    assert refusal(Fetcher(timeout=5), "https://shop.example/a.jpg").reason == "network"
    assert told == ["93.184.215.14", "shop.example"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0", "[::1]", "[::ffff:10.0.0.1]"])
def test_spellings_of_this_machine_are_refused(host: str) -> None:
    assert refusal(Fetcher(timeout=5), f"http://{host}:9/").reason in {"forbidden-address", "bad-url"}


def test_addresses() -> None:
    private = """0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 169.254.169.254 172.16.0.1 192.0.0.1 192.168.1.1 198.18.0.1
        224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 :: ::1 ::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::10.0.0.1
        64:ff9b:1::1 2002:7f00:1:: 2001:0:7f00:1:: fc00::1 fd12::1 fe80::1 fec0::1 ff02::1 ff0e::1 2001:db8::1"""
    assert [a for a in private.split() if is_public(ipaddress.ip_address(a))] == []
    public = "1.1.1.1 93.184.215.14 2606:4700::1111 64:ff9b::1.1.1.1 ::ffff:8.8.8.8"
    assert all(is_public(ipaddress.ip_address(a)) for a in public.split())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.jpg",
        "//host/a.jpg",
        "file:///etc/passwd",
        "ftp://x/y",
        "http://",
        "http://u:p@host/",
        "http://a:99999999/",
    ],
)
def test_bad_urls(fetcher: Fetcher, url: str) -> None:
    error = refusal(fetcher, url)
    assert (error.reason, error.transient, error.remedy) == ("bad-url", False, "correct the URL")


@pytest.mark.parametrize(
    "url", ["http://\0/", "http://exa mple/", "http://[::1", "http://" + "a" * 300 + ".example/", "ht!tp:"]
)
def test_worse_urls(fetcher: Fetcher, url: str) -> None:
    assert refusal(fetcher, url).reason in {"bad-url", "unresolvable"}


def test_unknown_hosts_and_closed_ports(fetcher: Fetcher) -> None:
    error = refusal(fetcher, "http://no-such-host.invalid/")
    assert (error.reason, error.transient) == ("unresolvable", True)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        error = refusal(fetcher, f"http://127.0.0.1:{closed.getsockname()[1]}/")
    assert (error.reason, error.transient) == ("network", True)


def test_sizes(base: str, fetcher: Fetcher) -> None:
    small = Limits(max_bytes=500)
    assert str(refusal(fetcher, f"{base}/good", small)) == (
        "The file has 700 bytes and the limit is 500; make it smaller, or raise the limit on bytes (--max-bytes)"
    )
    start = time.monotonic()
    assert refusal(fetcher, f"{base}/endless", Limits(max_bytes=1_000_000)).reason == "too-large"
    assert time.monotonic() - start < 3
    assert refusal(fetcher, f"{base}/empty").reason == "empty"
    assert fetcher.fetch(f"{base}/gzip/1000") == bytes(1000)
    assert refusal(fetcher, f"{base}/gzip/100000000", small).reason == "too-large"
    error = refusal(fetcher, f"{base}/short")
    assert (error.reason, error.transient) == ("network", True)


@pytest.mark.parametrize("part", ["head", "body"])
def test_the_time_limit_is_for_the_whole_fetch(base: str, part: str) -> None:
    fetcher = Fetcher(allow_private=True, timeout=0.5)
    start = time.monotonic()
    error = refusal(fetcher, f"{base}/slow/{part}")
    assert time.monotonic() - start < 2
    assert (error.reason, error.transient) == ("timeout", True)
    assert str(error) == ("The picture did not arrive within 0.5 seconds; try again, or fetch it by other means")
    fetcher.close()


def test_one_fetcher_serves_many_threads(base: str, fetcher: Fetcher) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(fetcher.fetch, [f"{base}/good"] * 100)) == {BODY}

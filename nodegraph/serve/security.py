"""The doors: which requests may be answered at all, before anybody looks at what they ask.

In this order: the name that the client called the server by (DNS rebinding), the page that the request comes from
(cross-site request forgery), and who sends it. Nothing is concluded from a header that an attacker's page can
set; a browser sets `Host`, `Origin` and `Sec-Fetch-Site` itself.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web, web_response

from nodegraph.serve.guesses import Guesses
from nodegraph.serve.refuse import Refused

SESSION_SECONDS = 30 * 86400
TOKEN_LENGTH = 16
SAFE_METHODS = frozenset({"GET", "HEAD"})
SERVER = "nodegraph"  # all that answers say of what speaks here
_PORTS = {"http": 80, "https": 443}

Authority = tuple[str, int | None]


@dataclass
class Access:
    """Who may talk to the server.

    Args:
        token: what a client must show; None asks for none, which is for a server on a loopback address alone.
        hosts: names besides loopback ones that the server is called by.
        port: enters the name of the cookie, because browsers give cookies to every port of a host.
        guesses: counts wrong tokens; the one-time ones do not count.
    """

    token: str | None = None
    hosts: frozenset[str] = frozenset()
    port: int = 0
    guesses: Guesses = field(default_factory=Guesses)
    _once: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.token is not None and len(self.token) < TOKEN_LENGTH:
            raise ValueError(f"a token needs at least {TOKEN_LENGTH} characters; this one has {len(self.token)}")
        self.hosts = frozenset(host.casefold().rstrip(".") for host in self.hosts)

    @property
    def cookie(self) -> str:
        """The name of the session cookie."""
        return f"nodegraph-session-{self.port}"

    def check_host(self, request: web.Request) -> Authority:
        """The name that the client called, where it is one of this server's. Raises Refused."""
        given = request.headers.getall("Host", [])
        authority = parse_authority(given[0]) if len(given) == 1 else None
        if authority is None or not request.raw_path.startswith("/"):
            raise Refused("bad_request", "the request needs one valid Host header and a path")
        if not self._is_mine(authority[0], request):
            name = authority[0][:100]
            raise Refused("forbidden", f"this server is not called {name!r}; start it with --allow-host {name}")
        return authority

    def check_origin(self, request: web.Request, host: Authority) -> None:
        """Raise Refused for a request that a page of another site sends."""
        site = request.headers.get("Sec-Fetch-Site", "none").casefold()
        # Following a link to the editor is the one thing that another site's page may do.
        opens_editor = (
            request.method == "GET"
            and request.path == "/"
            and request.headers.get("Sec-Fetch-Mode") == "navigate"
            and request.headers.get("Sec-Fetch-Dest") == "document"
        )
        if site not in ("same-origin", "none") and not opens_editor:
            raise Refused("forbidden", "this request comes from another site's page")
        origins = request.headers.getall("Origin", [])
        if not origins:
            return
        if len(origins) > 1 or not _same_origin(origins[0], host):
            raise Refused("forbidden", f"requests from {origins[0][:200]!r} are not answered")

    def check_token(self, request: web.Request) -> None:
        """Raise Refused where a token is asked for and the request has neither it nor a session."""
        if self.token is None:
            return
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        if scheme.casefold() == "bearer":
            if self.is_token(shown.strip(), request.remote):
                return
        elif self._session_holds(request.cookies.get(self.cookie, "")):
            # A cookie is sent by a browser, and a browser names the page when it changes something.
            changes = request.method not in SAFE_METHODS or "Upgrade" in request.headers
            if changes and "Origin" not in request.headers:
                raise Refused("forbidden", "a request with a session cookie needs an Origin header")
            return
        raise Refused(
            "not_authenticated",
            "this server asks for its token: send Authorization: Bearer TOKEN",
            headers={"WWW-Authenticate": 'Bearer realm="nodegraph"'},
        )

    def is_token(self, shown: str, address: str | None) -> bool:
        """Whether this is the token. Raises Refused where too many from this address were not."""
        self.guesses.check(address)
        right = self.token is not None and same(shown, self.token)
        if shown and not right:
            self.guesses.wrong(address)
        return right

    def new_once(self) -> str:
        """A token that opens one session and is then spent; safe to hand to a browser in a URL."""
        token = secrets.token_urlsafe(24)
        self._once.add(_digest(token))
        return token

    def spend_once(self, token: str) -> bool:
        """Whether a one-time token is good; it is so once.

        Wrong ones are not counted: nobody guesses 192 random bits, and a page of another site may follow links to
        the editor, so that counting would let it lock out everybody at this machine.
        """
        digest = _digest(token)
        if digest in self._once:
            self._once.remove(digest)
            return True
        return False

    def new_session(self) -> tuple[float, str]:
        """When a new session ends, in seconds since 1970, and the Set-Cookie header that begins it."""
        expires = int(time.time()) + SESSION_SECONDS
        cookie = (
            f"{self.cookie}={expires}.{self._sign(expires)}; Max-Age={SESSION_SECONDS}; Path=/; HttpOnly; "
            "SameSite=Strict"
        )
        return float(expires), cookie

    def _session_holds(self, cookie: str) -> bool:
        expires, _, signature = cookie.partition(".")
        if not (expires.isascii() and expires.isdigit() and len(expires) < 15):
            return False
        return same(signature, self._sign(int(expires))) and time.time() < int(expires)

    def _sign(self, expires: int) -> str:
        # Signed with the token: sessions outlive a restart, and end when the token is changed.
        assert self.token is not None
        return hmac.new(self.token.encode(), f"session until {expires}".encode(), hashlib.sha256).hexdigest()

    def _is_mine(self, name: str, request: web.Request) -> bool:
        if is_loopback(name) or name in self.hosts:
            return True
        # A page can rebind a name to this machine, but not an address: the one that was connected to is fine.
        transport = request.transport
        address = transport.get_extra_info("sockname") if transport is not None else None
        return isinstance(address, tuple) and _address(name) is not None and _address(name) == _address(address[0])


def same(a: str, b: str) -> bool:
    """Whether two secrets are equal, in a time that does not say where they differ."""
    return hmac.compare_digest(a.encode("utf-8", "surrogateescape"), b.encode("utf-8", "surrogateescape"))


def parse_authority(text: str) -> Authority | None:
    """`host` or `host:port` as a folded name without brackets and its port; None where it is malformed."""
    if not text or not text.isascii() or not text.isprintable() or set(text) & set(" @/\\?#%,"):
        return None
    try:
        parts = urlsplit(f"//{text}")
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not name or text.endswith(":"):
        return None
    return name.rstrip("."), port


def is_loopback(name: str) -> bool:
    """Whether a name or address is one that no name server decides about and that leads to this machine."""
    address = _address(name)
    return name == "localhost" or (address is not None and address.is_loopback)


def refuse_open_door(host: str, token: str | None) -> None:
    """Raise Refused where a server would listen to other machines without asking for a token."""
    if token is None and not is_loopback(host.casefold()):
        raise Refused(
            "forbidden",
            f"{host} is open to other machines: give --token (or NODEGRAPH_TOKEN); --token auto makes one",
        )


def own_names(host: str, allowed: Iterable[str]) -> frozenset[str]:
    """The names that a server is called by besides loopback ones: those allowed, and the one it listens on.

    An address it listens on is none of them: 0.0.0.0 stands for no machine, and others are known when asked.

    Raises:
        ValueError: what is allowed is no plain name or address.
    """
    names = set()
    for name in allowed:
        authority = parse_authority(name)
        if authority is None or authority[1] is not None:
            raise ValueError(
                f"--allow-host takes a name such as studio.example, without scheme and port; got {name!r}"
            )
        names.add(authority[0])
    if _address(host) is None:
        names.add(host)
    return frozenset(names)


def hide_version() -> None:
    """Have aiohttp, which answers by itself to what is no HTTP, name neither itself nor its version there."""
    vars(web_response)["SERVER_SOFTWARE"] = SERVER


def response_headers(response: web.StreamResponse, extra: Iterable[tuple[str, str]] = ()) -> None:
    """Headers that every answer carries; an answer may bring its own content security policy and caching."""
    headers = response.headers
    headers["Server"] = SERVER
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
    headers.setdefault("Cache-Control", "no-store")
    for name, value in extra:
        headers[name] = value


def _same_origin(origin: str, host: Authority) -> bool:
    scheme, separator, rest = origin.partition("://")
    default = _PORTS.get(scheme.casefold())
    authority = parse_authority(rest)
    if not separator or default is None or authority is None:
        return False
    return (authority[0], authority[1] or default) == (host[0], host[1] or default)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()

"""Where a call goes: always to the origin of the platform's base URL, whatever a vendor's link says."""

import re
from ipaddress import ip_address
from typing import Self
from urllib.parse import SplitResult, urlsplit

import attrs

from clinicrefund.errors import ConfigurationError

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_PLAIN = re.compile(r"[!#-;=?-\[\]_a-z~]*").fullmatch
_DOTS = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE).search
_PORTS = {"https": 443, "http": 80}


class Strayed(Exception):
    """An address that no call of this platform may go to. The message says why, never the address."""


@attrs.frozen(kw_only=True)
class Base:
    """A platform's base URL, checked. ``origin`` is scheme, host and port; ``url`` has no slash at its end."""

    url: str
    origin: str

    @classmethod
    def parse(cls, platform: str, text: str, /) -> Self:
        """`ConfigurationError` where it is not the plain address of an API."""
        origin = None
        try:
            parts = urlsplit(text)
            origin = _origin(parts)
        except ValueError:
            parts = urlsplit("")
        if origin is None or parts.query or parts.fragment or "@" in parts.netloc or not _is_plain(text):
            raise ConfigurationError(
                f"the base_url of {platform} is not usable: give https://host[:port][/path], "
                "without user, query or fragment"
            )
        if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
            raise ConfigurationError(
                f"the base_url of {platform} is plain http: credentials would travel readable; use https "
                "(http is allowed to this machine itself, for the sandbox)"
            )
        return cls(url=text.rstrip("/"), origin=origin)

    def join(self, target: str, /) -> str:
        """The URL of a call's target: below the base, or absolute on the same origin. Else `Strayed`."""
        if not _is_plain(target):
            raise Strayed("its path holds a character that a URL cannot hold; quote it")
        path = target.partition("?")[0]
        if _DOTS(path):
            raise Strayed("its path holds '.' or '..'; quote the references in it")
        if _ABSOLUTE.match(path):
            return self._absolute(target)
        if path.startswith(("//", "\\")):
            raise Strayed("its path names another host")
        if not target or target.startswith("?"):
            return self.url + target
        return f"{self.url}/{target.removeprefix('/')}"

    def _absolute(self, target: str) -> str:
        try:
            parts = urlsplit(target)
            same = _origin(parts) == self.origin and "@" not in parts.netloc
        except ValueError:
            same = False
        if not same:
            raise Strayed(
                "it goes to another host than the platform's base_url, which must not see our credentials"
            )
        return target.partition("#")[0]


def _origin(parts: SplitResult) -> str | None:
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    return f"{parts.scheme}://{parts.hostname}:{parts.port or _PORTS[parts.scheme]}"


def _is_plain(text: str) -> bool:
    return _PLAIN(text) is not None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

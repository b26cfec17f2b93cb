"""Zoho's tokens: where each data center hands them out, under which scheme they are sent, and how it says no.

- https://www.zoho.com/crm/developer/docs/api/v8/multi-dc.html
- https://www.zoho.com/crm/developer/docs/api/v8/refresh.html
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import attrs

from clinicrefund.http import Authorizer, RefreshToken, TokenDesk

if TYPE_CHECKING:
    from clinicrefund.http.transport import Answer

DATA_CENTERS = {
    "us": ("https://accounts.zoho.com", "https://www.zohoapis.com"),
    "eu": ("https://accounts.zoho.eu", "https://www.zohoapis.eu"),
    "in": ("https://accounts.zoho.in", "https://www.zohoapis.in"),
    "au": ("https://accounts.zoho.com.au", "https://www.zohoapis.com.au"),
    "jp": ("https://accounts.zoho.jp", "https://www.zohoapis.jp"),
    "cn": ("https://accounts.zoho.com.cn", "https://www.zohoapis.com.cn"),
    "ca": ("https://accounts.zohocloud.ca", "https://www.zohoapis.ca"),
    "sa": ("https://accounts.zoho.sa", "https://www.zohoapis.sa"),
}
"""Where an account lives: the host of its tokens, and of its records. A token works in its own center only."""

_SCHEME = "Zoho-oauthtoken "
_FAILURE = re.compile(rb'"error"\s*:\s*"([\w ]+)"')
_WORDS = {b"invalid_code": b"invalid_grant", b"invalid_client_secret": b"invalid_client"}


@attrs.frozen(kw_only=True)
class ZohoTokens:
    """The refresh token grant, with Zoho's scheme, and with failures that come as success read as failures."""

    grant: RefreshToken

    def authorizer(self, desk: TokenDesk, /) -> Authorizer:
        asking = attrs.evolve(desk, ask=partial(_ask_for_token, desk.ask))
        return _ZohoAuthorizer(bearer=self.grant.authorizer(asking))


@attrs.frozen(kw_only=True)
class _ZohoAuthorizer:
    bearer: Authorizer

    async def value(self) -> str:
        return _SCHEME + (await self.bearer.value()).removeprefix("Bearer ")

    async def replace(self, refused: str, /) -> bool:
        return await self.bearer.replace("Bearer " + refused.removeprefix(_SCHEME))


async def _ask_for_token(
    ask: "Callable[[str, Mapping[str, str], Mapping[str, str]], Awaitable[Answer]]",
    url: str,
    form: Mapping[str, str],
    headers: Mapping[str, str],
) -> "Answer":
    answer = await ask(url, form, headers)
    if (failure := _FAILURE.search(answer.body)) is None:
        return answer
    if failure[1] == b"Access Denied":  # asked too often; asking again makes it longer
        return attrs.evolve(answer, status=429)
    error = _WORDS.get(failure[1], failure[1])
    status = 400 if answer.status == 200 else answer.status
    return attrs.evolve(answer, status=status, body=b'{"error":"' + error + b'"}')

"""HTTP as data, and the one session that sends it. What an adapter's author needs; importing it loads no HTTP stack."""

import typing

from clinicrefund.faces import loading as _loading

if typing.TYPE_CHECKING:
    from clinicrefund.http.auth import Auth, Authorizer, Basic, Bearer, TokenDesk
    from clinicrefund.http.bound import BoundSession
    from clinicrefund.http.call import HttpCall, HttpReply
    from clinicrefund.http.client_assertion import ClientAssertion
    from clinicrefund.http.decoding import Unreadable, structure_value
    from clinicrefund.http.grants import ClientCredentials, JwtGrant, RefreshToken
    from clinicrefund.http.limits import Closed, Fleet, Limits
    from clinicrefund.http.session import Session
    from clinicrefund.http.tokens import MemoryTokenStore

__all__ = [
    "Auth",
    "Authorizer",
    "Basic",
    "Bearer",
    "BoundSession",
    "ClientAssertion",
    "ClientCredentials",
    "Closed",
    "Fleet",
    "HttpCall",
    "HttpReply",
    "JwtGrant",
    "Limits",
    "MemoryTokenStore",
    "RefreshToken",
    "Session",
    "TokenDesk",
    "Unreadable",
    "structure_value",
]

_HOMES: typing.Final = {
    "auth": "Auth Authorizer Basic Bearer TokenDesk",
    "bound": "BoundSession",
    "call": "HttpCall HttpReply",
    "client_assertion": "ClientAssertion",
    "decoding": "Unreadable structure_value",
    "grants": "ClientCredentials JwtGrant RefreshToken",
    "limits": "Closed Fleet Limits",
    "session": "Session",
    "tokens": "MemoryTokenStore",
}
__getattr__ = _loading(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

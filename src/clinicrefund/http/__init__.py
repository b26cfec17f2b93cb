"""HTTP as data, and the one session that sends it. What an adapter's author needs; importing it loads no HTTP stack."""

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

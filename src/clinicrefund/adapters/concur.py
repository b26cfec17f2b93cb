"""SAP Concur Expense: a refund becomes an expense entry with a negative amount, on a report that was not submitted.

Concur books expenses of employees; it is no general ledger, and knows no patients. What a gateway takes for a refund is
an entry beside it, where the clinic names a type for it. Written for Expense Entries v3, which alone creates an
expense, Reports v3, which alone lists reports, and Expense Reports v4, which opens one:

https://developer.concur.com/api-reference/expense/expense-report/expense-entry.html (and ``reports.html``)
https://developer.concur.com/api-reference/expense/expense-report/v4.reports.html

Not covered: submitting a report (it is then closed for good), Quick Expense (what it writes cannot be looked up),
the fee of the payment itself, a company that SAP moves to another data center.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Protocol, Self, TypeVar, cast
from urllib.parse import quote, urlsplit
from uuid import NAMESPACE_URL, uuid5

import attrs

from clinicrefund.case.status import EntryKind
from clinicrefund.checks import filled
from clinicrefund.environment import needed
from clinicrefund.errors import CredentialsRefused, Unavailable
from clinicrefund.http import HttpCall, HttpReply, Limits, RefreshToken, Session
from clinicrefund.orders import LedgerEntry
from clinicrefund.outcomes import Done, Outcome, Pending, RefusalReason, Refused, Unknown
from clinicrefund.ports import LedgerCapabilities, Lookup
from clinicrefund.secret import Secret, secret

TOKEN_PATH = "/oauth2/v0/token"  # noqa: S105 - an address
HOSTS = (".concursolutions.com", ".cnqr-cn.com")

_V3 = "/api/v3.0/expense"
_V4 = "/expensereports/v4"
_OPEN = "A_NOTF"
"""Not filed. Any other status says that the report has been submitted once, and takes no entries any more."""

_REFUSALS = {
    400: RefusalReason.OTHER,
    403: RefusalReason.NOT_ALLOWED,
    404: RefusalReason.NOT_FOUND,
}
_PASSING = ("deadlock", "request limit", "too many requests")
"""Pieces of the texts, in lower case, by which a 400 says that it was not the order's fault."""

_LONGEST_DESCRIPTION = 64
_KINDS = {EntryKind.REFUND: "Refund", EntryKind.REVERSAL: "Reversal", EntryKind.LOST_FEE: "Fee"}


class _Page(Protocol):
    @property
    def NextPage(self) -> str | None: ...  # noqa: N802 - as on the wire


_T = TypeVar("_T")
_P = TypeVar("_P", bound=_Page)


@attrs.frozen(kw_only=True)
class ConcurConfig:
    """``base_url``: the geolocation that came with the token, like ``https://us2.api.concursolutions.com``. ``user``:
    login of the employee or service user whose reports these are. ``expense_type`` and ``payment_type``: codes of the
    site, as v3 takes them; the latter must be of a kind that the company pays. ``fee_type``: the expense type of what a
    gateway takes for a refund; None: no fee is booked.

    ``refresh_token``: of the company; it lives six months and may change with a refresh, so the session needs a
    lasting `clinicrefund.TokenStore`. ``user_id`` and ``policy``: None to look up the user, and to take its default
    policy. ``report_name``: each month has a report of that name and the month. ``negative``: False for a site that
    takes no negative amounts; a refund is then an entry like any other expense.
    """

    base_url: str = attrs.field(validator=filled)
    client_id: str = attrs.field(validator=filled)
    client_secret: Secret = attrs.field(converter=secret)
    refresh_token: Secret = attrs.field(converter=secret)
    user: str = attrs.field(validator=filled)
    expense_type: str = attrs.field(validator=filled)
    payment_type: str = attrs.field(validator=filled)
    fee_type: str | None = None
    user_id: str | None = None
    policy: str | None = None
    report_name: str = attrs.field(default="Patient refunds", validator=filled)
    negative: bool = True

    @property
    def live(self) -> bool:
        """Whether the host is none of SAP's implementation entities, nor this machine."""
        host = urlsplit(self.base_url).hostname or ""
        return host.endswith(HOSTS) and "-impl." not in host

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self | None:
        """From ``CONCUR_CLIENT_ID`` and, with the same beginning, ``_BASE_URL``, ``_CLIENT_SECRET``,
        ``_REFRESH_TOKEN``, ``_USER``, ``_EXPENSE_TYPE``, ``_PAYMENT_TYPE``; perhaps ``_FEE_TYPE``, ``_USER_ID``,
        ``_POLICY``. None without the first.
        """
        names = "client_id base_url client_secret refresh_token user expense_type payment_type".split()
        if (values := needed(env, "CONCUR", names)) is None:
            return None
        return cls(
            **cast("dict[str, Any]", values),
            fee_type=env.get("CONCUR_FEE_TYPE") or None,
            user_id=env.get("CONCUR_USER_ID"),
            policy=env.get("CONCUR_POLICY"),
        )


class ConcurLedger:
    """`Ledger`: a refund becomes an entry on the month's open report; a reversal an entry of the opposite amount.

    It reads nothing of a booking. The report is opened where there is none, as a part of its own.
    """

    platform = "concur"

    def __init__(self, config: ConcurConfig, session: Session, /) -> None:
        self.live = config.live
        self.capabilities = LedgerCapabilities(
            lookup=Lookup.ABSENCE,
            visible_after=timedelta(minutes=5),  # what SAP asks to wait after a failure
            key_length=_LONGEST_DESCRIPTION - len("Reversal "),
            fees=config.fee_type is not None,
        )
        self._config = config
        self._owner: tuple[str, str] | None = None
        self.session = session.bind(
            self.platform,
            base_url=config.base_url,
            headers={"Accept": "application/json"},
            auth=RefreshToken(
                account=f"concur:{config.user}",
                token_url=TOKEN_PATH,
                client_id=config.client_id,
                client_secret=config.client_secret,
                initial=config.refresh_token,
                in_body=True,
            ),
            token_ended=(403,),  # older services say so of tokens that have ended, or were revoked
            limits=Limits(per_second=2, concurrent=2),  # not published
            timeout=timedelta(seconds=60),  # within which calls are to be answered
        )

    async def post_entry(self, entry: LedgerEntry, /) -> Outcome:
        match entry.kind:
            case EntryKind.LOST_FEE if not self.capabilities.fees:
                return Refused(reason=RefusalReason.UNSUPPORTED, code="lost_fee")
            case EntryKind.REVERSAL if entry.reverses is None:
                return Refused(reason=RefusalReason.NOT_FOUND)
            case EntryKind.REVERSAL if not self._config.negative:
                task = f"The refund of Concur expense entry {entry.reverses} failed: take the entry from its report."
                return Pending.by_hand(task)
            case EntryKind.REFUND | EntryKind.REVERSAL | EntryKind.LOST_FEE:
                return await self._book(entry)

    async def find_entry(self, entry: LedgerEntry, /, *, reference: str | None) -> Outcome | None:
        if entry.kind is EntryKind.LOST_FEE and not self.capabilities.fees:
            return None
        if reference is not None:
            call = _get(
                f"{_V3}/entries/{quote(reference, safe='')}", "get_entry", {"user": self._config.user}
            )
            found = await self._ask(call, _Entry)
            return None if found is None else self._outcome(found, entry)
        for report in await self._reports(entry):
            query = {"reportID": report.ID, "limit": "100", "user": self._config.user}
            for page in await self._pages(_get(f"{_V3}/entries", "list_entries", query), _Entries):
                for found in page.Items:
                    if entry.step_id in found.words:
                        return self._outcome(found, entry)
        return None

    async def _book(self, entry: LedgerEntry) -> Outcome:
        report = await self._open_report(entry)
        if not isinstance(report, str):
            return report
        reply = await self.session.send(_create_entry(self._config, report, entry))
        if reply.ok:
            return Done(reference=reply.into(_Created).ID)
        return _refusal(reply)

    async def _open_report(self, entry: LedgerEntry) -> str | Outcome:
        """A report of the entry's month that takes entries: one that stands, or a new one."""
        reports = await self._reports(entry)
        for report in reports:
            if report.ApprovalStatusCode == _OPEN:
                return report.ID
        owner = await self._known_owner()
        if owner is None:
            return Refused(reason=RefusalReason.NOT_FOUND, code="user")
        taken = {report.Name for report in reports}
        name = next(name for name in _names(self._config, entry, len(taken) + 1) if name not in taken)
        reply = await self.session.send(_create_report(*owner, name, entry))
        if not reply.ok:
            return _refusal(reply)
        return reply.into(_Opened).uri.rstrip("/").rpartition("/")[2]

    async def _known_owner(self) -> tuple[str, str] | None:
        """The user's id and policy, asked for once where the settings leave them open."""
        if self._owner is None:
            user, policy = self._config.user_id, self._config.policy
            if user is None:
                query = {"filter": f'userName eq "{self._config.user}"'}
                found = await self._ask(_get("/profile/identity/v4/Users", "find_user", query), _Users)
                user = next((one.id for one in found.Resources), None) if found is not None else None
            if user is not None and policy is None:
                call = _get(f"/expenseconfig/v4/users/{quote(user, safe='')}/policies", "list_policies", {})
                policies = await self._ask(call, list[_Policy])
                policy = next((one.policyId for one in policies or () if one.isDefault), None)
            self._owner = None if user is None or policy is None else (user, policy)
        return self._owner

    async def _reports(self, entry: LedgerEntry) -> "Sequence[_Report]":
        """All of the entry's month, whether they still take entries or not."""
        name = _names(self._config, entry, 1)[0]
        after = entry.on.date().replace(day=1) - timedelta(days=1)
        query = {"user": self._config.user, "createDateAfter": after.isoformat(), "limit": "100"}
        pages = await self._pages(_get(f"{_V3}/reports", "list_reports", query), _Reports)
        listed = [one for page in pages for one in page.Items]
        return [one for one in listed if one.Name == name or one.Name.startswith(f"{name} (")]

    def _outcome(self, found: "_Entry", entry: LedgerEntry) -> Outcome:
        fits = found.TransactionAmount == _amount(self._config, entry)
        if (
            entry.step_id not in found.words
            or not fits
            or found.TransactionCurrencyCode != entry.amount.currency
        ):
            return Unknown(why="the Concur entry of this step has another text, amount or currency")
        return Done(reference=found.ID)

    async def _pages(self, call: HttpCall, shape: type[_P]) -> Sequence[_P]:
        """All pages of a list. A link to the next one may name a host that takes no tokens: it is asked of ours."""
        pages: list[_P] = []
        while (page := await self._ask(call, shape)) is not None:
            pages.append(page)
            if not page.NextPage:
                return pages
            link = urlsplit(page.NextPage)
            call = attrs.evolve(call, path=f"{link.path}?{link.query}", query=())
        # What is missing of a list is not proved absent.
        raise Unavailable("a list is gone", platform=self.platform, operation=call.operation, status=404)

    async def _ask(self, call: HttpCall, shape: type[_T]) -> _T | None:
        reply = await self.session.send(call)
        if reply.ok:
            return reply.into(shape)
        if reply.status == 404:
            return None
        refused = CredentialsRefused if reply.status == 403 else Unavailable
        raise refused(
            "a question was refused", platform=self.platform, operation=call.operation, status=reply.status
        )


# ---- builders --------------------------------------------------------------------------------------------------


def _create_report(user: str, policy: str, name: str, entry: LedgerEntry) -> HttpCall:
    report = {
        "name": name,
        "policyId": policy,
        "businessPurpose": "Refunds of cancelled appointments",
        "reportDate": entry.on.date().replace(day=1).isoformat(),
    }
    # Of the name and not of the step: whoever wants this report at the same moment is given the same one.
    key = str(uuid5(NAMESPACE_URL, f"clinicrefund {user} {name}"))
    path = f"{_V4}/users/{quote(user, safe='')}/context/TRAVELER/reports"
    return _write(path, "create_report", report, key, key_header="idempotency-id")


def _create_entry(config: ConcurConfig, report: str, entry: LedgerEntry) -> HttpCall:
    words = f"{_KINDS[entry.kind]} {entry.step_id} {entry.refund_reference or entry.payment_reference}"
    expense = {
        "ReportID": report,
        "ExpenseTypeCode": config.fee_type if entry.kind is EntryKind.LOST_FEE else config.expense_type,
        "PaymentTypeID": config.payment_type,
        "TransactionAmount": _amount(config, entry),
        "TransactionCurrencyCode": entry.amount.currency,
        "TransactionDate": entry.on.date().isoformat(),
        "Description": words[:_LONGEST_DESCRIPTION],
        "Comment": f"Cancelled appointment; case {entry.case_id}",
        "TaxReceiptType": "N",
    }
    return _write(f"{_V3}/entries", "create_entry", expense, entry.key, user=config.user)


def _write(
    path: str, name: str, body: object, key: str, *, key_header: str | None = None, **query: str
) -> HttpCall:
    correlation = {"concur-correlationid": str(uuid5(NAMESPACE_URL, key))}  # what SAP's support asks for
    return HttpCall(
        operation=name, method="POST", path=path, query=query, json=body, headers=correlation, key=key,
        key_header=key_header, effect=True,
    )  # fmt: skip


def _get(path: str, name: str, query: Mapping[str, str]) -> HttpCall:
    return HttpCall.get(path, operation=name, query=query)


def _names(config: ConcurConfig, entry: LedgerEntry, number: int) -> Sequence[str]:
    """The names that the month's reports may have: a second one is opened when the first was submitted."""
    first = f"{config.report_name} {entry.on:%Y-%m}"
    return (first, *(f"{first} ({place})" for place in range(2, number + 1)))


def _amount(config: ConcurConfig, entry: LedgerEntry) -> Decimal:
    amount = entry.amount.to_decimal()
    return -amount if entry.kind is EntryKind.REFUND and config.negative else amount


# ---- readers: names as they stand on the wire ------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Report:
    ID: str
    Name: str = ""
    ApprovalStatusCode: str = ""


@attrs.frozen(kw_only=True)
class _Reports:
    Items: list[_Report]
    NextPage: str | None = None


@attrs.frozen(kw_only=True)
class _Entry:
    ID: str
    TransactionAmount: Decimal
    TransactionCurrencyCode: str
    Description: str | None = None

    @property
    def words(self) -> Sequence[str]:
        return (self.Description or "").split()


@attrs.frozen(kw_only=True)
class _Entries:
    Items: list[_Entry]
    NextPage: str | None = None


@attrs.frozen(kw_only=True)
class _Created:
    ID: str


@attrs.frozen(kw_only=True)
class _Opened:
    uri: str


@attrs.frozen(kw_only=True)
class _User:
    id: str


@attrs.frozen(kw_only=True)
class _Users:
    Resources: list[_User] = attrs.field(factory=list[_User])


@attrs.frozen(kw_only=True)
class _Policy:
    policyId: str  # noqa: N815 - as on the wire
    isDefault: bool = False  # noqa: N815 - as on the wire


@attrs.frozen(kw_only=True)
class _Message:
    Message: str = ""


@attrs.frozen(kw_only=True)
class _Failed:
    Error: _Message | None = None
    Message: str = ""
    errorMessage: str = ""  # noqa: N815 - as on the wire


def _refusal(reply: HttpReply) -> Outcome:
    reason = _REFUSALS.get(reply.status)
    if reason is None:
        return Unknown(why=f"Concur answered with {reply.status}, which may speak of an earlier attempt")
    if reply.status == 400:
        failed = reply.into(_Failed)
        words = (
            f"{failed.Error.Message if failed.Error else ''} {failed.Message} {failed.errorMessage}".lower()
        )
        if any(piece in words for piece in _PASSING):
            return Unknown(why="Concur answered with 400 for a reason of its own")
    return Refused(reason=reason, code=str(reply.status))

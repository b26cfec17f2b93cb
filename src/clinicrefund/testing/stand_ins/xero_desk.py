"""What all routes of the stand-in of Xero go through, and the bank transactions that it keeps."""

from collections.abc import Callable, Mapping, Sequence

from clinicrefund.testing.stand_in import RefusedByVendor, SandboxReply, SandboxRequest, StandIn, route
from clinicrefund.testing.stand_ins.xero_books import Books, plain
from clinicrefund.testing.stand_ins.xero_shapes import (
    NO_ID,
    Checks,
    Object,
    elements_of,
    failed_element,
    invalid,
    matching,
    missing,
    without_lines,
    wrapped,
)

GATEWAY_CONTACT = "9a7e0000-5e57-4a61-8769-0984103f2225"
"""Whom the clinic pays its gateway's fees: a supplier that stands in the books from the beginning."""

_PATH = "/api.xro/2.0/BankTransactions"
_PAGE = 100


class XeroDesk(StandIn):
    """``books``: the documents, and the organisation's settings. ``suppliers``: contacts that are nobody's patient."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()
        self.suppliers: dict[str, Object] = {GATEWAY_CONTACT: {"ContactStatus": "ACTIVE"}}

    def spendings(self) -> Sequence[str]:
        """All bank transactions, in lines."""
        return [
            f"{one['BankTransactionID']}, {one['Total']:.2f} {one['CurrencyCode']}, {one['Status']}"
            for one in self.books.spendings.values()
        ]

    @route("GET", _PATH)
    def list_bank_transactions(self, request: SandboxRequest) -> SandboxReply:
        if "Reference" in request.query.get("where", ""):  # it is known to match nothing
            return self.listed("BankTransactions", [], request)
        shown = [one for one in self.books.spendings.values() if self.is_visible(one["_at"])]
        return self.listed("BankTransactions", shown, request)

    @route("GET", f"{_PATH}/{{id}}")
    def get_bank_transaction(self, request: SandboxRequest) -> SandboxReply:
        return wrapped("BankTransactions", [plain(self.asked(self.books.spendings, request))], self.now())

    @route("PUT", _PATH)
    def create_bank_transactions(self, request: SandboxRequest) -> SandboxReply:
        def create(body: Object) -> Object:
            contacts = {**self.books.contacts, **self.suppliers}
            self.refuse(self.checks.spending(body, contacts), "BankTransactionID")
            return self.books.spendings[self.books.spend(body, self.now())]

        return self.created("BankTransactions", request, create)

    # ---- for every route -----------------------------------------------------------------------------------------

    @property
    def checks(self) -> Checks:
        return Checks(organisation=self.books.organisation)

    def created(self, name: str, request: SandboxRequest, create: Callable[[Object], Object]) -> SandboxReply:
        made: list[Object] = []
        for body in elements_of(request, name):
            try:
                made.append({**plain(create(body)), "StatusAttributeString": "OK"})
            except RefusedByVendor as refused:
                if request.query.get("summarizeErrors", "").lower() == "true":
                    raise
                made.append(failed_element(refused.reply))
        return wrapped(name, made, self.now())

    def listed(self, name: str, held: Sequence[Object], request: SandboxRequest) -> SandboxReply:
        found = [plain(one) for one in matching(held, request.query.get("where", ""))]
        if "page" not in request.query:
            return wrapped(name, [without_lines(one) for one in found], self.now())
        page, size = int(request.query["page"]), int(request.query.get("pageSize", _PAGE))
        shown = found[(page - 1) * size : page * size]
        pages = -(-len(found) // size)
        counted = {"page": page, "pageSize": size, "pageCount": pages, "itemCount": len(found)}
        return wrapped(name, shown, self.now(), page=counted)

    def asked(self, held: Mapping[str, Object], request: SandboxRequest) -> Object:
        if request.path["id"] not in held:
            raise RefusedByVendor(missing())
        return held[request.path["id"]]

    def refuse(self, messages: Sequence[str], name: str) -> None:
        if messages:
            raise RefusedByVendor(invalid({name: NO_ID}, *messages))

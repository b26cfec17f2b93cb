"""A stand-in for Google Sheets: values read, appended and overwritten, and Google's token endpoint.

Written from the reference of the Sheets API, version 4. It has no developer metadata, formats or formulas: what is
typed as a formula is only noted.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import attrs

from clinicrefund.testing.issued_tokens import IssuedTokens
from clinicrefund.testing.stand_in import (
    Adapters,
    Reach,
    RefusedByVendor,
    SandboxReply,
    SandboxRequest,
    StandIn,
    route,
)
from clinicrefund.testing.stand_ins.google_sheets_grid import Block, Cell, Grid, NoSuchRange

if TYPE_CHECKING:
    from clinicrefund.http import Session

SPREADSHEET = "1SandboxSpreadsheet_0000000000000000000000000"
CLIENT_ID = "sandbox.apps.googleusercontent.com"
CLIENT_SECRET = "GOCSPX-sandbox"  # noqa: S105 - made up
REFRESH_TOKEN = "1//sandbox"  # noqa: S105 - made up
AUDIENCE = "https://oauth2.googleapis.com/token"
_LIFE = timedelta(seconds=3599)
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_INPUT_OPTIONS = ("RAW", "USER_ENTERED")
_NEW_GRID = {"rowCount": 1000, "columnCount": 26}


class GoogleSheetsStandIn(StandIn):
    """One spreadsheet with the empty tab ``Refunds``. ``is_shared``: with whom signs in; ``is_native``: it is a Google
    sheet and no uploaded file. ``service_accounts``: the public key (PEM) of each, by its address.
    """

    platform = "google_sheets"
    host = "sheets.googleapis.com"
    other_hosts = ("oauth2.googleapis.com",)

    def __init__(self) -> None:
        super().__init__()
        self.is_shared = True
        self.is_native = True
        self.service_accounts: dict[str, str] = {}
        self.sheets: dict[str, Grid] = {"Refunds": Grid(sheet="Refunds")}
        self.tokens = IssuedTokens(life=_LIFE)

    def adapters(self, session: "Session", at: Reach, /) -> Adapters:
        from clinicrefund.adapters.google_sheets import (
            BASE_URL,
            TOKEN_URL,
            GoogleSheetsConfig,
            GoogleSheetsLogger,
        )

        config = GoogleSheetsConfig(
            spreadsheet=SPREADSHEET,
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            refresh_token=REFRESH_TOKEN,
            live=False,
            base_url=at(BASE_URL),
            token_url=at(TOKEN_URL),
        )
        return Adapters(loggers={"google_sheets": GoogleSheetsLogger(config, session)})

    # ---- what tests look at --------------------------------------------------------------------------------------

    def rows(self, sheet: str = "Refunds", /) -> Sequence[Mapping[str, Cell]]:
        """The rows below the first one, by the words of the first one."""
        everything = Block(sheet=sheet, top=0, left=0, bottom=None, right=None)
        head, *rows = self.sheets[sheet].rows(everything) or [[]]
        return [{str(word): one for word, one in zip(head, row, strict=False)} for row in rows]

    def end_tokens(self) -> None:
        """All access tokens end at once, as when the hour is over."""
        self.tokens.end()

    def inventory(self) -> Mapping[str, Sequence[str]]:
        shown = ("Case", "Status", "Refund", "Currency")
        return {"rows": [", ".join(str(row.get(word, "")) for word in shown) for row in self.rows()]}

    # ---- routes --------------------------------------------------------------------------------------------------

    def at_the_door(self, path: str, request: SandboxRequest, /) -> SandboxReply | None:
        known = path == "/token" or self.tokens.accept(request.header("authorization"), self.now())
        return None if known else self.token_expired()

    @route("POST", "/token")
    def give_token(self, request: SandboxRequest) -> SandboxReply:
        form = request.form()
        match form.get("grant_type"):
            case "refresh_token":
                if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
                    return SandboxReply(status=401, json={"error": "invalid_client"})
                is_good = form.get("refresh_token") == REFRESH_TOKEN
            case kind if kind == _JWT_BEARER:
                is_good = self._is_signed(form.get("assertion", ""))
            case _:
                return SandboxReply(status=400, json={"error": "unsupported_grant_type"})
        if not is_good:
            return SandboxReply(
                status=400, json={"error": "invalid_grant", "error_description": "Bad Request"}
            )
        token = self.tokens.grant(self.now()).access
        life = int(_LIFE.total_seconds())
        return SandboxReply(json={"access_token": token, "expires_in": life, "token_type": "Bearer"})

    @route("GET", "/v4/spreadsheets/{id}")
    def get_spreadsheet(self, request: SandboxRequest) -> SandboxReply:
        self._check_access(request)
        sheets = [
            {"properties": {"sheetId": place, "title": title, "index": place, "gridProperties": _NEW_GRID}}
            for place, title in enumerate(self.sheets)
        ]
        properties = {"title": "Sandbox", "locale": "en_US", "timeZone": "Etc/GMT"}
        return SandboxReply(
            json={"spreadsheetId": request.path["id"], "properties": properties, "sheets": sheets}
        )

    @route("GET", "/v4/spreadsheets/{id}/values:batchGet")
    def get_several_values(self, request: SandboxRequest) -> SandboxReply:
        self._check_access(request)
        found = [self._values(text, request) for text in request.all_of("ranges")]
        return SandboxReply(json={"spreadsheetId": request.path["id"], "valueRanges": found})

    @route("GET", "/v4/spreadsheets/{id}/values/{range}")
    def get_values(self, request: SandboxRequest) -> SandboxReply:
        self._check_access(request)
        return SandboxReply(json=self._values(request.path["range"], request))

    @route("PUT", "/v4/spreadsheets/{id}/values/{range}")
    def update_values(self, request: SandboxRequest) -> SandboxReply:
        block, rows = self._asked_rows(request)
        bottom = block.top + len(rows) - 1
        right = block.left + max(map(len, rows)) - 1
        if (block.bottom is not None and bottom > block.bottom) or (
            block.right is not None and right > block.right
        ):
            raise _refused(400, "INVALID_ARGUMENT", "the rows reach beyond the range")
        return SandboxReply(json=self._write(request, block.sheet, block.top, block.left, rows))

    @route("POST", "/v4/spreadsheets/{id}/values/{range}:append")
    def append_values(self, request: SandboxRequest) -> SandboxReply:
        block, rows = self._asked_rows(request)
        grid = self.sheets[block.sheet]
        table = grid.table(block)
        if table is None or table.bottom is None:
            top, left = block.top, block.left
        else:
            top, left = table.bottom + 1, table.left
        match request.query.get("insertDataOption", "OVERWRITE"):
            case "INSERT_ROWS":
                grid.insert_rows(top, len(rows))
            case "OVERWRITE":
                pass
            case _:
                raise _refused(400, "INVALID_ARGUMENT", "insertDataOption is not known")
        updates = self._write(request, block.sheet, top, left, rows)
        shown = {} if table is None else {"tableRange": table.text()}
        return SandboxReply(json={"spreadsheetId": request.path["id"], **shown, "updates": updates})

    def no_such_route(self) -> SandboxReply:
        return SandboxReply(status=404, text="<html><title>Error 404 (Not Found)</title></html>")

    def refusal(self) -> SandboxReply:
        return error(403, "PERMISSION_DENIED", "the caller does not have permission")

    def rate_limited(self, retry_after: timedelta, /) -> SandboxReply:
        reply = error(429, "RESOURCE_EXHAUSTED", "a quota is used up")
        return attrs.evolve(reply, headers={"Retry-After": f"{retry_after.total_seconds():.0f}"})

    def server_error(self) -> SandboxReply:
        return SandboxReply(status=502, text="<html><title>Error 502 (Server Error)</title></html>")

    def token_expired(self) -> SandboxReply:
        return error(401, "UNAUTHENTICATED", "the credentials are not valid")

    # ---- how it works inside -------------------------------------------------------------------------------------

    def _check_access(self, request: SandboxRequest) -> None:
        if request.path["id"] != SPREADSHEET:
            raise _refused(404, "NOT_FOUND", "there is no such spreadsheet")
        if not self.is_shared:
            raise _refused(403, "PERMISSION_DENIED", "the caller does not have permission")
        if not self.is_native:
            raise _refused(400, "FAILED_PRECONDITION", "this file is no spreadsheet of Google's")

    def _block(self, text: str) -> Block:
        try:
            block = Block.parse(text)
        except NoSuchRange:
            block = None
        if block is None or block.sheet not in self.sheets:
            raise _refused(400, "INVALID_ARGUMENT", "the range cannot be parsed")
        return block

    def _values(self, text: str, request: SandboxRequest) -> Mapping[str, object]:
        block = self._block(text)
        rows = self.sheets[block.sheet].rows(block)
        dimension = request.query.get("majorDimension", "ROWS")
        if dimension == "COLUMNS":
            width = max(map(len, rows), default=0)
            rows = [[row[place] if place < len(row) else "" for row in rows] for place in range(width)]
        return {"range": block.text(), "majorDimension": dimension, **({"values": rows} if rows else {})}

    def _asked_rows(self, request: SandboxRequest) -> tuple[Block, list[list[Any]]]:
        self._check_access(request)
        body = request.json()
        block = self._block(request.path["range"])
        if request.query.get("valueInputOption") not in _INPUT_OPTIONS:
            raise _refused(400, "INVALID_ARGUMENT", "valueInputOption is required")
        if "range" in body and self._block(body["range"]) != block:
            raise _refused(400, "INVALID_ARGUMENT", "the range of the body is not the range of the path")
        if (body.get("majorDimension") or "ROWS") != "ROWS" or not body.get("values"):
            raise _refused(400, "INVALID_ARGUMENT", "the stand-in takes rows, at least one")
        return block, body["values"]

    def _write(
        self, request: SandboxRequest, sheet: str, top: int, left: int, rows: list[list[Any]]
    ) -> Mapping[str, object]:
        typed = request.query["valueInputOption"] == "USER_ENTERED"
        written = self.sheets[sheet].write(top, left, rows, typed=typed)
        return {
            "spreadsheetId": request.path["id"],
            "updatedRange": written.text(),
            "updatedRows": len(rows),
            "updatedColumns": max(map(len, rows)),
            "updatedCells": sum(value is not None for row in rows for value in row),
        }

    def _is_signed(self, assertion: str) -> bool:
        import jwt

        try:
            issuer = jwt.decode(assertion, options={"verify_signature": False})["iss"]
            claims = jwt.decode(
                assertion,
                self.service_accounts[issuer],
                algorithms=["RS256"],
                audience=AUDIENCE,
                options={"verify_exp": False, "verify_iat": False},
            )
        except (jwt.InvalidTokenError, KeyError):
            return False
        now = self.now().timestamp()
        return (
            claims["iat"] <= now + 60
            and now < claims["exp"] <= claims["iat"] + 3600
            and bool(claims["scope"])
        )


def error(status: int, word: str, message: str, /) -> SandboxReply:
    """A failure in the shape that all of Google's APIs share."""
    return SandboxReply(status=status, json={"error": {"code": status, "message": message, "status": word}})


def _refused(status: int, word: str, message: str) -> RefusedByVendor:
    return RefusedByVendor(error(status, word, message))

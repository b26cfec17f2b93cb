"""A cancellation worked off by a hand-written coroutine: the same calls to the same seven platforms, and nothing kept.

Stripe's by its async client, the others' by httpx, with one client and its connections kept open. It decides nothing,
renders nothing, keeps no journal, and does not ask twice: a crash or a lost answer leaves it at a loss.
"""

import asyncio
from datetime import datetime
from typing import Any

import attrs
import httpx
import stripe

from clinicrefund import Booking
from clinicrefund.testing.stand_ins import (
    athenahealth,
    athenahealth_shapes,
    google_sheets,
    mailgun,
    quickbooks,
    slack,
    twilio,
)

_HEAD = (
    "Case",
    "Step",
    "Updated",
    "Appointment",
    "Moment",
    "Status",
    "Refund",
    "Retained",
    "Currency",
    "Patient",
    "Link",
)
_SHEET = f"/google_sheets/v4/spreadsheets/{google_sheets.SPREADSHEET}"
_COLUMNS = [("ranges", f"'Refunds'!{area}") for area in ("1:1", "A:A", "B:B", "C:C")]
_AS_IS = {"valueInputOption": "RAW"}


@attrs.define
class Desk:
    """The clients and the tokens. `signed_in` is asked for once."""

    http: httpx.AsyncClient
    stripe: stripe.StripeClient
    tokens: dict[str, str] = attrs.field(factory=dict[str, str])
    sheet: asyncio.Lock = attrs.field(factory=asyncio.Lock)

    async def signed_in(self) -> None:
        """A token for each platform that wants one, and the sheet's first row."""
        granted = {"grant_type": "client_credentials", "scope": "athena/service/Athenanet.MDP.*"}
        client = (athenahealth.CLIENT_ID, athenahealth.CLIENT_SECRET)
        self.tokens["athenahealth"] = await self._token("/athenahealth/oauth2/v1/token", granted, client)
        renewed = {"grant_type": "refresh_token", "refresh_token": quickbooks.FIRST_REFRESH_TOKEN}
        client = (quickbooks.CLIENT_ID, quickbooks.CLIENT_SECRET)
        self.tokens["quickbooks"] = await self._token("/quickbooks/oauth2/v1/tokens/bearer", renewed, client)
        renewed = {
            "grant_type": "refresh_token",
            "refresh_token": google_sheets.REFRESH_TOKEN,
            "client_id": google_sheets.CLIENT_ID,
            "client_secret": google_sheets.CLIENT_SECRET,
        }
        self.tokens["google_sheets"] = await self._token("/google_sheets/token", renewed, None)
        first = {"range": "'Refunds'!A1:K1", "majorDimension": "ROWS", "values": [_HEAD]}
        await self._ask("PUT", f"{_SHEET}/values/'Refunds'!A1:K1", "google_sheets", params=_AS_IS, json=first)

    async def _token(self, path: str, form: dict[str, str], client: tuple[str, str] | None) -> str:
        reply = (
            await self.http.post(path, data=form, auth=client)
            if client
            else await self.http.post(path, data=form)
        )
        token: str = reply.raise_for_status().json()["access_token"]
        return token

    async def _ask(self, method: str, path: str, platform: str, **more: Any) -> Any:
        headers = {"authorization": f"Bearer {self.tokens[platform]}"} if platform in self.tokens else {}
        reply = await self.http.request(method, path, headers=headers, **more)
        if reply.is_error:
            raise RuntimeError(f"{platform} answers {reply.status_code}: {reply.text}")
        return reply.json()

    # ---- the steps -------------------------------------------------------------------------------------------

    async def case(self, number: int, booking: Booking) -> None:
        """One cancelled visit: what the library does in the same order, and as much at once."""
        case = f"case-{number}"
        await asyncio.gather(self._cancelled(case, booking), self._row(case, "opened"))
        refund = await self._refunded(case, booking)
        await asyncio.gather(
            self._noted(case, booking, refund),
            self._booked(case, booking, refund),
            self._texted(booking),
            self._mailed(case, booking),
            self._posted(case),
            self._row(case, "refunded"),
        )
        await self._row(case, "closed")

    async def _cancelled(self, case: str, booking: Booking) -> None:
        visit, patient = (
            _reference(booking, "athenahealth", "appointment"),
            _reference(booking, "athenahealth", "patient"),
        )
        path = f"/athenahealth/v1/{athenahealth_shapes.PRACTICE}/appointments/{visit}"
        shown = {"showcopay": "false", "ignorerestrictions": "true"}
        for _ in range(2):
            (found,) = await self._ask("GET", path, "athenahealth", params=shown)
            if found["appointmentstatus"] != "f":
                raise RuntimeError("the visit is not booked")
        form = {
            "patientid": patient,
            "cancellationreason": f"Cancelled; refund case {case}",
            "ignoreschedulablepermission": "true",
            "nopatientcase": "true",
        }
        await self._ask("PUT", f"{path}/cancel", "athenahealth", data=form)
        (found,) = await self._ask("GET", path, "athenahealth", params=shown)
        if found["appointmentstatus"] != "x":
            raise RuntimeError("the visit is not cancelled")

    async def _refunded(self, case: str, booking: Booking) -> str:
        intents, refunds = self.stripe.v1.payment_intents, self.stripe.v1.refunds
        reference = booking.payments[0].reference
        await intents.retrieve_async(reference, {"expand": ["latest_charge"]})
        intent = await intents.retrieve_async(reference, {"expand": ["latest_charge"]})
        charge = intent.latest_charge
        if not isinstance(charge, stripe.Charge) or charge.amount_refunded or charge.disputed:
            raise RuntimeError("the payment is not whole")
        listed = await refunds.list_async({"charge": charge.id, "limit": 100})
        if listed.data:
            raise RuntimeError("it is refunded already")
        refund = await refunds.create_async(
            {
                "charge": charge.id,
                "amount": charge.amount_captured,
                "reason": "requested_by_customer",
                "metadata": {"key": f"{case}-refund", "case": case},
            },
            {"idempotency_key": f"{case}-refund"},
        )
        if refund.status != "succeeded":
            raise RuntimeError("it is not refunded")
        return refund.id

    async def _noted(self, case: str, booking: Booking, refund: str) -> None:
        visit = _reference(booking, "athenahealth", "appointment")
        path = f"/athenahealth/v1/{athenahealth_shapes.PRACTICE}/appointments/{visit}/notes"
        await self._ask("GET", path, "athenahealth", params={"showdeleted": "true"})
        form = {
            "notetext": f"[{case}] Refunded: 120.00 USD, reference {refund}.",
            "displayonschedule": "false",
        }
        await self._ask("POST", path, "athenahealth", data=form)
        await self._ask("GET", path, "athenahealth", params={"showdeleted": "true"})

    async def _booked(self, case: str, booking: Booking, refund: str) -> None:
        path = f"/quickbooks/v3/company/{quickbooks.REALM}"
        customer, today = (
            _reference(booking, "quickbooks", "customer"),
            f"{datetime.now().astimezone():%Y-%m-%d}",
        )
        for wanted in (f"DocNumber = '{case}'", f"CustomerRef = '{customer}' and TxnDate = '{today}'"):
            statement = f"select * from RefundReceipt where {wanted} maxresults 1000"  # noqa: S608 - the text is this file's own
            query = {"query": statement, "minorversion": "75"}
            await self._ask("GET", f"{path}/query", "quickbooks", params=query)
        line = {
            "Amount": 120.00,
            "DetailType": "SalesItemLineDetail",
            "Description": "Refund of a cancelled appointment",
            "SalesItemLineDetail": {
                "ItemRef": {"value": "10"},
                "TaxCodeRef": {"value": "NON"},
                "Qty": 1,
                "UnitPrice": 120.00,
            },
        }
        receipt = {
            "CustomerRef": {"value": customer},
            "TxnDate": today,
            "PrintStatus": "NotSet",
            "PaymentRefNum": refund,
            "PrivateNote": f"case={case}; refund={refund}",
            "DepositToAccountRef": {"value": "35"},
            "Line": [line],
            "DocNumber": case,
        }
        where_to = {"requestid": f"{case}-entry", "minorversion": "75"}
        await self._ask("POST", f"{path}/refundreceipt", "quickbooks", params=where_to, json=receipt)

    async def _texted(self, booking: Booking) -> None:
        path = f"/twilio/2010-04-01/Accounts/{twilio.ACCOUNT_SID}/Messages.json"
        auth = (twilio.ACCOUNT_SID, twilio.AUTH_TOKEN)
        to = booking.patient.phone or ""
        (await self.http.get(path, params={"To": to, "PageSize": "500"}, auth=auth)).raise_for_status().json()
        form = {
            "To": to,
            "MessagingServiceSid": twilio.MESSAGING_SERVICE,
            "Body": "Sandbox Clinic: We refunded $120.00 to your payment method.",
            "ValidityPeriod": "3600",
        }
        (await self.http.post(path, data=form, auth=auth)).raise_for_status().json()

    async def _mailed(self, case: str, booking: Booking) -> None:
        auth, to = ("api", mailgun.API_KEY), booking.patient.email or ""
        name = {"label": mailgun.DOMAIN, "value": mailgun.DOMAIN}
        sought = {
            "duration": "3d",
            "events": ["accepted", "delivered", "failed", "rejected"],
            "filter": {
                "AND": [
                    {"attribute": "domain", "comparator": "=", "values": [name]},
                    {"attribute": "recipient", "comparator": "=", "values": [{"label": to, "value": to}]},
                ]
            },
            "pagination": {"sort": "timestamp:asc", "limit": 100},
        }
        (await self.http.post("/mailgun/v1/analytics/logs", json=sought, auth=auth)).raise_for_status().json()
        for kept in ("unsubscribes", "complaints", "bounces"):
            found = await self.http.get(f"/mailgun/v3/{mailgun.DOMAIN}/{kept}/{to}", auth=auth)
            if found.status_code != 404:
                raise RuntimeError("the address wants no mail")
        form = {
            "from": f"Sandbox Clinic <desk@{mailgun.DOMAIN}>",
            "to": to,
            "subject": "Your refund of $120.00 is complete",
            "text": "We refunded $120.00 to your payment method.",
            "html": "<p>We refunded $120.00 to your payment method.</p>",
            "h:Message-Id": f"<{case}@{mailgun.DOMAIN}>",
        }
        sent = await self.http.post(f"/mailgun/v3/{mailgun.DOMAIN}/messages", data=form, auth=auth)
        sent.raise_for_status().json()

    async def _posted(self, case: str) -> None:
        text = f"Refund of $120.00 settled\nCase: {case}"
        blocks = [{"type": "section", "text": {"type": "plain_text", "text": text}}]
        body = {"text": text, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}
        (await self.http.post(f"/slack{slack.HOOK_PATH}", json=body)).raise_for_status()

    async def _row(self, case: str, moment: str) -> None:
        """One row a case: looked for twice (as the library does: before, and in its turn to write), then written."""
        await self._found(case)
        async with self.sheet:
            number = await self._found(case)
            row = [case, f"{case}-{moment}", "", "-", moment, moment, "120.00", "0.00", "USD", "-", ""]
            if number is None:
                body = {"range": "'Refunds'!A1", "majorDimension": "ROWS", "values": [row]}
                where_to = {**_AS_IS, "insertDataOption": "INSERT_ROWS"}
                path = f"{_SHEET}/values/'Refunds'!A1:append"
                await self._ask("POST", path, "google_sheets", params=where_to, json=body)
            else:
                area = f"'Refunds'!A{number}:K{number}"
                body = {"range": area, "majorDimension": "ROWS", "values": [row]}
                await self._ask("PUT", f"{_SHEET}/values/{area}", "google_sheets", params=_AS_IS, json=body)

    async def _found(self, case: str) -> int | None:
        query = [*_COLUMNS, ("majorDimension", "ROWS"), ("valueRenderOption", "UNFORMATTED_VALUE")]
        found = await self._ask("GET", f"{_SHEET}/values:batchGet", "google_sheets", params=query)
        cases = found["valueRanges"][1].get("values", [])
        return next((place for place, row in enumerate(cases, start=1) if row and row[0] == case), None)


def _reference(booking: Booking, platform: str, kind: str) -> str:
    return next(one.value for one in booking.references if (one.platform, one.kind) == (platform, kind))


__all__ = ["Desk"]

"""DocuSign's own client against our stand-in. It has no verifier of Connect's signatures to compare with."""

import json
from collections.abc import Iterator

import pytest

docusign_esign = pytest.importorskip(
    "docusign_esign", reason="needs DocuSign's client: pip install -e '.[clients]'"
)

from clinicrefund.testing import Fault  # noqa: E402
from clinicrefund.testing.stand_ins.docusign import (  # noqa: E402
    ACCOUNT_ID,
    ACCOUNT_SERVER,
    INTEGRATION_KEY,
    ROLE,
    TEMPLATE,
    USER_ID,
    DocuSignStandIn,
)
from clinicrefund.testing.stand_ins.docusign_shapes import PRIVATE_KEY  # noqa: E402

from .conftest import Serve  # noqa: E402

SCOPES = ("signature", "impersonation")
EMAIL = "jane@example.org"


class OverLoopback(docusign_esign.ApiClient):  # type: ignore[misc, name-defined]
    """The client knows no account server but over HTTPS at its own name; here it is called elsewhere."""

    def __init__(self, url: str) -> None:
        super().__init__(host=f"{url}/restapi", oauth_host_name=ACCOUNT_SERVER)
        self.url = url

    def request(self, method: str, url: str, *args: object, **more: object) -> object:
        return super().request(method, url.replace(f"https://{ACCOUNT_SERVER}", self.url), *args, **more)


@pytest.fixture
def stand_in() -> DocuSignStandIn:
    return DocuSignStandIn()


@pytest.fixture
def stranger(stand_in: DocuSignStandIn, serve: Serve) -> Iterator[OverLoopback]:
    client = OverLoopback(serve(stand_in))
    yield client
    client.rest_client.pool_manager.clear()


@pytest.fixture
def client(stranger: OverLoopback) -> OverLoopback:
    stranger.request_jwt_user_token(
        INTEGRATION_KEY, USER_ID, ACCOUNT_SERVER, PRIVATE_KEY.encode(), 3600, SCOPES
    )
    return stranger


@pytest.fixture
def envelopes(client: OverLoopback) -> "docusign_esign.EnvelopesApi":
    return docusign_esign.EnvelopesApi(client)


def definition(**changes: object) -> "docusign_esign.EnvelopeDefinition":
    tabs = docusign_esign.Tabs(text_tabs=[docusign_esign.Text(tab_label="RefundAmount", value="USD 120.00")])
    role = docusign_esign.TemplateRole(role_name=ROLE, name="Jane Doe", email=EMAIL, tabs=tabs)
    field = docusign_esign.TextCustomField(
        name="clinicrefund_ref", value="rf_8842", show="false", required="false"
    )
    fields = docusign_esign.CustomFields(text_custom_fields=[field])
    given = {
        "template_id": TEMPLATE,
        "status": "sent",
        "transaction_id": "rf_8842:docusign:1",
        "template_roles": [role],
        "custom_fields": fields,
    }
    return docusign_esign.EnvelopeDefinition(**{**given, **changes})


def test_who_signs_in_learns_where_the_account_lives(stranger: OverLoopback) -> None:
    token = stranger.request_jwt_user_token(
        INTEGRATION_KEY, USER_ID, ACCOUNT_SERVER, PRIVATE_KEY.encode(), 3600, SCOPES
    )
    assert token.token_type == "Bearer"
    (account,) = stranger.get_user_info(token.access_token).get_accounts()
    assert (account.account_id, account.base_uri) == (ACCOUNT_ID, "https://demo.docusign.net")


@pytest.mark.parametrize(
    ("user", "scopes", "has_consent", "word"),
    [
        ("somebody-else", SCOPES, True, "invalid_grant"),
        (USER_ID, ("signature",), True, "invalid_grant"),
        (USER_ID, SCOPES, False, "consent_required"),
    ],
)
def test_a_stranger_gets_no_token(
    stranger: OverLoopback,
    stand_in: DocuSignStandIn,
    user: str,
    scopes: tuple[str, ...],
    *,
    has_consent: bool,
    word: str,
) -> None:
    stand_in.has_consent = has_consent
    with pytest.raises(docusign_esign.ApiException) as raised:
        stranger.request_jwt_user_token(
            INTEGRATION_KEY, user, ACCOUNT_SERVER, PRIVATE_KEY.encode(), 3600, scopes
        )
    assert raised.value.status == 400
    assert json.loads(raised.value.body)["error"] == word


def test_an_envelope_is_made_from_a_template_and_read(
    envelopes: "docusign_esign.EnvelopesApi", stand_in: DocuSignStandIn
) -> None:
    made = envelopes.create_envelope(ACCOUNT_ID, envelope_definition=definition())
    assert (made.status, made.uri) == ("sent", f"/envelopes/{made.envelope_id}")
    assert stand_in.mailed() == [EMAIL]
    (signer,) = stand_in.messages()[0]["recipients"]["signers"]
    assert signer["tabs"]["textTabs"] == [{"tabLabel": "RefundAmount", "value": "USD 120.00"}]
    read = envelopes.get_envelope(ACCOUNT_ID, made.envelope_id, include="custom_fields,recipients")
    assert (read.status, read.custom_fields.text_custom_fields[0].value) == ("sent", "rf_8842")
    assert read.recipients.signers[0].email == EMAIL
    fields = envelopes.list_custom_fields(ACCOUNT_ID, made.envelope_id)
    assert [field.name for field in fields.text_custom_fields] == ["clinicrefund_ref"]


def test_an_envelope_is_found_again_by_transaction_and_by_field(
    envelopes: "docusign_esign.EnvelopesApi",
) -> None:
    made = envelopes.create_envelope(ACCOUNT_ID, envelope_definition=definition()).envelope_id
    envelopes.create_envelope(
        ACCOUNT_ID, envelope_definition=definition(transaction_id="t-2", custom_fields=None)
    )
    by_transaction = envelopes.list_status_changes(ACCOUNT_ID, transaction_ids="rf_8842:docusign:1")
    (status,) = by_transaction.envelope_transaction_statuses
    assert (status.transaction_id, status.envelope_id) == ("rf_8842:docusign:1", made)
    by_field = envelopes.list_status_changes(
        ACCOUNT_ID,
        from_date="2020-01-01T00:00:00Z",
        custom_field="clinicrefund_ref=rf_8842",
        include="custom_fields",
    )
    assert [one.envelope_id for one in by_field.envelopes] == [made]
    page = envelopes.list_status_changes(
        ACCOUNT_ID, from_date="2020-01-01T00:00:00Z", count="1", start_position="1"
    )
    assert (page.result_set_size, page.total_set_size, page.start_position) == ("1", "2", "1")
    many = envelopes.list_status(
        ACCOUNT_ID,
        transaction_ids="request_body",
        envelope_ids_request=docusign_esign.EnvelopeIdsRequest(transaction_ids=["t-2"]),
    )
    assert len(many.envelope_transaction_statuses) == 1


def test_an_envelope_under_way_is_voided(envelopes: "docusign_esign.EnvelopesApi") -> None:
    made = envelopes.create_envelope(ACCOUNT_ID, envelope_definition=definition()).envelope_id
    void = docusign_esign.Envelope(status="voided", voided_reason="Refund reversed")
    assert envelopes.update(ACCOUNT_ID, made, envelope=void).envelope_id == made
    assert envelopes.get_envelope(ACCOUNT_ID, made).status == "voided"
    with pytest.raises(docusign_esign.ApiException) as raised:
        envelopes.update(ACCOUNT_ID, made, envelope=void)
    assert json.loads(raised.value.body)["errorCode"] == "ENVELOPE_CANNOT_VOID_INVALID_STATE"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"template_id": "another"}, "TEMPLATE_ID_INVALID"),
        ({"template_id": None}, "RECIPIENTS_NOT_PROVIDED"),
        ({"email_subject": "x" * 101}, "INVALID_REQUEST_PARAMETER"),
    ],
)
def test_a_refusal_is_the_clients_own_error(
    envelopes: "docusign_esign.EnvelopesApi", changes: dict[str, object], code: str
) -> None:
    with pytest.raises(docusign_esign.ApiException) as raised:
        envelopes.create_envelope(ACCOUNT_ID, envelope_definition=definition(**changes))
    assert raised.value.status == 400
    assert json.loads(raised.value.body)["errorCode"] == code


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault.TOKEN_EXPIRED, 401, "AUTHORIZATION_INVALID_TOKEN"),
        (Fault.RATE_LIMITED, 429, "HOURLY_APIINVOCATION_LIMIT_EXCEEDED"),
        (Fault.ERROR_BEFORE, 500, "UNSPECIFIED_ERROR"),
    ],
)
def test_a_fault_is_the_clients_own_error(
    envelopes: "docusign_esign.EnvelopesApi", stand_in: DocuSignStandIn, fault: Fault, status: int, code: str
) -> None:
    stand_in.fail(fault, operation="GET")
    with pytest.raises(docusign_esign.ApiException) as raised:
        envelopes.list_status_changes(ACCOUNT_ID, from_date="2020-01-01T00:00:00Z")
    assert raised.value.status == status
    assert json.loads(raised.value.body)["errorCode"] == code

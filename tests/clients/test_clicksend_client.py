"""ClickSend's own client against our stand-in. It has no verifier to compare with: ClickSend signs nothing."""

import json
from collections.abc import Iterator

import pytest

clicksend = pytest.importorskip("clicksend", reason="needs ClickSend's client: pip install -e '.[clients]'")

from clinicrefund.testing import Fault  # noqa: E402
from clinicrefund.testing.stand_ins.clicksend import API_KEY, SENDER, USERNAME, ClickSendStandIn  # noqa: E402

from .conftest import Serve  # noqa: E402

PHONE = "+61411111111"
URL = "https://hooks.clinic.example/clicksend?secret=made-up"


@pytest.fixture
def stand_in() -> ClickSendStandIn:
    return ClickSendStandIn()


@pytest.fixture
def client(stand_in: ClickSendStandIn, serve: Serve) -> Iterator["clicksend.ApiClient"]:
    config = clicksend.Configuration(host=serve(stand_in), username=USERNAME, password=API_KEY, retries=False)
    with clicksend.ApiClient(config) as client:
        yield client
        client.rest_client.pool_manager.clear()


@pytest.fixture
def sms(client: "clicksend.ApiClient") -> "clicksend.SmsApi":
    return clicksend.SmsApi(client)


def request(**message: object) -> "clicksend.SendSmsRequest":
    return clicksend.SendSmsRequest.from_dict({"messages": [{"to": PHONE, "from": SENDER, **message}]})


def test_a_text_is_sent_looked_up_and_listed(sms: "clicksend.SmsApi") -> None:
    answer = sms.send_sms(
        send_sms_request=request(body="Your refund is on its way.", custom_string="rf_8842")
    )
    (sent,) = answer.data.messages
    assert (answer.response_code, sent.status, sent.custom_string) == ("SUCCESS", "SUCCESS", "rf_8842")
    history = sms.view_sms_history(q=f"to:{PHONE}", order_by="date:desc", limit=15)
    (row,) = history.data.data
    assert (row.message_id, row.direction, row.status) == (sent.message_id, "out", "Queued")
    by_name = sms.view_sms_history(q=f"message_id:{sent.message_id}").data
    assert (by_name.total, by_name.last_page, by_name.next_page_url) == (1, 1, None)


def test_the_history_comes_in_pages_in_the_order_that_is_asked_for(sms: "clicksend.SmsApi") -> None:
    for number in range(16):
        sms.send_sms(send_sms_request=request(body=f"Text {number}", custom_string=str(number)))
    first = sms.view_sms_history(limit=15).data
    second = sms.view_sms_history(limit=15, page=2).data
    assert (first.total, first.last_page, len(first.data), len(second.data)) == (16, 2, 15, 1)
    assert second.data[0].custom_string == "15"


def test_a_refused_text_stands_inside_a_success(sms: "clicksend.SmsApi") -> None:
    # As raw JSON: the client's own model takes no "" for the schedule of a text that was refused.
    reply = sms.send_sms_without_preload_content(send_sms_request=request(to="nobody", body="hello"))
    assert reply.status == 200
    answer = json.loads(reply.read())
    assert (answer["response_code"], answer["data"]["queued_count"]) == ("SUCCESS", 0)
    assert answer["data"]["messages"][0]["status"] == "INVALID_RECIPIENT"
    assert answer["data"]["messages"][0]["message_id"]


def test_an_answer_and_its_receipts_are_polled(sms: "clicksend.SmsApi", stand_in: ClickSendStandIn) -> None:
    sent = sms.send_sms(
        send_sms_request=request(body="Reply C to cancel", custom_string="rf_1")
    ).data.messages[0]
    stand_in.deliver(sent.message_id)
    text = stand_in.receive_sms(PHONE, "C 8842")
    (inbound,) = sms.view_inbound_sms().data.data
    assert (inbound.message_id, inbound.var_from, inbound.body) == (text, PHONE, "C 8842")
    assert (inbound.original_message_id, inbound.custom_string) == (sent.message_id, "rf_1")
    sms.mark_specific_inbound_sms_message_as_read(text)
    assert sms.view_inbound_sms().data.total == 0
    receipt = sms.view_specific_sms_receipt(sent.message_id).data
    assert (receipt.status_code, receipt.custom_string, receipt.message_type) == (201, "rf_1", "sms")
    assert [one.status_code for one in sms.view_sms_receipts().data.data] == [200, 201]


def test_rules_that_push_are_made(sms: "clicksend.SmsApi", stand_in: ClickSendStandIn) -> None:
    inbound = clicksend.CreateSmsInboundAutomationRequest.from_dict(
        {
            "dedicated_number": "*",
            "rule_name": "clinicrefund",
            "message_search_type": 0,
            "message_search_term": "",
            "action": "URL",
            "action_address": URL,
            "enabled": 1,
            "webhook_type": "json",
        }
    )
    receipts = clicksend.CreateSmsDeliveryReceiptRuleRequest.from_dict(
        {"rule_name": "clinicrefund", "match_type": 0, "action": "URL", "action_address": URL, "enabled": 1}
    )
    made = sms.create_sms_inbound_automation(create_sms_inbound_automation_request=inbound)
    assert made.data.inbound_rule_id == 1
    made = sms.create_sms_delivery_receipt_rule(create_sms_delivery_receipt_rule_request=receipts)
    assert made.data.receipt_rule_id == 2
    assert [rule["action_address"] for rule in stand_in.rules] == [URL, URL]


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [
        (Fault.REFUSED, "BadRequestException", 400),
        (Fault.TOKEN_EXPIRED, "UnauthorizedException", 401),
        (Fault.RATE_LIMITED, "ApiException", 429),
        (Fault.ERROR_BEFORE, "ServiceException", 500),
    ],
)
def test_a_failure_is_the_clients_own_error(
    sms: "clicksend.SmsApi", stand_in: ClickSendStandIn, fault: Fault, error: str, status: int
) -> None:
    stand_in.fail(fault)
    with pytest.raises(getattr(clicksend.exceptions, error)) as raised:
        sms.view_sms_history()
    assert raised.value.status == status
    assert json.loads(raised.value.body)["http_code"] == status


def test_a_receipt_that_is_not_there_is_not_found(sms: "clicksend.SmsApi") -> None:
    with pytest.raises(clicksend.exceptions.NotFoundException):
        sms.view_specific_sms_receipt("none")

"""Zoho's own client against our stand-in."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("zohocrmsdk", reason="needs Zoho's client: pip install -e '.[clients]'")

from zohocrmsdk.src.com.zoho.api.authenticator.oauth_token import OAuthToken
from zohocrmsdk.src.com.zoho.api.authenticator.store.file_store import FileStore
from zohocrmsdk.src.com.zoho.crm.api.dc import DataCenter
from zohocrmsdk.src.com.zoho.crm.api.exception import SDKException
from zohocrmsdk.src.com.zoho.crm.api.initializer import Initializer
from zohocrmsdk.src.com.zoho.crm.api.modules import MinifiedModule
from zohocrmsdk.src.com.zoho.crm.api.notes import BodyWrapper, Note, NotesOperations, ParentId
from zohocrmsdk.src.com.zoho.crm.api.notes.notes_operations import GetNoteParam
from zohocrmsdk.src.com.zoho.crm.api.parameter_map import ParameterMap
from zohocrmsdk.src.com.zoho.crm.api.record import RecordOperations, SearchRecordsParam
from zohocrmsdk.src.com.zoho.crm.api.sdk_config import SDKConfig
from zohocrmsdk.src.com.zoho.crm.api.tags import NewTagRequestWrapper, Tag, TagsOperations

from clinicrefund.testing import Fault
from clinicrefund.testing.stand_ins.zoho_crm import (
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    ZohoCRMStandIn,
)

from .conftest import Serve


@pytest.fixture
def stand_in() -> ZohoCRMStandIn:
    made = ZohoCRMStandIn()
    made.add_contact("ana@example.com")
    return made


@pytest.fixture
def contact(stand_in: ZohoCRMStandIn) -> int:
    return int(next(iter(stand_in.contacts)))


@pytest.fixture
def joined(stand_in: ZohoCRMStandIn, serve: Serve, tmp_path: Path) -> Iterator[None]:
    """The client keeps what it is joined to in one place for the whole process."""
    join(serve(stand_in), tmp_path)
    yield
    Initializer.initializer = None


def join(served: str, folder: Path, **changes: str) -> None:
    consent = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": REFRESH_TOKEN}
    Initializer.initialize(
        environment=DataCenter.Environment(served, f"{served}/oauth/v2/token", served),
        token=OAuthToken(**(consent | changes), find_user=False),
        store=FileStore(str(folder / "tokens.txt")),
        # The token's answer names Zoho's own host, where no stand-in is.
        sdk_config=SDKConfig(update_api_domain=False),
        resource_path=str(folder),
    )


def note_on(contact: int, text: str | None = "opened") -> Any:
    module, parent, note, body = MinifiedModule(), ParentId(), Note(), BodyWrapper()
    module.set_api_name("Contacts")
    parent.set_module(module)
    parent.set_id(contact)
    note.set_parent_id(parent)
    note.set_note_title("Refund")
    if text is not None:
        note.set_note_content(text)
    body.set_data([note])
    return NotesOperations().create_notes(body)


@pytest.mark.usefixtures("joined")
def test_a_note_is_created_changed_and_shown(stand_in: ZohoCRMStandIn, contact: int) -> None:
    made = note_on(contact)
    (done,) = made.get_object().get_data()
    assert (made.get_status_code(), done.get_status().get_value(), done.get_code().get_value()) == (
        201,
        "success",
        "SUCCESS",
    )
    number = int(done.get_details()["id"])
    change, body = Note(), BodyWrapper()
    change.set_note_content("closed")
    body.set_data([change])
    (changed,) = NotesOperations().update_note(number, body).get_object().get_data()
    assert changed.get_details()["id"] == str(number)
    wanted = ParameterMap()
    wanted.add(GetNoteParam.fields, "id,Note_Title,Note_Content,Created_Time")
    (shown,) = NotesOperations().get_note(number, wanted).get_object().get_data()
    assert (shown.get_id(), shown.get_note_title(), shown.get_note_content()) == (number, "Refund", "closed")
    assert shown.get_created_time().utcoffset() is not None
    assert [note.contact for note in stand_in.notes()] == [str(contact)]


@pytest.mark.usefixtures("joined")
def test_tags_are_added_once_and_kept(stand_in: ZohoCRMStandIn, contact: int) -> None:
    def tagged(name: str) -> Any:
        tag, wrapper = Tag(), NewTagRequestWrapper()
        tag.set_name(name)
        wrapper.set_tags([tag])
        return TagsOperations().add_tags("Contacts", contact, wrapper).get_object()

    for name in ("Cancelled", "Refunded", "Refunded"):
        (done,) = tagged(name).get_data()
        assert done.get_status().get_value() == "success"
    assert stand_in.contacts[str(contact)].tags == ["Cancelled", "Refunded"]
    assert tagged("x" * 26).get_code().get_value() == "INVALID_DATA"


@pytest.mark.usefixtures("joined")
def test_a_record_that_is_refused_inside_a_success_is_told_as_an_error(
    stand_in: ZohoCRMStandIn, contact: int
) -> None:
    refused = note_on(contact + 1)
    (one,) = refused.get_object().get_data()
    assert (refused.get_status_code(), one.get_status().get_value(), one.get_code().get_value()) == (
        202,
        "error",
        "INVALID_DATA",
    )
    assert stand_in.notes() == []


@pytest.mark.usefixtures("joined")
def test_contacts_are_searched_late_and_nothing_comes_as_204(stand_in: ZohoCRMStandIn, contact: int) -> None:
    wanted = ParameterMap()
    wanted.add(SearchRecordsParam.email, "ana@example.com")
    wanted.add(SearchRecordsParam.fields, "id,Full_Name,Email")
    early = RecordOperations("Contacts").search_records(wanted)
    assert (early.get_status_code(), early.get_object()) == (204, None)
    stand_in.contacts[str(contact)].created_at -= timedelta(minutes=2)
    found = RecordOperations("Contacts").search_records(wanted).get_object()
    assert [(one.get_id(), one.get_key_value("Email")) for one in found.get_data()] == [
        (contact, "ana@example.com")
    ]
    assert found.get_info().get_more_records() is False


@pytest.mark.usefixtures("joined")
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.RATE_LIMITED, "TOO_MANY_REQUESTS"),
        (Fault.ERROR_BEFORE, "INTERNAL_ERROR"),
        (Fault.TOKEN_EXPIRED, "INVALID_TOKEN"),
    ],
)
def test_a_fault_is_the_client_s_own_error(
    stand_in: ZohoCRMStandIn, contact: int, fault: Fault, code: str
) -> None:
    stand_in.fail(fault)
    failed = note_on(contact).get_object()
    assert (failed.get_status().get_value(), failed.get_code().get_value()) == ("error", code)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"refresh_token": "1000.gone"}, "invalid_code"),
        ({"client_secret": "wrong"}, "invalid_client_secret"),
        ({"client_id": "wrong"}, "invalid_client"),
    ],
)
def test_a_token_that_is_refused_with_200_is_the_client_s_own_error(
    stand_in: ZohoCRMStandIn, serve: Serve, tmp_path: Path, changes: dict[str, str], word: str
) -> None:
    with pytest.raises(SDKException, match=word):
        join(serve(stand_in), tmp_path, **changes)

"""What DocuSign's answers look like, and what it refuses before any work: the shapes, without the state.

Written from DocuSign's reference of the eSignature REST API, version 2.1
(https://developers.docusign.com/docs/esign-rest-api/reference/). Every scalar is text, as DocuSign writes it.
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID, uuid5

from clinicrefund.testing.stand_in import RefusedByVendor, SandboxReply

Object: TypeAlias = dict[str, Any]

# Made for this stand-in, and of no use anywhere else.
PRIVATE_KEY = """\
-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC5Zbk6d8dQPsRd
fyLZFzcXpw5CWujV7+GgnUCjhbeWYhyhCHC7q31PkdM3mqhZABYP0P5eJScmH8hy
IMMQfb/YJubYoEyB/DwUtrHRRGq8eW3IlgEocp8GlLkwGkx+AmfI2s1/ONvBF3BX
xZKCiJO5lGkXlN3N6bBoXHowWRf+9eXNxTjkR3oLrZVIQMzSndZVCKLYqZU7X3wq
pgTLrgRWqtI9yDvZkYW6zUWhDgMQfRLEK+1oiMIBvEm6DjI8zRzFoJ4Jn4U4GjzI
eLrftcBc+/k8WSOkTGYaCYYNyNOmuYyCRQaGM6sqlB5v/mgGU8tPeMtt9NWfvCLe
NQEzS3J9AgMBAAECggEADFyupBSntF9/D0ntLFhlMB1Pm4KS0G3BQnOsg0rPrJty
/morlC6cOYbxycfKTmbtpv/VRONJepFiIk6yGw0mJ+GjgRHNOtnzX/aKTE0kKILt
8ahOQEtw9ErMlLBy5cW/dFqMmx1S3+DyI37KemGPfMTF2NCbFUIYum4M0rZPczdb
705Dm9EhJ/F2ubnCmqEL080SVmDR/R7YCzWN6nBWfTJuxSTwPuwhr1qgh+5hZZWI
Bk6cWnxqB3w4dbTeqBF6KopMO/EbRNYfuvFoHsRjiI8aSOV45YlqfgGo+ziQCvKT
iVVM/id+hHWWqsK/F3nkM+7G5ohfzoyV6GBepBte6QKBgQDsm2cWEH4awD1+LUZN
4bbjAoTm/zaGKC+85sRurcAiYBbaWLoyIPPRwx/r64M2eRC5t3ARbdC9P8b3HdVo
1CWCIC0+ecgEYGoWBM/0I6VkcLx6OUuF5RPFVIwBL6xrnlFLagR4ySjiVSGH3QK0
EzktTWlQSyhTyDZ1FOETa+ecKQKBgQDIl9DZpfdU6V0thEV3gy7pZEzdAUz1d9m+
VaF672KletFOVVhRK6UQPYwwlfdzQqdlukavaDzMqoK+ZDKiRQifTDUbzB9kGfm1
GdDuSXxuSB3hB6+Hya3q/rTiivri/yEuH83ej3EAKuN+TjPtHOsJsVXN4ohWJNjx
CUxU5RruNQKBgFX8b+0z1zBPlslpGLirA7TiMHxmWWFN73NeBhsW59FWTFfTkO8w
zIr5t3scXtYID0z+3ipnV0m/iMY7wFfVaUAuA2NGDKuSgls4Kn7WCYBD/CsK8Wha
hOHcxPiVY7rEkVSv1aozqLkAKSxf5GCe79OH43L7rU8tXqUUDmvpdgVpAoGAPXHb
pL/k+lqdkzLAQLKrbQyvSsd6Nnrm9Rmv5ENt2Ti84pzb98lBv67KwZs+eE0Dj/K2
ckag0SSt9folVHWHBZzHa+Nj/jrCtcnZqRRTjEiE9ohvKU4K+z/YUsi1v1Ddbg6J
9lHEEIQSuX7lAw3npUlv+igZESIqXfM2MY8YZ70CgYEAuNWZeO/5tpEHx//dBa7G
FYeb5Iux7JuY9X0MViUKGEzZBOluCoql+Dbacp/IhUU7yZLmTk6KXIFYI9WnW1K+
YNb/sD8v2FFRJcAueXWOWVGPVvdMAnEwTmasNUm/67nTh+hOfzq0MbstyKWDBm5P
Q9uh7iCGSGNFuSG1KeLiwps=
-----END PRIVATE KEY-----
"""
PUBLIC_KEY = """\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAuWW5OnfHUD7EXX8i2Rc3
F6cOQlro1e/hoJ1Ao4W3lmIcoQhwu6t9T5HTN5qoWQAWD9D+XiUnJh/IciDDEH2/
2Cbm2KBMgfw8FLax0URqvHltyJYBKHKfBpS5MBpMfgJnyNrNfzjbwRdwV8WSgoiT
uZRpF5TdzemwaFx6MFkX/vXlzcU45Ed6C62VSEDM0p3WVQii2KmVO198KqYEy64E
VqrSPcg72ZGFus1FoQ4DEH0SxCvtaIjCAbxJug4yPM0cxaCeCZ+FOBo8yHi637XA
XPv5PFkjpExmGgmGDcjTprmMgkUGhjOrKpQeb/5oBlPLT3jLbfTVn7wi3jUBM0ty
fQIDAQAB
-----END PUBLIC KEY-----
"""

MEANINGS = {
    "AUTHORIZATION_INVALID_TOKEN": "the access token is not valid, or is over",
    "BURST_APIINVOCATION_LIMIT_EXCEEDED": "too many calls within half a minute",
    "EDIT_LOCK_NOT_LOCK_OWNER": "somebody is editing the envelope",
    "ENVELOPE_ALLOWANCE_EXCEEDED": "the plan's envelopes are used up",
    "ENVELOPE_CANNOT_VOID_INVALID_STATE": "only an envelope that is under way can be voided",
    "ENVELOPE_DOES_NOT_EXIST": "there is no such envelope in this account",
    "HOURLY_APIINVOCATION_LIMIT_EXCEEDED": "the account's calls of this hour are used up",
    "INVALID_EMAIL_ADDRESS_FOR_RECIPIENT": "a recipient's address is no e-mail address",
    "INVALID_REQUEST_BODY": "the body cannot be read",
    "INVALID_REQUEST_PARAMETER": "a parameter is missing or does not fit",
    "RECIPIENTS_NOT_PROVIDED": "an envelope that is sent needs recipients",
    "RESOURCE_NOT_FOUND": "there is no such address",
    "TEMPLATE_ID_INVALID": "there is no such template",
    "UNSPECIFIED_ERROR": "something failed inside",
    "USER_DOES_NOT_BELONG_TO_SPECIFIED_ACCOUNT": "the user is no member of this account",
}
"""Code and meaning, in words of ours."""

_FAMILY = UUID("5aa1b2c3-0000-4000-8000-0000000000ff")
_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_LONGEST_SUBJECT = 100
_LONGEST_FIELD = 100
_STATUSES = ("created", "sent")


def refused(code: str, /, status: int = 400) -> RefusedByVendor:
    """An exception to raise."""
    return RefusedByVendor(error(status, code))


def error(status: int, code: str, /) -> SandboxReply:
    """DocuSign's shape of a refusal."""
    said = {"errorCode": code, "message": MEANINGS.get(code, "refused")}
    return SandboxReply(status=status, json=said)


def oauth_error(word: str, description: str | None = None, /) -> SandboxReply:
    """The account server's shape of a refusal, which is another one."""
    more = {} if description is None else {"error_description": description}
    return SandboxReply(status=400, json={"error": word, **more})


def check_definition(body: Object, templates: Collection[str], /) -> None:
    """Refuses what no envelope can be made of."""
    roles, fields = within(body, "templateRoles"), within(body, "customFields", "textCustomFields")
    problems = {
        "INVALID_REQUEST_PARAMETER": len(body.get("emailSubject") or "") > _LONGEST_SUBJECT
        or body.get("status", "created") not in _STATUSES
        or any(len(one.get("value") or "") > _LONGEST_FIELD for one in fields),
        "RECIPIENTS_NOT_PROVIDED": not body.get("templateId") or (body.get("status") == "sent" and not roles),
        "TEMPLATE_ID_INVALID": body.get("templateId") not in templates,
        "INVALID_EMAIL_ADDRESS_FOR_RECIPIENT": any(
            not _ADDRESS.fullmatch(one.get("email") or "") for one in roles
        ),
    }
    for code, is_so in problems.items():
        if is_so:
            raise refused(code)


def within(body: Object, *names: str) -> Sequence[Object]:
    """A list inside of objects; empty where one of them is missing."""
    found: Any = body
    for name in names:
        found = found.get(name) if found else None
    return found or []


def new_envelope(
    number: int, body: Object, template: Mapping[str, Collection[str]], at: datetime, /
) -> Object:
    """An envelope as it is right after it was made from a template: ``template`` holds the labels of each role.

    A role that the template does not have becomes a recipient without tabs; a label that it does not have is left out
    without a word.
    """
    given = within(body, "customFields", "textCustomFields")
    fields = [{"fieldId": str(10851848896 + place), **one} for place, one in enumerate(given, start=1)]
    status = body.get("status", "created")
    return {
        "envelopeId": str(uuid5(_FAMILY, str(number))),
        "status": status,
        "emailSubject": body.get("emailSubject") or "Please sign",
        "createdDateTime": stamp(at),
        "statusChangedDateTime": stamp(at),
        **({"sentDateTime": stamp(at)} if status == "sent" else {}),
        "customFields": {"textCustomFields": fields},
        "recipients": {
            "signers": [
                _new_signer(place, role, template)
                for place, role in enumerate(body["templateRoles"], start=1)
            ]
        },
    }


def _new_signer(place: int, role: Object, template: Mapping[str, Collection[str]]) -> Object:
    labels = template.get(role.get("roleName", ""), ())
    texts = [one for one in within(role, "tabs", "textTabs") if one.get("tabLabel") in labels]
    return {
        "recipientId": str(place),
        "roleName": role.get("roleName"),
        "name": role.get("name"),
        "email": role.get("email"),
        "status": "sent",
        **({"clientUserId": role["clientUserId"]} if role.get("clientUserId") else {}),
        "tabs": {"textTabs": [{"tabLabel": one["tabLabel"], "value": one.get("value", "")} for one in texts]},
    }


def shown(envelope: Object, include: str, /) -> Object:
    """An envelope in an answer: some of its parts only where they are asked for."""
    wanted = set(include.split(","))
    hidden = {"customFields": "custom_fields", "recipients": "recipients"}
    return {name: value for name, value in envelope.items() if hidden.get(name, "") in (*wanted, "")}


def page_of(found: Sequence[Object], query: Mapping[str, str], /) -> Object:
    """One page of a list. Where each page begins and ends is said in positions, as text."""
    start, count = int(query.get("start_position", "0")), int(query.get("count", "100"))
    page = found[start : start + count]
    return {
        "resultSetSize": str(len(page)),
        "totalSetSize": str(len(found)),
        "startPosition": str(start),
        "endPosition": str(start + max(len(page) - 1, 0)),
        "envelopes": [shown(one, query.get("include", "")) for one in page],
    }


def new_event(
    event: str, envelope: Object, account: str, user: str, at: datetime, wanted: Collection[str], /
) -> Object:
    """What Connect posts in the JSON format. ``wanted``: which parts of the envelope were subscribed to."""
    reference = envelope["envelopeId"]
    summary = {"status": envelope["status"], "emailSubject": envelope["emailSubject"]}
    if "custom_fields" in wanted:
        summary["customFields"] = envelope["customFields"]
    return {
        "event": event,
        "apiVersion": "v2.1",
        "uri": f"/restapi/v2.1/accounts/{account}/envelopes/{reference}",
        "retryCount": 0,
        "configurationId": 10184210,
        "generatedDateTime": stamp(at),
        "data": {"accountId": account, "userId": user, "envelopeId": reference, "envelopeSummary": summary},
    }


def stamp(at: datetime, /) -> str:
    """A moment as DocuSign writes it: UTC, with seven digits of the second."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}0Z"


def sign(key: str, body: bytes, /) -> str:
    """What DocuSign puts into ``X-DocuSign-Signature-1`` for that body."""
    return b64encode(hmac.digest(key.encode(), body, "sha256")).decode()

"""Names that are derived, never drawn: the same facts give the same name in every process and for ever.

Each is made of a digest over a length-safe encoding, so that no two lists of parts share a name by accident of joining.
"""

from functools import lru_cache

from clinicrefund.digest import digest


def case_id(clinic_id: str, appointment_id: str, episode: int) -> str:
    """The id of a cancellation of an appointment. Opaque: it says nothing of the visit to those who see it."""
    return f"cr-{digest('case', clinic_id, appointment_id, episode)[:16]}"


def question_id(clinic_id: str, delivery_id: str) -> str:
    """The id of a case that has no booking yet, only a trigger that a person must look at."""
    return f"cr-{digest('question', clinic_id, delivery_id)[:16]}"


@lru_cache(maxsize=4096)  # a case is planned again after every event, under the same names
def step_id(case: str, name: str) -> str:
    """What a vendor stores and look-ups match: the case and eight characters for the step. 28 characters."""
    return f"{case}-{digest('step', case, name)[:8]}"


def case_of_step(step: str) -> str:
    """The case whose step this is."""
    return step.rpartition("-")[0]


def key(step: str, attempt: int) -> str:
    """What a vendor deduplicates by: step and attempt. The step's length is fixed, so the two never run together."""
    return f"{step}-{attempt}"


def case_stream(case: str) -> str:
    """All that happened to a case."""
    return f"case/{case}"


def delivery_stream(clinic_id: str, delivery_id: str) -> str:
    """One delivery of one trigger: it can begin only once, which is the deduplication."""
    return f"delivery/{digest(clinic_id, delivery_id)[:32]}"


def alias_stream(clinic_id: str, gateway: str, reference: str) -> str:
    """By what the clinic's booking, or a webhook, calls a payment."""
    return f"alias/{digest(clinic_id, gateway, reference)[:32]}"


def payment_stream(platform: str, account: str, reference: str) -> str:
    """By what the gateway itself calls a payment, whatever clinic or key asks."""
    return f"payment/{digest(platform, account, reference)[:32]}"


def refund_stream(platform: str, reference: str) -> str:
    """Which step a gateway's refund belongs to."""
    return f"refund/{digest(platform, reference)[:32]}"


def message_stream(platform: str, reference: str) -> str:
    """Which step a notifier's message belongs to."""
    return f"message/{digest(platform, reference)[:32]}"


def opt_out_stream(channel: str, address: str) -> str:
    """By the address's digest: the journal's names tell nobody's number."""
    return f"opt-out/{digest(channel, address.strip().lower())[:32]}"


def feed_stream(clinic_id: str, feed: str) -> str:
    """How far a feed was read."""
    return f"feed/{digest(clinic_id, feed)[:32]}"

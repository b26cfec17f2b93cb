"""The reasons of a decision as sentences, in every language that this library speaks."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, time, tzinfo
from decimal import Decimal
from typing import TYPE_CHECKING

from clinicrefund.messages.formats import (
    amount_text,
    moment_text,
    number_text,
    percent_text,
    time_text,
    zone_of,
)
from clinicrefund.messages.languages import locale_for
from clinicrefund.money import Money
from clinicrefund.reasons import Reason, Rule

if TYPE_CHECKING:
    from babel import Locale

    from clinicrefund.policy import Decision

# The words never say that money was given back: a reason also stands in messages about money still on its way.
# Who amended a refund, and in what words, is for the history of the case, not for a message.
SENTENCES: Mapping[str, Mapping[Rule, str]] = {
    "en": {
        Rule.TOLD_BY: "It counts as {source} told it, from {cancelled_at}: the earliest word decides.",
        Rule.REQUEST_READ: "A message was understood as a request to cancel: {read}.",
        Rule.FIRST_VISIT: "The rules for first visits apply.",
        Rule.SERVICE: "The rules for this service apply.",
        Rule.CANCELLED_BY: "It was cancelled by {role}: {refund} goes back.",
        Rule.GRACE_PERIOD: "It was cancelled within {hours} of booking: {refund} goes back.",
        Rule.BOOKED_AT_UNKNOWN: "The grace period of {hours} after booking could not be applied, because the time of "
        "booking is not known.",
        Rule.NOTICE: "It was cancelled {hours} before the visit.",
        Rule.AFTER_START: "It was cancelled after the visit had started.",
        Rule.TIER_HOURS: "Cancelled at least {hours} before the visit (by {deadline}): {refund} goes back.",
        Rule.TIER_BUSINESS_DAYS: "Cancelled at least {days} before the visit (by {deadline}): {refund} goes back.",
        Rule.TIER_BY_TIME: "Cancelled by {deadline}: {refund} goes back.",
        Rule.NO_SHOW: "The visit was missed: {refund} goes back.",
        Rule.DEFAULT: "None of the rules on notice is met: {refund} goes back.",
        Rule.OF_PAID: "{paid} was paid for the visit, which gives a refund of {amount}.",
        Rule.CANCELLATION_FEE: "A cancellation fee of {fee} is taken off, which leaves {amount}.",
        Rule.MINIMUM: "The refund is at least {minimum}, which makes it {amount}.",
        Rule.MAXIMUM: "The refund is at most {maximum}, which makes it {amount}.",
        Rule.NON_REFUNDABLE: "{non_refundable} of what was paid cannot be given back, which leaves {amount}.",
        Rule.APPROVAL: "A refund above {above} needs a person's approval.",
        Rule.AMENDED: "A person at the clinic set the refund to {amount}.",
        Rule.HOLD: "Nothing moves for {hours}, until {until}, in case the visit gets a new time.",
    },
    "es": {
        Rule.TOLD_BY: "Cuenta lo que indicó {source}, desde {cancelled_at}: decide el primer aviso.",
        Rule.REQUEST_READ: "Un mensaje se entendió como petición de cancelar: {read}.",
        Rule.FIRST_VISIT: "Se aplican las reglas para primeras visitas.",
        Rule.SERVICE: "Se aplican las reglas para este servicio.",
        Rule.CANCELLED_BY: "Canceló {role}; devolución: {refund}.",
        Rule.GRACE_PERIOD: "Se canceló en el plazo de {hours} desde la reserva; devolución: {refund}.",
        Rule.BOOKED_AT_UNKNOWN: "No se pudo aplicar el plazo de gracia de {hours} desde la reserva, porque no se sabe "
        "cuándo se reservó.",
        Rule.NOTICE: "Se canceló {hours} antes de la visita.",
        Rule.AFTER_START: "Se canceló cuando la visita ya había empezado.",
        Rule.TIER_HOURS: "Cancelación con al menos {hours} de antelación (límite: {deadline}); devolución: {refund}.",
        Rule.TIER_BUSINESS_DAYS: "Cancelación con al menos {days} de antelación (límite: {deadline}); "
        "devolución: {refund}.",
        Rule.TIER_BY_TIME: "Cancelación dentro del límite ({deadline}); devolución: {refund}.",
        Rule.NO_SHOW: "No se acudió a la visita; devolución: {refund}.",
        Rule.DEFAULT: "No se cumple ninguna de las reglas de antelación; devolución: {refund}.",
        Rule.OF_PAID: "Por la visita se pagó {paid}, lo que da un reembolso de {amount}.",
        Rule.CANCELLATION_FEE: "Se descuenta un cargo por cancelación de {fee}; quedan {amount}.",
        Rule.MINIMUM: "El reembolso es de al menos {minimum}; queda en {amount}.",
        Rule.MAXIMUM: "El reembolso es de {maximum} como máximo; queda en {amount}.",
        Rule.NON_REFUNDABLE: "De lo pagado, {non_refundable} no admite devolución; quedan {amount}.",
        Rule.APPROVAL: "Un reembolso de más de {above} necesita la aprobación de una persona.",
        Rule.AMENDED: "Una persona de la clínica fijó el reembolso en {amount}.",
        Rule.HOLD: "Nada se mueve durante {hours}, hasta el {until}, por si la visita cambia de fecha.",
    },
}

_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "nothing": "nothing",
        "patient": "the patient",
        "practitioner": "the practitioner",
        "clinic": "the clinic",
        "system": "the booking system",
        "ehr": "the clinic's records",
        "scheduler": "the scheduling service",
        "message": "a message",
        "hour": "hour",
        "hours": "hours",
        "day": "business day",
        "days": "business days",
        "summary": "Refund: {refund}. Kept by the clinic: {retained}.",
    },
    "es": {
        "nothing": "ninguna",
        "patient": "el paciente",
        "practitioner": "el profesional",
        "clinic": "la clínica",
        "system": "el sistema de reservas",
        "ehr": "el registro de la clínica",
        "scheduler": "el servicio de citas",
        "message": "un mensaje",
        "hour": "hora",
        "hours": "horas",
        "day": "día hábil",
        "days": "días hábiles",
        "summary": "Reembolso: {refund}. Retenido por la clínica: {retained}.",
    },
}

_AMOUNT = re.compile(r"(?P<number>\d+(?:\.\d+)?) (?P<currency>[A-Z]{3})")
_PERCENT = re.compile(r"(?P<number>\d+(?:\.\d+)?) %")


def sentence(reason: Reason, locale: str, /, *, zone: str = "UTC") -> str:
    """The reason in the reader's language, English where there is no better; moments in the reader's zone."""
    language, _ = locale_for(locale, SENTENCES)
    return SENTENCES[language][reason.rule].format_map(told_values(reason, locale, zone=zone))


def told_values(reason: Reason, locale: str, /, *, zone: str) -> Mapping[str, str]:
    """The reason's values as they stand in its sentence: for a host's own sentences."""
    return _Told(reason, locale, zone)


def describe_decision(decision: "Decision", locale: str, /, *, zone: str | None = None) -> list[str]:
    """What goes back and what is kept, then the reasons in the order of the rules.

    Moments are in ``zone``; without it in the visit's own, else in UTC, and each names its zone.
    """
    language, exact = locale_for(locale, SENTENCES)
    summary = _WORDS[language]["summary"].format(
        refund=amount_text(decision.refund, exact), retained=amount_text(decision.retained, exact)
    )
    in_zone = zone or decision.inputs.booking.appointment.zone or "UTC"
    return [summary, *(sentence(reason, locale, zone=in_zone) for reason in decision.reasons)]


class _Told(Mapping[str, str]):
    """Values that are printed when they are asked for: a sentence uses few of them, and dates are slow to print."""

    def __init__(self, reason: Reason, locale: str, zone: str) -> None:
        language, self._locale = locale_for(locale, SENTENCES)
        self._values, self._words, self._zone = reason.values, _WORDS[language], zone_of(zone)

    def __getitem__(self, name: str) -> str:
        return _told(name, self._values[name], self._words, self._locale, self._zone)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _told(name: str, value: str, words: Mapping[str, str], locale: "Locale", zone: tzinfo) -> str:
    """A value as its name and shape say (see `Rule`); text that fits neither stands as it is."""
    if amount := _AMOUNT.fullmatch(value):
        money = Money.of(amount["number"], amount["currency"])
        return amount_text(money, locale) if money or name != "refund" else words["nothing"]
    if percent := _PERCENT.fullmatch(value):
        share = Decimal(percent["number"])
        return percent_text(share, locale) if share else words["nothing"]
    match name:
        case "hours" | "days":
            return f"{number_text(Decimal(value), locale)} {words[name.removesuffix('s') if value == '1' else name]}"
        case "deadline" | "until" | "starts_at" | "cancelled_at" | "booked_at":
            return moment_text(datetime.fromisoformat(value), locale, zone)
        case "at":
            return time_text(time.fromisoformat(value), locale)
        case _:
            return words.get(value, value)

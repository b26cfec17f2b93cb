"""Templates: ours, and a host's in front of them. Everything that can be wrong with a host's is found here, at once."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinicrefund.case.status import Audience, MoneyState
from clinicrefund.errors import ConfigurationError
from clinicrefund.messages.facts import Facts
from clinicrefund.messages.state import states_for

if TYPE_CHECKING:
    from jinja2 import BaseLoader
    from jinja2.sandbox import SandboxedEnvironment

LAYOUTS = ("subject", "sms", "team", "email.txt", "email.html")
STAFF = "staff"
# What the shell adds to a letter's facts; the last three only in reason.j2.
_KNOWN = frozenset(Facts.__annotations__) | {"layout", "words_file", "rule", "values", "sentence"}
_TEXT = re.compile(r"(?P<language>[^/]+)/(?P<audience>[a-z]+)/(?P<state>[a-z_]+)\.j2")
_WORDS = re.compile(r"(?P<language>[^/]+)/(?:words|reason)\.j2")


class Templates:
    """Templates by name, the host's before ours; ours stay reachable as ``clinicrefund/<name>``."""

    def __init__(self, folder: Path | None, /) -> None:
        from jinja2 import ChoiceLoader, FileSystemLoader, PackageLoader, PrefixLoader

        ours = PackageLoader("clinicrefund.messages", "templates")
        self.folder = folder
        self.overrides: tuple[str, ...] = ()
        loaders: list[BaseLoader] = [ours, PrefixLoader({"clinicrefund": ours})]
        if folder is not None:
            if not folder.is_dir():
                raise ConfigurationError(
                    f"there is no folder {folder}; pass the one that holds your templates, or None"
                )
            host = FileSystemLoader(folder)
            self.overrides = tuple(name for name in host.list_templates() if name.endswith(".j2"))
            loaders.insert(0, host)
        loader = ChoiceLoader(loaders)
        self.names = frozenset(loader.list_templates())
        self._plain = _environment(loader, escape=False)
        self._html = _environment(loader, escape=True)
        for name in self.overrides:
            self._check(name)

    def render(
        self, name: str, variables: Mapping[str, object], /, *, html: bool = False, trial: bool = False
    ) -> str:
        """The template's text; for HTML, every variable is escaped.

        Raises `ConfigurationError` with file and line, whatever a template can raise: a sandbox's refusal, a filter's
        TypeError. Only in a trial, where all is made up, it also says what the template's error said.
        """
        try:
            return (self._html if html else self._plain).get_template(name).render(variables)
        except Exception as error:  # noqa: BLE001  a host's template can raise anything
            raise self._refused(error, name=name, trial=trial) from None

    def texts(self) -> Iterator[tuple[str, Audience, MoneyState, str]]:
        """Language, audience, state and name of every text; an audience's own before what all staff share."""
        for audience in Audience:
            for state in states_for(audience):
                folders = (audience.value,) if audience is Audience.PATIENT else (audience.value, STAFF)
                for language in sorted(self.languages()):
                    names = [f"{language}/{folder}/{state.value}.j2" for folder in folders]
                    if found := next((name for name in names if name in self.names), None):
                        yield language, audience, state, found

    def languages(self) -> frozenset[str]:
        """Every language that has a text, ours or the host's."""
        return frozenset(found["language"] for name in self.names if (found := _TEXT.fullmatch(name)))

    def _refused(self, error: Exception, /, *, name: str, trial: bool) -> ConfigurationError:
        place, line = name, getattr(error, "lineno", None)
        if line is not None:
            place = getattr(error, "name", None) or name
        trace = error.__traceback__
        while trace is not None:  # Jinja rewrites tracebacks to the template's file and line
            file = Path(trace.tb_frame.f_code.co_filename)
            if self.folder is not None and file.is_relative_to(self.folder):
                place, line = file.relative_to(self.folder).as_posix(), trace.tb_lineno
            trace = trace.tb_next
        at = f"{place}, line {line}" if line is not None else place
        said = str(error) if trial else ""  # which can hold a variable's value
        return ConfigurationError(f"message template {at}: {said or type(error).__name__}; correct that file")

    def _check(self, name: str) -> None:
        from jinja2 import TemplateError, meta, nodes

        self._check_name(name)
        try:
            source, file, _ = self._plain.loader.get_source(self._plain, name)  # type: ignore[union-attr]
            tree = self._plain.parse(source, name, file)
            self._plain.get_template(name)
            self._html.get_template(name)
        except (TemplateError, UnicodeDecodeError) as error:
            raise self._refused(error, name=name, trial=True) from None
        unknown = meta.find_undeclared_variables(tree) - _KNOWN
        for variable in tree.find_all(nodes.Name):
            if variable.name in unknown:
                raise ConfigurationError(
                    f"message template {name}, line {variable.lineno}: {variable.name!r} is not a variable; "
                    f"there are {', '.join(sorted(Facts.__annotations__))}"
                )

    def _check_name(self, name: str) -> None:
        if any(part.startswith("_") for part in name.split("/")) or name in {
            f"layout/{one}.j2" for one in LAYOUTS
        }:
            return
        if found := _WORDS.fullmatch(name) or _TEXT.fullmatch(name):
            _check_language(found["language"], name)
            told = found.groupdict()
            if "audience" not in told or told["state"] in _states_of_folder(told["audience"]):
                return
        raise ConfigurationError(
            f"message template {name} would never be used; name it <language>/<audience>/<state>.j2 "
            "(audience: patient, staff, team, finance, practitioner; "
            f"state: {', '.join(state.value for state in MoneyState)}), "
            "<language>/words.j2, <language>/reason.j2, layout/<one of ours>.j2, or begin a part of your own with '_'"
        )


def _states_of_folder(folder: str) -> frozenset[str]:
    if folder == STAFF:
        return frozenset(state.value for state in MoneyState)
    if folder not in {audience.value for audience in Audience}:
        return frozenset()
    return frozenset(state.value for state in states_for(Audience(folder)))


def _check_language(language: str, name: str) -> None:
    from babel import Locale, UnknownLocaleError

    try:
        Locale.parse(language, sep="-")
    except (ValueError, UnknownLocaleError):
        raise ConfigurationError(
            f"message template {name}: {language!r} is not a language that Babel knows; write 'fr' or 'fr-CA'"
        ) from None


def _environment(loader: "BaseLoader", *, escape: bool) -> "SandboxedEnvironment":
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    settings: dict[str, Any] = {
        "trim_blocks": True,
        "lstrip_blocks": True,
        "auto_reload": False,
        "cache_size": -1,
    }
    return ImmutableSandboxedEnvironment(
        loader=loader, autoescape=escape, undefined=StrictUndefined, **settings
    )

"""Config: which platforms the environment has credentials for, and their adapters.

It reads the naming rule of `clinicrefund.adapters`: a vendor's classes are its name and their role (``StripeConfig``,
``StripeGateway``, ``StripeWebhooks``, ``StripeFeed``). So a new platform is a new file and nothing else.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from inspect import signature
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import attrs

import clinicrefund.adapters
from clinicrefund.clinic import Adapters

if TYPE_CHECKING:
    from clinicrefund.http import Session

# By the end of a class's name: its place in a clinic.
_ROLES = {
    "Gateway": "gateways",
    "Ledger": "ledgers",
    "EHR": "ehrs",
    "Notifier": "notifiers",
    "Logger": "loggers",
    "Webhooks": "webhooks",
    "Feed": "feeds",
}


class PlatformConfig(Protocol):
    """What each adapter's config class offers."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = ..., /) -> Self | None: ...

    @property
    def live(self) -> bool: ...


@attrs.frozen(kw_only=True)
class Config:
    """The platforms that are configured, by name. What the environment does not name is not configured."""

    platforms: Mapping[str, PlatformConfig] = attrs.field(factory=dict[str, PlatformConfig])

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, /) -> Self:
        """From the variables that each adapter's page names, like ``STRIPE_API_KEY``.

        Raises `InputRefused` or `ConfigurationError`, as the platform's own ``from_env``, where it is named by half.
        """
        found = {platform: vendor.config.from_env(env) for platform, vendor in _vendors().items()}
        return cls(platforms={name: config for name, config in found.items() if config is not None})

    def adapters(self, session: "Session", /) -> Mapping[str, Adapters]:
        """The adapters of each configured platform, each under the platform's name as its key."""
        return {name: _joined(name, config, session) for name, config in self.platforms.items()}


@attrs.frozen(kw_only=True)
class _Vendor:
    config: type[PlatformConfig]
    roles: Mapping[str, Callable[..., object]]


def _joined(platform: str, config: PlatformConfig, session: "Session") -> Adapters:
    roles: dict[str, Any] = {}
    for role, make in _vendors()[platform].roles.items():
        asks = (
            role != "webhooks" or len(signature(make).parameters) > 1
        )  # few sources of webhooks ask their vendor
        roles[role] = {platform: make(config, session) if asks else make(config)}
    return Adapters(**roles)


def _vendors() -> Mapping[str, _Vendor]:
    configs: dict[str, type[PlatformConfig]] = {}
    roles: dict[str, dict[str, Callable[..., object]]] = defaultdict(dict)
    names: dict[str, str] = {}
    for name, made in _classes():
        if name.endswith("Config"):
            configs[name.removesuffix("Config")] = made
        for suffix, role in _ROLES.items():
            if name.endswith(suffix):
                roles[name.removesuffix(suffix)][role] = made
                names[name.removesuffix(suffix)] = made.platform
    return {names[vendor]: _Vendor(config=configs[vendor], roles=roles[vendor]) for vendor in names}


def _classes() -> Iterator[tuple[str, Any]]:
    for found in iter_modules(clinicrefund.adapters.__path__):
        module = import_module(f"clinicrefund.adapters.{found.name}")
        for name, made in vars(module).items():
            if isinstance(made, type) and made.__module__ == module.__name__ and not name.startswith("_"):
                yield name, cast("Any", made)

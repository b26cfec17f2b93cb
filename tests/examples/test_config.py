"""What the environment configures is real; nothing else is."""

import pytest

from clinicrefund.config import Config
from clinicrefund.http import Session

pytestmark = pytest.mark.anyio

STRIPE = {"STRIPE_API_KEY": "sk_test_made_up", "STRIPE_WEBHOOK_SECRET": "whsec_made_up"}


async def test_an_empty_environment_configures_nothing() -> None:
    assert dict(Config.from_env({}).platforms) == {}


async def test_a_platforms_variables_bring_its_adapters_in_all_its_roles() -> None:
    config = Config.from_env(STRIPE)
    async with Session() as session:
        joined = config.adapters(session)
    assert list(joined) == ["stripe"]
    assert not config.platforms["stripe"].live
    stripe = joined["stripe"]
    assert [*stripe.gateways, *stripe.webhooks, *stripe.feeds] == ["stripe"] * 3


async def test_every_platform_can_be_configured_by_its_own_variables() -> None:
    env = {
        **STRIPE,
        "CALENDLY_TOKEN": "t", "CALENDLY_SIGNING_KEY": "k", "CALENDLY_ORGANIZATION": "https://api.calendly.com/organizations/A",
        "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0/B0/x", "SLACK_SIGNING_SECRET": "s",
    }  # fmt: skip
    assert sorted(Config.from_env(env).platforms) == ["calendly", "slack", "stripe"]


async def test_no_secret_shows_itself_in_the_configuration() -> None:
    shown = repr(Config.from_env(STRIPE))
    assert "made_up" not in shown

"""A scenario runs on asyncio; one that is about who comes first says `BOTH_LOOPS` and runs on trio, too."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"

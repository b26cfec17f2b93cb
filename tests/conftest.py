"""Every async test runs on both event loops; ``EVENT_LOOPS=asyncio`` asks for one of them alone.

``--hypothesis-profile long`` looks for counter-examples fifty times as long.
"""

import os

import pytest
from hypothesis import settings

settings.register_profile("long", max_examples=5_000, deadline=None)


@pytest.fixture(params=os.environ.get("EVENT_LOOPS", "asyncio trio").split())
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend

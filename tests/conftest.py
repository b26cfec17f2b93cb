"""Every async test runs on both event loops; ``EVENT_LOOPS=asyncio`` asks for one of them alone."""

import os

import pytest


@pytest.fixture(params=os.environ.get("EVENT_LOOPS", "asyncio trio").split())
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend

"""One HTTP write: a refund through our session beside the same refund through stripe-python's async client."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from itertools import count

import attrs

from benchmarks.child import AsyncRound, repeated, running
from benchmarks.measuring import Better, Row, Scale, Sides
from benchmarks.refund_server import serving
from clinicrefund import Secret
from clinicrefund.http import Bearer, HttpCall, Session

_KEY = "sk_test_benchmark"


@attrs.frozen(kw_only=True)
class _Refund:
    id: str
    amount: int
    currency: str
    status: str


async def _many(
    write: Callable[[int], Awaitable[object]], numbers: Iterator[int], writes: int, at_a_time: int
) -> None:
    rest = iter(range(writes))

    async def worker() -> None:
        for _ in rest:
            await write(next(numbers))

    await asyncio.gather(*(worker() for _ in range(at_a_time)))


@asynccontextmanager
async def ours(*, url: str, writes: int, at_a_time: int) -> AsyncIterator[AsyncRound]:
    """`Session`, bound as the Stripe adapter binds it but without its rate limit; the answer structured."""
    async with Session() as session:
        bound = session.bind(
            "stripe",
            base_url=url,
            headers={"Stripe-Version": "2026-09-30.endive"},
            auth=Bearer(Secret(_KEY)),
        )

        async def write(number: int) -> None:
            form = {
                "charge": "ch_1",
                "amount": "12000",
                "reason": "requested_by_customer",
                "metadata[clinicrefund_key]": f"s-{number:08}",
                "metadata[clinicrefund_case]": f"c-{number}",
            }
            call = HttpCall.post(
                "/v1/refunds",
                operation="create_refund",
                form=form,
                key=f"key-{number}",
                key_header="Idempotency-Key",
                proof=f"s-{number:08}",
            )
            reply = await bound.send(call)
            if reply.into(_Refund).status != "succeeded":
                raise RuntimeError("the server answered something else")

        numbers = count()
        async with repeated(lambda: _many(write, numbers, writes, at_a_time), writes) as one_round:
            yield one_round


@asynccontextmanager
async def peer(*, url: str, writes: int, at_a_time: int) -> AsyncIterator[AsyncRound]:
    """``StripeClient.v1.refunds.create_async`` with the async HTTP client that stripe-python takes by itself."""
    import stripe

    client = stripe.StripeClient(_KEY, base_addresses={"api": url})

    async def write(number: int) -> None:
        refund = await client.v1.refunds.create_async(
            {
                "charge": "ch_1",
                "amount": 12000,
                "reason": "requested_by_customer",
                "metadata": {"clinicrefund_key": f"s-{number:08}", "clinicrefund_case": f"c-{number}"},
            },
            {"idempotency_key": f"key-{number}"},
        )
        if refund.status != "succeeded":
            raise RuntimeError("the server answered something else")

    numbers = count()
    async with repeated(lambda: _many(write, numbers, writes, at_a_time), writes) as one_round:
        yield one_round


def _sides(at_a_time: int) -> Callable[[Scale], AbstractContextManager[Sides]]:
    @contextmanager
    def sides(scale: Scale) -> Iterator[Sides]:
        writes = scale.of(500, 100)
        with (
            serving() as url,
            running("benchmarks.http_write:ours", url=url, writes=writes, at_a_time=at_a_time) as a,
            running("benchmarks.http_write:peer", url=url, writes=writes, at_a_time=at_a_time) as b,
        ):
            yield Sides(ours=a, peer=b)

    return sides


def _row(name: str, title: str, at_a_time: int, reach: float) -> Row:
    return Row(
        name=name,
        title=title,
        ours="a refund through our Session: announced, sent once, its answer structured",
        peer="the same refund through stripe-python's async client, to the same server",
        unit="write",
        better=Better.FASTER,
        reach=reach,
        sides=_sides(at_a_time),
    )


HTTP_WRITE_ALONE = _row("http-write-1", "one HTTP write, one after the other", 1, 2)
HTTP_WRITE_TOGETHER = _row("http-write-32", "one HTTP write, 32 at a time", 32, 10)

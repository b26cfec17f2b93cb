"""``python -m clinicrefund.testing.sandbox``: all platforms on loopback, until it is stopped.

It prints one line, its URL, and then says nothing more.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module

import anyio

from clinicrefund.errors import InputRefused
from clinicrefund.testing.clock import RunningClock
from clinicrefund.testing.sandbox.app import SandboxApplication
from clinicrefund.testing.sandbox.defaults import stand_ins
from clinicrefund.testing.sandbox.sandbox import Sandbox
from clinicrefund.testing.server import HOST, serve
from clinicrefund.testing.stand_in import StandIn


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; returns when it was stopped, by Ctrl-C or over HTTP."""
    parser = argparse.ArgumentParser(prog="python -m clinicrefund.testing.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--host", default=HOST, help=f"only {HOST}: the sandbox is for this machine")
    parser.add_argument(
        "--stand-in",
        action="append",
        default=[],
        metavar="NAME",
        help="one more platform: 'square', or MODULE:CLASS of your own; repeatable",
    )
    parser.add_argument("--detach", action="store_true", help="keep running in the background")
    parser.add_argument("--with-parent", action="store_true", help="stop when standard input ends")
    options = parser.parse_args(arguments)
    if options.host not in (HOST, "localhost"):
        parser.error(
            f"the sandbox listens on {HOST} only: it has no passwords and holds what looks like patients"
        )
    if options.detach:
        return _detach(options.port, options.stand_in)
    extra = tuple(_stand_in(parser, name) for name in options.stand_in)
    try:
        anyio.run(partial(run, (*stand_ins(), *extra), port=options.port, with_parent=options.with_parent))
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        parser.error(f"port {options.port} cannot be used: {error.strerror}")
    return 0


async def run(held: Sequence[StandIn], /, *, port: int, with_parent: bool) -> None:
    """Serves these stand-ins until somebody stops it."""
    async with Sandbox(*held, clock=RunningClock()) as sandbox:
        application = SandboxApplication(sandbox)
        async with serve(application, port=port) as url:
            print(url, flush=True)
            async with anyio.create_task_group() as tasks:
                if with_parent:
                    tasks.start_soon(_stop_with_parent, application)
                await application.stopped.wait()
                tasks.cancel_scope.cancel()


async def _stop_with_parent(application: SandboxApplication) -> None:
    """A parent that dies hard closes our standard input: no sandbox is left behind."""
    await anyio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)
    application.stopped.set()


def _detach(port: int, names: Sequence[str]) -> int:
    command = [sys.executable, "-m", "clinicrefund.testing.sandbox", "--port", str(port)]
    command += [part for name in names for part in ("--stand-in", name)]
    child = subprocess.Popen(  # noqa: S603 - our own program, our own arguments
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # else whoever reads our errors to their end would wait for the sandbox's end
        text=True,
        start_new_session=True,
    )
    line = "" if child.stdout is None else child.stdout.readline()
    print(line, end="", flush=True)
    return 0 if line else child.wait()


def _stand_in(parser: argparse.ArgumentParser, name: str) -> StandIn:
    module, _, attribute = name.partition(":")
    if not attribute:
        try:
            return stand_ins((name,))[0]
        except InputRefused as refused:
            parser.error(str(refused))
    made: object = getattr(import_module(module), attribute)()
    if not isinstance(made, StandIn):
        parser.error(f"{name} is not a StandIn")
    return made


if __name__ == "__main__":
    sys.exit(main())

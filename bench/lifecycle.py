#!/usr/bin/env python3
"""How long engines take for a container's life. With several engines they take turns, so that drift hits all alike.

    .venv/bin/python bench/lifecycle.py --image IMAGE ADDRESS [ADDRESS…]

ADDRESS is where an engine of Docker's API listens (unix:///path), IMAGE one that all of them have and that contains
`true` and `sleep`. Printed are medians in milliseconds, and containers a second for `parallel`; with several engines
also how the first compares with each other one (below 1.00: the first is faster).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

from knarr.client import Client, containers, execs

Measure = Callable[[Client, str], float]

PARALLEL = 40
WORKERS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("addresses", nargs="+", metavar="ADDRESS")
    parser.add_argument("--image", default="busybox")
    parser.add_argument("--turns", type=int, default=15)
    arguments = parser.parse_args()
    clients = [Client(address) for address in arguments.addresses]
    for name, measure in MEASURES.items():
        turns = [[measure(client, arguments.image) for client in clients] for _ in range(arguments.turns)]
        print(row(name, [statistics.median(column) for column in zip(*turns, strict=True)]))


def row(name: str, figures: list[float]) -> str:
    """A line of the table; the ratios are of times, so a rate counts the other way round."""
    shown = "".join(f"{figure:12.2f}" for figure in figures)
    ratios = [other / figures[0] if name.endswith("/s") else figures[0] / other for other in figures[1:]]
    return f"{name:18}{shown}" + "".join(f"{ratio:8.2f}" for ratio in ratios)


def create(client: Client, image: str, program: list[str], network: str) -> str:
    config = {"Image": image, "Cmd": program, "HostConfig": {"NetworkMode": network}}
    return client.call(containers.create(config))["Id"]


def life(client: Client, image: str, network: str) -> float:
    """Milliseconds from create to removal of a container that runs `true`."""
    begin = time.perf_counter()
    container = create(client, image, ["true"], network)
    client.call(containers.start(container))
    with client.stream(containers.wait(container)) as answer:
        next(answer)
    client.call(containers.remove(container))
    return (time.perf_counter() - begin) * 1e3


def one_exec(client: Client, image: str) -> float:
    """Milliseconds from the making of an exec to the end of its output."""
    container = create(client, image, ["sleep", "600"], "none")
    try:
        client.call(containers.start(container))
        begin = time.perf_counter()
        made = client.call(execs.create(container, {"Cmd": ["true"], "AttachStdout": True}))["Id"]
        with closing(client.hijack(execs.attach(made)).socket) as output:
            while output.recv(65536):
                pass
        return (time.perf_counter() - begin) * 1e3
    finally:
        client.call(containers.remove(container, force=True))


def parallel(client: Client, image: str) -> float:
    """Containers a second through their whole lives, from several threads."""

    def one(_: int) -> None:
        with Client(client.address) as own:
            life(own, image, "bridge")

    begin = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, range(PARALLEL)))
    return PARALLEL / (time.perf_counter() - begin)


MEASURES: dict[str, Measure] = {
    "start, no network": partial(life, network="none"),
    "start, bridge": partial(life, network="bridge"),
    "exec": one_exec,
    "parallel, 1/s": parallel,
}

if __name__ == "__main__":
    main()

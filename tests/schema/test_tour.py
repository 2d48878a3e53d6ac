"""Every endpoint, called so that it succeeds: only what the specification describes is answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_contract import Contract
from api_tour import Tour
from harness import Daemon

_ELSEWHERE = {
    "GET /containers/{id}/attach/ws",  # hijacked, as POST /session
    "POST /session",
    "POST /auth",  # these need a registry or plugins
    "GET /distribution/{name}/json",
    "GET /images/search",
    "GET /plugins/privileges",
    "POST /plugins/create",
    "POST /plugins/pull",
    "PUT /volumes/{name}",  # of a swarm's cluster volumes
}


@pytest.fixture(scope="module")
def tour(daemon: Daemon, specification: Path) -> Tour:
    tour = Tour(Contract(specification), daemon.socket_path)
    tour.whole()
    return tour


def test_all_answers_are_as_specified(tour: Tour) -> None:
    assert not tour.faults, "\n".join(tour.faults)


def test_every_endpoint_was_visited(tour: Tour) -> None:
    missing = {str(operation) for operation in tour.contract.operations - tour.seen}
    assert missing <= _ELSEWHERE

"""Images as people have them: a Debian base made without a registry, and a service, an application, a database on it.

Slow, as packages come from the distribution's repository: `scripts/test -m slow` runs these.
"""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import knarr_program
import pytest
from harness import Daemon

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

DOCKERFILE = """FROM debian:bookworm AS packages
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update -q && apt-get install -qy --no-install-recommends nginx-light python3-flask postgresql \\
    && rm -rf /var/lib/apt/lists/*

FROM packages AS service
COPY index.html /var/www/html/index.html
EXPOSE 80
CMD ["nginx", "-g", "daemon off;"]

FROM packages AS application
WORKDIR /app
COPY app.py .
RUN useradd --system app
USER app
EXPOSE 8000
CMD ["python3", "app.py"]

FROM packages AS database
USER postgres
ENV PATH=/usr/lib/postgresql/15/bin:$PATH
COPY --chmod=755 --chown=postgres <<'ENTRY' /entry
#!/bin/sh
set -e
[ -e "$PGDATA/PG_VERSION" ] || initdb --no-sync --auth=trust >/dev/null
exec postgres -c fsync=off
ENTRY
ENV PGDATA=/var/lib/postgresql/data/db
RUN mkdir -m 700 /var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
HEALTHCHECK --interval=1s --retries=60 CMD pg_isready -q
ENTRYPOINT ["/entry"]
"""
APPLICATION = """from flask import Flask
app = Flask(__name__)

@app.get("/<name>")
def greet(name):
    return f"hello {name}"

app.run("0.0.0.0", 8000)
"""


@pytest.fixture(scope="module")
def engine(engine_host: Daemon) -> Daemon:
    """An engine with the image debian:bookworm."""
    command = [str(knarr_program.KNARR), "-H", engine_host.host, "image", "bootstrap", "-q", "debian:bookworm"]
    subprocess.run(command, check=True, timeout=900)
    return engine_host


@pytest.fixture(scope="module")
def built(engine: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    """The three images, real-STAGE."""
    place = tmp_path_factory.mktemp("real")
    for name, text in (("Dockerfile", DOCKERFILE), ("index.html", "served"), ("app.py", APPLICATION)):
        (place / name).write_text(text)
    for stage in ("service", "application", "database"):
        _build(engine, place, stage)
    return engine


def _build(engine: Daemon, place: Path, stage: str) -> None:
    flags = ["--network", "host", "--target", stage, "-t", f"real-{stage}"]
    command = [str(knarr_program.KNARR), "-H", engine.host, "build", *flags, str(place)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-2000:].decode()


@pytest.fixture
def names(built: Daemon) -> Iterator[list[str]]:
    """Containers that are removed at the end, with their volumes."""
    names: list[str] = []
    yield names
    for name in names:
        built.docker("rm", "-fv", name)


def _fetch(engine: Daemon, name: str, port: int, path: str) -> str:
    """What a container serves, as soon as it does: connecting is tried again by wget in the container itself."""
    address = engine.text("port", name, str(port)).splitlines()[0]
    with urllib.request.urlopen(f"http://{address}/{path}", timeout=30) as response:
        return response.read().decode()


def _run(engine: Daemon, names: list[str], name: str, *flags: str) -> None:
    names.append(name)
    engine.docker("run", "-d", "--name", name, *flags)


def _await_port(engine: Daemon, name: str, port: int) -> None:
    """Wait in the container until something listens."""
    wait = f"import socket, time\nwhile socket.socket().connect_ex(('127.0.0.1', {port})): time.sleep(0.1)"
    engine.docker("exec", name, "python3", "-c", wait)


def test_a_service(built: Daemon, names: list[str]) -> None:
    _run(built, names, "real-web", "-p", "127.0.0.1::80", "real-service")
    _await_port(built, "real-web", 80)
    assert _fetch(built, "real-web", 80, "") == "served"
    built.docker("stop", "real-web")
    assert built.text("inspect", "-f", "{{.State.ExitCode}}", "real-web") == "0"


def test_an_application(built: Daemon, names: list[str]) -> None:
    _run(built, names, "real-app", "-p", "127.0.0.1::8000", "real-application")
    _await_port(built, "real-app", 8000)
    assert _fetch(built, "real-app", 8000, "you") == "hello you"
    assert built.text("exec", "real-app", "id", "-un") == "app"


def test_a_database_keeps_its_data(built: Daemon, names: list[str]) -> None:
    _run(built, names, "real-db", "-v", "real-data:/var/lib/postgresql/data", "real-database")
    _await_port(built, "real-db", 5432)
    _sql(built, "real-db", "create table t (x int); insert into t values (42)")
    built.docker("restart", "real-db")
    _await_port(built, "real-db", 5432)
    assert _sql(built, "real-db", "select x from t") == "42"
    built.docker("rm", "-f", "real-db")
    _run(built, names, "real-db", "-v", "real-data:/var/lib/postgresql/data", "real-database")
    _await_port(built, "real-db", 5432)
    assert _sql(built, "real-db", "select x from t") == "42"
    built.docker("rm", "-f", names.pop())
    built.docker("volume", "rm", "real-data")
    names.clear()


def _sql(engine: Daemon, name: str, statement: str) -> str:
    return engine.text("exec", name, "psql", "-qAtc", statement)

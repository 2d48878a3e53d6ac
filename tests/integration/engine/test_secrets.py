"""Secrets: kept sealed, given to containers as files, shown to nobody."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from engine_bench import EngineBench, unframed

from knarr.engine.config import HostConfig, RestartPolicy, SecretCreate, SecretReference
from knarr.errors import Conflict, InvalidParameter, NotFound

VALUE = b"a very secret value"


@pytest.fixture
def bench() -> Iterator[EngineBench]:
    """An engine of the test's own, with one secret, "pw"."""
    bench = EngineBench()
    keep(bench, "pw")
    yield bench
    bench.close()


def keep(bench: EngineBench, name: str, value: bytes = VALUE) -> str:
    data = base64.b64encode(value).decode()
    return bench.run(bench.engine.secrets.create(SecretCreate(name=name, data=data, labels={"a": "b"})))


def using(*references: SecretReference) -> HostConfig:
    return HostConfig(network_mode="none", secrets=list(references))


def output(bench: EngineBench, host: HostConfig, command: str) -> bytes:
    id = bench.up("sh", "-c", command, host=host)
    assert bench.wait(id) == 0
    return unframed(bench.logs(id))[0]


def test_a_file_that_only_its_owner_reads(bench: EngineBench) -> None:
    command = "cat /run/secrets/pw; stat -c ' %a %u %g' /run/secrets/pw; ! touch /run/secrets/x 2>/dev/null"
    assert output(bench, using(SecretReference(source="pw")), command) == VALUE + b" 400 0 0\n"


def test_target_owner_and_mode(bench: EngineBench) -> None:
    wanted = SecretReference(source="pw", target="/etc/app/key", uid="5", gid="6", mode=0o440)
    assert output(bench, using(wanted), "cat /etc/app/key; stat -c ' %a %u %g' /etc/app/key") == VALUE + b" 440 5 6\n"


def test_it_is_nowhere_in_the_clear(bench: EngineBench) -> None:
    id = bench.up("sleep", "1000", host=using(SecretReference(source="pw")))
    shown = json.dumps([bench.inspect(id), bench.engine.secrets.list(), bench.events()])
    assert VALUE.decode() not in shown
    kept = [path.read_bytes() for path in (bench.root / "data").glob("*") if path.is_file()]
    assert len(kept) > 1
    assert not any(VALUE in content or base64.b64encode(VALUE) in content for content in kept)
    assert (bench.root / "data/secrets.key").stat().st_mode & 0o777 == 0o600


def test_over_a_restart_of_the_engine(bench: EngineBench) -> None:
    host = using(SecretReference(source="pw"))
    host.restart_policy = RestartPolicy(name="always")
    id = bench.up("sh", "-c", "cat /run/secrets/pw; sleep 1000", host=host, stop_signal="KILL")
    bench.stop()
    bench.start()
    assert bench.exec(id, "cat", "/run/secrets/pw")[0].endswith(VALUE)
    bench.run(bench.engine.containers.restart(id))
    bench.follow_until(id, VALUE)


def test_with_its_run_its_file_goes(bench: EngineBench) -> None:
    id = bench.up("true", host=using(SecretReference(source="pw")))
    bench.wait(id)
    assert list((bench.root / "run/secrets").iterdir()) == []


def test_one_in_use_stays(bench: EngineBench) -> None:
    id = bench.create("true", name="box", host=using(SecretReference(source="pw")))
    with pytest.raises(Conflict, match="secret 'pw' is in use by the following containers: box"):
        bench.engine.secrets.remove("pw")
    bench.run(bench.engine.containers.remove(id))
    bench.engine.secrets.remove("pw")
    with pytest.raises(NotFound, match="secret pw not found"):
        bench.engine.secrets.inspect("pw")


def test_names_are_checked_and_unique(bench: EngineBench) -> None:
    with pytest.raises(Conflict, match="secret pw already exists"):
        keep(bench, "pw")
    with pytest.raises(InvalidParameter, match="invalid name"):
        keep(bench, "../x")
    with pytest.raises(InvalidParameter, match="must be larger than 0"):
        keep(bench, "empty", b"")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (SecretReference(source="none"), "secret none not found"),
        (SecretReference(source="pw", target="../../etc/passwd"), "invalid target of secret pw"),
        (SecretReference(source="pw", uid="root"), "invalid uid of secret pw"),
        (SecretReference(source="pw", mode=0o4755), "invalid mode of secret pw"),
    ],
)
def test_references_that_make_no_sense(bench: EngineBench, reference: SecretReference, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        bench.create("true", host=using(reference))


def test_filters(bench: EngineBench) -> None:
    keep(bench, "other")
    names = [secret["Spec"]["Name"] for secret in bench.engine.secrets.list('{"name":["p"],"label":["a=b"]}')]
    assert names == ["pw"]

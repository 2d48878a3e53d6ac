"""Registries that want to know who asks: passwords, tokens, certificates; and those that stand in for others."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import registries
import token_server
from publishing import Shelf
from registries import Proxy
from registry_bench import RegistryBench
from token_server import PASSWORD, REFRESH_TOKEN, USER, TokenServer

from knarr.errors import InvalidParameter, KnarrError, NotFound, Unauthorized
from knarr.images import archives as loading
from knarr.images.cancellation import Cancellation
from knarr.images.references import parse
from knarr.images.registry import descriptions, login
from knarr.images.registry.credentials import Credentials
from knarr.images.registry.failures import Refused, Unreachable
from knarr.images.registry.settings import ProxySettings
from knarr.images.store import ImageStore

JOE = Credentials(user_name="joe", password="s3cret")
ANN = Credentials(user_name=USER, password=PASSWORD)


def at(credentials: Credentials, proxy: Proxy) -> Credentials:
    return Credentials(
        user_name=credentials.user_name, password=credentials.password, server_address=f"http://{proxy.name}/v2/"
    )


def add_image(bench: RegistryBench, archives: Any, name: str) -> None:
    loading.load(bench.store, io.BytesIO(archives.docker(archives.tar({"a": b"1"}), tags=[name])))


# -- passwords


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with registries.with_passwords(tmp_path_factory.mktemp("guarded")) as proxy:
        yield proxy


def test_with_a_password(bench: RegistryBench, guarded: Proxy, archives: Any) -> None:
    name = f"{guarded.name}/a/b:1"
    add_image(bench, archives, name)
    pushed = bench.push(name, credentials=JOE)
    bench.store.delete(bench.store.resolve(name).id)
    assert bench.pull(name, credentials=JOE).repo_digests == [f"{guarded.name}/a/b@{pushed}"]


def test_without_one(bench: RegistryBench, guarded: Proxy) -> None:
    with pytest.raises(Refused, match=r"Get .*/v2/\": no basic auth credentials"):
        bench.pull(f"{guarded.name}/a/b:1")


def test_with_a_wrong_one(bench: RegistryBench, guarded: Proxy) -> None:
    with pytest.raises(KnarrError, match="unauthorized: authentication required"):
        bench.pull(f"{guarded.name}/a/b:1", credentials=Credentials(user_name="joe", password="x"))


def test_logging_in(bench: RegistryBench, guarded: Proxy) -> None:
    assert login.log_in(bench.transport, at(JOE, guarded), Cancellation()) == ""
    wrong = at(Credentials(user_name="joe", password="x"), guarded)
    with pytest.raises(Unauthorized, match="failed with status: 401"):
        login.log_in(bench.transport, wrong, Cancellation())


# -- tokens


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, TokenServer]]:
    with token_server.running(tmp_path_factory.mktemp("tokens")) as both:
        yield both


@pytest.fixture
def issuer(tokens: tuple[Proxy, TokenServer]) -> TokenServer:
    tokens[1].asked.clear()
    return tokens[1]


@pytest.fixture
def registry(tokens: tuple[Proxy, TokenServer]) -> Proxy:
    return tokens[0]


def test_a_token_for_each_thing_to_do(
    bench: RegistryBench, registry: Proxy, issuer: TokenServer, archives: Any
) -> None:
    name = f"{registry.name}/open/one:1"
    add_image(bench, archives, name)
    bench.push(name, credentials=ANN)
    bench.store.delete(bench.store.resolve(name).id)
    bench.pull(name)
    assert [asked["scope"] for asked in issuer.asked] == [
        ["repository:open/one:pull,push"],
        ["repository:open/one:pull"],
    ]
    assert issuer.asked[0]["account"] == [USER] and issuer.asked[0]["service"] == ["tests"]
    assert issuer.asked[1]["authorization"] == [""]


def test_not_for_everybody(bench: RegistryBench, registry: Proxy, issuer: TokenServer) -> None:
    words = "pull access denied for .*/closed/one, repository does not exist or may require 'docker login'"
    with pytest.raises(NotFound, match=words):
        bench.pull(f"{registry.name}/closed/one:1")


def test_a_wrong_password(bench: RegistryBench, registry: Proxy, issuer: TokenServer) -> None:
    with pytest.raises(KnarrError, match="unauthorized: incorrect username or password"):
        bench.pull(f"{registry.name}/closed/one:1", credentials=Credentials(user_name=USER, password="x"))


def test_an_expired_token(bench: RegistryBench, registry: Proxy, issuer: TokenServer, archives: Any) -> None:
    name = f"{registry.name}/open/two:1"
    add_image(bench, archives, name)
    bench.push(name, credentials=ANN)
    repository = bench.repository(name)
    issuer.dated = -3600.0
    with pytest.raises(Refused, match="authentication required"):
        repository.manifest("1")
    issuer.dated = 0.0
    assert repository.manifest("1").data


def test_an_identity_token(bench: RegistryBench, registry: Proxy, issuer: TokenServer, archives: Any) -> None:
    token = login.log_in(bench.transport, at(ANN, registry), Cancellation())
    assert token == REFRESH_TOKEN
    name = f"{registry.name}/closed/two:1"
    add_image(bench, archives, name)
    bench.push(name, credentials=Credentials(identity_token=token))
    assert issuer.asked[-1]["grant_type"] == ["refresh_token"]


def test_blobs_of_a_closed_repository_are_mounted(
    bench: RegistryBench, registry: Proxy, issuer: TokenServer, archives: Any
) -> None:
    add_image(bench, archives, f"{registry.name}/closed/base:1")
    bench.push(f"{registry.name}/closed/base:1", credentials=ANN)
    image = bench.store.resolve(f"{registry.name}/closed/base:1")
    bench.store.tag(image.id, parse(f"{registry.name}/closed/copy:1"))
    bench.push(f"{registry.name}/closed/copy:1", credentials=ANN)
    assert any("Mounted from closed/base" in line for line in bench.statuses())
    assert issuer.asked[-1]["scope"] == ["repository:closed/base:pull", "repository:closed/copy:pull,push"]


# -- TLS, certs.d, mirrors


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Path]]:
    """A registry with TLS on a name that is not allowed to be insecure, and its certificate."""
    directory = tmp_path_factory.mktemp("secure")
    mine = registries.certificate(directory, "server")
    clients = registries.certificate(directory, "client")
    with registries.running(directory, tls=mine, client_ca=clients[0]) as proxy:
        yield proxy, directory


def test_tls_on_loopback_is_not_verified(store: ImageStore, tmp_path: Path, archives: Any) -> None:
    mine = registries.certificate(tmp_path, "server")
    with registries.running(tmp_path, tls=mine) as proxy:
        bench = RegistryBench(store)
        name = f"{proxy.name}/a/b:1"
        add_image(bench, archives, name)
        bench.push(name)
        assert bench.pull(name)
        bench.close()


def test_an_unknown_authority(store: ImageStore, secure: tuple[Proxy, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("knarr.images.registry.lookup.is_insecure", lambda host, insecure: False)
    bench = RegistryBench(store)
    with pytest.raises(Unreachable, match="x509: certificate signed by unknown authority"):
        bench.pull(f"localhost:{secure[0].port}/a/b:1")
    bench.close()


def test_certificates_of_both_sides(
    store: ImageStore, secure: tuple[Proxy, Path], tmp_path: Path, archives: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knarr.images.registry.lookup.is_insecure", lambda host, insecure: False)
    proxy, source = secure
    directory = tmp_path / "certs.d" / f"localhost:{proxy.port}"
    directory.mkdir(parents=True)
    shutil.copy(source / "server.crt", directory / "ca.crt")
    bench = RegistryBench(store, certificates=(tmp_path / "certs.d",))
    name = f"localhost:{proxy.port}/a/b:1"
    add_image(bench, archives, name)
    with pytest.raises(Unreachable):
        bench.push(name)
    bench.close()
    shutil.copy(source / "client.crt", directory / "client.cert")
    with pytest.raises(InvalidParameter, match=r"missing key client.key for client certificate client.cert"):
        RegistryBench(store, certificates=(tmp_path / "certs.d",)).pull(name)
    shutil.copy(source / "client.pem", directory / "client.key")
    bench = RegistryBench(store, certificates=(tmp_path / "certs.d",))
    bench.push(name)
    bench.close()


def test_a_mirror_of_the_public_registry(store: ImageStore, tmp_path: Path, archives: Any) -> None:
    with registries.running(tmp_path) as proxy:
        manifest = Shelf(proxy.name, "library/thing").image(archives.tar({"a": b"1"}), tags=("1",))
        bench = RegistryBench(store, mirrors=(f"http://{proxy.name}/",))
        image = bench.pull("thing:1", credentials=JOE)
        assert image.repo_tags == ["thing:1"] and len(image.repo_digests) == 1 and manifest
        assert not any("Authorization" in seen.headers for seen in proxy.seen)
        bench.close()


def test_hosts_toml(store: ImageStore, tmp_path: Path, archives: Any) -> None:
    """What the first host does not have, the next one may."""
    with registries.running(tmp_path / "one") as one, registries.running(tmp_path / "two") as two:
        Shelf(two.name, "team/thing").image(archives.tar({"a": b"1"}), tags=("1",))
        directory = tmp_path / "certs.d" / "registry.invalid"
        directory.mkdir(parents=True)
        (directory / "hosts.toml").write_text(
            f'server = "http://{one.name}"\n'
            f'[host."http://{one.name}"]\ncapabilities = ["pull", "resolve"]\n'
            f'[host."http://{two.name}/v2"]\noverride_path = true\n'
            f'[host."http://{two.name}/v2".header]\nx-team = "blue"\n'
        )
        bench = RegistryBench(store, certificates=(tmp_path / "certs.d",))
        assert bench.pull("registry.invalid/team/thing:1").repo_tags == ["registry.invalid/team/thing:1"]
        assert one.requests("GET /v2/team/thing/manifests/1.ns=registry.invalid")
        assert {seen.headers.get("x-team") for seen in two.requests("ns=registry.invalid")} == {"blue"}
        bench.close()


def test_through_a_proxy(store: ImageStore, tmp_path: Path, archives: Any) -> None:
    with registries.running(tmp_path) as proxy:
        Shelf(proxy.name, "a/b").image(archives.tar({"a": b"1"}), tags=("1",))
        proxies = ProxySettings(http=proxy.name)
        bench = RegistryBench(store, proxies=proxies, insecure=("registry.invalid",))
        assert bench.pull("registry.invalid/a/b:1").size == 1
        assert proxy.requests("GET http://registry.invalid/v2/a/b/manifests/1")
        bench.close()


# -- what a registry says without a pull


def test_descriptions(store: ImageStore, bench: RegistryBench, tmp_path: Path, archives: Any) -> None:
    with registries.running(tmp_path) as proxy:
        shelf = Shelf(proxy.name, "a/b")
        for number in range(3):
            shelf.image(archives.tar({"a": b"1"}), tags=(f"t{number}",), variant="v2")
        repository = bench.repository(shelf.name)
        found = descriptions.describe(repository, "t1")
        assert (found.platforms[0].architecture, found.platforms[0].variant) == ("amd64", "v2")
        assert repository.describe("t1") == found.descriptor
        assert repository.describe("none") is None
        assert repository.tags() == ["t0", "t1", "t2"]

"""Where registries are reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from knarr.errors import InvalidParameter
from knarr.images.registry import connections, lookup
from knarr.images.registry.endpoint import Endpoint
from knarr.images.registry.settings import RegistrySettings


def find(domain: str, **settings: object) -> list[Endpoint]:
    return lookup.find(domain, RegistrySettings(**{"certificates": (), **settings}))  # type: ignore[arg-type]


def urls(domain: str, **settings: object) -> list[str]:
    return [endpoint.url for endpoint in find(domain, **settings)]


def test_the_public_registry_and_its_mirrors() -> None:
    mirror, own = find("docker.io", mirrors=("https://mirror.example/cache/",))
    assert (mirror.url, mirror.mirror, own.url) == (
        "https://mirror.example/cache/v2",
        True,
        "https://registry-1.docker.io/v2",
    )


def test_mirrors_are_not_for_others() -> None:
    assert urls("a.example", mirrors=("https://mirror.example",)) == ["https://a.example/v2"]


@pytest.mark.parametrize(
    "domain", ["localhost:5000", "127.0.0.1:5000", "[::1]:5000", "a.example:5000", "10.1.2.3", "localhost"]
)
def test_insecure_ones(domain: str) -> None:
    first, second = find(domain, insecure=("a.example:5000", "10.0.0.0/8"))
    assert (first.url, first.verify, second.url) == (f"https://{domain}/v2", False, f"http://{domain}/v2")


def test_a_port_belongs_to_the_name() -> None:
    assert urls("a.example:5001", insecure=("a.example:5000",)) == ["https://a.example:5001/v2"]


def write_hosts(tmp_path: Path, content: str, name: str = "a.example") -> tuple[Path]:
    (tmp_path / name).mkdir()
    (tmp_path / name / "hosts.toml").write_text(content)
    return (tmp_path,)


def test_hosts_toml(tmp_path: Path) -> None:
    content = """
        server = "https://b.example"
        [host."https://mirror.example"]
        capabilities = ["pull"]
        ca = ["one.crt", "two.crt"]
        client = [["me.cert", "me.key"]]
        skip_verify = true
        dial_timeout = "1.5s"
        [host."https://mirror.example".header]
        x-a = ["1", "2"]
    """
    mirror, server = find("a.example", certificates=write_hosts(tmp_path, content))
    place = tmp_path / "a.example"
    assert mirror == Endpoint(
        url="https://mirror.example/v2",
        verify=False,
        authorities=(place / "one.crt", place / "two.crt"),
        client=(place / "me.cert", place / "me.key"),
        mirror=True,
        namespace="a.example",
        capabilities=frozenset({"pull"}),
        headers=(("x-a", "1"), ("x-a", "2")),
        dial_seconds=1.5,
    )
    assert (server.url, server.mirror, server.namespace) == ("https://b.example/v2", False, "a.example")
    assert server.dial_seconds is None


def test_how_long_a_connection_may_take() -> None:
    usual, short = Endpoint(url="http://a/v2"), Endpoint(url="http://a/v2", dial_seconds=0.5)
    limits = [connections.new_pool(one, "", secure=False).connection_pool_kw["timeout"] for one in (usual, short)]
    assert [limit.connect_timeout for limit in limits] == [connections.CONNECT_SECONDS, 0.5]


@pytest.mark.parametrize("name", ["a.example:5000", "a.example_5000_", "_default"])
def test_names_of_directories(tmp_path: Path, name: str) -> None:
    directories = write_hosts(tmp_path, '[host."http://m.example"]', name)
    assert urls("a.example:5000", certificates=directories)[0] == "http://m.example/v2"


@pytest.mark.parametrize(
    "content",
    [
        "x = 1",
        "server = 5",
        "a",
        '[host."b"]\ncapabilities = ["fly"]',
        "\x00",
        'dial_timeout = "3 s"',
        "dial_timeout = 3",
    ],
)
def test_a_file_that_makes_no_sense(tmp_path: Path, content: str) -> None:
    with pytest.raises(InvalidParameter, match=r"failed to load .*hosts.toml"):
        find("a.example", certificates=write_hosts(tmp_path, content))

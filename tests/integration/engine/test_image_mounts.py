"""Images mounted into containers."""

from __future__ import annotations

import io

import busybox
import pytest
from engine_bench import IMAGE, EngineBench

from knarr.engine.config import HostConfig, ImageOptions, Mount
from knarr.errors import Conflict, InvalidParameter
from knarr.images.importer import Import, import_archive
from knarr.images.platforms import of_host
from knarr.images.references import parse


def _host(source: str = IMAGE, subpath: str = "") -> HostConfig:
    mount = Mount(type="image", source=source, target="/image", image_options=ImageOptions(subpath=subpath))
    return HostConfig(network_mode="none", mounts=[mount])


def _left_on_host(bench: EngineBench) -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return [line for line in file if f"{bench.root}/run/images" in line]


def test_it_can_be_read_and_not_written(bench: EngineBench) -> None:
    id = bench.up("sh", "-c", "cat /image/etc/passwd; touch /image/x", host=_host())
    assert bench.wait(id) == 1
    output = bench.logs(id)
    assert b"root:x:0:0" in output
    assert b"Read-only file system" in output


def test_nothing_is_left_when_the_container_has_ended(bench: EngineBench) -> None:
    id = bench.up("true", host=_host())
    bench.wait(id)
    assert not _left_on_host(bench)
    assert not [root for root in bench.layers.roots() if root.startswith(f"{id}-")]


def test_a_part_of_it(bench: EngineBench) -> None:
    id = bench.up("cat", "/image/passwd", host=_host(subpath="etc"))
    assert bench.wait(id) == 0


def test_a_part_that_is_not_there(bench: EngineBench) -> None:
    id = bench.create("true", host=_host(subpath="nowhere"))
    with pytest.raises(InvalidParameter, match="cannot access path nowhere in image"):
        bench.run(bench.engine.containers.start(id))
    assert not _left_on_host(bench)


def test_an_image_that_is_not_there(bench: EngineBench) -> None:
    with pytest.raises(InvalidParameter, match="No such image: nothing:latest"):
        bench.create("true", host=_host("nothing"))


def test_it_outlives_the_engine(bench: EngineBench) -> None:
    id = bench.up("sh", "-c", "while [ ! -e /go ]; do sleep 0.1; done; cat /image/etc/passwd", host=_host())
    bench.stop()
    bench.start()
    bench.exec(id, "touch", "/go")
    assert bench.wait(id) == 0
    assert not _left_on_host(bench)


def test_its_image_is_in_use(bench: EngineBench) -> None:
    other = Import(platform=of_host(), message="another", reference=parse("other"), changes=[])
    import_archive(bench.images, other, io.BytesIO(busybox.archive()))
    bench.create("true", host=_host("other"))
    with pytest.raises(Conflict):
        bench.run(bench.engine.images.remove("other"))

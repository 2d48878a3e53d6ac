"""Builds from Dockerfiles: what each instruction does to files and configuration."""

from __future__ import annotations

import re
import tarfile
from typing import Any

import pytest
from building import build, context
from engine_bench import EngineBench

from knarr.engine.config import HostConfig, Ulimit
from knarr.errors import CommandFailed, Forbidden, InvalidParameter, KnarrError, NotFound, Unsupported
from knarr.images.references import parse


def test_a_command_changes_files(bench: EngineBench) -> None:
    found = build(bench, "FROM busybox\nRUN echo built > /f && rm /etc/group\nCMD cat /f\n")
    assert (found.read("f"), found.names()) == ("built\n", ["f"])
    assert found.config.config.cmd == ["/bin/sh", "-c", "cat /f"]
    assert bench.layers.roots() == []


def test_what_is_said(bench: EngineBench) -> None:
    found = build(bench, "FROM busybox\nRUN echo out; echo bad >&2\nENV A=1\n")
    container, step = re.findall(r"Removing intermediate container (\w{12})\n ---> (\w{12})\n", found.text)[0]
    said = found.text.replace("\x1b[91mbad\n\x1b[0m", "").splitlines()
    assert said == [
        "Step 1/3 : FROM busybox",
        f" ---> {bench.images.resolve('busybox').id[7:19]}",
        "Step 2/3 : RUN echo out; echo bad >&2",
        f" ---> Running in {container}",
        "out",
        f"Removing intermediate container {container}",
        f" ---> {step}",
        "Step 3/3 : ENV A=1",
        f" ---> {found.id[7:19]}",
        f"Successfully built {found.id[7:19]}",
    ]
    assert {"aux": {"ID": found.id}} in found.messages


def test_a_failing_command(bench: EngineBench) -> None:
    with pytest.raises(CommandFailed, match=r"The command '/bin/sh -c exit 37' returned a non-zero code: 37") as failed:
        build(bench, "FROM busybox\nRUN exit 37\n")
    assert failed.value.code == 37
    assert bench.layers.roots() == []
    assert not list((bench.settings.run_root / "containers").iterdir())
    assert not list((bench.settings.data_root / "build" / "contexts").iterdir())


def test_settings_of_the_image(bench: EngineBench) -> None:
    text = """FROM busybox
LABEL a=1 "b c"="d e"
EXPOSE 80 53/udp
VOLUME /data /more
STOPSIGNAL SIGINT
MAINTAINER me
SHELL ["/bin/sh", "-ec"]
ENV A=1 B="two words"
ENV C ${A}x
WORKDIR /p
WORKDIR q
USER nobody
ONBUILD RUN x
HEALTHCHECK --interval=2s NONE
ENTRYPOINT exec e
"""
    made = build(bench, text.replace("--interval=2s ", "")).config
    found = made.config
    assert (found.labels, found.exposed_ports) == ({"a": "1", "b c": "d e"}, {"80/tcp": {}, "53/udp": {}})
    assert (found.volumes, found.stop_signal, made.author) == ({"/data": {}, "/more": {}}, "SIGINT", "me")
    assert found.env[1:] == ["A=1", "B=two words", "C=1x"] and found.env[0].startswith("PATH=")
    assert (found.working_dir, found.user, found.on_build) == ("/p/q", "nobody", ["RUN x"])
    assert found.entrypoint == ["/bin/sh", "-ec", "exec e"]
    assert found.healthcheck is not None and found.healthcheck.test == ["NONE"]


def test_arguments(bench: EngineBench) -> None:
    text = """ARG IMG=none
ARG G=global
FROM $IMG
ARG V=def
ARG U
ARG G
ARG TARGETARCH
RUN echo "$V-$U-$G-$TARGETARCH-$http_proxy" > /f
ENV V=env
RUN echo "$V" > /g
"""
    given = {"IMG": "busybox", "U": "u", "http_proxy": "p", "X": "1"}
    found = build(bench, text, arguments=given)
    assert found.read("f") == f"def-u-global-{found.config.architecture}-p\n"
    assert found.read("g") == "env\n"
    assert "[Warning] One or more build-args [X] were not consumed" in found.text
    assert not any("http_proxy=" in step.created_by for step in found.config.history)


def test_copies(bench: EngineBench) -> None:
    files = {"a": "1", "d/b": "2", "d/e/c": "3"}
    text = "FROM busybox\nCOPY a d/b /x/\nCOPY d /y\nCOPY d/* /z/\nWORKDIR /w\nCOPY a .\nCOPY a named\n"
    text += 'COPY ["a", "/bin/"]\n'
    found = build(bench, text, files)
    names = [name for name in found.names() if found.stat(name).st_mode & 0o100000]
    assert names == ["bin/a", "w/a", "w/named", "x/a", "x/b", "y/b", "y/e/c", "z/b", "z/c"]
    assert (found.read("w/named"), found.stat("x/a").st_mtime) == ("1", 1_600_000_000)


def test_owners_and_modes_of_copies(bench: EngineBench) -> None:
    text = """FROM busybox AS one
RUN mkdir -p /s/d && echo x > /s/d/f && chown -R 5:6 /s && chmod 700 /s/d && mkdir -p /t/d && chown 9:9 /t /t/d
FROM one
COPY --chown=1000:1001 a /a
COPY --chown=nobody a /b
ADD --chown=7 a /c
COPY --chmod=741 a /n/m/
COPY --from=one /s /t
COPY --from=one --chown=7:8 /s /new/deep
"""
    found = build(bench, text, {"a": "1"})
    expected = {"a": "1000:1001 644", "c": "7:7 644", "n/m/a": "0:0 741", "n/m": "0:0 755", "t": "9:9 755"}
    expected |= {"t/d": "5:6 700", "new": "0:0 755", "new/deep": "7:8 755", "new/deep/d": "7:8 700"}
    assert {path: found.owner(path) for path in expected} == expected
    assert found.owner("b").startswith("65534:")


def test_sources_may_be_left_out(bench: EngineBench) -> None:
    files = {"d/a.o": "1", "d/b": "2", "d/e/c.o": "3", "d/e/f": "4"}
    found = build(bench, "FROM busybox\nCOPY --exclude=**/*.o --exclude=e/f d /x/\n", files)
    assert found.names() == ["x", "x/b", "x/e"]


def test_parents_may_be_kept(bench: EngineBench) -> None:
    files = {"d/a/x": "1", "d/b/x": "2", "e/f": "3"}
    found = build(bench, "FROM busybox\nCOPY --parents d/*/x e /p/\nCOPY --parents d/./a /q/\n", files)
    files_there = [name for name in found.names() if found.stat(name).st_mode & 0o100000]
    assert files_there == ["p/d/a/x", "p/d/b/x", "p/e/f", "q/a/x"]


def test_links_lead_to_places_inside_the_image(bench: EngineBench) -> None:
    text = "FROM busybox\nRUN mkdir /real && ln -s /real /link && ln -s ../../../../real /up\n"
    text += "COPY a /link/\nCOPY a /up/b\n"
    found = build(bench, text, {"a": "1"})
    assert found.names() == ["link", "real", "real/a", "real/b", "up"]


def test_links_of_the_context_stay_in_it(bench: EngineBench) -> None:
    link = tarfile.TarInfo("l")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    inner = tarfile.TarInfo("d/l")
    inner.type, inner.linkname = tarfile.SYMTYPE, "../a"
    found = build(bench, "FROM busybox\nCOPY d /d\n", {"a": "1", "d/x": "2", "d/l": inner, "l": link})
    assert found.names() == ["d", "d/l", "d/x"]
    with pytest.raises(InvalidParameter, match="file does not exist"):
        build(bench, "FROM busybox\nCOPY l /l\n", {"l": link})


def test_archives_are_unpacked_by_add_only(bench: EngineBench) -> None:
    inner = context({"t/f": "in"})
    found = build(
        bench, "FROM busybox\nADD t.tar /x/\nCOPY t.tar /y/\nADD --unpack=false t.tar /z/\n", {"t.tar": inner}
    )
    assert found.names() == ["x", "x/t", "x/t/f", "y", "y/t.tar", "z", "z/t.tar"]


def test_an_archive_does_not_leave_its_place(bench: EngineBench) -> None:
    with pytest.raises(InvalidParameter):
        build(bench, "FROM busybox\nADD t.tar /x/\n", {"t.tar": context({"../f": "in"})})


def test_here_documents(bench: EngineBench) -> None:
    text = """FROM busybox
ENV A=val
RUN <<E
echo "here $A" > /h
E
RUN cat <<E > /i && cat <<-'F' >> /i
one $A
E
	two $A
	F
RUN <<E
#!/bin/cat
shebang
E
COPY <<F <<"G" /d/
inline $A
F
$A
G
COPY <<F /named
x
F
"""
    found = build(bench, text)
    assert (found.read("h"), found.read("i")) == ("here val\n", "one val\ntwo $A\n")
    assert (found.read("d/F"), found.read("d/G"), found.read("named")) == ("inline val\n", "$A\n", "x\n")
    assert "shebang" in found.text
    assert "dev/pipes" not in found.names()


def test_mounts_of_commands(bench: EngineBench) -> None:
    text = """FROM busybox AS one
RUN echo staged > /s
FROM busybox
RUN --mount=target=/ctx cat /ctx/a > /got && ! touch /ctx/x
RUN --mount=from=one,source=/s,target=/mnt/s cat /mnt/s >> /got
RUN --mount=type=cache,target=/c echo kept >> /c/k
RUN --mount=type=cache,target=/c cat /c/k >> /got
RUN --mount=type=tmpfs,target=/t touch /t/x
"""
    found = build(bench, text, {"a": "context\n"})
    assert found.read("got") == "context\nstaged\nkept\n"
    assert found.names() == ["got", "mnt"]


def test_stages(bench: EngineBench) -> None:
    text = """FROM busybox AS one
RUN echo s1 > /o
FROM nosuchimage AS unused
RUN false
FROM one AS two
COPY --from=one /o /t
FROM busybox
COPY --from=two /t /u
COPY --from=0 /o /v
COPY --from=busybox /etc/passwd /w
"""
    found = build(bench, text)
    assert found.names() == ["u", "v", "w"]
    assert "Step 8/8 : COPY --from=busybox" in found.text
    assert build(bench, text, target="one").names() == ["o"]


def test_from_nothing(bench: EngineBench) -> None:
    found = build(bench, 'FROM scratch\nCOPY a /\nCMD ["/a"]\n', {"a": "1"})
    assert found.config.rootfs.diff_ids and found.read("a") == "1"
    assert [step.empty_layer for step in found.config.history] == [False, True]


def test_triggers(bench: EngineBench) -> None:
    build(bench, "FROM busybox\nONBUILD RUN echo t > /t\nONBUILD ENV O=1\n", tags=[parse("base:latest")])
    found = build(bench, "FROM base\n")
    assert "# Executing 2 build triggers" in found.text
    assert (found.read("t"), found.config.config.on_build) == ("t\n", [])
    assert found.config.config.env[-1] == "O=1"


def test_limits_and_names_of_commands(bench: EngineBench) -> None:
    host = HostConfig(
        network_mode="none",
        memory=128 << 20,
        ulimits=[Ulimit(name="nofile", soft=99, hard=99)],
        extra_hosts=["bhost:10.11.12.13"],
        shm_size=1 << 20,
    )
    text = "FROM busybox\nRUN ulimit -n > /n; cat /etc/hosts > /h; ls /sys/class/net > /i; df -k /dev/shm > /s\n"
    found = build(bench, text, host=host)
    assert found.read("n") == "99\n" and "10.11.12.13\tbhost" in found.read("h")
    assert (found.read("i"), " 1024 " in found.read("s")) == ("lo\n", True)


def test_labels_and_names_of_the_image(bench: EngineBench) -> None:
    found = build(bench, "FROM busybox\n", labels={"x": "$y z"}, tags=[parse("n:1"), parse("n:2")])
    assert found.config.config.labels == {"x": "$y z"}
    assert bench.images.resolve("n:1").id == bench.images.resolve("n:2").id == found.id
    assert "Successfully tagged n:2" in found.text


def test_a_quiet_build_says_the_id_only(bench: EngineBench) -> None:
    found = build(bench, "FROM busybox\nRUN echo x\n", quiet=True)
    assert found.messages == [{"stream": f"{found.id}\n"}]
    said: list[dict[str, Any]] = []
    with pytest.raises(CommandFailed):
        build(bench, "FROM busybox\nRUN echo loud; false\n", quiet=True, said=said)
    assert "loud" in str(said)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("FROM busybox\nBOGUS x\n", InvalidParameter, "dockerfile parse error on line 2: unknown instruction: BOGUS"),
        ("\n", InvalidParameter, r"the Dockerfile \(Dockerfile\) cannot be empty"),
        ("FROM busybox\nCOPY nope /x\n", InvalidParameter, "COPY failed: file not found in build context or excluded"),
        ("FROM busybox\nCOPY nope* /x\n", InvalidParameter, "COPY failed: no source files were specified"),
        ("FROM busybox\nCOPY ../x /x\n", InvalidParameter, "COPY failed: forbidden path outside the build context"),
        ("FROM busybox\nCOPY a Dockerfile /x\n", InvalidParameter, "When using COPY with more than one source file"),
        ("FROM busybox\nCOPY --chown=nobdy a /x\n", InvalidParameter, "unable to convert uid/gid chown string"),
        ("FROM busybox\nCOPY --chmod=9 a /x\n", InvalidParameter, "invalid chmod parameter: '9'"),
        ("FROM busybox\nCOPY --from=1 a /x\n", InvalidParameter, "invalid from flag value 1"),
        ("FROM busybox\nENV x=${a\n", InvalidParameter, "failed to process"),
        ("FROM busybox\nSTOPSIGNAL FOO\n", InvalidParameter, "Invalid signal: FOO"),
        ("FROM busybox\nWORKDIR /etc/passwd\n", InvalidParameter, "Cannot mkdir: /etc/passwd is not a directory"),
        ('FROM busybox\nRUN ["nosuch"]\n', KnarrError, 'exec: "nosuch": executable file not found in \\$PATH'),
        ("FROM busybox\nRUN --mount=type=secret,id=k ls\n", Unsupported, "the --mount option requires BuildKit"),
        ("FROM busybox\nRUN --security=insecure ls\n", Forbidden, "security.insecure is not allowed"),
        ("FROM busybox\nRUN --network=host ls\n", Forbidden, "network.host is not allowed"),
        ("FROM host\nRUN ls\n", InvalidParameter, "the built-in image host has no layers"),
        ("FROM $x\n", InvalidParameter, "base name .* should not be blank"),
    ],
)
def test_refuses(bench: EngineBench, text: str, kind: type[KnarrError], words: str) -> None:
    with pytest.raises(kind, match=words):
        build(bench, text, {"a": "1"})


def test_another_target_and_file(bench: EngineBench) -> None:
    with pytest.raises(InvalidParameter, match="failed to reach build target nope in Dockerfile"):
        build(bench, "FROM busybox\n", target="nope")
    with pytest.raises(NotFound, match="Cannot locate specified Dockerfile: sub/none"):
        build(bench, "FROM busybox\n", dockerfile="sub/none")
    assert build(bench, "", {"sub/Alt": "FROM busybox\nENV A=2\n"}, dockerfile="sub/Alt").config.config.env[-1] == "A=2"


def test_the_dockerfile_may_be_ignored(bench: EngineBench) -> None:
    found = build(bench, "FROM busybox\nCOPY . /c\n", {".dockerignore": "Dockerfile\n", "a": "1"})
    assert found.names() == ["c", "c/.dockerignore", "c/a"]

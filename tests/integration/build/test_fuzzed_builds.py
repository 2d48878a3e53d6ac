"""Dockerfiles of nonsense: an image, or an error with words for the user."""

from __future__ import annotations

from building import build
from engine_bench import EngineBench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knarr.errors import KnarrError

_KEYWORDS = (
    *("ENV", "ARG", "LABEL", "COPY", "ADD", "WORKDIR", "USER", "EXPOSE", "VOLUME", "CMD", "ENTRYPOINT", "SHELL"),
    *("HEALTHCHECK", "ONBUILD", "STOPSIGNAL", "MAINTAINER", "FROM busybox AS", "COPY --from=0", "COPY --chown=1:x"),
    *("COPY --parents", "COPY --exclude=*", "ADD --checksum=x", "FROM --platform=x/y"),
)
_WORDS = st.sampled_from(
    (
        *(
            "a",
            "d",
            "d/e",
            "*",
            "[",
            "..",
            "/",
            ".",
            "./",
            "//x",
            "/etc/passwd",
            "/etc/passwd/x",
            "/proc/self",
            "\\",
            "'",
        ),
        *(
            "$A",
            "${A:-b}",
            "${A#*}",
            "${A",
            "A=1",
            "=",
            '["a", "b"]',
            "[1]",
            "<<E\nx\nE\n",
            "CMD x",
            "NONE",
            "80",
            "0-9",
        ),
        *("-1", "99999999", "root", ":", "\x00", "\udc80", "é", "x" * 300, "link", "fifo", "y/" * 2000),
    )
)
_LINES = st.tuples(st.sampled_from(_KEYWORDS), st.lists(_WORDS, max_size=4))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(_LINES, min_size=1, max_size=5))
def test_any_dockerfile_gives_an_image_or_an_error(bench: EngineBench, lines: list[tuple[str, list[str]]]) -> None:
    text = "FROM busybox\n" + "".join(f"{keyword} {' '.join(words)}\n" for keyword, words in lines)
    data = text.encode("utf-8", "surrogateescape")
    try:
        build(bench, data, {"a": "1", "d/e": "2", "d/f": "3"})
    except KnarrError:
        pass
    assert bench.layers.roots() == []
    assert not list((bench.settings.data_root / "build" / "contexts").iterdir())

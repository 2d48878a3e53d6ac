"""Whole Dockerfiles: typed instructions, stages, what needs what, and dockerd's words for what is wrong."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.dockerfile import document, instructions
from knarr.dockerfile.instructions import Command
from knarr.dockerfile.run_mounts import RunMount
from knarr.errors import InvalidParameter

ONE_ARGUMENT = "COPY requires at least two arguments, but only one was provided. Destination could not be determined"


def one(text: str) -> instructions.Instruction:
    """The instruction that stands in a stage."""
    return document.parse(f"FROM x\n{text}").stages[0].instructions[0]


def test_a_copy_with_everything() -> None:
    found = one("COPY --from=a --chown=1:2 --chmod=755 --link --parents --exclude=*.o --exclude=b  x y /z/")
    assert isinstance(found, instructions.Copy)
    assert (found.sources, found.destination, found.excludes) == (["x", "y"], "/z/", ["*.o", "b"])
    assert (found.from_stage, found.chown, found.chmod, found.link, found.parents) == ("a", "1:2", "755", True, True)


def test_an_add_with_everything() -> None:
    found = one('ADD --checksum=sha256:ab --keep-git-dir=true --unpack=false ["a b", "c"]')
    assert isinstance(found, instructions.Add)
    assert (found.sources, found.destination) == (["a b"], "c")
    assert (found.checksum, found.keep_git_dir, found.unpack) == ("sha256:ab", True, False)


def test_copied_documents_are_no_sources() -> None:
    found = one("COPY <<E a /x/\ntext\nE")
    assert isinstance(found, instructions.Copy)
    assert (found.sources, [heredoc.content for heredoc in found.documents]) == (["a"], ["text\n"])


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('RUN ["a", "b c"]', Command(["a", "b c"], shell=False)),
        ("RUN a  'b", Command(["a  'b"], shell=True)),
        ('RUN [ "a" ] && b', Command(['[ "a" ] && b'], shell=True)),
    ],
)
def test_both_forms_of_run(text: str, command: Command) -> None:
    found = one(text)
    assert isinstance(found, instructions.Run)
    assert found.command == command


@pytest.mark.parametrize(
    ("options", "mount"),
    [
        ("target=/a", RunMount(target="/a", readonly=True)),
        ("type=bind,dst=/a,src=b,from=c,rw", RunMount(target="/a", source="b", from_stage="c")),
        (
            "type=cache,target=/a,id=i,sharing=locked,mode=0750,uid=1,gid=2",
            RunMount(kind="cache", target="/a", id="i", sharing="locked", mode=0o750, uid=1, gid=2),
        ),
        ("type=tmpfs,target=/a,size=1.5m", RunMount(kind="tmpfs", target="/a", size=3 << 19)),
        ("type=secret,id=s,required,env=E", RunMount(kind="secret", id="s", required=True, env="E")),
        ("type=ssh", RunMount(kind="ssh")),
    ],
)
def test_mounts_of_run(options: str, mount: RunMount) -> None:
    found = one(f"RUN --mount={options} --network=none ls")
    assert isinstance(found, instructions.Run)
    assert (found.mounts, found.network, found.flags) == ([mount], "none", ("mount", "network"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("BOGUS x", "unknown instruction: BOGUS"),
        ("RUm x", "unknown instruction: RUm (did you mean RUN?)"),
        ("COPY a", ONE_ARGUMENT),
        ("COPY --foo=a a b", "unknown flag: --foo"),
        ("COPY --from a b", "missing a value on flag: --from"),
        ("COPY --link=x a b", "expecting boolean value for flag link, not: x"),
        ("COPY --chown=a --chown=b a b", "duplicate flag specified: --chown"),
        ("COPY a <<E\nE", "COPY cannot accept a heredoc as a destination"),
        ("SHELL sh", "SHELL requires the arguments to be in JSON form"),
        ('CMD ["a", 1]', "when using JSON array syntax, arrays must be comprised of strings only"),
        ("LABEL", "LABEL requires at least one argument"),
        ("RUN", "RUN requires at least one argument"),
        ("RUN --mount=type=cache ls", 'invalid mount: target must be set for type "cache"'),
        ("RUN --mount=type=x,target=/a ls", 'unsupported mount type "x"'),
        ("RUN --mount=type=tmpfs,from=/a ls", "unexpected key 'from' for mount type 'tmpfs'"),
        ("RUN --network=x ls", 'invalid network mode "x"'),
        ("RUN --security=x ls", 'security "x" is not valid'),
        ("ARG =x", "ARG names can not be blank"),
        ("EXPOSE abc", "Invalid containerPort: abc"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("ONBUILD COPY a", ONE_ARGUMENT),
        ("FROM a b", "FROM requires either one or three arguments"),
        ("FROM a AS 1x", 'invalid name for build stage: "1x", name can\'t start with a number or contain symbols'),
    ],
)  # fmt: skip
def test_refuses_in_dockerds_words(text: str, words: str) -> None:
    with pytest.raises(InvalidParameter, match=f"^dockerfile parse error on line 3: {re.escape(words)}$"):
        document.parse(f"FROM x AS one\n\n{text}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "file with no instructions"),
        ("# c\n", "file with no instructions"),
        ("RUN x", "dockerfile parse error on line 1: no build stage in current context"),
        ("ARG a=1\n", "dockerfile parse error on line 1: no build stage in current context"),
        ("FROM a AS x\nFROM b AS X", 'dockerfile parse error on line 2: duplicate name "x", stage name already used'),
    ],
)
def test_refuses_as_a_whole(text: str, words: str) -> None:
    with pytest.raises(InvalidParameter, match=f"^{re.escape(words)}$"):
        document.parse(text)


STAGES = """ARG base=b
FROM a AS one
FROM two AS b
FROM $base
COPY --from=one x y
FROM c AS unused
FROM scratch AS last
COPY --from=2 x y
RUN --mount=from=image,target=/m ls
"""


def test_only_the_stages_that_are_needed_are_wanted() -> None:
    found = document.parse(STAGES).with_bases(lambda text: text.replace("$base", "b"))
    assert [stage.index for stage in found.wanted(found.target(""))] == [0, 1, 2, 4]
    assert [stage.index for stage in found.wanted(found.target("unused"))] == [3]
    assert [stage.index for stage in found.wanted(found.target("B"))] == [1]
    with pytest.raises(InvalidParameter, match="failed to reach build target nope in Dockerfile"):
        found.target("nope")


def test_a_base_must_have_a_name() -> None:
    with pytest.raises(InvalidParameter, match=re.escape("base name ($x) should not be blank")):
        document.parse("FROM $x").with_bases(lambda text: text.replace("$x", ""))


_KEYWORDS = [
    "FROM",
    "RUN",
    "COPY",
    "ADD",
    "ENV",
    "ARG",
    "LABEL",
    "EXPOSE",
    "USER",
    "WORKDIR",
    "VOLUME",
    "CMD",
    "SHELL",
    "HEALTHCHECK",
    "ONBUILD",
    "STOPSIGNAL",
]
_PIECES = st.sampled_from([
    "--from=a", "--mount=type=", "--mount=target=/x,", "--interval=", "--retries=", "<<E", "<<-'E'", "\nE\n",
    "\\\n", "[\"", "\"]", "a=b", "=", "$", "${a", "}", "'", '"', "\\", "#", "as", "CMD", "NONE", "scratch", "\n", "\t",
    "\ud800", "\\ud800", "80/tcp", "99999999999999999999", "9e9", "-1", ",",
])  # fmt: skip
_LINES = st.tuples(st.sampled_from(_KEYWORDS), st.lists(_PIECES | st.text(max_size=4), max_size=6))


@given(st.lists(_LINES, max_size=6))
def test_any_text_is_read_or_refused(lines: list[tuple[str, list[str]]]) -> None:
    text = "FROM x\n" + "\n".join(f"{keyword} {' '.join(pieces)}" for keyword, pieces in lines)
    try:
        found = document.parse(text)
    except InvalidParameter:
        return
    assert found.wanted(found.target(""))[-1] is found.stages[-1]


@given(st.text(max_size=60))
def test_any_nonsense_is_read_or_refused(text: str) -> None:
    try:
        document.parse(text)
    except InvalidParameter:
        pass

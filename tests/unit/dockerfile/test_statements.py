"""From text to statements: continuations, comments, directives, flags, here-documents."""

from __future__ import annotations

import pytest

from knarr.dockerfile import statements
from knarr.dockerfile.locations import DockerfileError, Location


def rests(text: str) -> list[str]:
    return [f"{found.keyword} {found.rest}" for found in statements.read(text)[1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\n\n# c\n  # d\nrun  b  \n", ["from a", "run b"]),
        ("RUN a \\\n  b\\\nc\n", ["run a   bc"]),
        ("RUN a \\\n# comment\n\n  && b\n", ["run a   && b"]),
        ("RUN a \\  \t\n b", ["run a  b"]),
        ("RUN a \\", ["run a"]),
        ("RUN a \\\\\nRUN b", ["run a \\\\", "run b"]),
        ("\ufeffFROM a\r\nRUN b \\\r\n c\r\n", ["from a", "run b  c"]),
        ("# escape=`\nRUN a `\n b\\\nRUN c", ["run a  b\\", "run c"]),
        ("# Escape = ` \nRUN a`\nb", ["run ab"]),
        ("# something\n# escape=`\nRUN a \\\n b", ["run a  b"]),
        ("RUN", ["run "]),
    ],
)
def test_lines_become_statements(text: str, expected: list[str]) -> None:
    assert rests(text) == expected


def test_a_statement_knows_its_lines() -> None:
    _, found = statements.read("\nFROM a\nRUN b \\\n  c\nCOPY <<E /x\n1\n2\nE\nRUN d")
    assert [statement.location for statement in found] == [
        Location(2, 2),
        Location(3, 4),
        Location(5, 8),
        Location(9, 9),
    ]
    assert found[1].original == "RUN b   c"


def test_flags_are_taken_off() -> None:
    found = statements.read('COPY --from=a --chown="x y" --link a --b c')[1][0]
    assert (found.flags, found.rest) == (["--from=a", "--chown=x y", "--link"], "a --b c")


def test_directives() -> None:
    found, _ = statements.read("# syntax=docker/dockerfile:1\n# check=skip=all\nFROM x")
    assert (found.syntax, found.check, found.escape) == ("docker/dockerfile:1", "skip=all", "\\")


@pytest.mark.parametrize(
    ("text", "content", "expand"),
    [
        ("RUN <<E\na\n b\nE", "a\n b\n", True),
        ("RUN <<'E'\n$a\nE", "$a\n", False),
        ('RUN <<"E F"\nx\nE F', "x\n", False),
        ("RUN <<-E\n\ta\n\t\tb\n\tE", "a\nb\n", True),
        ("RUN cat <<E > /x\n# kept \\\nE", "# kept \\\n", True),
        ("ONBUILD RUN <<E\na\nE", "a\n", True),
    ],
)
def test_here_documents(text: str, content: str, expand: bool) -> None:
    found = statements.read(text)[1]
    assert len(found) == 1
    assert [(heredoc.text, heredoc.expand) for heredoc in found[0].heredocs] == [(content, expand)]


def test_several_here_documents_follow_each_other() -> None:
    found = statements.read("COPY <<A <<B /x/\n1\nA\n2\nB\nRUN y")[1]
    assert [(heredoc.name, heredoc.content) for heredoc in found[0].heredocs] == [("A", "1\n"), ("B", "2\n")]
    assert found[1].rest == "y"


@pytest.mark.parametrize("text", ['RUN ["sh", "<<E"]', "ENV a=<<E", "RUN a <<<E", "RUN $((1<<2 ))"])
def test_what_is_no_here_document(text: str) -> None:
    assert statements.read(text)[1][0].heredocs == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM x\nRUN <<E\na\n", "on line 2: unterminated heredoc"),
        ("# escape=x\nFROM a", r"on line 1: invalid escape token 'x' does not match ` or \\"),
        ("# escape=`\n# escape=`\n", "on line 2: only one escape parser directive can be used"),
    ],
)
def test_refuses(text: str, words: str) -> None:
    with pytest.raises(DockerfileError, match=f"^dockerfile parse error {words}$"):
        statements.read(text)

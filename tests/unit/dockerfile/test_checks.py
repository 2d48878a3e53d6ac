"""Rules for Dockerfiles: each with what breaks it and what does not."""

from __future__ import annotations

import pytest

from knarr.dockerfile import checks, document
from knarr.dockerfile.checks import BaseSettings, Surroundings
from knarr.dockerfile.rules import Finding, Settings
from knarr.errors import InvalidParameter

PREDEFINED = {"TARGETPLATFORM": "linux/amd64", "BUILDPLATFORM": "linux/amd64"}


def findings(text: str, settings: str = "", **given: str) -> list[Finding]:
    dockerfile = document.parse(text, unique_names=False)
    surroundings = Surroundings(
        given=given,
        predefined=PREDEFINED,
        valid=lambda name: bool(name) and not name.endswith(":"),
        base=lambda stage: BaseSettings({"PATH": "/bin"}, has_shell=stage.base.image == "with-shell"),
        ignored=lambda path: path == "secret",
    )
    return checks.check(dockerfile, dockerfile.stages, Settings.read(settings), surroundings)


BROKEN = [
    ("FROM a AS Big\n", "StageNameCasing", "Stage name 'Big' should be lowercase", 1),
    ("FROM a as b\n", "FromAsCasing", "'as' and 'FROM' keywords' casing do not match", 1),
    ("FROM a\nCOPY x \\\n\n  y\n", "NoEmptyContinuation", "Empty continuation line", 4),
    (
        "FROM a\ncopy x y\n",
        "ConsistentInstructionCasing",
        "Command 'copy' should match the case of the command majority (uppercase)",
        2,
    ),
    (
        "from a\ncopy x y\nCOPY x y\n",
        "ConsistentInstructionCasing",
        "Command 'COPY' should match the case of the command majority (lowercase)",
        3,
    ),
    (
        "FROM a AS x\nFROM b AS x\n",
        "DuplicateStageName",
        'Duplicate stage name "x", stage names should be unique',
        2,
    ),
    (
        "FROM a AS context\n",
        "ReservedStageName",
        'Stage name should not use the same name as reserved stage "context"',
        1,
    ),
    (
        "FROM a\nENTRYPOINT go\n",
        "JSONArgsRecommended",
        "JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals",
        2,
    ),
    (
        "FROM a\nMAINTAINER me\n",
        "MaintainerDeprecated",
        "Maintainer instruction is deprecated in favor of using label",
        2,
    ),
    (
        "ARG MY_ARCH=x\nFROM a:${MYARCH}1\n",
        "UndefinedArgInFrom",
        "FROM argument 'MYARCH' is not declared (did you mean MY_ARCH?)",
        2,
    ),
    (
        "FROM a\nWORKDIR app/\n",
        "WorkdirRelativePath",
        'Relative workdir "app/" can have unexpected results if the base image changes',
        2,
    ),
    (
        "FROM a\nENV X=$PAHT:/b\n",
        "UndefinedVar",
        "Usage of undefined variable '$PAHT' (did you mean $PATH?)",
        2,
    ),
    (
        'FROM a\nCMD ["x"]\nRUN x\nCMD ["y"]\n',
        "MultipleInstructionsDisallowed",
        "Multiple CMD instructions should not be used in the same stage because only the last one will be used",
        2,
    ),
    (
        "FROM a\nLABEL k v\n",
        "LegacyKeyValueFormat",
        '"LABEL key=value" should be used instead of legacy "LABEL key value" format',
        2,
    ),
    (
        "FROM --platform=${TARGETPLATFORM} a\n",
        "RedundantTargetPlatform",
        "Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the default behavior",
        1,
    ),
    (
        "FROM a\nENV GITHUB_TOKEN=x\n",
        "SecretsUsedInArgOrEnv",
        'Do not use ARG or ENV instructions for sensitive data (ENV "GITHUB_TOKEN")',
        2,
    ),
    (
        "ARG TAG\nFROM a:$TAG\n",
        "InvalidDefaultArgInFrom",
        "Default value for ARG a:$TAG results in empty or invalid base image name",
        2,
    ),
    (
        "FROM --platform=linux/arm64 a AS x\n",
        "FromPlatformFlagConstDisallowed",
        'FROM --platform flag should not use constant value "linux/arm64"',
        1,
    ),
    (
        "FROM a\nEXPOSE 80/TcP\n",
        "ExposeProtoCasing",
        "Defined protocol '80/TcP' in EXPOSE instruction should be lowercase",
        2,
    ),
    (
        "FROM a\nEXPOSE 1.2.3.4:80:80\n",
        "ExposeInvalidFormat",
        "EXPOSE instruction should not define an IP address or host-port mapping, found '1.2.3.4:80:80'",
        2,
    ),
]


@pytest.mark.parametrize(("text", "rule", "detail", "line"), BROKEN)
def test_what_breaks_a_rule(text: str, rule: str, detail: str, line: int) -> None:
    (found,) = findings(text)
    assert (found.rule.name, found.detail, found.location.first) == (rule, detail, line)


@pytest.mark.parametrize("rule", sorted({rule for _, rule, _, _ in BROKEN}))
def test_skipped_rules(rule: str) -> None:
    text = next(text for text, name, _, _ in BROKEN if name == rule)
    assert findings(text, f"skip={rule},Other") == findings(text, "skip=all;error=true") == []


@pytest.mark.parametrize(
    "text",
    [
        "FROM a AS b\nWORKDIR /x\nFROM b\nWORKDIR y\n",
        "FROM a AS b\nARG X\nFROM b\nCOPY f$X .\n",
        "FROM with-shell\nCMD go\n",
        "FROM a\nCOPY ${X:-y} $PATH .\nENV https_proxy=$http_proxy\n",
        'FROM a AS b\nSHELL ["x"]\nFROM b\nCMD go\n',
        "FROM a\nARG PUBLIC_KEY\nARG TOKEN_FILE\n",
        "FROM --platform=linux/arm64 a AS for-arm64\n",
        "FROM --platform=$BUILDPLATFORM a\n",
        "ARG D\nFROM a$D\n",
        'ARG T="1"\nFROM a:$T\n',
        "FROM a\nRUN <<E\nlower\nE\n",
        "FROM a\nCOPY secret /\n",
    ],
)
def test_what_breaks_none(text: str) -> None:
    assert findings(text) == []


def test_experimental_rules() -> None:
    text = "# odd comment\nFROM a AS b\n# X is told of\nARG X\nCOPY secret .\nCOPY --from=c secret .\n"
    found = findings(text, "skip=all;experimental=all")
    assert [(each.rule.name, each.location.first) for each in found] == [
        ("InvalidDefinitionDescription", 2),
        ("CopyIgnoredFile", 5),
    ]


@pytest.mark.parametrize("text", ["skip", "error=perhaps", "only=X"])
def test_bad_settings(text: str) -> None:
    with pytest.raises(InvalidParameter):
        Settings.read(text)

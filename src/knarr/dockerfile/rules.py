"""The rules that a Dockerfile is checked against, by the names that `# check=skip=…` calls them.

Names, words and addresses are those of BuildKit (docs.docker.com/reference/build-checks): people filter by them.
"""

from __future__ import annotations

import re

from msgspec import Struct

from knarr.dockerfile.locations import Location
from knarr.dockerfile.values import boolean
from knarr.errors import InvalidParameter

_DOCS = "https://docs.docker.com/go/dockerfile/rule/"


class Rule(Struct, frozen=True):
    """`experimental` ones are applied only if asked for."""

    name: str
    description: str
    experimental: bool = False

    @property
    def url(self) -> str:
        """Where it is explained."""
        return f"{_DOCS}{re.sub(r'(?<=[a-z])(?=[A-Z])', '-', self.name.replace('JSON', 'Json')).lower()}/"


class Finding(Struct, frozen=True):
    """A rule that some lines do not keep, and how."""

    rule: Rule
    detail: str
    location: Location


STAGE_NAME_CASING = Rule("StageNameCasing", "Stage names should be lowercase")
FROM_AS_CASING = Rule("FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword")
NO_EMPTY_CONTINUATION = Rule("NoEmptyContinuation", "Empty continuation lines will become errors in a future release")
CONSISTENT_INSTRUCTION_CASING = Rule(
    "ConsistentInstructionCasing",
    "All commands within the Dockerfile should use the same casing (either upper or lower)",
)
DUPLICATE_STAGE_NAME = Rule("DuplicateStageName", "Stage names should be unique")
RESERVED_STAGE_NAME = Rule("ReservedStageName", "Reserved words should not be used as stage names")
JSON_ARGS_RECOMMENDED = Rule(
    "JSONArgsRecommended",
    "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
)
MAINTAINER_DEPRECATED = Rule(
    "MaintainerDeprecated",
    "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
)
UNDEFINED_ARG_IN_FROM = Rule("UndefinedArgInFrom", "FROM command must use declared ARGs")
WORKDIR_RELATIVE_PATH = Rule(
    "WorkdirRelativePath",
    "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base"
    " image changes",
)
UNDEFINED_VAR = Rule("UndefinedVar", "Variables should be defined before their use")
MULTIPLE_INSTRUCTIONS_DISALLOWED = Rule(
    "MultipleInstructionsDisallowed",
    "Multiple instructions of the same type should not be used in the same stage",
)
LEGACY_KEY_VALUE_FORMAT = Rule(
    "LegacyKeyValueFormat", "Legacy key/value format with whitespace separator should not be used"
)
INVALID_BASE_IMAGE_PLATFORM = Rule(
    "InvalidBaseImagePlatform", "Base image platform does not match expected target platform"
)
REDUNDANT_TARGET_PLATFORM = Rule(
    "RedundantTargetPlatform",
    "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
)
SECRETS_USED_IN_ARG_OR_ENV = Rule(
    "SecretsUsedInArgOrEnv", "Sensitive data should not be used in the ARG or ENV commands"
)
INVALID_DEFAULT_ARG_IN_FROM = Rule(
    "InvalidDefaultArgInFrom", "Default value for global ARG results in an empty or invalid base image name"
)
FROM_PLATFORM_FLAG_CONST_DISALLOWED = Rule(
    "FromPlatformFlagConstDisallowed", "FROM --platform flag should not use a constant value"
)
COPY_IGNORED_FILE = Rule("CopyIgnoredFile", "Attempting to Copy file that is excluded by .dockerignore", True)
INVALID_DEFINITION_DESCRIPTION = Rule(
    "InvalidDefinitionDescription",
    "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not"
    " intended to be a description comment, add an empty line or comment between the instruction and the comment.",
    True,
)
EXPOSE_PROTO_CASING = Rule("ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase")
EXPOSE_INVALID_FORMAT = Rule(
    "ExposeInvalidFormat",
    "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future"
    " release",
)


class Settings(Struct, frozen=True):
    """Which rules count. `fail`: a build whose Dockerfile does not keep them is none."""

    skipped: frozenset[str] = frozenset()
    skip_all: bool = False
    experimental: frozenset[str] = frozenset()
    all_experimental: bool = False
    fail: bool = False

    @classmethod
    def read(cls, text: str) -> Settings:
        """From `skip=…;error=…;experimental=…`. Raises InvalidParameter."""
        found: dict[str, str] = {}
        for part in filter(None, (part.strip() for part in text.split(";"))):
            name, equals, value = part.partition("=")
            if not equals or name.strip() not in ("skip", "error", "experimental"):
                raise InvalidParameter(f'invalid check option "{name.strip()}"')
            found[name.strip()] = value.strip()
        skipped, tried = (_names(found.get(name, "")) for name in ("skip", "experimental"))
        return cls(
            skipped=skipped - {"all"},
            skip_all="all" in skipped,
            experimental=tried - {"all"},
            all_experimental="all" in tried,
            fail=boolean(found.get("error", "false")),
        )

    def applies(self, rule: Rule) -> bool:
        """Whether a rule counts."""
        if rule.experimental:
            return self.all_experimental or rule.name in self.experimental
        return not self.skip_all and rule.name not in self.skipped


def _names(text: str) -> frozenset[str]:
    return frozenset(filter(None, (name.strip() for name in text.split(","))))

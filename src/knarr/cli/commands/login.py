"""knarr login"""

from __future__ import annotations

import sys

from knarr.cli import credentials
from knarr.cli.command import Command, Invocation
from knarr.cli.credentials import Entry
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch, text
from knarr.client import system
from knarr.client.errors import Unauthorized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from knarr.cli.flags import Options

_FLAGS = (
    text("p password", "Password or personal access token"),
    switch("password-stdin", "Take the password from standard input"),
    text("u username", "Username"),
)


def _run(invocation: Invocation) -> int:
    options, session = invocation.options, invocation.session
    _check(options)
    registry = credentials.server_key(invocation.arguments[0] if invocation.arguments else "")
    entry = _given(options)
    if entry is None:
        kept = credentials.find(session.settings, registry)
        if kept is not None:
            print(f"Authenticating with existing credentials... [Username: {kept.user or '<token>'}]")
            try:
                return _log_in(invocation, registry, kept)
            except Unauthorized:
                print("Login did not succeed, error: the registry does not accept them any more", file=sys.stderr)
        entry = _ask(options.text("username"))
    return _log_in(invocation, registry, entry)


def _check(options: Options) -> None:
    if options.given("password"):
        print("WARNING! Using --password via the CLI is insecure. Use --password-stdin.", file=sys.stderr)
        if options.on("password-stdin"):
            raise CommandError("--password and --password-stdin are mutually exclusive")
    if options.on("password-stdin") and not options.text("username"):
        raise CommandError("Must provide --username with --password-stdin")


def _given(options: Options) -> Entry | None:
    """What the flags say; None if they do not say all."""
    password = options.text("password")
    if options.on("password-stdin"):
        password = sys.stdin.read().rstrip("\r\n")
        if not password:
            raise CommandError("Error: Password Required")
    return Entry(options.text("username"), password) if options.text("username") and password else None


def _ask(user: str) -> Entry:
    if not sys.stdin.isatty():
        raise CommandError("Error: Cannot perform an interactive login from a non TTY device")
    import getpass

    user = user or input("Username: ").strip()
    if not user:
        raise CommandError("Error: Non-null Username Required")
    password = getpass.getpass("Password: ")
    if not password:
        raise CommandError("Error: Password Required")
    return Entry(user, password)


def _log_in(invocation: Invocation, registry: str, entry: Entry) -> int:
    session = invocation.session
    answer = session.engine.call(system.log_in(entry.body(registry)))
    if answer.get("IdentityToken"):
        entry = Entry(entry.user, identity_token=answer["IdentityToken"])
    if not credentials.keep(session, registry, entry):
        path = f"{session.config_directory}/config.json"
        print(f"\nWARNING! Your credentials are stored unencrypted in '{path}'.", file=sys.stderr)
        print("Name a credential helper in it (credsStore) to have them kept elsewhere.\n", file=sys.stderr)
    print(answer["Status"])
    return 0


COMMAND = Command(
    "[OPTIONS] [SERVER]",
    _run,
    flags=_FLAGS,
    arguments=(0, 1),
    examples=[("With the password in a file", "login -u joe --password-stdin registry.example < password")],
)

"""What all commands share: which engine is spoken to, and the connection to it."""

from __future__ import annotations

import os

from knarr.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from knarr.cli.contexts import Store
    from knarr.client.address import TLS, Address
    from knarr.client.synchronous import Client

_DEFAULT_CONTEXT = "default"


class Session:
    """The engine that the global flags, the environment or the context name; connected to when it is first needed.

    Where none names one, it is the engine at the default socket, and it is started if none answers there.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        host: str = "",
        context: str = "",
        tls: TLS | None = None,
        config_directory: str = "",
    ) -> None:
        self.environ = environ
        self.config_directory = config_directory or environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
        self._host = host
        self._context = context
        self._tls = tls
        self._client: Client | None = None
        self._settings: dict[str, Any] | None = None

    @property
    def engine(self) -> Client:
        if self._client is None:
            self._client = self.new_client()
        return self._client

    def new_client(self) -> Client:
        """A client of its own: for a second call while the first one's connection is busy."""
        from knarr.client.synchronous import Client

        known = self._client.version if self._client is not None else None
        client = Client(self.address(), version=known or self.environ.get("DOCKER_API_VERSION") or None)
        if self._is_default and self._client is None:
            from knarr.cli import autostart

            autostart.ensure_running(client.address.path)
        return client

    def address(self) -> Address:
        """Raises InvalidParameter, CommandError for a context that is not there."""
        from knarr.client import address

        if self._host:
            return address.parse(self._host, self._tls or address.tls_from_environment(self.environ))
        if self.context != _DEFAULT_CONTEXT:
            try:
                return self.contexts.address(self.context)
            except CommandError as error:
                raise CommandError(f"Failed to initialize: unable to resolve docker endpoint: {error}") from None
        return address.from_environment(self.environ)

    @property
    def context(self) -> str:
        """The name of the context in use; "default" when flags or environment name an engine, or nothing does."""
        if self._context:
            return self._context
        if self._host or self._host_in_environment:
            return _DEFAULT_CONTEXT
        named = self.environ.get("DOCKER_CONTEXT") or self.settings.get("currentContext")
        return named if isinstance(named, str) and named else _DEFAULT_CONTEXT

    @property
    def contexts(self) -> Store:
        from knarr.cli.contexts import Store

        return Store(self.config_directory)

    @property
    def settings(self) -> dict[str, Any]:
        """The client's configuration file, read when it is first needed."""
        if self._settings is None:
            from knarr.cli import config

            self._settings = config.load(self.config_directory)
        return self._settings

    def change_settings(self, **changes: object) -> None:
        """Set members of the configuration file; None takes one away."""
        from knarr.cli import config

        settings = {**self.settings, **changes}
        self._settings = {name: value for name, value in settings.items() if value is not None}
        config.save(self.config_directory, self._settings)

    def credentials(self, repository: str) -> str | None:
        """What to show to a repository's registry, if there is anything. Raises CommandError (a helper)."""
        from knarr.cli import credentials

        registry = credentials.registry_of(repository)
        return credentials.header(credentials.find(self.settings, registry), registry)

    def all_credentials(self) -> str | None:
        """What to show to any registry that a build may need, if there is anything."""
        from knarr.cli import credentials

        return credentials.header_for_all(self.settings)

    def host_for_plugins(self) -> str:
        """What a program has to find in DOCKER_HOST to speak to this engine, which is started if need be; "" where
        the command line or a context says it already.
        """
        if self._host or self.context != _DEFAULT_CONTEXT:
            return ""
        if self._is_default:
            self.engine  # noqa: B018 - to be there for the other program
        return self.address().text

    @property
    def _is_default(self) -> bool:
        return not (self._host or self._host_in_environment or self.context != _DEFAULT_CONTEXT)

    @property
    def _host_in_environment(self) -> bool:
        return bool(self.environ.get("KNARR_HOST") or self.environ.get("DOCKER_HOST"))

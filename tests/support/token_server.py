"""A token server for docker-registry: signs what it gives out, as the registry's documentation of tokens has it."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import registries
from registries import Proxy

USER, PASSWORD, REFRESH_TOKEN = "ann", "t0ken", "refresh-ann"


class TokenServer:
    """Answers /token on the registry's own proxy. Anybody may pull from `open/…`, ann may do everything."""

    def __init__(self, directory: Path) -> None:
        self.certificate, self._key = registries.certificate(directory, "issuer")
        self.asked: list[dict[str, list[str]]] = []
        self.dated = 0.0  # seconds that are added to the times in tokens: negative ones give expired tokens

    def settings(self, realm: str) -> dict[str, Any]:
        """The registry's `auth` section."""
        return {
            "token": {
                "realm": realm,
                "service": "tests",
                "issuer": "tests",
                "rootcertbundle": str(self.certificate),
            }
        }

    def serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """One request."""
        asked = parse_qs(body.decode() if handler.command == "POST" else urlsplit(handler.path).query)
        self.asked.append({**asked, "authorization": [handler.headers.get("Authorization", "")]})
        user = self._user(handler, asked)
        if user is None:
            registries.answer(handler, 401, json.dumps({"details": "incorrect username or password"}).encode())
            return
        given = {"token": self._token(user, [one for text in asked.get("scope", []) for one in text.split()])}
        if "offline_token" in asked:
            given["refresh_token"] = REFRESH_TOKEN
        registries.answer(handler, 200, json.dumps(given).encode(), {"Content-Type": "application/json"})

    def _user(self, handler: BaseHTTPRequestHandler, asked: dict[str, list[str]]) -> str | None:
        if handler.command == "POST":
            return USER if asked.get("refresh_token") == [REFRESH_TOKEN] else None
        given = handler.headers.get("Authorization", "")
        if not given:
            return ""
        wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return USER if given == f"Basic {wanted}" else None

    def _token(self, user: str, scopes: list[str]) -> str:
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = actions.split(",") if user else ["pull"] if name.startswith("open/") else []
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time() + self.dated)
        claims = {
            "iss": "tests",
            "sub": user,
            "aud": "tests",
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "jti": str(now),
            "access": access,
        }
        pem = self.certificate.read_text().strip().splitlines()
        header = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(pem[1:-1])]}
        signed = b".".join(_encode(json.dumps(part).encode()) for part in (header, claims))
        command = ["openssl", "dgst", "-sha256", "-sign", str(self._key)]
        signature = subprocess.run(command, input=signed, check=True, capture_output=True).stdout
        return (signed + b"." + _encode(signature)).decode()


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@contextmanager
def running(directory: Path) -> Iterator[tuple[Proxy, TokenServer]]:
    """A registry that wants tokens, and the server that gives them."""
    directory.mkdir(exist_ok=True)
    server = TokenServer(directory)
    proxy = Proxy("")
    proxy.routes["/token"] = server.serve
    registry = registries.Registry(directory, server.settings(f"http://{proxy.name}/token"))
    proxy.registry_socket = registry.socket
    try:
        yield proxy, server
    finally:
        proxy.close()
        registry.close()

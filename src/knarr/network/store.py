"""Networks and endpoints in the state database."""

from __future__ import annotations

import msgspec

from knarr.database import Database
from knarr.network.model import Endpoint, NetworkInfo

_SCHEMA = """
CREATE TABLE IF NOT EXISTS network_networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS network_endpoints (endpoint_id TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
"""
_encode = msgspec.json.encode
_networks = msgspec.json.Decoder(NetworkInfo)
_endpoints = msgspec.json.Decoder(Endpoint)


class NetworkStore:
    """One row a network, one row an endpoint; each call is durable when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.add_schema(_SCHEMA)

    def networks(self) -> list[NetworkInfo]:
        """All networks, oldest first."""
        rows = self._database.query("SELECT data FROM network_networks ORDER BY rowid")
        return [_networks.decode(row[0]) for row in rows if isinstance(row[0], bytes)]

    def put_network(self, network: NetworkInfo) -> None:
        """Add a network, or replace what is known of it."""
        self._database.execute(
            "INSERT INTO network_networks VALUES (?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET name = excluded.name, data = excluded.data",
            (network.id, network.name, _encode(network)),
        )

    def remove_network(self, network: NetworkInfo) -> None:
        """Forget a network; an unknown one is fine."""
        self._database.execute("DELETE FROM network_networks WHERE id = ?", (network.id,))

    def endpoints(self) -> list[Endpoint]:
        """All endpoints, in no order."""
        rows = self._database.query("SELECT data FROM network_endpoints")
        return [_endpoints.decode(row[0]) for row in rows if isinstance(row[0], bytes)]

    def put_endpoint(self, endpoint: Endpoint) -> None:
        """Add an endpoint, or replace what is known of it."""
        self._database.execute(
            "INSERT OR REPLACE INTO network_endpoints VALUES (?, ?)", (endpoint.endpoint_id, _encode(endpoint))
        )

    def remove_endpoint(self, endpoint: Endpoint) -> None:
        """Forget an endpoint; an unknown one is fine."""
        self._database.execute("DELETE FROM network_endpoints WHERE endpoint_id = ?", (endpoint.endpoint_id,))

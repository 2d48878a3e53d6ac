"""Notices what others do to networks while knarrd runs: rules flushed, firewalls that came up, interfaces deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

from knarr.kernel.link_events import LinkDeletions
from knarr.kernel.rule_events import RuleEvents, can_tell_own_changes

_FIREWALLS = {"filter", "firewalld"}
"""Tables in which `foreign` has exceptions."""


class Watch:
    """Belongs to the event loop in which it was made, in whose network namespace it looks."""

    def __init__(
        self, table: str, on_rules: Callable[[bool], None], on_links: Callable[[set[str] | None], None]
    ) -> None:
        """`on_rules` is called when others have changed rules that matter, with whether those of `table` are damaged;
        `on_links` with the names of interfaces that have gone, None for any. Raises OSError."""
        self._table = table
        self._on_rules = on_rules
        self._on_links = on_links
        self._loop = asyncio.get_running_loop()
        with ExitStack() as undo:
            links = LinkDeletions()
            undo.callback(links.close)
            self._loop.add_reader(links, self._links_changed, links)
            undo.callback(self._loop.remove_reader, links)
            if can_tell_own_changes():
                rules = RuleEvents()
                undo.callback(rules.close)
                self._loop.add_reader(rules, self._rules_changed, rules)
                undo.callback(self._loop.remove_reader, rules)
            self._resources = undo.pop_all()

    def close(self) -> None:
        """Look no more; closing twice is fine."""
        self._resources.close()

    def _links_changed(self, links: LinkDeletions) -> None:
        gone = links.read()
        self._on_links(None if gone is None else set(gone))

    def _rules_changed(self, rules: RuleEvents) -> None:
        changes = rules.read()
        if changes is None:
            self._on_rules(False)
            return
        damaged = any(self._table in change.damaged for change in changes)
        if damaged or any(_FIREWALLS & change.touched for change in changes):
            self._on_rules(damaged)

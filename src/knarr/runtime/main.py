"""The knarr-runtime command: runc's command line (runc(8)), as containerd, Docker and podman call it.

Exit statuses: the program's own for `run` and an attached `exec`; 1 for what went wrong here, 255 in `exec`.
"""

from __future__ import annotations

import os
import sys

from knarr.compute.native.hooks import HookFailed
from knarr.compute.native.launch import LaunchError, reap
from knarr.errors import KnarrError, NotFound, Unsupported
from knarr.kernel import processes, user_namespaces
from knarr.light import encode_json, signal
from knarr.runtime import arguments, console, creating, ending
from knarr.runtime.containers import Container, Store
from knarr.runtime.creating import Wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from knarr.runtime.arguments import Options

_FAILED, _EXEC_FAILED = 1, 255
_FORWARDED = signal.valid_signals() - {
    *(signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGWINCH, signal.SIGURG),
}


def serve(words: list[str]) -> int:
    """Run one command. Its exit status; SystemExit for a line that makes no sense."""
    options = arguments.read(words)
    try:
        _note(options, f"{options.command}, with containers in {_store(options).root}")
        return _COMMANDS[options.command](options) or 0
    except (KnarrError, LaunchError, HookFailed, OSError) as error:
        _report(options, str(error))
        return _EXEC_FAILED if options.command == "exec" else _FAILED


def _report(options: Options, text: str) -> None:
    text = f"knarr-runtime {options.command} failed: {text}"
    print(text, file=sys.stderr)
    if options.log:
        _log(options, "error", text)


def _note(options: Options, text: str) -> None:
    """What --debug tells."""
    if options.debug:
        _log(options, "debug", text)


def _log(options: Options, level: str, text: str) -> None:
    from knarr.runtime import state

    entry = {"level": level, "msg": text, "time": state.now()}
    line = f"time={encode_json(entry['time']).decode()} level={level} msg={encode_json(text).decode()}"
    if options.log_format == "json":
        line = encode_json(entry).decode()
    if not options.log:
        print(line, file=sys.stderr)
        return
    with open(options.log, "a", encoding="utf-8") as file:
        file.write(line + "\n")


# -- commands -----------------------------------------------------------------------------------------------------


def _create(options: Options) -> None:
    _refuse(options)
    spec = creating.read_spec(options.bundle)
    console.check(bool(spec.process and spec.process.terminal), True, options.console_socket)
    container, _ = creating.create(_store(options), _wish(options), spec)
    _note_container(options, container)


def _run(options: Options) -> int:
    _refuse(options)
    store = _store(options)
    spec = creating.read_spec(options.bundle)
    terminal = bool(spec.process and spec.process.terminal)
    console.check(terminal, options.detach, options.console_socket)
    if not options.detach:
        processes.mask_signals(_FORWARDED)  # they wait until there is somebody to forward them to
    container, launched = creating.create(store, _wish(options), spec)
    _note_container(options, container)
    if launched.terminal is not None and not options.console_socket:
        console.prepare(launched.terminal)
    try:
        creating.start(store, container)
        _note(options, f"process {container.pid} runs the program")
    except BaseException:
        ending.delete(store, container, force=True)
        raise
    if options.detach:
        return 0
    code = _attend(launched.pidfd, launched.terminal if not options.console_socket else None)
    if not options.keep:
        ending.delete(store, container, force=True)
    return code


def _note_container(options: Options, container: Container) -> None:
    _note(options, f"container {container.id} of bundle {container.bundle} has control group {container.cgroup.path}")
    _note(options, f"process {container.pid} is in its namespaces, and waits")


def _attend(pidfd: int, terminal: int | None) -> int:
    """Be the program's stand-in until it ends: signals go to it, its terminal is ours. Its exit code."""
    for number in _FORWARDED:
        signal.signal(number, lambda got, _: _forward(pidfd, got))
    processes.mask_signals(set())
    if terminal is not None:
        console.relay(terminal, pidfd)
    return reap(pidfd)


def _forward(pidfd: int, number: int) -> None:
    try:
        processes.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass


def _start(options: Options) -> None:
    store, container = _find(options)
    creating.start(store, container)
    _note(options, f"process {container.pid} runs the program")


def _kill(options: Options) -> None:
    number = ending.parse_signal(options.signal or "TERM")
    store, container = _find(options)
    ending.kill(store, container, number, everyone=options.all)


def _delete(options: Options) -> None:
    store = _store(options)
    try:
        container = store.load(options.id)
    except NotFound:
        if not options.force:
            raise
        store.remove(options.id)  # the rests of a creation that was cut short
        return
    ending.delete(store, container, force=options.force)


def _exec(options: Options) -> int:
    from knarr.runtime import executing

    _refuse(options)
    store, container = _find(options)
    wanted = _process(options, container)
    console.check(wanted.terminal, options.detach, options.console_socket)
    if not options.detach:
        processes.mask_signals(_FORWARDED)
    own = not options.console_socket
    settings = executing.Settings(options.ignore_paused, options.preserve_fds, options.cgroup, own)
    started = executing.start(store, container, wanted, settings)
    terminal = started.terminal
    if terminal is not None and options.console_socket:
        console.send(terminal, options.console_socket)
        terminal = None
    if options.pid_file:
        creating.write_pid(options.pid_file, started.pid)
    _note(options, f"process {started.pid} is in container {container.id}, beside process {container.pid}")
    return 0 if options.detach else _attend(started.pidfd, terminal)


def _process(options: Options, container: Container) -> Any:
    from knarr.compute.spec import Process
    from knarr.light import MsgspecError, decode_json
    from knarr.runtime import executing

    if options.process:
        with open(options.process, "rb") as file:
            data = file.read()
        try:
            return decode_json(data, type=Process)
        except MsgspecError:
            from knarr.runtime import documents

            return documents.decode(data, Process, options.process)
    changes = executing.Changes(
        args=options.args,
        env=options.env,
        cwd=options.cwd,
        user=options.user,
        groups=tuple(options.additional_gids),
        terminal=options.tty,
        capabilities=tuple(options.cap),
        no_new_privileges=options.no_new_privs,
    )
    return executing.process(container, changes)


def _state(options: Options) -> None:
    from knarr.runtime import state

    print(state.text(*_find(options)))


def _list(options: Options) -> None:
    from knarr.runtime import reporting

    text = reporting.listing(_store(options), options.format, quiet=options.quiet)
    if text:
        print(text)


def _ps(options: Options) -> None:
    from knarr.runtime import reporting

    _, container = _find(options)
    print(reporting.processes(container, options.format, options.args))


def _events(options: Options) -> None:
    from knarr.runtime import events

    events.watch(*_find(options), options.interval, once=options.stats)


def _pause(options: Options) -> None:
    from knarr.runtime import limiting

    limiting.pause(*_find(options))


def _resume(options: Options) -> None:
    from knarr.runtime import limiting

    limiting.resume(*_find(options))


def _update(options: Options) -> None:
    from knarr.runtime import limiting

    flags = limiting.Wanted(**{name: getattr(options, name) for name in limiting.Wanted._fields})
    wanted = limiting.read(options.resources) if options.resources else limiting.resources(flags)
    limiting.update(*_find(options), wanted)


def _features(options: Options) -> None:
    from knarr.runtime import features

    print(features.text())


def _spec(options: Options) -> None:
    from knarr.runtime import template

    template.write(options.bundle)


_COMMANDS: dict[str, Callable[[Options], int | None]] = {
    "create": _create,
    "start": _start,
    "run": _run,
    "state": _state,
    "kill": _kill,
    "delete": _delete,
    "exec": _exec,
    "list": _list,
    "ps": _ps,
    "events": _events,
    "pause": _pause,
    "resume": _resume,
    "update": _update,
    "features": _features,
    "spec": _spec,
}


def _store(options: Options) -> Store:
    return Store(options.root or _default_root())


def _default_root() -> str:
    """Root's, or a user's own: be they root in a user namespace, where root's directory is not theirs."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    if own and (os.geteuid() != 0 or user_namespaces.inside()):
        return f"{own}/knarr-runtime"
    return "/run/knarr-runtime"


def _find(options: Options) -> tuple[Store, Container]:
    store = _store(options)
    return store, store.load(options.id)


def _wish(options: Options) -> Wish:
    return Wish(options.id, options.bundle, options.pid_file, options.console_socket, options.preserve_fds)


def _refuse(options: Options) -> None:
    if options.systemd_cgroup:
        raise Unsupported("--systemd-cgroup: knarr-runtime makes its cgroups itself")

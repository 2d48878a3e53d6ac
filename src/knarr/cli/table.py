"""Which commands there are: tables of names, with the module of knarr.cli.commands that each is in."""

from __future__ import annotations

from knarr.cli import flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from knarr.cli.command import Command

    Table = dict[str, tuple[str, str]]  # name -> (module in knarr.cli.commands, what it does)

PROGRAM = "knarr"
ASKING = "__complete"
"""What the shells' completion scripts call: the words that are typed follow."""

HELP = "help"
"""`knarr help COMMAND` is `knarr COMMAND --help`."""

_CONTAINER: Table = {
    "attach": ("attach", "Connect the terminal to a running container's standard streams"),
    "commit": ("commit", "Make an image of a container"),
    "cp": ("cp", "Copy files between containers and here"),
    "create": ("create", "Make a container without starting it"),
    "diff": ("diff", "Show what a container has changed in its image's files"),
    "exec": ("exec", "Run a further command in a running container"),
    "export": ("export", "Write a container's files into an archive"),
    "inspect": ("inspect_container", "Show all that is known of containers"),
    "kill": ("kill", "Send running containers a signal, KILL by default"),
    "logs": ("logs", "Show what a container has written"),
    "ls": ("ps", "List containers"),
    "pause": ("pause", "Freeze all processes of containers"),
    "port": ("port", "Show a container's published ports"),
    "prune": ("prune_containers", "Remove all stopped containers"),
    "rename": ("rename", "Give a container another name"),
    "restart": ("restart", "Stop containers and start them again"),
    "rm": ("rm", "Remove containers"),
    "run": ("run", "Make a container from an image and start it"),
    "start": ("start", "Start stopped containers"),
    "stats": ("stats", "Show what containers use of the machine, as it changes"),
    "stop": ("stop", "Stop running containers"),
    "top": ("top", "Show the processes of a container"),
    "unpause": ("unpause", "Let paused containers go on"),
    "update": ("update", "Change limits and restart policy of containers"),
    "wait": ("wait", "Wait until containers end, then print their exit codes"),
}

_BUILDER: Table = {
    "build": ("build", "Build an image from a Dockerfile"),
    "prune": ("prune_builds", "Remove what builds have kept for the next ones"),
}

_CONTEXT: Table = {
    "create": ("context_create", "Make a context"),
    "export": ("context_export", "Write a context into an archive"),
    "import": ("context_import", "Make a context from an archive"),
    "inspect": ("context_inspect", "Show all that is known of contexts"),
    "ls": ("context_ls", "List contexts"),
    "rm": ("context_rm", "Remove contexts"),
    "show": ("context_show", "Show the name of the context in use"),
    "update": ("context_update", "Change a context"),
    "use": ("context_use", "Choose the context that is used from now on"),
}

_IMAGE: Table = {
    "bootstrap": ("image_bootstrap", "Make a base image from a distribution's packages, with no registry"),
    "build": _BUILDER["build"],
    "history": ("history", "Show the steps that made an image"),
    "import": ("import_", "Make an image from a root file system's archive"),
    "inspect": ("inspect_image", "Show all that is known of images"),
    "load": ("load", "Load images from an archive"),
    "ls": ("images", "List images"),
    "prune": ("prune_images", "Remove unused images"),
    "pull": ("pull", "Fetch an image from a registry"),
    "push": ("push", "Bring an image into a registry"),
    "rm": ("rmi", "Remove images"),
    "save": ("save", "Write images into an archive"),
    "tag": ("tag", "Give an image a further name"),
}

_MANIFEST: Table = {
    "inspect": ("manifest_inspect", "Show the manifest or index that a registry has of an image"),
}

_NETWORK: Table = {
    "connect": ("network_connect", "Put a container into a network"),
    "create": ("network_create", "Make a network"),
    "disconnect": ("network_disconnect", "Take a container out of a network"),
    "inspect": ("inspect_network", "Show all that is known of networks"),
    "ls": ("network_ls", "List networks"),
    "prune": ("prune_networks", "Remove networks that no container uses"),
    "repair": ("network_repair", "Put right what others have done to networks"),
    "rm": ("network_rm", "Remove networks"),
}

_SYSTEM: Table = {
    "df": ("system_df", "Show what takes how much space on disk"),
    "dial-stdio": ("system_dial_stdio", "Connect standard input and output to the engine"),
    "events": ("events", "Show what happens in the engine, as it happens"),
    "info": ("info", "Show the engine's state and configuration"),
    "prune": ("system_prune", "Remove all that is not in use"),
}

_SECRET: Table = {
    "create": ("secret_create", "Keep a secret for containers"),
    "inspect": ("inspect_secret", "Show what is known of secrets, but for what is in them"),
    "ls": ("secret_ls", "List secrets"),
    "rm": ("secret_rm", "Remove secrets"),
}

_VOLUME: Table = {
    "create": ("volume_create", "Make a volume"),
    "inspect": ("inspect_volume", "Show all that is known of volumes"),
    "ls": ("volume_ls", "List volumes"),
    "prune": ("prune_volumes", "Remove volumes that no container uses"),
    "rm": ("volume_rm", "Remove volumes"),
}

COMMANDS: Table = {
    **{name: entry for name, entry in _CONTAINER.items() if name not in ("inspect", "ls", "prune")},
    **{name: entry for name, entry in _IMAGE.items() if name not in ("bootstrap", "inspect", "ls", "prune", "rm")},
    "completion": ("completion", "Print what makes a shell complete knarr's command lines"),
    "doctor": ("doctor", "Say what this host can and cannot do, and how to mend it"),
    "events": _SYSTEM["events"],
    "info": _SYSTEM["info"],
    "images": _IMAGE["ls"],
    "inspect": ("inspect", "Show all that is known of objects of any kind"),
    "login": ("login", "Log in to a registry"),
    "logout": ("logout", "Forget a registry's credentials"),
    "ps": _CONTAINER["ls"],
    "rmi": _IMAGE["rm"],
    "search": ("search", "Search a registry"),
    "version": ("version", "Show the versions of client and engine"),
}

GROUPS: dict[str, tuple[str, Table]] = {
    "builder": ("Builds", _BUILDER),
    "container": ("Containers", _CONTAINER),
    "context": ("Engines by name", _CONTEXT),
    "image": ("Images", _IMAGE),
    "manifest": ("Manifests in registries", _MANIFEST),
    "network": ("Networks", _NETWORK),
    "secret": ("Secrets", _SECRET),
    "system": ("The engine", _SYSTEM),
    "volume": ("Volumes", _VOLUME),
}

OTHER_NAMES = {"container list": "ls", "container ps": "ls", "container remove": "rm"} | {
    f"{group} {other}": name
    for group in ("image", "network", "secret", "volume")
    for other, name in (("list", "ls"), ("remove", "rm"))
    if name in GROUPS[group][1]
}

GLOBAL_FLAGS = (
    flags.text("config", "Directory of the client's configuration (default ~/.docker)"),
    flags.text("c context", "Context to use in place of the current one and of DOCKER_HOST"),
    flags.switch("D debug", "Show where an unexpected error comes from"),
    flags.words("H host", "Engine to speak to: unix://PATH, tcp://HOST:PORT or ssh://[USER@]HOST"),
    flags.text("l log-level", "Accepted for compatibility", default="info", hidden=True),
    flags.switch("tls", "Use TLS without checking the engine's certificate"),
    flags.text("tlscacert", "Certificate of the CA that signed the engine's"),
    flags.text("tlscert", "Certificate of this client"),
    flags.text("tlskey", "Private key of this client"),
    flags.switch("tlsverify", "Use TLS and check the engine's certificate"),
    flags.switch("v version", "Show the client's version"),
    flags.switch("help", "Show this help"),
)


def load(module: str) -> Command:
    """The command of a module in knarr.cli.commands."""
    from importlib import import_module

    command: Command = import_module(f"knarr.cli.commands.{module}").COMMAND
    return command

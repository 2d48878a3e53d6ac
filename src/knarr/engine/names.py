"""Names of containers: what is allowed, and names for those who ask for none."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from knarr.errors import InvalidParameter

_ALLOWED = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")

_MANNERS = (
    "able agile airy alert amber ample apt azure balmy beaming blithe bold brave breezy bright brisk bronze calm "
    "candid careful cheery civil clear clever coastal coral cosy crisp curious dapper daring deft dewy eager early "
    "earnest easy even exact fair faithful fearless festive fine firm fleet fond frank free fresh gallant gentle glad "
    "gleaming golden graceful grand hale handy hardy hearty helpful honest humble jaunty jolly jovial keen kind lively "
    "loyal lucid lucky mellow merry mild mindful modest neat nimble noble open patient peaceful placid plucky polite "
    "prompt proud pure quick quiet rapid ready rosy rugged sandy serene sharp silent silver sleek smart snug sober "
    "solid spry stable steady stout sturdy sunny sure swift tender thrifty tidal tidy tranquil true trusty upbeat "
    "valiant vivid warm watchful willing windy wise witty young zesty"
)
_THINGS = (
    "albatross anchor barge bark beacon bilge binnacle boom bosun bow bowline bowsprit breaker brig bulwark buoy "
    "cabin canvas capstan caravel channel chart clipper cog coracle cormorant corvette crest current cutter davit "
    "deck delta dhow dinghy dolphin dory drifter eddy estuary felucca ferry fjord frigate galleon galley gannet gig "
    "gull gunwale halyard harbour hatch haven hawser headland heron hold horizon hull inlet island jetty jib junk "
    "kayak keel kelp ketch kittiwake lagoon landing lantern lee lighter lighthouse longship lugger mainsail mast "
    "mooring narwhal oar orca osprey otter outrigger packet pelican petrel pier pilot pinnace plank porpoise porthole "
    "prow puffin quay raft reef rigging rudder sail sandbar schooner scow seal sextant shallop shoal shore skiff sloop "
    "sounding spar spinnaker stern strait surf tack tern thwart tide tiller transom trawler tug voyage wake wave "
    "whaler wharf wherry windlass yawl"
)


def check(name: str) -> None:
    """Raises InvalidParameter if a container may not be called so. `name` is without its leading slash."""
    if not _ALLOWED.fullmatch(name):
        raise InvalidParameter(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


def invent(taken: Callable[[str], bool]) -> str:
    """A name that nobody has."""
    while True:
        name = f"{secrets.choice(_MANNERS.split())}_{secrets.choice(_THINGS.split())}"
        if not taken(name):
            return name
        numbered = f"{name}{secrets.randbelow(10_000)}"  # in case that all names are in use
        if not taken(numbered):
            return numbered


def new_id() -> str:
    """An id: 64 hexadecimal digits. Its short form is never a number, which a host name may not be."""
    while True:
        id = secrets.token_hex(32)
        if not id[:12].isdecimal():
            return id

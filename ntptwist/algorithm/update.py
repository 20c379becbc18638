"""
What the algorithm hands back to the shell: the update to apply, the decisions to log, the state to show.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ntptwist.identifiers import SourceId
from ntptwist.snapshot import CorrectionsSnapshot, TimeSnapshot
from ntptwist.timestamp import Timestamp


class DecisionKind(Enum):
    """What was decided; the shell chooses the log level by it."""

    SYNCHRONIZED = "synchronized"
    UNSYNCHRONIZED = "unsynchronized"
    SELECTION = "selection"
    STEP = "step"
    FOREIGN_STEP = "foreign step"
    SUSPENDED = "suspended"
    LEAP = "leap"
    RESET = "filter reset"
    PANIC = "panic"


@dataclass(frozen=True, slots=True)
class Decision:
    """
    One decision with its reason in a full sentence for people, for the log and for the journal.

    ``amount`` is in seconds where the decision has one (a step); ``source`` is given where it is about one source.
    """

    kind: DecisionKind
    reason: str
    amount: float | None = None
    source: SourceId | None = None


@dataclass(frozen=True, slots=True)
class ControlUpdate:
    """
    What the system has to do now.

    ``time`` replaces the system's snapshot.  ``next_update`` is the number of seconds after which ``timer`` is to be
    called (replaces any earlier wish).  ``stepped`` is the sum of the steps taken, ns: when it is not 0 every source is
    told.  After a decision of kind PANIC the clock is no longer safe in our hands: the daemon ends.
    """

    time: TimeSnapshot
    next_update: float
    stepped: int = 0
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True)
class ControllerStatus:
    """
    The state of the clock as the algorithm sees it: see SystemSnapshot for the meaning of the fields.

    ``used`` are the selected sources, the one that gives stratum and reference id first.  ``state`` says in words what
    is going on: "waiting for 2 more sources", "synchronized", "holding over for 310 s", ...
    """

    synchronized: bool
    state: str
    used: tuple[SourceId, ...] = ()
    offset: float | None = None
    error_bound: float | None = None
    frequency: float = 0.0
    frequency_error: float | None = None
    steps: int = 0
    accumulated_steps: float = 0.0
    since: Timestamp | None = None
    oscillator_frequency: float = 0.0
    corrections: CorrectionsSnapshot = CorrectionsSnapshot()

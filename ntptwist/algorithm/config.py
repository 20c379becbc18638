"""
Every constant of the algorithm, with its reason, and the policies that an operator chooses.

Times are seconds, frequencies are fractions (seconds per second) unless a name says ppm.  A *wander* is the power of
the oscillator's random walk of frequency, s^2/s^3: after d seconds it has added ``wander * d`` to the variance of the
frequency and ``wander * d^3 / 3`` to that of the offset.  docs/algorithm.rst has the derivations; the sensitivities
quoted here were measured in simulation (RMS error at 64 s polls unless said, scenarios as in bench/scenarios.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from ntptwist.algorithm.leap import LeapTable
from ntptwist.identifiers import Leap
from ntptwist.timestamp import Timestamp

# belief.py, filter.py: the belief about one source, and its bank of hypotheses

INITIAL_WANDER = 1e-17
"""Ordinary crystals lie between 1e-18 and 1e-16."""
MINIMUM_WANDER = 1e-19
"""A floor of 1e-21 made the way out of a quiet spell slow: 130 instead of 77 us after wander 1e-10 -> 1e-8."""
MAXIMUM_WANDER = 1e-12
"""A frequency that walks 1 ppm in a second; whatever is worse is no clock."""
WANDER_STEP = 8.0
"""Ratio of neighbouring hypotheses: factors of 8 lose less than 3 % against the best wander, and two lie close by."""
WANDER_SURPRISE = 512.0
"""One hypothesis far out catches a sudden change: after a jump of 1 ppm 16 us with it, 41 us without."""
INITIAL_SHAPE = 0.1
"""Ratio of Gaussian to exponential noise: real queueing is never purely exponential."""
MINIMUM_SHAPE = 0.01
MAXIMUM_SHAPE = 3.0
"""Below 0.01 the Gaussian part, above 3 the exponential part no longer matters.  An offset known to a fiftieth of the
jitter still feels a Gaussian part of a thirtieth: with 0.03 / 0.01 / 0.005 c is 30.1 / 23.4 / 23.0 us at 16 s."""
SHAPE_STEP = 3.0
"""With this ladder Gaussian jitter of 100 us gives 32 us instead of 75, and scenario c 52 instead of 67."""
SCORE_MEMORY = 200.0
"""Samples over which likelihoods count.  15 / 30 / 60 / 120 / 200: a 16.2 / 11.7 / 10.5 / 10.1 / 10.1 us."""
SCORE_LEAD = 2.0
"""Log-likelihood lead at which a neighbour becomes the centre."""
SCORE_LAG = 6.0
"""No hypothesis falls further behind than this, so a loser comes back within a few samples."""
FIRST_FREQUENCY_SIGMA = 1e-4
"""What is believed of an unknown oscillator: 100 ppm is its common tolerance."""
FIRST_DELAY = 4e-6
"""The first exchange is trusted to a quarter of its delay, but never as if the delay were less than this."""
EARLIEST_DELAY = -1e-3
"""A round trip that is more negative than this crossed a step of some clock."""
LONGEST_DELAY = 16.0
"""MAXDISP of RFC 5905: a reply that took longer says nothing."""
LARGEST_ROOT = 65536.0
"""Seconds: what the wire's 16.16 format can say of root delay and dispersion."""
FARTHEST_OFFSET = float(1 << 33)
"""Two NTP eras, 272 years: an offset beyond that is not a measurement."""
LONGEST_GAP = 1e9
"""Seconds between two measurements of one source: 32 years are no gap, but a broken clock."""

# noise.py: noise scales of the two paths

STAMP_NOISE = 1e-8
"""Standard deviation of a perfect time stamp; keeps every Gaussian part positive."""
NOISE_MEMORY = 64.0
"""Samples over which the scale is averaged; 32 / 64 / 128 make no difference (a 10.3 / 10.1 / 10.0 us)."""
SPLIT_PRIOR = 8.0
"""Samples' worth of belief that both paths are equally noisy."""
SPLIT_DOUBT = 16.0
"""Weight against learning the split while the offset wanders by more than the jitter: without it 4 of 24 seeds of w
ran away (one path explains everything)."""
RESIDUAL_CAP = 10.0
"""Largest exponential part, in scales, that one sample may teach."""
SMALLEST_NOISE = 2e-7
"""Floor of the sum of both scales: below it rounding of stamps is the noise."""
SMALLEST_SAMPLE = 1e-6
"""The poll rule takes no offset sample for better than this, seconds."""
TAIL_START = 1.5
"""Above this many scales of excess delay the noise of that sample is widened: real delays have heavy tails.  With
ten-fold congestion for 30 minutes in 2 hours 84 us instead of 238; costs nothing elsewhere."""

# route.py: changes of route

LONGER_SAMPLES = 12
"""All of so many delays must be longer: congestion lets one in a dozen through, a new route none."""
SHORTER_SAMPLES = 6
"""A delay below the floor can be no congestion, so fewer suffice; meanwhile the source is held over."""
LONGER_SIGMAS = 8.0
LONGER_NOISE = 1.5
"""How far beyond the floor: standard deviations of the floor, plus this share of the noise of both paths."""
SUSPICION_NOISE = 3.0
SUSPICION_SPREAD = 4.0
SUSPICION_POLL = 8
"""One delay that exceeds that by this share of the noise again has quick polls show whether it is a longer route, where
the next ones would be 2^8 s away or more, unless they differ by more than 4 times the noise, as in congestion: twelve
samples at 1024 s are 3.4 hours.  Of ordinary delays one in a thousand is so long."""
SHORTER_SIGMAS = 4.0
SHORTER_NOISE = 0.1
"""How far below it; the exponential part of the noise never goes below, so less is needed."""
ONE_SIDED_SIGMAS = 4.0
ONE_SIDED_NOISE = 0.5
"""From which difference of both paths on a change counts as one-sided: standard deviations of the offset, plus this
share of the noise.  With it a path that becomes 1 ms longer moves the clock by 14 us, without by 398."""
FADING_SIGMAS = 3.0
FADING_VOTERS = 3
FADING = 0.125
"""An asymmetry that was learnt fades at each exchange by this share of what the others contradict of it: where at least
three sources agree (of two nobody knows which is right), and the others are away by so many standard deviations."""
CONTRADICTIONS = 3
"""So many exchanges in a row that no delay can explain mean that the server was stepped: the filter starts afresh."""
CONTRADICTION_SIGMAS = 8.0
"""How far, beyond half the delay, an offset must be from the belief to contradict it."""
CONTRADICTION = 1e-3
"""And never less than this, seconds; smaller steps of a server are within reach of the bank."""

# memory.py: what outlives a filter

REMEMBERED_AFTER = 8
"""A path is worth remembering after as many measurements as a burst can have."""
REMEMBERED_PATHS = 64
"""So many paths are remembered: four times the largest pool."""
BASE_MEMORY = 86400.0
"""Seconds after which a base delay that was remembered is known no better than after a change of route."""
RESUMED_NOISE = 4.0
"""The first exchange resumes a path if its delay exceeds the base by less than this many times the noise of both
paths: one in 300 does, and then starts afresh, without harm."""
RESTART_DOUBT = 1e-6
"""Standard deviation of what a restart of the machine does to the frequency of its oscillator: another temperature."""

# pulse.py: pulses and other one-way offsets

GATE_SIGMAS = 5.0
GATE_STARTS = 8
GATE_REFUSALS = 5
"""An offset beyond 5 sigma is dropped once 8 were seen, at most 5 in a row: then the world has changed, and the filter
starts afresh."""
PULSE_MEMORY = 200
PULSE_PRIOR = 8
"""Offsets over which their noise is learnt, and the weight of the precision that the source declares."""
PULSE_MINIMUM_WANDER = 1e-21
"""A pulse shows finer wander than a network does."""
SMALLEST_PRECISION = 1e-9
LARGEST_PRECISION = 1.0
"""Bounds of the precision that a source may declare, seconds."""
KNOWN_FREQUENCY_SIGMA = 1e-5
"""What is believed of the frequency when a pulse joins a clock that is already synchronized."""
SHORTEST_PERIOD = 1e-3
LONGEST_PERIOD = 1e6
"""Bounds of the period of a pulse, seconds."""
NUMBERING = 0.2
"""A pulse can be numbered while the clock is this share of its period from the truth."""

# Selection: select.py, source.py

INTERVAL_SIGMAS = 3.0
"""Width of a source's interval beyond half its delay: with the covariance as honest as it is (0 to 0.9 % beyond 3
sigma in simulation) truth is inside."""
MAXIMUM_DISTANCE = 1.5
"""Seconds; MAXDIST of RFC 5905, figure 27.  A source beyond it is not used, and a clock that nobody has confirmed for
so long that its own distance, as clients see it, is beyond it is no longer served: they would refuse it anyway."""
DRIFT_SIGMAS = 6.0
DRIFT_FLOOR = 5e-7
"""A source whose frequency is so many standard deviations, and this much besides, from the median of those that agree
is a falseticker before its offset shows it: at 5 ppm after 330 s instead of 580.  A server that is being disciplined
itself may well be half a ppm away for a while."""
DRIFT_VOTERS = 3
"""Fewer can't tell which of them drifts."""
LIVE_POLLS = 8
LIVE_GRACE = 30.0
"""A source lives for 8 polls (the width of the reachability register) and 30 s after its last answer."""
FIRST_CORRECTION_WAIT = 8.0
"""Seconds after the first poll in which a majority may answer: four requests of a burst."""

# How sources are combined: combine.py

ASYMMETRY = 0.02
"""Share of the base delay that may hide in a constant asymmetry.  0 / 0.02 / 0.1: c4 40 / 45 / 51 us, e 7.3 / 7.8 /
8.0: averaging many servers gains little, so caution is cheap."""
BESIDE_PULSES = 1.0
"""The same share while pulses are known too: no delay can hide in them, so a server counts for no more than its delay
allows, and when the pulses end the clock passes over to the servers as slowly as it becomes uncertain."""
FLOOR = 1e-7
"""Seconds; no source outweighs another by being better than this."""

# How the clock is steered: steer.py

STEP_THRESHOLD = 0.01
"""Seconds; a larger correction is stepped where steps are allowed (ntpd-rs' value).  Slewing it would take 25 s."""
STEP_WINDOW = 300.0
"""Seconds after the first correction (or a resume) in which steps are still allowed: the burst, and one poll at the
default interval of every source that answered late, have been heard by then."""
SLEW_LIMIT = 400e-6
"""Largest frequency spent on an offset: what the kernel's 500 ppm leave for the oscillator's own error."""
FREQUENCY_MARGIN = 1.0
"""ppm that the total stays below the clock's limit, so that the kernel never clamps what the book counts on."""
SHORTEST_SLEW = 4.0
"""Seconds over which an offset is corrected during a burst and on pulses.  On pulses 1 / 4 / 16 / 32 s give 0.207 /
0.211 / 0.229 / 0.252 us and 0.04 / 0.02 / 0.01 / 0.01 ppm.  On polls the slew takes one poll interval: x 0.25 / 0.5 /
1 / 2 / 4 gives a 10.3 / 10.4 / 10.6 / 10.9 / 11.8 us, 0.16 / 0.11 / 0.08 / 0.05 / 0.04 ppm."""

# book.py: the clock's book

WATCH_INTERVAL = 7.3
"""Seconds between looks at the clock for foreign steps; no multiple of a poll interval, so the two don't meet."""
FOREIGN_THRESHOLD = 1_000_000
"""Nanoseconds: a change of local - monotonic beyond this was made by somebody else.  Reading both axes one after the
other can differ by tens of microseconds on a busy machine."""
LEAP_WINDOW = 3600
"""Seconds around the end of a UTC month in which one second's change is the leap second that was announced."""
SLEEP_DOUBT = 1.0
"""Standard deviation, seconds, of what a suspend does to the offset: the battery clock counts whole seconds."""
BOOK_LENGTH = 4096
"""Changes of frequency that are remembered: hours at usual polls, 40 s with 100 sources at 1 s; an interleaved
measurement is one poll old."""

# When sources are asked: poll.py

BURST_REPLIES = 5
BURST_REQUESTS = 8
BURST_INTERVAL = 2.0
"""The start of a source: five replies are wanted, eight requests are the most, 2 s apart (as others' iburst)."""
APPROACH_STEP = math.sqrt(2.0)
APPROACH_GROWTH = 2.0
"""After the first burst the interval grows from request to request by this factor, until one whole interval of drift
makes the variance of the offset no more than twice what it is.  With factors of 2 / 2^(1/2) / 2^(1/3) the error in c is
below 1 ms for good after 346 / 240 / 128 s instead of 374, for 3 / 7 / 10 more packets at 64 s."""
VERIFY_REPLIES = 4
VERIFY_REQUESTS = 6
"""After a foreign step or a suspend: quick polls that verify."""
POLL_UP = 4
POLL_DOWN = 2
"""An interval doubles after 4 samples that were in no hurry, and is halved after 2 that came late; 3 to 6 are alike."""


@dataclass(frozen=True, slots=True)
class PollRule:
    """
    When a sample of a source is in no hurry: while the clock would be known well enough without it.

    That is: better than ``ratio`` times one sample, and where there is a ``growth``, no worse than it is known now by
    more than a factor of 1 + ``growth`` in the variance.
    """

    ratio: float
    growth: float | None = None


class Profile(Enum):
    """What an operator wants of a poll interval; the values are the words of the configuration."""

    ACCURACY = "accuracy"
    BALANCED = "balanced"
    FRUGAL = "frugal"


POLL_RULES = {
    Profile.ACCURACY: PollRule(1.5, 2.0),
    Profile.BALANCED: PollRule(1.5),
    Profile.FRUGAL: PollRule(3.0),
}
"""With a ratio of 1.2 to 2.0: a 61-77 us / 66-70 packets, b 14-18 / 102-156, g 62-111 / 239-361: flat.  A growth of 4
or 8 is like none."""


@dataclass(frozen=True, slots=True)
class PollLimits:
    """Smallest and largest poll exponent of a source, log2 seconds (RFC 5905, section 7.3: 4..17; here from -2)."""

    minimum: int = 6
    maximum: int = 10


@dataclass(frozen=True, slots=True)
class SelectionOptions:
    """
    What an operator says of a source beside what it says of itself.

    ``noselect``: measured and shown, never followed.  ``prefer``: while it agrees, those that are not preferred are not
    followed.  ``trust``: only trusted sources decide where the truth is.  ``require``: without one of them the clock is
    left alone.  ``group``: all sources of that name have one vote.
    """

    noselect: bool = False
    prefer: bool = False
    trust: bool = False
    require: bool = False
    group: str | None = None


class StepPolicy(Enum):
    """When the clock may be stepped rather than slewed."""

    STARTUP = "startup"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class PanicThreshold:
    """Largest step forward and backward, seconds, that is not refused; infinity allows every step."""

    forward: float = math.inf
    backward: float = math.inf


@dataclass(frozen=True, slots=True)
class SynchronizationPolicy:
    """
    What an operator decides about selection and steps; ntpd-rs' ``[synchronization]``.

    ``minimum_agreeing_sources`` None stands for the smaller of 3 and a majority of the ``voting_sources`` configured.
    ``accumulated_step_panic_threshold`` is in seconds, None for none.  ``needs_required``: some source is required.
    """

    voting_sources: int = 1
    minimum_agreeing_sources: int | None = None
    step_policy: StepPolicy = StepPolicy.STARTUP
    startup_step_panic_threshold: PanicThreshold = field(default_factory=lambda: PanicThreshold(backward=86400.0))
    single_step_panic_threshold: PanicThreshold = field(default_factory=lambda: PanicThreshold(1000.0, 1000.0))
    accumulated_step_panic_threshold: float | None = None
    local_stratum: int = 16
    needs_required: bool = False
    profile: Profile = Profile.BALANCED
    leap_table: LeapTable | None = None

    @property
    def agreeing(self) -> int:
        """The number of sources that must agree before the clock is touched."""
        if self.minimum_agreeing_sources is not None:
            return self.minimum_agreeing_sources
        return min(3, self.voting_sources // 2 + 1)

    def listed_leap(self, local: Timestamp) -> Leap | None:
        """Give what the list of leap seconds announces at a time; None without one that knows."""
        return self.leap_table.announces(local) if self.leap_table is not None else None

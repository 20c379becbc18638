"""
The prototype's coordinator, kept as the numerical reference of ``ntptwist.algorithm``: do not improve it.

Polling, foreign steps, selection, combination and steering on top of the filters, with perfect servers in mind.
"""
# ruff: noqa: N803, N806 - the letters are those of the equations

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

from bench.prototype.filter import NtpFilter, PulseFilter


class Host(Protocol):
    """The world as the prototype sees it; times and offsets in seconds, frequencies as fractions."""

    mono: float

    def now(self) -> float: ...
    def step(self, x: float) -> None: ...
    def set_freq(self, f: float) -> None: ...
    def timer(self, dt: float) -> None: ...


class Source:
    def __init__(self, poll: int) -> None:
        self.est, self.poll, self.score, self.burst, self.tries = NtpFilter(), poll, 0, 5, 8
        self.wait, self.last, self.delay, self.sent_at = False, 0.0, 1.0, 0.0


class Candidate(NamedTuple):
    est: NtpFilter
    D: float
    v: float
    low: float
    high: float


class Combined(NamedTuple):
    D: float
    W: float
    cov: tuple[float, float, float]
    q: float


class Discipline:
    STEP, SLEW, FMAX = 0.01, 400e-6, 499e-6  # step above 10 ms; slew limit; kernel limit
    ASYM = 0.02  # allowance for a constant path asymmetry, as a share of the base delay
    LONGER, UP, DOWN = 1.5, 4, 2  # poll rule
    watch = 7.3  # s between checks for foreign steps

    def __init__(self, host: Host, n: int, *, pps: bool, pmin: int = 6, pmax: int | None = None) -> None:
        self.pmin, self.pmax = pmin, pmin if pmax is None else pmax
        self.host = host
        self.src = [Source(self.pmin) for _ in range(n)]
        self.sel: list[NtpFilter] = []
        self.pps = PulseFilter() if pps else None
        self.adj = self.W = self.A = self.D = 0.0
        self.tA = host.mono
        self.base = host.now() - host.mono
        self.synced = False
        self.stepped = -1.0

    def integral(self, t: float) -> float:
        """Give A(t), the integral of the applied frequency correction."""
        return self.A + self.adj * (t - self.tA)

    def set(self, slew: float) -> None:
        t = self.host.mono
        self.A = self.integral(t)
        self.tA = t
        self.adj = max(-self.FMAX, min(self.FMAX, self.W + slew))
        self.host.set_freq(self.adj)

    def shift(self, x: float) -> None:
        for s in self.src:
            if s.est.ms:
                s.est.step(x)
        if self.pps and self.pps.ms:
            self.pps.step(x)
        self.base += x
        self.stepped = self.host.mono

    def steer(self, D: float, W: float, T: float) -> None:
        self.W, self.synced = W, True
        if abs(D) > self.STEP:
            self.host.step(D)
            self.shift(D)
            D = 0.0
        self.D = D
        T = max(T, abs(D) / self.SLEW)
        self.set(D / T)
        self.host.timer(T)

    def on_timer(self) -> None:
        self.set(0.0)

    def on_watch(self, local: float, mono: float) -> None:
        """Undo what parts the realtime clock from the monotonic one, unless it was our own step."""
        x = local - mono - self.base
        if abs(x) > 1e-3:
            self.shift(x)
            if self.synced:
                self.host.step(-x)
                self.shift(-x)
                for s in self.src:
                    s.burst, s.tries = 4, 6

    def sent(self, i: int) -> float:
        """Note a request; return the time until the next one."""
        s = self.src[i]
        missed, s.wait = s.wait, True
        s.sent_at = self.host.mono
        if s.burst > 0 and s.tries > 0:
            s.tries -= 1
            return 2.0
        return float(max(2.0**s.poll / (2 if missed else 1), 2.0**self.pmin))

    def set_poll(self, s: Source, p00: float, p01: float, p11: float, q: float) -> None:
        lim = self.LONGER**2 * s.est.jitter2()

        def pred(T: float) -> float:
            return p00 + T * (2 * p01 + T * (p11 + q * T / 3))

        if s.est not in self.sel or pred(2.0 ** (s.poll + 1)) < lim:
            s.score += 1  # no hurry for a source that is not used
        elif pred(2.0**s.poll) > lim:
            s.score -= 1
        else:
            s.score -= (s.score > 0) - (s.score < 0)
        if s.score >= self.UP:
            s.score = 0
            s.poll = min(s.poll + 1, self.pmax)
        elif s.score <= -self.DOWN:
            s.score = 0
            s.poll = max(s.poll - 1, self.pmin)

    def sample(self, i: int, t1: float, t2: float, t3: float, t4: float, mono: float) -> None:
        self.on_watch(t4, mono)
        s = self.src[i]
        s.wait = False
        if s.sent_at <= self.stepped:
            return  # the clock was stepped between request and reply
        s.burst -= 1
        s.last = mono
        s.delay = (t4 - t1) - (t3 - t2)
        s.est.sample(t1, t2, t3, t4, mono, self.integral(mono), self.adj, self.W)
        r = self.combine(mono)
        if r is None:
            return
        if s.burst <= 0:
            self.set_poll(s, *r.cov, r.q)
        if self.pps is None or not self.pps.ms:
            self.steer(r.D, r.W, 2.0 ** min(x.poll for x in self.src) if s.burst <= 0 else 4.0)

    def pulse(self, z: float, local: float, mono: float) -> None:
        """Take the true minus the local time of the pulse, known modulo one second."""
        self.on_watch(local, mono)
        if self.pps is None or not self.synced or abs(self.D) >= 0.2:
            return
        if not any(s.burst > 0 and s.tries > 0 for s in self.src) and self.pps.sample(
            z, mono, self.integral(mono), self.W, 1e-10
        ):
            self.steer(self.pps.D, self.pps.W, 4.0)

    def combine(self, mono: float) -> Combined | None:
        c: list[Candidate] = []
        A = self.integral(mono)
        for s in self.src:
            if not s.est.ms or mono - s.last > 8 * 2.0**s.poll + 30:
                continue
            D, v = s.est.at(mono, A)
            r = s.delay / 2 + 3 * math.sqrt(v)
            c.append(Candidate(s.est, D, v, D - r, D + r))
        if not self.synced and 2 * len(c) <= len(self.src) and mono - self.tA < 8.0:
            return None  # wait for a majority to answer
        ev = sorted([(x.low, 0) for x in c] + [(x.high, 1) for x in c])
        k = best = 0
        lo = 0.0
        for at, end in ev:
            k += -1 if end else 1
            if k > best:
                best, lo = k, at
        if 2 * best <= len(c):
            return None
        hi = min(at for at, end in ev if end and at >= lo)
        sel = [x for x in c if x.low <= hi and x.high >= lo]
        self.sel = [x.est for x in sel]
        wD = [1 / (x.v + (self.ASYM * x.est.B) ** 2 + 1e-14) for x in sel]
        wW = [1 / x.est.p11 for x in sel]
        D = sum(w * x.D for w, x in zip(wD, sel, strict=True)) / sum(wD)
        W = sum(w * x.est.W for w, x in zip(wW, sel, strict=True)) / sum(wW)
        p01 = sum(x.est.p01 for x in sel) / len(sel) ** 2
        return Combined(D, W, (1 / sum(1 / x.v for x in sel), p01, 1 / sum(wW)), max(x.est.q for x in sel))

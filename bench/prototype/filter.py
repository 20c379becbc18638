"""
The prototype's filters, kept as the numerical reference of ``ntptwist.algorithm``: do not improve them.

D = remote - local offset (s), W = frequency correction the oscillator needs (independent of the correction ``adj`` in
force), B = base one-way delay.  Time t is the monotonic clock; A(t) is the integral of adj, so a filter predicts with
D(t) = D0 + W (t - t0) - (A(t) - A0) and needs no call when the frequency is changed.
"""
# ruff: noqa: N803, N806 - the letters are those of the equations

from __future__ import annotations

import math

SQ2, SQ2PI = math.sqrt(2), math.sqrt(2 * math.pi)


def mills(a: float) -> tuple[float, float]:
    """Give phi(a)/Phi(a) of the normal law, and log Phi(a); continued fraction far out on the left."""
    if a < -25.0:
        r = -a + 1 / (-a + 2 / (-a - 3 / a))
        return r, -0.5 * a * a - math.log(r * SQ2PI)
    c = 0.5 * math.erfc(-a / SQ2)
    return math.exp(-0.5 * a * a) / (SQ2PI * c), math.log(c)


class Model:
    """Gaussian belief over (D, W, B) under one process noise q (s^2/s^3) and one noise shape rho = sigma/lambda."""

    __slots__ = ("B", "D", "W", "p00", "p01", "p02", "p11", "p12", "p22", "q", "rho", "score")

    def __init__(self, D: float, W: float, B: float, q: float, rho: float) -> None:
        self.D, self.W, self.B, self.q, self.rho = D, W, B, q, rho
        self.p00 = self.p01 = self.p02 = self.p11 = self.p12 = self.p22 = self.score = 0.0

    def copy(self, q: float, rho: float) -> Model:
        m = Model(self.D, self.W, self.B, q, rho)
        m.p00, m.p01, m.p02, m.p11, m.p12, m.p22 = self.p00, self.p01, self.p02, self.p11, self.p12, self.p22
        m.score = self.score
        return m

    def progress(self, d: float, dA: float) -> None:
        q, p01, p11 = self.q, self.p01, self.p11
        self.D += d * self.W - dA
        self.p00 += d * (2 * p01 + d * (p11 + q * d / 3))
        self.p01 = p01 + d * (p11 + q * d / 2)
        self.p02 += d * self.p12
        self.p11 = p11 + q * d

    def absorb(self, x: float, sg: float, lam: float, s0: float) -> float:
        """Take x = sg D + B + Exp(lam) + N(0, s0^2): exact first two moments of the posterior; log likelihood."""
        g0, g1, g2 = sg * self.p00 + self.p02, sg * self.p01 + self.p12, sg * self.p02 + self.p22
        s2 = max(sg * g0 + g2, 0.0) + s0 * s0
        s = math.sqrt(s2)
        y = x - sg * self.D - self.B
        a = y / s - s / lam
        r, lp = mills(a)
        dl = 1 / lam - r / s
        d2 = r * (a + r) / s2
        self.D += g0 * dl
        self.W += g1 * dl
        self.B += g2 * dl
        self.p00 -= g0 * g0 * d2
        self.p01 -= g0 * g1 * d2
        self.p02 -= g0 * g2 * d2
        self.p11 -= g1 * g1 * d2
        self.p12 -= g1 * g2 * d2
        self.p22 -= g2 * g2 * d2
        return lp - y / lam + s2 / (2 * lam * lam) - math.log(lam)


class Estimate:
    """What the coordinator needs of a source: mean and covariance at any time after the last sample."""

    def __init__(self) -> None:
        self.ms: list[Model] = []
        self.D = self.W = self.B = self.p00 = self.p01 = self.p11 = self.q = self.t = self.A = 0.0

    def at(self, t: float, A: float) -> tuple[float, float]:
        d = t - self.t
        return (
            self.D + d * self.W - (A - self.A),
            self.p00 + d * (2 * self.p01 + d * (self.p11 + self.q * d / 3)),
        )

    def mixture(self, ms: list[Model]) -> None:
        mx = max(m.score for m in ms)
        w = [math.exp(m.score - mx) for m in ms]
        s = sum(w)
        self.D = D = sum(a * m.D for a, m in zip(w, ms, strict=True)) / s
        self.W = W = sum(a * m.W for a, m in zip(w, ms, strict=True)) / s
        self.p00 = sum(a * (m.p00 + (m.D - D) ** 2) for a, m in zip(w, ms, strict=True)) / s
        self.p01 = sum(a * (m.p01 + (m.D - D) * (m.W - W)) for a, m in zip(w, ms, strict=True)) / s
        self.p11 = sum(a * (m.p11 + (m.W - W) ** 2) for a, m in zip(w, ms, strict=True)) / s
        self.q = ms[0].q

    def step(self, x: float) -> None:
        for m in self.ms:
            m.D -= x
        self.D -= x


class NtpFilter(Estimate):
    """The filter of one server."""

    QS, QX, RS = 8.0, 512.0, 3.0  # bank: q*8, q*512, q/8, rho*3, rho/3 around the centre
    QMIN, QMAX, RMIN, RMAX = 1e-19, 1e-12, 0.03, 3.0
    MOVE, FLOOR, KEEP = 2.0, 6.0, 1 - 1 / 200  # lead that moves the centre; largest lag; forgetting
    N, SPLIT, TAIL = 64, 8.0, 1.5  # memory of the noise scale; prior for an equal split; start of the heavy tail

    def __init__(self, q: float = 1e-17, rho: float = 0.1) -> None:
        super().__init__()
        self.q0, self.rho0, self.resets, self.asy = q, rho, 0, 0.0
        self.pend: list[tuple[float, float, float]] | None = None
        self.recent: list[tuple[float, float, float]] = []
        self.tau = [0.0, 0.0]
        self.tot = self.su = self.sd = 0.0
        self.cnt = 1.0

    def spread(self, c: Model) -> None:
        q, r = c.q, c.rho
        self.ms = [
            c,
            c.copy(min(q * self.QS, self.QMAX), r),
            c.copy(min(q * self.QX, self.QMAX), r),
            c.copy(max(q / self.QS, self.QMIN), r),
            c.copy(q, min(r * self.RS, self.RMAX)),
            c.copy(q, max(r / self.RS, self.RMIN)),
        ]

    def first(self, x: float, y: float, delay: float, t: float, A: float, W0: float, w0: float) -> None:
        m = Model((x - y) / 2, W0, 0.4 * delay, self.q0, self.rho0)
        v = (delay / 4) ** 2
        m.p00, m.p11, m.p22 = v, w0 * w0, v
        self.tau, self.tot = [delay / 5, delay / 5], 0.4 * delay
        self.t, self.A = t, A
        self.spread(m)
        self.mixture(self.ms)
        self.B = m.B

    def sample(
        self, t1: float, t2: float, t3: float, t4: float, t: float, A: float, adj: float, W0: float = 0.0
    ) -> None:
        x, y, delay = t2 - t1, t4 - t3, max((t4 - t1) - (t3 - t2), 4e-6)
        if not self.ms:
            self.first(x, y, delay, t, A, W0, 1e-4)
            return
        for m in self.ms:
            m.progress(t - self.t, A - self.A)
        self.t, self.A = t, A
        c = self.ms[0]
        tot = self.tau[0] + self.tau[1]
        x += (c.W - adj) * delay  # t1 is that much earlier than t4
        x -= self.asy
        y += self.asy
        ex = delay - 2 * c.B
        new, waiting = self.route(delay, x, y, c, tot)
        if waiting:
            self.mixture(self.ms)
            return
        if new:
            low, du, dd = (min(v[j] for v in new) for j in range(3))
            a = (du - dd) / 2 if abs(du - dd) > 4 * math.sqrt(c.p00) + 0.5 * tot else 0.0
            self.asy += a
            x -= a
            y += a
            for m in self.ms:
                m.B, m.p22, m.p02, m.p12 = low / 2, tot * tot / 8, 0.0, 0.0
            self.recent = []
            self.resets += 1
            ex = delay - low
        pg = c.p00 + c.p22
        big = max(1.0, ex / (self.TAIL * tot)) if tot else 1.0
        for m in self.ms:
            k = big / math.sqrt(1 + m.rho * m.rho)
            lu, ld = self.tau[0] * k, self.tau[1] * k
            up, down = m.absorb(x, 1, lu, m.rho * lu + 1e-8), m.absorb(y, -1, ld, m.rho * ld + 1e-8)
            m.score = m.score * self.KEEP + up + down
        self.learn(x - c.D - c.B, y + c.D - c.B, c.rho, pg)
        best = max(self.ms, key=lambda m: m.score)
        for m in self.ms:
            m.score = max(m.score, best.score - self.FLOOR)
        if best.score > c.score + self.MOVE:
            self.spread(best)
            for m in self.ms:
                m.score = best.score
        self.mixture(self.ms)
        self.B = self.ms[0].B

    def route(
        self, delay: float, x: float, y: float, c: Model, tot: float
    ) -> tuple[list[tuple[float, float, float]] | None, bool]:
        """Give the exchanges over a new route, if there is one, and whether to hold over."""
        lo = -4 * math.sqrt(4 * c.p22 + (c.rho * tot) ** 2) - 0.1 * tot
        row = (delay, x - c.D - c.B, y + c.D - c.B)
        if self.pend is None and delay - 2 * c.B < lo:
            self.pend = []
        if self.pend is not None:  # shorter: hold over for six samples, then decide
            self.pend.append(row)
            if len(self.pend) < 6:
                return None, True
            new, self.pend = self.pend, None
            if sorted(v[0] for v in new)[1] - 2 * c.B > lo:
                return None, False  # a single freak
            return new, False
        rec = self.recent = [*self.recent, row][-12:]
        dl = sorted(v[0] for v in rec)
        if len(rec) == 12 and dl[0] - 2 * c.B > 1.5 * tot + 8 * math.sqrt(c.p22) and dl[6] - dl[0] < tot:
            return rec, False
        return None, False

    def learn(self, up: float, down: float, rho: float, pg: float) -> None:
        """Learn the noise scales: one EM step; the sum always, its split only as far as D was known before."""
        f = 1 - 1 / self.N
        k = 1 / math.sqrt(1 + rho * rho)
        e2 = []
        for j, e in ((0, up), (1, down)):
            lam = self.tau[j] * k
            s0 = rho * lam + 1e-8
            mu = e - s0 * s0 / lam
            e2.append(max(min(mu + s0 * mills(mu / s0)[0], 10 * lam), 0.0) / k)
        self.cnt = self.cnt * f + 1
        self.tot = self.tot * f + e2[0] + e2[1]
        tot = max(self.tot / self.cnt, 2e-7)
        h = 1 / (1 + (16 * pg / (tot * tot)) ** 2)
        self.su = self.su * f + h * e2[0]
        self.sd = self.sd * f + h * e2[1]
        n0 = self.SPLIT * tot / 2
        phi = (self.su + n0) / (self.su + self.sd + 2 * n0)
        self.tau = [tot * phi, tot * (1 - phi)]

    def jitter2(self) -> float:
        """Give the variance of one offset sample."""
        return max((self.tau[0] ** 2 + self.tau[1] ** 2) / 4, 1e-12)


class PulseFilter(Estimate):
    """PPS: bank of three 2-state Kalman filters (q, 8q, q/8), Gaussian noise whose scale is learnt."""

    def __init__(self, sigma: float = 1e-6, q: float = 1e-17, period: float = 1.0) -> None:
        super().__init__()
        self.R, self.q0, self.T, self.n, self.bad = sigma * sigma, q, period, 0, 0

    def spread(self, c: Model) -> None:
        self.ms = [c] + [c.copy(min(max(c.q * f, 1e-21), 1e-12), 0.0) for f in (8.0, 0.125)]

    def sample(self, z: float, t: float, A: float, W0: float, p11: float) -> bool:
        if not self.ms:
            m = Model(z - self.T * round(z / self.T), W0, 0.0, self.q0, 0.0)
            m.p00, m.p11 = self.R, p11
            self.t, self.A = t, A
            self.spread(m)
            self.mixture(self.ms)
            return True
        for m in self.ms:
            m.progress(t - self.t, A - self.A)
        self.t, self.A = t, A
        c = self.ms[0]
        self.n += 1
        z -= self.T * round((z - c.D) / self.T)
        y, S = z - c.D, c.p00 + self.R
        if y * y > 25 * S and self.n > 8 and self.bad < 5:
            self.bad += 1
            self.mixture(self.ms)
            return False
        self.bad = 0
        R = self.R
        self.R += (y * y * R / S - R) / min(self.n + 8, 200)
        for m in self.ms:
            y, S = z - m.D, m.p00 + R
            k0, k1 = m.p00 / S, m.p01 / S
            m.score = m.score * 0.995 - 0.5 * (y * y / S + math.log(S))
            m.D += k0 * y
            m.W += k1 * y
            m.p11 -= k1 * m.p01
            m.p01 -= k0 * m.p01
            m.p00 -= k0 * m.p00
        best = max(self.ms, key=lambda m: m.score)
        for m in self.ms:
            m.score = max(m.score, best.score - 6)
        if best.score > c.score + 2:
            self.spread(best)
            for m in self.ms:
                m.score = best.score
        self.mixture(self.ms)
        return True

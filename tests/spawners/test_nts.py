"""``mode = "nts"`` in a virtual world: when keys are exchanged, when not, and what is kept."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from ntptwist.algorithm.config import PollLimits
from ntptwist.config.loader import loads
from ntptwist.config.value import HostPort
from ntptwist.errors import ConfigError, KeyExchangeError
from ntptwist.identifiers import EndReason, KissCode, SpawnerId
from ntptwist.interfaces import ISpawner
from ntptwist.ntske.store import read_time, write_time
from ntptwist.ntske.tls import Trust
from ntptwist.registry import find_driver
from ntptwist.sim.server import GOOD, SILENT, Behaviour
from ntptwist.sim.world import World
from ntptwist.spawners.nts import NTSConfiguration, NTSSpawner
from ntptwist.spawners.service import SpawnerService
from ntptwist.system import System
from tests.contract.lifecycle import HOSTS, NAME, Next, SpawnerLifecycleContract
from tests.ntske.certificates import Authority
from tests.sim.daemon import NEAR, VirtualDaemon
from tests.spawners.key_exchange import VirtualKeyExchange

ADDRESS = HostPort(NAME, 4460)
LIMITS = PollLimits(6, 6)
HOUR = 3600.0
SOURCE = '[[source]]\nmode = "nts"\naddress = "ntp.example"\n'


class TestLifecycle(SpawnerLifecycleContract):
    """One server under NTS: replaced after a new key exchange for everything but its own wish to be left alone."""

    leads_to: ClassVar[dict[EndReason, Next]] = {
        EndReason.DEMOBILIZED: Next.AWAY,
        EndReason.NETWORK_ISSUE: Next.REPLACED,
        EndReason.UNREACHABLE: Next.REPLACED,
    }

    def prepare(self, world: World) -> None:
        """Set up servers that know NTS."""
        super().prepare(world)
        self.exchange = VirtualKeyExchange(world)
        self.exchange.serve(world.servers)

    def spawner(self, system: System, reactor: Any) -> ISpawner:
        """Make one."""
        return NTSSpawner(NTSConfiguration(ADDRESS, LIMITS, Trust()), system, reactor, self.exchange)


# what is configured


def test_configuration(tmp_path: Path) -> None:
    """Address, authority and poll limits are the operator's; what is missing has a default."""
    authority = Authority.make()
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.pem)
    text = SOURCE + f'certificate-authority = "{file}"\n[[source]]\nmode = "nts"\naddress = "[2001:db8::1]:4461"\n'
    given = loads(text + "poll-interval-limits = { min = 4 }", find_driver)

    assert [entry.configuration for entry in given.sources] == [
        NTSConfiguration(HostPort("ntp.example", 4460), PollLimits(6, 10), Trust(authority.pem)),
        NTSConfiguration(HostPort("2001:db8::1", 4461), PollLimits(4, 10), Trust()),
    ]
    assert given.warnings == ()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('certificate-authority = "/no/such/file"', "can't be read: No such file or directory: /no/such/file"),
        ('certificate-authority = "/dev/null"', "is empty: /dev/null"),
        ('certificate-authority = "ca.pem"', "absolute"),
        ("ntp-version = 3", "ntp-version: NTS needs version 4"),
        ("trust-last-known-time = 1", "trust-last-known-time"),
        ("trust-last-know-time = true", "did you mean 'trust-last-known-time'?"),
    ],
)
def test_mistakes(line: str, problem: str) -> None:
    """A mistake is found when the file is read, with its line."""
    with pytest.raises(ConfigError) as caught:
        loads(SOURCE + line, find_driver)

    assert problem in str(caught.value)
    assert ":4: source[1]." in str(caught.value)


def test_a_file_without_certificates(tmp_path: Path) -> None:
    """A private key, or a damaged certificate, is no authority."""
    for content in (Authority.make().key_pem, Authority.make().pem.replace(b"A", b"B")):
        (tmp_path / "ca.pem").write_bytes(content)
        with pytest.raises(ConfigError, match="holds no certificates in PEM"):
            loads(SOURCE + f'certificate-authority = "{tmp_path}/ca.pem"', find_driver)


def test_trusting_an_old_time_is_said_aloud() -> None:
    """Who lets certificates be judged by an old time is warned when the file is read."""
    given = loads(SOURCE + "trust-last-known-time = true", find_driver)

    assert given.sources[0].configuration.trusts_last_known_time
    assert len(given.warnings) == 1
    assert "certificates are accepted that expired after the time was last known" in given.warnings[0]


def test_keys_of_ntpd_rs() -> None:
    """What ntpd-rs allows for such a source is read; what has no effect is said."""
    given = loads(SOURCE + "enable-srv-resolution = true\nntp-version = 4", find_driver)

    assert len(given.warnings) == 1
    assert "SRV records are not looked up" in given.warnings[0]


# a virtual life


@dataclass
class Stage:
    """A daemon with one NTS source at 64 s polls, and its servers."""

    world: World
    exchange: VirtualKeyExchange
    daemon: VirtualDaemon
    log: list[str]

    def start(self, *, directory: Path | None = None, trusting: bool = False) -> SpawnerService:
        """Start a spawner service; ``directory`` is where state is kept."""
        self.daemon.system.state_directory = str(directory) if directory else None
        configuration = NTSConfiguration(ADDRESS, LIMITS, Trust(), trusting)
        spawner = NTSSpawner(configuration, self.daemon.system, self.world.reactor, self.exchange)
        service = SpawnerService(spawner, self.daemon.system, self.world.reactor, "nts")
        service.setServiceParent(self.daemon.system)
        return service

    def cookies(self) -> list[int | None]:
        """Give how many cookies each source has."""
        return [row.observation.nts_cookies for row in self.daemon.rows()]

    def cut_keys(self) -> None:
        """Let the servers forget their keys."""
        self.exchange.new_keys()
        self.exchange.serve(self.world.servers)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A world with NTS servers, and a daemon without sources."""
    world = World(1, offset=0.0)
    world.names.add(NAME, *HOSTS)
    for host in HOSTS:
        world.add_server(host, up=NEAR)
    exchange = VirtualKeyExchange(world)
    exchange.serve(world.servers)
    log: list[str] = []

    def observe(event: LogEvent) -> None:
        log.append(formatEvent(event))

    publisher: Any = globalLogPublisher
    publisher.addObserver(observe)
    with VirtualDaemon(world, "") as daemon:
        yield Stage(world, exchange, daemon, log)
    publisher.removeObserver(observe)


def test_cookies_stay_at_eight(stage: Stage) -> None:
    """After one key exchange the source is answered for a day, with eight cookies all the time."""
    stage.start()
    seen = set()
    for _ in range(24):
        stage.daemon.run(HOUR)
        seen.add(tuple(stage.cookies()))

    assert len(stage.exchange.times) == 1
    assert seen == {(8,)}
    assert stage.daemon.snapshot().synchronized


def test_lost_replies_are_made_good(stage: Stage) -> None:
    """Cookies that were lost with their replies come back with the next one: no new exchange."""
    stage.start()
    stage.daemon.run(HOUR)
    stage.world.servers[0].behave(SILENT)
    stage.daemon.run(300)
    low = stage.cookies()
    stage.world.servers[0].behave(GOOD)
    stage.daemon.run(130)

    assert low in ([3], [4])
    assert stage.cookies() == [8]
    assert len(stage.exchange.times) == 1


def test_cut_keys_lead_to_one_exchange(stage: Stage) -> None:
    """When the server has lost its keys, there is one new key exchange, and the source is back within minutes."""
    stage.start()
    stage.daemon.run(HOUR)
    stage.cut_keys()
    stage.daemon.run(200)
    (row,) = stage.daemon.rows()

    assert row.observation.nts_cookies == 8
    assert row.observation.reach & 1
    assert len(stage.exchange.times) == 2
    assert any("kiss-o'-death NTSN" in line for line in stage.log)
    assert any("source ended: the server can't open our cookies (kiss code NTSN)" in line for line in stage.log)
    stage.daemon.run(10 * HOUR)
    assert len(stage.exchange.times) == 2


def test_no_storm_when_new_cookies_do_not_open_either(stage: Stage) -> None:
    """A server whose two halves do not share keys is asked for new ones less and less often."""
    stage.start()
    stage.exchange.new_keys()
    stage.exchange.serve(stage.world.servers)
    stage.exchange.new_keys()
    stage.daemon.run(6 * HOUR)
    waits = [later - earlier for earlier, later in zip(stage.exchange.times, stage.exchange.times[1:], strict=False)]

    assert len(stage.exchange.times) <= 32
    assert waits[-1] > 900


def test_a_denial_is_obeyed(stage: Stage) -> None:
    """A server that denies access, and proves that it is itself, is left alone until the daemon starts again."""
    stage.start()
    for server in stage.world.servers:
        server.behave(Behaviour(kiss=KissCode.DENY))
    stage.daemon.run(2 * HOUR)
    requests = [server.requests for server in stage.world.servers]
    stage.daemon.run(24 * HOUR)

    assert len(stage.exchange.times) == 1
    assert [server.requests for server in stage.world.servers] == requests
    assert stage.daemon.troubles() == ["the server denied us access (kiss code DENY) and answers no more"]


def test_a_forged_denial_is_not(stage: Stage) -> None:
    """A kiss that anybody could have sent does not end anything, while the true replies come too."""
    for server in stage.world.servers:
        server.nts = None
        server.behave(Behaviour(kiss=KissCode.DENY))
    stage.start()
    stage.daemon.run(HOUR)

    assert any("source ended" in line and "the reply is not authenticated" in line for line in stage.log)
    assert len(stage.exchange.times) > 2
    assert not any("denied us access" in line for line in stage.log)


def test_failures_are_shown(stage: Stage) -> None:
    """While no keys are to be had, the reason and the time of the next attempt are shown."""
    stage.exchange.trouble = "its certificate has expired"
    stage.start()
    stage.daemon.run(10)

    assert stage.daemon.troubles()[0].startswith(
        "key exchange with ntp.example: its certificate has expired; next attempt in "
    )


def test_what_is_left_is_used_when_no_keys_are_to_be_had(stage: Stage) -> None:
    """While no new keys are to be had, the cookies that are left are tried: perhaps the server finds its keys again."""
    stage.start()
    stage.daemon.run(HOUR)
    old = stage.exchange.keys
    stage.cut_keys()
    stage.exchange.trouble = "Connection refused"
    stage.daemon.run_until(lambda _: any("going on" in line for line in stage.log), 300)
    stage.exchange.keys = old
    stage.exchange.serve(stage.world.servers)
    stage.daemon.run(HOUR)

    assert stage.cookies() == [8]
    assert "key exchange with ntp.example: Connection refused; going on with the cookies that are left" in stage.log
    assert len(stage.exchange.times) > 1


@pytest.mark.lengthy
def test_left_cookies_come_to_an_end(stage: Stage) -> None:
    """A server that answers nothing while no keys are to be had costs the cookies that are left and no more."""
    stage.start()
    stage.daemon.run(HOUR)
    stage.exchange.trouble = "Connection refused"
    stage.cut_keys()
    stage.daemon.run(24 * HOUR)
    requests = stage.world.servers[0].requests
    stage.daemon.run(24 * HOUR)

    assert stage.world.servers[0].requests == requests
    assert "Connection refused" in stage.daemon.troubles()[0]


def test_a_restart_needs_no_exchange(stage: Stage, tmp_path: Path) -> None:
    """Keys and cookies are kept over a restart; the file is gone as soon as they are in use."""
    stage.start(directory=tmp_path)
    stage.daemon.run(HOUR)
    stage.daemon.service.stopService()
    kept = [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()]
    stage.daemon.service.startService()
    stage.daemon.run(HOUR)

    assert kept == [0o600]
    assert list(tmp_path.iterdir()) == []
    assert stage.cookies() == [8]
    assert len(stage.exchange.times) == 1


def test_another_process(stage: Stage, tmp_path: Path) -> None:
    """A new process, with a new spawner, takes the session up where the old one has left it."""
    service = stage.start(directory=tmp_path)
    stage.daemon.run(HOUR)
    service.disownServiceParent()
    stage.start(directory=tmp_path)
    stage.daemon.run(HOUR)

    assert stage.cookies() == [8]
    assert len(stage.exchange.times) == 1


def test_a_kept_session_that_the_server_has_forgotten(stage: Stage, tmp_path: Path) -> None:
    """When the server has lost its keys meanwhile, one exchange follows."""
    service = stage.start(directory=tmp_path)
    stage.daemon.run(HOUR)
    service.disownServiceParent()
    stage.cut_keys()
    stage.start(directory=tmp_path)
    stage.daemon.run(HOUR)

    assert stage.cookies() == [8]
    assert len(stage.exchange.times) == 2


def test_a_restart_without_a_directory(stage: Stage) -> None:
    """Without a state directory the session is at least kept in memory."""
    stage.start()
    stage.daemon.run(HOUR)
    stage.daemon.service.stopService()
    stage.daemon.service.startService()
    stage.daemon.run(HOUR)

    assert stage.cookies() == [8]
    assert len(stage.exchange.times) == 1


def test_no_secret_is_logged(stage: Stage, tmp_path: Path) -> None:
    """Nothing that is logged or shown in a life with all its troubles holds keys or cookies."""
    service = stage.start(directory=tmp_path)
    stage.daemon.run(HOUR)
    stage.cut_keys()
    stage.daemon.run(HOUR)
    service.disownServiceParent()
    (file,) = tmp_path.iterdir()
    secrets = [word for word in file.read_text().split('"') if len(word) >= 64 and word.isalnum()]
    stage.start(directory=tmp_path)
    stage.exchange.trouble = "Connection refused"
    stage.cut_keys()
    stage.daemon.run(HOUR)
    shown = "\n".join([*stage.log, repr(stage.daemon.snapshot()), repr(service.spawner)])

    assert len(secrets) >= 10
    assert not [secret for secret in secrets if secret in shown or repr(bytes.fromhex(secret))[2:-1] in shown]


# a clock that is behind


def test_the_time_is_noted(stage: Stage, tmp_path: Path) -> None:
    """While the system's clock is right, the time is noted every ten minutes and at the end."""
    service = stage.start(directory=tmp_path, trusting=True)
    stage.daemon.run(601)
    first = read_time(str(tmp_path))
    (tmp_path / "last-known-time").unlink()
    service.disownServiceParent()
    last = read_time(str(tmp_path))

    assert first is not None
    assert last is not None
    assert abs(datetime.now(UTC) - last) < timedelta(minutes=1)
    assert stage.world.reactor.getDelayedCalls() != []


def test_the_time_of_a_virtual_clock_is_not_noted(stage: Stage, tmp_path: Path) -> None:
    """Only who keeps the system's clock knows whether it is right."""
    stage.world.clock.control = "virtual"
    stage.start(directory=tmp_path, trusting=True)
    stage.daemon.run(HOUR)

    assert read_time(str(tmp_path)) is None


def test_certificates_are_judged_by_the_last_known_time(stage: Stage, tmp_path: Path) -> None:
    """A clock before the last known time is certainly behind: that time is used instead, and it is said."""
    known = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1000)
    write_time(str(tmp_path), known)
    stage.start(directory=tmp_path, trusting=True)
    stage.daemon.run(1)

    assert stage.exchange.moments == [known]
    assert [line for line in stage.log if "the clock is behind the last known time" in line]


@pytest.mark.parametrize(("days", "trusting"), [(-1, True), (1000, False)])
def test_otherwise_the_clock_counts(stage: Stage, tmp_path: Path, days: int, trusting: bool) -> None:
    """A clock after the last known time may be right, and who has not asked for it gets no other time."""
    write_time(str(tmp_path), datetime.now(UTC) + timedelta(days=days))
    stage.start(directory=tmp_path, trusting=trusting)
    stage.daemon.run(1)

    assert stage.exchange.moments == [None]


# ten thousand failures


class StubSystem:
    """What a spawner and its service need of the system."""

    state_directory = None

    def new_spawner_id(self) -> SpawnerId:
        """Give an id."""
        return SpawnerId(1)

    def randbytes(self, count: int) -> bytes:
        """Give octets in the middle: hardly any jitter."""
        return bytes([127] * count)


@pytest.mark.nightly
def test_ten_thousand_failures_take_no_memory() -> None:
    """A server that fails for months, in words that change, is asked every 17 minutes and leaves nothing behind."""
    attempts = 0

    async def fail(*arguments: Any, **keywords: Any) -> Any:
        nonlocal attempts
        attempts += 1
        raise KeyExchangeError(f"failure number {attempts}")

    clock = Clock()
    spawner = NTSSpawner(NTSConfiguration(ADDRESS, LIMITS, Trust()), StubSystem(), clock, fail)  # type: ignore[arg-type]
    service: Any = SpawnerService(spawner, StubSystem(), clock, "nts")  # type: ignore[arg-type]
    service.startService()

    def run(count: int) -> int:
        while attempts < count:
            clock.advance(clock.getDelayedCalls()[0].getTime() - clock.seconds())
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = run(1000)
        growth = run(10_000) - before
    finally:
        tracemalloc.stop()
    service.stopService()

    assert growth < 50_000
    assert clock.seconds() > 10_000 * 900
    assert clock.getDelayedCalls() == []

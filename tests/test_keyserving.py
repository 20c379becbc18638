"""The daemon gives keys, keeps its own, and answers with them."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.threads import deferToThread

from ntptwist.config.loader import loads
from ntptwist.config.model import Config
from ntptwist.errors import KeyExchangeError
from ntptwist.kernel.clock import ObservingClock
from ntptwist.kernel.timex import RealSystem
from ntptwist.keyserving import KEY_FILE, KeyServing
from ntptwist.nts.exchange import KeyExchangeResult
from ntptwist.nts.packet import ClientProtection
from ntptwist.ntske.client import exchange_keys
from ntptwist.ntske.tls import Trust
from ntptwist.observe.screens import exchanging
from ntptwist.registry import find_driver
from ntptwist.service import Daemon, make_service
from ntptwist.wire.header import Header, Mode
from ntptwist.wire.message import Message
from tests.ntske.certificates import Authority

HOST = "127.0.0.1"


def free_port(kind: socket.SocketKind) -> int:
    """Give a port that nobody has at the moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Host:
    """A machine that serves time and gives keys."""

    def __init__(self, directory: Path, extra: str = "") -> None:
        self.authority = Authority.make()
        made = self.authority.certify(HOST)
        (directory / "chain.pem").write_bytes(made.pem)
        (directory / "key.pem").write_bytes(made.key_pem)
        (directory / "key.pem").chmod(0o600)
        self.key_file = directory / KEY_FILE
        self.ntp_port = free_port(socket.SOCK_DGRAM)
        self.exchange_port = free_port(socket.SOCK_STREAM)
        self.text = f"""
            [clock]
            control = "observe"
            [synchronization]
            local-stratum = 3
            [state]
            directory = "{directory}"
            [control]
            directory = "{directory}"
            [[server]]
            listen = "{HOST}:{self.ntp_port}"
            require-nts = true
            [[nts-ke-server]]
            listen = "{HOST}:{self.exchange_port}"
            certificate-chain-path = "{directory}/chain.pem"
            private-key-path = "{directory}/key.pem"
            ntp-port = {self.ntp_port}
            {extra}
        """

    @property
    def config(self) -> Config:
        """What its file says."""
        return loads(self.text, find_driver, "host.toml")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Daemon]:
        """Run the daemon."""
        daemon = make_service(self.config, reactor, read=lambda: self.config)
        try:
            daemon.privilegedStartService()
            daemon.startService()
            yield daemon
        finally:
            await maybeDeferred(daemon.stopService)

    async def keys(self) -> KeyExchangeResult:
        """Make a key exchange."""
        return await exchange_keys(reactor, HOST, self.exchange_port, Trust(self.authority.pem))

    async def ask(self, session: KeyExchangeResult, cookie: int) -> str:
        """Make a request with one of the cookies, and say what came."""
        client = ClientProtection(session.keys, [session.cookies[cookie]], os.urandom)
        request = client.seal(Header(mode=Mode.CLIENT, transmit_timestamp=1).serialize())
        reply = await deferToThread(self._send, request)
        message = Message.parse(reply)
        flaw = client.flaw(reply, message)
        return flaw or client.spent or f"stratum {message.header.stratum}, {client.cookies} cookies"

    def _send(self, request: bytes) -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5.0)
            client.connect((HOST, self.ntp_port))
            client.send(request)
            return client.recv(2048)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Give such a machine."""
    return Host(tmp_path)


async def test_from_the_key_exchange_to_the_time(host: Host) -> None:
    """A client that exchanges keys with the daemon gets authenticated time from it, after a restart too."""
    async with host.running():
        session = await host.keys()
        first = await host.ask(session, 0)
    async with host.running():
        second = await host.ask(session, 1)

    assert session.port == host.ntp_port
    assert len(session.cookies) == 8
    assert [first, second] == ["stratum 3, 5 cookies", "stratum 3, 5 cookies"]
    assert host.key_file.stat().st_mode & 0o777 == 0o600


async def test_keys_that_are_lost(host: Host) -> None:
    """When the file is gone after a stop the daemon has new keys, and says so to the clients of the old ones."""
    async with host.running():
        session = await host.keys()
    host.key_file.unlink()
    async with host.running():
        answer = await host.ask(session, 0)

    assert answer == "the server can't open our cookies (kiss code NTSN): new keys are needed"


async def test_it_follows(tmp_path: Path) -> None:
    """A second host that follows the first one's file answers the first one's clients."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = Host(tmp_path / "one")
    two = Host(tmp_path / "two", f"[keyset]\nfollow = true\nkey-storage-path = '{one.key_file}'")
    async with one.running():
        session = await one.keys()
        async with two.running():
            answer = await two.ask(session, 0)

    assert answer == "stratum 3, 5 cookies"
    assert not two.key_file.exists()


async def test_what_is_shown(host: Host) -> None:
    """The status tells how connections to the key exchange ended."""
    async with host.running() as daemon:
        await host.keys()
        (serving,) = (child for child in daemon.services if isinstance(child, KeyServing))
        (shown,) = serving.observe()

    assert (shown.address, shown.trouble) == (f"{HOST}:{host.exchange_port}", None)
    assert shown.outcomes["given"] == 1
    assert sum(shown.outcomes.values()) == 1


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Take a port."""
    with socket.socket() as other:
        other.bind((HOST, port))
        other.listen()
        yield


async def test_a_port_that_is_taken(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """A daemon whose port for key exchanges is taken ends with one line."""
    with taken(host.exchange_port), pytest.raises(SystemExit) as caught:
        async with host.running():
            pass

    assert caught.value.code == 69
    assert capsys.readouterr().err == (
        f"ntptwist: can't serve NTS keys on {HOST}:{host.exchange_port}: Address already in use\n"
    )


async def test_a_certificate_that_vanished(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """A certificate that was good when the file was checked and is gone at the start ends the daemon with one line."""
    daemon = make_service(host.config, reactor)
    (host.key_file.parent / "chain.pem").write_bytes(b"")
    with pytest.raises(SystemExit):
        daemon.privilegedStartService()
    await maybeDeferred(daemon.stopService)

    assert "can't serve NTS keys on" in capsys.readouterr().err


def test_without_a_state_directory(host: Host) -> None:
    """Without a place for a file the keys end with the process."""
    config = replace(host.config, state_directory=None)
    KeyServing(config, ObservingClock(RealSystem()), Random(1).randbytes, reactor)

    assert not host.key_file.exists()


def test_the_lines_of_a_key_server() -> None:
    """A key exchange server has a line of its own, with what went wrong in words."""
    outcomes = dict.fromkeys(
        ("given", "refused", "crowded", "crowded_address", "tls", "protocol", "too_long", "too_slow", "closed"), 0
    )
    row: dict[str, Any] = {"address": "[::]:4460", "trouble": None, "outcomes": outcomes}

    assert exchanging(row) == "0 of 0 connections have got keys"
    outcomes.update(given=5, tls=2, too_slow=1)
    assert exchanging(row) == "5 of 8 connections have got keys, 2 with an error of TLS, 1 too slow"
    assert exchanging({**row, "trouble": "Address already in use"}) == "not served: Address already in use"


async def test_a_reload_renews_the_certificate_and_keeps_the_keys(host: Host, tmp_path: Path) -> None:
    """Cookies from before a reload are good after it, a new certificate is in use, and another server gives keys."""
    port = free_port(socket.SOCK_STREAM)
    async with host.running() as daemon:
        assert daemon.control is not None
        session = await host.keys()
        made = host.authority.certify(HOST)
        (tmp_path / "chain.pem").write_bytes(made.pem)
        (tmp_path / "key.pem").write_bytes(made.key_pem)
        again = host.text[host.text.index("[[nts-ke-server]]") :].replace(str(host.exchange_port), str(port))
        host.text += again
        report = await daemon.control.reload()
        nothing = await daemon.control.reload()
        answer = await host.ask(session, 0)
        first = host.exchange_port
        host.exchange_port = port
        other = await host.ask(await host.keys(), 0)
        host.text = host.text.replace(again, "")
        fewer = await daemon.control.reload()
        with pytest.raises(KeyExchangeError):
            await host.keys()

    assert report.problems == ()
    assert report.changes == (
        f"key exchange server {HOST}:{port} is new",
        f"key exchange server {HOST}:{first}: another certificate",
    )
    assert nothing.changes == ()
    assert answer.startswith("stratum 3, ")
    assert other.startswith("stratum 3, ")
    assert fewer.changes == (f"key exchange server {HOST}:{port} goes",)


async def test_a_certificate_that_can_not_be_used(host: Host, tmp_path: Path) -> None:
    """A reload is refused as a whole, with the file, and the old certificate stays in use."""
    async with host.running() as daemon:
        assert daemon.control is not None
        await host.keys()
        (tmp_path / "chain.pem").write_text("nothing")
        report = await daemon.control.reload()
        session = await host.keys()

    assert len(report.problems) == 1
    assert f"{tmp_path}/chain.pem" in report.problems[0]
    assert len(session.cookies) == 8

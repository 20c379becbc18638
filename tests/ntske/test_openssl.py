"""What ``openssl s_client``, the operator's tool, sees of the key exchange server."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread

from ntptwist.nts.certificate import ServerIdentity
from ntptwist.ntske.tls import server_context
from tests.ntske.certificates import Authority
from tests.ntske.conftest import HOST, StartServer

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


async def s_client(port: int, *options: str) -> str:
    """Connect, end at once, and give what it says."""
    command = ["openssl", "s_client", "-connect", f"{HOST}:{port}", *options]
    done = await deferToThread(
        subprocess.run, command, input="", capture_output=True, text=True, timeout=8.0, check=False
    )
    return done.stdout + done.stderr


async def test_the_whole_chain(start_server: StartServer, authority: Authority, tmp_path: Path) -> None:
    """It sees the server's certificate and the one between it and the authority, and finds both good."""
    intermediate = authority.delegate()
    leaf = intermediate.certify(HOST)
    made = server_context(ServerIdentity((leaf.certificate, intermediate.certificate), leaf.key))
    server = start_server(context=lambda: made)
    trusted = tmp_path / "authority.pem"
    trusted.write_bytes(authority.pem)
    seen = await s_client(
        server.port, "-alpn", "ntske/1", "-tls1_3", "-showcerts", "-CAfile", str(trusted), "-verify_ip", HOST
    )

    assert seen.count("BEGIN CERTIFICATE") >= 2
    assert "Verify return code: 0 (ok)" in seen
    assert "ALPN protocol: ntske/1" in seen
    assert "TLSv1.3" in seen


async def test_tls_1_2(start_server: StartServer) -> None:
    """It is refused with TLS 1.2."""
    assert "alert protocol version" in await s_client(start_server().port, "-alpn", "ntske/1", "-tls1_2")


async def test_another_protocol(start_server: StartServer) -> None:
    """It is refused with another ALPN."""
    assert "alert no application protocol" in await s_client(start_server().port, "-alpn", "h2", "-tls1_3")

"""A client and a server that share keys, for tests of protected packets."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from ntptwist.errors import WireError
from ntptwist.identifiers import ReferenceId
from ntptwist.nts.aead import KEY_SIZES, Algorithm, SessionKeys
from ntptwist.nts.keyset import KeySet
from ntptwist.nts.packet import ClientProtection
from ntptwist.nts.responder import ServerProtection
from ntptwist.wire.extension import ExtensionField
from ntptwist.wire.header import Header, Mode
from ntptwist.wire.message import Message

REQUEST = Header(mode=Mode.CLIENT, transmit_timestamp=0x0123456789ABCDEF)
REPLY = Header(mode=Mode.SERVER, stratum=1, origin_timestamp=0x0123456789ABCDEF, transmit_timestamp=1)
NTSN = replace(REPLY, stratum=0, reference_id=ReferenceId(b"NTSN"))


def session(algorithm: Algorithm = Algorithm.AES_SIV_CMAC_256, seed: int = 1) -> SessionKeys:
    """Give the keys of a session."""
    random = Random(seed)
    return SessionKeys(algorithm, random.randbytes(KEY_SIZES[algorithm]), random.randbytes(KEY_SIZES[algorithm]))


class Pair:
    """A client with eight cookies of the server's."""

    def __init__(self, algorithm: Algorithm = Algorithm.AES_SIV_CMAC_256, cookies: int = 8) -> None:
        random = Random(2)
        self.keys = session(algorithm)
        self.keyset = KeySet.fresh(random.randbytes)
        self.server = ServerProtection(self.keyset, random.randbytes)
        self.client = ClientProtection(
            self.keys, [self.keyset.make_cookies(self.keys, 1)[0] for _ in range(cookies)], Random(3).randbytes
        )

    def request(self) -> bytes:
        """Give the client's next request."""
        return self.client.seal(REQUEST.serialize())

    def reply(self, request: bytes, header: Header = REPLY) -> bytes:
        """Give the server's reply."""
        read = self.server.read(request)
        assert read is not None
        return self.server.seal(header.serialize(), read)

    def flaw(self, reply: bytes) -> str | None:
        """Give what is wrong with a reply: it is no packet, or the client finds something."""
        try:
            message = Message.parse(reply)
        except WireError as error:
            return error.reason
        return self.client.flaw(reply, message)

    def exchange(self) -> str | None:
        """Make a request and give what the client finds wrong with the reply."""
        return self.flaw(self.reply(self.request()))


def fields_of(packet: bytes) -> list[tuple[int, int]]:
    """Give type and size of the fields of a packet."""
    return [(field.type, field.size) for field in Message.parse(packet).fields]


def kiss_of(request: bytes, header: Header = NTSN) -> bytes:
    """Give what a server, or anybody who sees the request, says of a cookie that does not open."""
    unique_id = Message.parse(request).fields[0]
    return Message(header, (unique_id,)).serialize()


def without_unique_id(packet: bytes) -> ExtensionField:
    """Give an unique identifier field as in a packet, with another content."""
    field = Message.parse(packet).fields[0]
    return ExtensionField(field.type, bytes(len(field.body)))

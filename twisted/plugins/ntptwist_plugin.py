"""twistd plugin and built-in source drivers: names and strings only, so that ``twistd --help`` stays fast."""

from twisted.application.service import ServiceMaker

from ntptwist.registry import SourceDriver

ntptwist = ServiceMaker("ntptwist", "ntptwist.tap", "An NTP daemon that tells you why", "ntptwist")

server = SourceDriver("server", "one NTP server, by name or address", "ntptwist.spawners.standard.StandardSpawner")
pool = SourceDriver(
    "pool", "several servers of one name, replaced when they are of no use", "ntptwist.spawners.pool.PoolSpawner"
)

"""twistd plugin and built-in source drivers: names and strings only, so that ``twistd --help`` stays fast."""

from twisted.application.service import ServiceMaker

from ntptwist.registry import SourceDriver

ntptwist = ServiceMaker("ntptwist", "ntptwist.tap", "An NTP daemon that tells you why", "ntptwist")

server = SourceDriver("server", "one NTP server, by name or address", "ntptwist.spawners.standard.StandardSpawner")
nts = SourceDriver("nts", "one NTP server, authenticated by Network Time Security", "ntptwist.spawners.nts.NTSSpawner")
pool = SourceDriver(
    "pool", "several servers of one name, replaced when they are of no use", "ntptwist.spawners.pool.PoolSpawner"
)
sock = SourceDriver("sock", "samples that gpsd writes to a socket", "ntptwist.spawners.sock.SockSpawner")
pps = SourceDriver("pps", "the pulse of a /dev/pps device", "ntptwist.spawners.pps.PPSSpawner")
gpsd = SourceDriver("gpsd", "serial time and pulse of a receiver that gpsd reads", "ntptwist.spawners.gpsd.GpsdSpawner")
shm = SourceDriver("shm", "samples in NTP's shared memory", "ntptwist.drivers.shm.SharedMemorySpawner")

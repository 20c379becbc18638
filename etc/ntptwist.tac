"""
Run the daemon from a tac file: ``twistd -ny etc/ntptwist.tac``.

The configuration is the file that NTPTWIST_CONFIG names, else /etc/ntptwist/ntptwist.toml.
"""

import os

from twisted.application.service import Application

from ntptwist.tap import Options, makeService

options = Options()
options.parseOptions(["--config", os.environ["NTPTWIST_CONFIG"]] if "NTPTWIST_CONFIG" in os.environ else [])
application = Application("ntptwist")
makeService(options).setServiceParent(application)

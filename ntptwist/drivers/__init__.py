"""Drivers that are written against ``ntptwist.driver`` alone, as drivers from outside are."""

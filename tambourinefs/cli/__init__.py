"""The command line. It speaks to Bombshell like anybody else; the daemons' commands hand over to processes/."""

from tambourinefs import deferred, standins

# Before any command imports anything.
deferred.defer()
standins.stand_in()

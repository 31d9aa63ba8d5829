"""The command line. It speaks to Bombshell like anybody else; the daemons' commands hand over to processes/."""

from tambourinefs import deferred

deferred.defer()  # before any command imports anything

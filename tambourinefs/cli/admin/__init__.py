"""Commands of `tambourine` for this host: installing, joining, configuration, certificates, and the daemons' programs.

Options only: what they do is in install/, doctor/ and processes/.
"""

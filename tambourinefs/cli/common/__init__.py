"""What `tambourine` and `kubectl tambourine` share: goals and verdicts, text, exit codes, lazily loaded commands.

Nothing here knows where a report comes from: no Bombshell, no API server.
"""

"""The agent: reads manifests from the silo, drives systemd over D-Bus, and says what it sees. It never writes the silo."""

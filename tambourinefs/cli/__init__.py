"""The command line. It speaks to Bombshell as any client does; the daemons' commands hand over to processes/."""

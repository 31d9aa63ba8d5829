"""`kubectl tambourine`: the commands of a person at a cluster. One module a command, loaded when it is used."""

# Tambourine. `make test` and `make demo` set up all that they need (Debian 12 or newer; root, or sudo where you are not root).
SHELL := /bin/sh
SUDO := $(shell test "$$(id -u)" = 0 || command -v sudo || echo needs-root-or-sudo)
TOX := .venv/bin/tox run --quiet
ARGS ?=
SEED ?= $(shell date +%s)

.PHONY: help test lint unit functional e2e cluster soak test-fresh test-machine deb demo demo-machine demo-node proto reference bench lab-down clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

test: bootstrap  ## every lane; the first run takes some minutes to install and build
	$(SUDO) $(TOX)

lint unit functional e2e cluster: bootstrap
	$(SUDO) $(TOX) -e $@ -- $(ARGS)
lint:        ## ruff, mypy, import-linter, vulture, shellcheck, systemd-analyze
unit:        ## decisions (no root needed, under 20 s)
functional:  ## this kernel: mounts, sockets, D-Bus
e2e:         ## lab hosts: the whole chain
cluster:     ## a real control plane and lab hosts (the first time builds it: five minutes)

soak: bootstrap  ## random kills and long sequences; says its seed, writes soak.xml (SEED=N: that seed)
	$(SUDO) env TAMBOURINE_SEED=$(SEED) $(TOX) -e soak -- $(ARGS)

deb:  ## the Debian packages, in dist/ (tambourine, tambourine-dkms)
	$(SUDO) debian/build

demo: bootstrap  ## the whole chain: control plane, two hosts, kubectl (KEEP=1: keep it)
	$(SUDO) env HERE=$(HERE) KEEP=$(KEEP) tests/demo

demo-node: bootstrap  ## one host without a cluster (HERE=1: on this machine; KEEP=1: keep it)
	$(SUDO) env HERE=$(HERE) KEEP=$(KEEP) tests/demo-node

test-fresh: bootstrap-machine  ## bootstrap, lint, unit, functional and demo-node on a bare Debian, in a container (RELEASE=trixie)
	$(SUDO) python3 -m tests.fresh $(RELEASE)

test-machine: bootstrap-machine  ## a whole Debian machine under QEMU: boot, power cut, removal (the first time builds its disk)
	$(SUDO) $(TOX) -e machine -- $(ARGS)

demo-machine: bootstrap-machine  ## the product on that machine, and a shell there
	$(SUDO) $(TOX) -e machine --notest
	$(SUDO) env PYTHONPATH=. .tox/machine/bin/python -m tests.machine

proto: bootstrap  ## tambourinefs/rpc/*_pb2*, from proto/
	$(SUDO) $(TOX) -e lint --notest
	$(SUDO) .tox/lint/bin/python proto/generate.py

reference: bootstrap  ## docs/reference.md anew, from k8s/crds
	$(SUDO) $(TOX) -e unit --notest
	$(SUDO) .tox/unit/bin/python docs/reference.py

bench: bootstrap  ## measure against what a user would use instead; writes bench.json
	$(SUDO) $(TOX) -e bench -- $(ARGS)

lab-down: ## take down the default lab of this checkout
	$(SUDO) tests/lab/lab down

clean:  ## forget environments and caches of this checkout
	rm -rf .venv .tox build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

.PHONY: bootstrap bootstrap-machine
bootstrap:
	@$(SUDO) tests/bootstrap
bootstrap-machine: bootstrap
	@$(SUDO) tests/machine/bootstrap

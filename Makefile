# Two commands matter: `make hourly` runs the maintenance, `make test` proves it.
# Each does all of its own set-up; the machine needs Python >= 3.11, git and make.
# Written for GNU make 3.81 and later. Every path is relative, so that the checkout may lie anywhere.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.SUFFIXES:

# PYTHON=python3.12 chooses the interpreter behind .venv. Without it, an intact .venv is kept and a new one uses python3.
PYTHON ?=
BIN := .venv/bin
COLLECTION := collections/ansible_collections/vtchat/maintenance

# A world-writable folder, or another ansible.cfg in the home, must not change what runs.
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

# Ansible refuses a locale that is not UTF-8 or not installed; servers of the demo and the tests sort the same everywhere.
ifeq ($(shell uname -s),Linux)
export LC_ALL := C.UTF-8
endif

# INVENTORY=production, CHECK=1 and ARGS='...' count as arguments of make only. From the environment they are refused,
# because a variable lying about must neither choose a database nor turn a real run into something else.
OPTIONS := INVENTORY CHECK ARGS
unexport $(OPTIONS)
from_environment = $(foreach name,$(OPTIONS),$(if $(findstring environment,$(origin $(name))),$(name)))
inventory = inventories/$(or $(strip $(INVENTORY)),demo)

# $(call playbook,name,arguments)
define playbook
@test -z "$(strip $(from_environment))" || { echo "make: write $(strip $(from_environment)) after make; it came from the environment" >&2; exit 2; }
@test -e "$(inventory)" || { echo "make: there is no $(inventory)" >&2; exit 2; }
@$(BIN)/ansible-playbook -i "$(inventory)" "playbooks/$(1).yml" $(if $(filter-out 0 no false,$(CHECK)),--check --diff) $(2) $(ARGS)
endef

stage = @printf '\n=== %s ===\n' '$(1)'

# Tests start make themselves: they must not inherit the options of this one.
clean_env := env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-13s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  Options, after make: INVENTORY=production  CHECK=1 (show, change nothing)  ARGS='-v'  PYTHON=python3.12"

.PHONY: hourly
hourly: setup ## Hourly maintenance; the demo database unless INVENTORY= says otherwise
	$(call playbook,hourly)

.PHONY: provision
provision: setup ## Install functions, views and indexes into the database
	$(call playbook,provision)

.PHONY: stop
stop: INVENTORY := demo
stop: setup ## Stop the embedded server of the demo
	$(call playbook,embedded,-e embedded_postgres_state=stopped)

.PHONY: setup
setup: ## Make or update .venv; does nothing when it is up to date
	@PYTHON="$(PYTHON)" sh requirements/setup.sh runtime

.PHONY: setup-dev
setup-dev: ## The same, with the tools for the tests
	@PYTHON="$(PYTHON)" sh requirements/setup.sh dev

.PHONY: test
test: lint test-python sanity molecule ## Everything that CI runs
	$(call stage,all stages passed)

.PHONY: test-fast
test-fast: setup-dev ## Unit tests only, no database: seconds
	$(call stage,unit tests)
	$(clean_env) $(BIN)/python -m pytest $(COLLECTION)/tests/unit $(ARGS)

# One invocation for all; the tests of a file stay in one worker, in their order. Many wait for something, so that two processors
# are enough for four workers.
.PHONY: test-python
test-python: setup-dev ## Unit, integration and end-to-end tests
	$(call stage,unit$(comma) integration and end-to-end tests)
	$(clean_env) $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: lint
lint: setup-dev ## ruff, mypy, yamllint, ansible-lint
	$(call stage,ruff)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(call stage,mypy)
	$(BIN)/mypy
	$(call stage,yamllint)
	$(BIN)/yamllint --strict .
	$(call stage,ansible-lint)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint --offline --strict

.PHONY: sanity
sanity: setup-dev ## ansible-test sanity on the collection
	$(call stage,ansible-test sanity)
	$(clean_env) sh tests/sanity.sh $(ARGS)

.PHONY: molecule
molecule: setup-dev ## Scenarios of the roles, no containers
	$(call stage,molecule)
	$(clean_env) sh tests/molecule.sh $(ARGS)

.PHONY: bench
bench: setup-dev ## Measure, and print ratios
	$(clean_env) $(BIN)/python tests/bench $(ARGS)

.PHONY: lock
lock: ## Renew requirements/*.txt from requirements/*.in
	@PYTHON="$(PYTHON)" sh requirements/lock.sh

.PHONY: clean
clean: ## Remove .venv and caches; the demo database stays
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .ansible $(COLLECTION)/tests/output
	find collections playbooks roles tests -name __pycache__ -type d -prune -exec rm -rf {} +

comma := ,

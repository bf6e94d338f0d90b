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

# Which target takes which option. A new target that takes one is listed here; everything else that is typed is refused at the
# end of this file, before anything happens.
PLAYS := hourly weekly due health report alerts maintain provision secrets
TAKES_INVENTORY := $(PLAYS)
TAKES_LIMIT := $(PLAYS)
TAKES_CHECK := $(PLAYS)
TAKES_ARGS := $(PLAYS) demo-history stop test-fast test-python test-versions sanity molecule bench
TAKES_PLAN := maintain
TAKES_ROTATE := secrets
TAKES_DEPLOY := secrets
TAKES_TAG := build
TAKES_CORE := setup-dev test-versions
TAKES_PYTHON = $(targets)
OPTIONS := INVENTORY LIMIT CHECK ARGS PLAN ROTATE DEPLOY TAG CORE PYTHON
unexport $(filter-out PYTHON,$(OPTIONS))

# A name below inventories/, or the path of one that is elsewhere.
inventory = $(if $(findstring /,$(INVENTORY)),,inventories/)$(or $(strip $(INVENTORY)),demo)
yes = $(filter 1 yes true,$(1))

# Somebody who gives a connection and no inventory means his own database. Only names are looked at: `value` keeps make from
# reading a $ in a password.
CONNECTIONS := DATABASE_URL DEVELOPMENT_DATABASE_URL PRODUCTION_DATABASE_URL PGHOST PGHOSTADDR PGSERVICE
ignored = $(if $(strip $(INVENTORY)),,$(foreach name,$(CONNECTIONS),$(if $(value $(name)),$(name))))

# $(call playbook,name,arguments)
define playbook
@test -z "$(filter -l%,$(words_of_flags))" || { echo "make: -l is an option of make; write ARGS='--limit ...'" >&2; exit 2; }
@test -z "$(strip $(ignored))" || echo "make: ignored $(strip $(ignored)) of the environment, as this is the demo; for a database of your own: DATABASE_URL=... make $@ INVENTORY=production" >&2
@$(BIN)/ansible-playbook -i "$(inventory)" "playbooks/$(1).yml" $(if $(LIMIT),--limit "$(LIMIT)") $(if $(call yes,$(CHECK)),--check --diff) $(2) $(ARGS)
endef

stage = @printf '\n=== %s ===\n' '$(1)'

# Tests start make themselves: they must not inherit the options of this one. What they break on purpose is not for GitHub to show.
# Where no bytecode is kept, each of their processes compiles everything anew, and that is a tenth of their time.
clean_env := env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u PYTHONDONTWRITEBYTECODE -u GITHUB_ACTIONS -u GITHUB_STEP_SUMMARY -u GITHUB_OUTPUT

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-13s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  Options, after the target: INVENTORY=production  LIMIT=host  CHECK=1 (show, change nothing)  ARGS='-v'  PYTHON=python3.12"

.PHONY: hourly
hourly: setup ## Hourly maintenance; the demo database unless INVENTORY= says otherwise
	$(call playbook,hourly)

.PHONY: weekly
weekly: setup ## Weekly maintenance: vacuum and reindex what needs it
	$(call playbook,weekly)

.PHONY: due
due: setup ## The plans whose time has come, by what the history says
	$(call playbook,due)

.PHONY: maintain
maintain: setup ## Any plan: PLAN=name
	$(call playbook,$(if $(wildcard playbooks/$(PLAN).yml),$(PLAN),maintain),$(if $(wildcard playbooks/$(PLAN).yml),,-e "maintenance_plan='$(PLAN)'"))

.PHONY: health
health: setup ## Whether the database is well
	$(call playbook,health)

.PHONY: report
report: setup ## The same and more as a page to look at: report/index.html
	$(call playbook,report)

.PHONY: report-link
report-link: ## On GitHub: REPORT_URL, the address of the report, into the summary of the job
	@sh .github/report-link.sh

.PHONY: alerts
alerts: setup ## Health, and tell those who want to know when something has changed
	$(call playbook,alerts)

.PHONY: secrets
secrets: setup ## Secrets of GitHub and Fly; ROTATE=1 new values for what both have, DEPLOY=1 restarts the app
	$(call playbook,secrets,$(if $(call yes,$(ROTATE)),-e rotate=true) $(if $(call yes,$(DEPLOY)),-e deploy=true))

.PHONY: provision
provision: setup ## Install functions, views and indexes into the database
	$(call playbook,provision)

.PHONY: demo-history
demo-history: INVENTORY := demo
demo-history: setup ## Fill the demo's history with an invented quarter, for a look at the report
	$(call playbook,examples)

.PHONY: stop
stop: INVENTORY := demo
stop: setup ## Stop the embedded server of the demo
	$(call playbook,embedded,-e embedded_postgres_state=stopped)

.PHONY: setup
setup: ## Make or update .venv; does nothing when it is up to date
	@PYTHON="$(PYTHON)" sh requirements/setup.sh runtime

.PHONY: setup-dev
setup-dev: ## The same, with the tools for the tests
	@PYTHON="$(PYTHON)" CORE="$(CORE)" sh requirements/setup.sh dev

# These use one processor each.
BESIDE := sanity galaxy molecule

.PHONY: test
test: lint test-python ## Everything that CI runs
	@$(clean_env) sh tests/beside.sh $(BESIDE)
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

.PHONY: test-versions
test-versions: setup-dev ## Of these, the plans on PostgreSQL 14 to 18
	$(call stage,plans on every major release)
	$(clean_env) $(BIN)/python -m pytest tests/versions $(ARGS)

.PHONY: ci
ci: ## What CI runs: the programs that tests use, then all tests
	.ci/run

.PHONY: packages
packages: ## Install the programs that tests use and PyPI does not have (Debian, Ubuntu)
	@sh tests/packages.sh

.PHONY: matrix
matrix: ## What CI is to run, for a matrix of GitHub Actions
	@python3 tests/matrix.py

.PHONY: build
build: setup ## The collection as a file in dist/; TAG=v1.2.3 must agree with galaxy.yml and the changelog
	@$(BIN)/python tests/release.py $(TAG)
	@$(BIN)/ansible-galaxy collection build $(COLLECTION) --output-path dist --force

.PHONY: lint
lint: setup-dev ## ruff, mypy, yamllint, ansible-lint, actionlint, zizmor
	$(call stage,ruff)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(call stage,mypy)
	$(BIN)/mypy
	$(call stage,yamllint)
	$(BIN)/yamllint --strict .
	$(call stage,ansible-lint)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint --offline --strict
	$(call stage,workflows)
	$(BIN)/actionlint -shellcheck= -pyflakes=
	$(BIN)/zizmor --quiet --offline --persona pedantic .github

.PHONY: sanity
sanity: setup-dev ## ansible-test sanity on the collection
	$(call stage,ansible-test sanity)
	$(clean_env) sh tests/sanity.sh $(ARGS)

.PHONY: galaxy
galaxy: setup-dev ## ansible-lint and galaxy-importer on the built collection
	$(call stage,the built collection)
	$(clean_env) sh tests/galaxy.sh

.PHONY: molecule
molecule: setup-dev ## Scenarios of the roles, no containers
	$(call stage,molecule)
	$(clean_env) sh tests/molecule.sh $(ARGS)

.PHONY: bench
bench: setup-dev ## Measure, and print ratios
	$(clean_env) $(BIN)/python tests/bench $(ARGS)

.PHONY: docs
docs: setup-dev ## Write the pages of docs/ that are made from the source
	PYTHONPATH=collections $(BIN)/python -m tests.documents

.PHONY: screenshots
screenshots: setup-dev ## Take the pictures of the report in docs/images anew
	$(clean_env) $(BIN)/python -m tests.screenshots

.PHONY: lock
lock: ## Renew requirements/*.txt from requirements/*.in
	@PYTHON="$(PYTHON)" sh requirements/lock.sh

.PHONY: clean
clean: ## Remove .venv and caches; the demo database stays
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .ansible dist $(COLLECTION)/tests/output
	find collections playbooks roles tests -name __pycache__ -type d -prune -exec rm -rf {} +

comma := ,
empty :=
space := $(empty) $(empty)
hash := \#
define newline


endef

# --- What was typed. Options of Ansible are none of make's, but make takes some of them for its own: --check for
# --check-symlink-times, -i for --ignore-errors. A mistyped variable, a second word or an empty value would be a run that nobody
# meant, so all of them are refused, for each target alike. Here at the end, so that completion in shells finds all targets.

targets := $(shell sed -n 's/^\([a-z][a-z-]*\):.*$(hash)$(hash) .*/\1/p' Makefile)
goals := $(or $(MAKECMDGOALS),help)
usage := the options are INVENTORY=production  CHECK=1  ARGS='-v'  PYTHON=python3.12
spelling_INVENTORY := INVENTORY=production
spelling_CHECK := CHECK=1
spelling_ARGS := ARGS='-v'
spelling_PYTHON := PYTHON=python3.12
spelling_PLAN := PLAN=hourly
spelling_ROTATE := ROTATE=1
spelling_DEPLOY := DEPLOY=1
spelling_TAG := TAG=v1.2.3
spelling_CORE := CORE=2.18

# The letters of make's own options, from the part of MAKEFLAGS before the variables: "sL -j2 -- INVENTORY=x" has s and L.
words_of_flags = $(subst /, ,$(firstword $(subst /--/, ,./$(subst $(space),/,$(strip $(MAKEFLAGS)))/)))
letters := $(filter-out --% -j% -l% -O% -I% -E% -o% -W%,$(word 2,$(words_of_flags)) $(filter -%,$(words_of_flags)))
refused_L := make takes --check for an option of its own and would change things: write CHECK=1
refused_n := -n and --dry-run print commands and check nothing: write CHECK=1
refused_t := -t does nothing here; options of ansible-playbook are written ARGS='...'
refused_q := -q does nothing here; options of ansible-playbook are written ARGS='...'
refused_i := -i makes make go on after errors: write INVENTORY=production
refused_e := -e lets the environment change this Makefile; options of ansible-playbook are written ARGS='...'
faults := $(foreach letter,L n t q i e,$(if $(findstring $(letter),$(letters)),$(newline)$(refused_$(letter))))

unknown := $(filter-out $(targets),$(goals))
faults := $(faults)$(if $(unknown),$(newline)there is no target $(unknown); there are $(targets))

# By origin, which is right whatever the values are. 4.3 and older list MAKEOVERRIDES itself nowhere, newer ones may.
typed := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
unknown := $(filter-out $(OPTIONS),$(typed))
faults := $(faults)$(if $(unknown),$(newline)there is no option $(unknown); $(usage). Everything else belongs into the environment$(comma) before make)
faults := $(faults)$(foreach name,$(filter $(OPTIONS),$(typed)),$(foreach goal,$(filter-out $(TAKES_$(name)),$(filter $(targets),$(goals))),$(newline)$(goal) does not take $(name)))

# These become words of a shell. A dollar sign would make make itself look for a variable, so the text is looked at as it was typed.
unquotable = $(strip $(foreach character,$$ ` " ' \,$(findstring $(character),$(value $(1))))$(if $(findstring $(newline),$(value $(1))),line break))
wrong := $(foreach name,INVENTORY LIMIT PLAN TAG CORE,$(if $(filter $(name),$(typed)),$(if $(call unquotable,$(name)),$(name))))
ifneq ($(strip $(wrong)),)
$(error nothing was done: $(strip $(wrong)) must have no $$, `, ", ', \ or line break in it)
endif

# From the environment they are refused where they would count: a variable lying about must not choose a database or make a
# check of a run. PYTHON may come from there.
stray = $(foreach name,$(filter-out PYTHON,$(OPTIONS)),$(if $(filter $(TAKES_$(name)),$(goals)),$(if $(findstring environment,$(origin $(name))),$(name))))
faults := $(faults)$(if $(strip $(stray)),$(newline)write $(strip $(stray)) after make; it came from the environment)

faults := $(faults)$(foreach name,INVENTORY CHECK PLAN CORE TAG,$(if $(filter $(name),$(typed)),$(if $(strip $($(name))),,$(newline)$(name) is empty; write $(spelling_$(name)) or nothing)))
faults := $(faults)$(foreach name,CHECK ROTATE DEPLOY,$(if $(filter $(name),$(typed)),$(if $(filter-out 1 yes true 0 no false,$($(name))),$(newline)$(name) is 1 or 0: write $(name)=1)))
faults := $(faults)$(if $(filter maintain,$(goals)),$(if $(PLAN),,$(newline)maintain needs the name of a plan: write PLAN=hourly))
faults := $(faults)$(if $(filter CORE,$(typed)),$(if $(wildcard requirements/core/$(CORE).txt),,$(newline)there is no ansible-core $(CORE) here; there are $(patsubst requirements/core/%.txt,%,$(wildcard requirements/core/*.txt))))
faults := $(faults)$(if $(filter INVENTORY,$(typed)),$(if $(filter 0 1,$(words $(INVENTORY))),$(if $(wildcard $(inventory)),,$(newline)there is no $(inventory); there are $(patsubst inventories/%/.,%,$(wildcard inventories/*/.))),$(newline)INVENTORY is one name))

# What the loops leave between and behind the sentences
squeezed = $(subst $(space)$(space),$(space),$(subst $(space)$(space),$(space),$(subst $(space)$(space),$(space),$(1))))
ifneq ($(strip $(faults)),)
$(error $(subst $(space)$(hash),,$(subst $(space)$(newline),$(newline),$(call squeezed,nothing was done $(faults) $(hash)))))
endif

# `make` alone lists what there is. Each part of the set-up is made again only when its lock file changes.
.DEFAULT_GOAL := help
.SHELLFLAGS := -eu -c
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
INSTALLER := .tools/install
SAM_ENVIRONMENT := .tools/sam
EMULATOR_ENVIRONMENT := .tools/emulator
# uv trusts only the certificates it carries unless told to trust the machine's, as pip does.
UV := UV_SYSTEM_CERTS=1 UV_NO_CONFIG=1 UV_LINK_MODE=copy $(INSTALLER)/bin/uv
export SAM_CLI_TELEMETRY := 0

.PHONY: help setup run test check build stack-tests up down destination pages lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: .venv/installed $(SAM_ENVIRONMENT)/installed $(EMULATOR_ENVIRONMENT)/installed ## install everything, from the lock files

run: setup ## run the main job on this machine and check what the destinations hold (PROFILES=10000 KEEP=)
	@.venv/bin/python -m local.demo $(if $(PROFILES),--profiles $(PROFILES)) $(if $(KEEP),--keep)

# What needs a stack waits most of the time, so the tests that need none run beside it. They give way to it, since some
# of it is held to seconds.
test: ## everything that CI checks
	@$(MAKE) -j2 -Oline check deployed

# One stack serves both, since deploying it takes longer than most of what is done with it.
.PHONY: deployed
deployed: setup build ## the main job with 1,000 profiles and the tests of the deployed stack, on one stack
	@status=0; $(MAKE) run PROFILES=1000 KEEP=1 && .venv/bin/pytest tests/stack || status=$$?; \
	$(MAKE) down; exit $$status

# The order of sets is part of what a seed of the simulation plays, so hashes of texts are fixed.
check: setup ## lint, types, template and the tests that need no stack
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	nice .venv/bin/mypy
	$(SAM_ENVIRONMENT)/bin/sam validate --lint
	rm -rf .local/coverage
	PYTHONHASHSEED=0 nice .venv/bin/coverage run -m pytest -n auto --dist worksteal --ignore tests/stack
	nice .venv/bin/coverage combine --quiet
	.venv/bin/coverage report
	PYTHONPATH=layers/relay:. nice .venv/bin/python -m tests.simulation --schedules 300

# The machines that check this project have one Python, and need no fast cold starts; a plain `sam build` insists on
# bytecode for the template's Runtime. The output says for which versions there is some.
build: setup ## what `sam deploy` takes to AWS (BYTECODE=3.13 fails where it could not be compiled)
	RELAY_LAYER_BYTECODE="$(BYTECODE)" $(SAM_ENVIRONMENT)/bin/sam build

# The tests use a running stack (`make up`) or start one; `down` takes away what an interrupted test run left.
stack-tests: setup ## the tests of the deployed stack, on this machine
	@was_up=$$(test -e .local/stack.json && echo yes || echo no); \
	status=0; .venv/bin/pytest tests/stack || status=$$?; \
	if [ $$was_up = no ]; then $(MAKE) down; fi; \
	exit $$status

.PHONY: bench-activecampaign bench-gainsight-px
BENCHMARK = PYTHONPATH=layers/relay:. .venv/bin/python -m local.benchmarks $(subst bench-,,$@) \
	$(if $(PROFILES),--profiles $(PROFILES)) $(if $(TIME_SCALE),--time-scale $(TIME_SCALE)) \
	$(if $(ROWS),--rows $(ROWS)) $(if $(FORMATS),--formats $(FORMATS)) \
	$(if $(ACCOUNT),--account $(ACCOUNT)) $(if $(JSON),--json)

bench-activecampaign: .venv/installed ## measure a full export (PROFILES=10000 TIME_SCALE=2.5 ACCOUNT=open JSON=)
	@$(BENCHMARK)

bench-gainsight-px: .venv/installed ## measure streamed membership changes (PROFILES=10000 TIME_SCALE=1 JSON=)
	@$(BENCHMARK)

.PHONY: bench-ingest bench-route bench-segment-file bench-database bench-pace bench-rejected
bench-ingest: .venv/installed ## measure how soon a webhook is answered (JSON=)
	@$(BENCHMARK)

bench-route: .venv/installed ## measure what it costs to merge changes (PROFILES=10000 JSON=)
	@$(BENCHMARK)

bench-segment-file: .venv/installed ## measure imports of segment files (ROWS=20000 FORMATS="csv ndjson parquet gzip" JSON=)
	@$(BENCHMARK)

bench-database: .venv/installed ## measure what an item costs on its way to DynamoDB, against boto3 (JSON=)
	@$(BENCHMARK)

bench-pace: .venv/installed ## measure how far a vendor's calls a second are used, and what pacing costs (JSON=)
	@$(BENCHMARK)

bench-rejected: .venv/installed ## measure how long it takes to list who was rejected (PROFILES=10000 JSON=)
	@$(BENCHMARK)

up: setup ## start the stack, the sandboxes and something to try here, and leave them running
	@.venv/bin/python -m local.stack up
	@.venv/bin/python -m local.samples

# Needs nothing that was installed, so that it works on a fresh clone, and after half of a `make clean`.
down: ## stop what `make up` started
	@$(PYTHON) -m local.stack down

# local/live/access.py says what they need; credentials come from the environment, never from the command line.
# 0: everything fits our reading, 1: something does not, 2: it could not run; make itself shows that number and ends with 2.
.PHONY: smoke-activecampaign smoke-gainsight-px
smoke-activecampaign: .venv/installed ## prove our reading on a real account: LIST=12 EMAIL_DOMAIN=example.com
	@PYTHONPATH=layers/relay:. .venv/bin/python -m local.live activecampaign

smoke-gainsight-px: .venv/installed ## prove our reading on a real subscription: IDENTIFY_ID=...
	@PYTHONPATH=layers/relay:. .venv/bin/python -m local.live gainsight-px

destination: .venv/installed ## write a new destination, ready to be changed: NAME=klaviyo
	@.venv/bin/python -m scaffold "$(NAME)"

pages: .venv/installed ## print what the code does into the pages that say so
	PYTHONPATH=layers/relay:. .venv/bin/python -m local.what_happens_on
	PYTHONPATH=layers/relay:. .venv/bin/python -m local.option_tables
	PYTHONPATH=layers/relay:. .venv/bin/python -m local.openapi
	PYTHONPATH=layers/relay:. .venv/bin/python -m local.admin_pages
	PYTHONPATH=layers/relay:cli:. .venv/bin/python -m local.command_page

lock: $(INSTALLER)/installed ## resolve the lock files again from the .in files
	$(call resolve,layers/relay/requirements)
	$(call resolve,layers/parquet/requirements)
	for name in install sam emulator; do $(call resolve,requirements/$$name); done
	$(call resolve_from,cli/pyproject.toml,cli/requirements.txt)
	$(call resolve,requirements/dev) --constraint layers/relay/requirements.txt \
		--constraint layers/parquet/requirements.txt --constraint cli/requirements.txt

clean: down ## remove everything that the other commands made
	rm -rf .venv .tools .local .aws-sam

resolve = $(call resolve_from,$(1).in,$(1).txt)
resolve_from = $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --no-emit-index-url --no-emit-find-links $(1) --output-file $(2)

# $(1): environment, $(2): lock file. uv takes seconds where pip takes a minute, but does not read pip's configuration:
# a machine whose packages come only through that is served by pip.
install = $(PYTHON) -m venv --clear --without-pip $(1) && \
	{ $(UV) pip sync --quiet --require-hashes --python $(1)/bin/python $(2) || { \
	echo "uv could not install $(2); using pip"; \
	$(INSTALLER)/bin/python -m pip --python $(1)/bin/python install --quiet --require-hashes --requirement $(2); }; }

LOCAL_PACKAGE = --quiet --no-deps --no-build-isolation

$(INSTALLER)/installed: requirements/install.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "Python's venv module is missing; on Debian: apt install python3-venv" >&2; exit 1; }
	@echo "installing uv"
	@$(PYTHON) -m venv --clear $(INSTALLER)
	@$(INSTALLER)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

# The command line is installed as it lies here, so that edits count at once. Its backend is in the lock file, too.
.venv/installed: requirements/dev.txt cli/pyproject.toml $(INSTALLER)/installed
	@echo "installing the development environment"
	@$(call install,.venv,$<)
	@$(UV) pip install $(LOCAL_PACKAGE) --python .venv/bin/python --editable cli || \
		$(INSTALLER)/bin/python -m pip --python .venv/bin/python install $(LOCAL_PACKAGE) --editable cli
	@touch $@

$(SAM_ENVIRONMENT)/installed: requirements/sam.txt $(INSTALLER)/installed
	@echo "installing the SAM CLI"
	@$(call install,$(SAM_ENVIRONMENT),$<)
	@touch $@

$(EMULATOR_ENVIRONMENT)/installed: requirements/emulator.txt $(INSTALLER)/installed
	@echo "installing the AWS emulator"
	@$(call install,$(EMULATOR_ENVIRONMENT),$<)
	@touch $@

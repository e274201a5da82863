# `make` alone lists what there is. Targets install what they need themselves.
SHELL := /bin/bash
PYTHON ?=
PY := .venv/bin/python
CODE := $(wildcard celeryconfig.py flowerconfig.py celadon celadon_feature services tasks web deploy docs examples benchmarks tests)
# Tests of parts keep to databases and servers of their own, and those of whole deployments wait a lot: two processes
# share either. What watches the clock runs one after the other: the proofs of the guarantees, and what an outage may cost.
PARTS := $(wildcard tests/unit tests/contract tests/chart)
WHOLES := $(wildcard tests/live tests/browser)
CLOCKED := $(wildcard tests/live/test_broker_away.py)
PROOFS := $(CLOCKED) $(wildcard tests/guarantees tests/fence)
SEED ?= 1
RUNS ?= 10
IMAGE ?= celadon:local

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-delegation demo-limits up test check format fence reference pins image image-test chart wheel clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+[a-z%-]*:.*## / { sub("%", "NAME", $$1); printf "  make %-15s %s\n", $$1, $$2 }' Makefile

setup: .venv/.ready ## make .venv with the command `celadon` in it (PYTHON=… chooses the interpreter)

demo: .venv/.ready ## 30 orders through a killed worker and a killed Redis, in under 90 seconds
	@$(PY) -u -m deploy.demo

demo-delegation: .venv/.ready ## 2,000 jobs of 38 queues for services of which some fail, hang or are late; a minute
	@$(PY) -u -m deploy.demo_delegation

demo-limits: .venv/.ready ## 30 orders at once under a limit: 10 begin in any 10 s, 5 at a time per worker; half a minute
	@$(PY) -u -m deploy.demo_limits

up: .venv/.ready ## run everything here until Ctrl-C ({WEB,FLOWER,REDIS,MAIL,METRICS}_PORT= ONLY="PROGRAM …")
	@$(PY) -u -m deploy.up $(ONLY) \
		$(if $(WEB_PORT),--web-port $(WEB_PORT)) $(if $(FLOWER_PORT),--flower-port $(FLOWER_PORT)) \
		$(if $(REDIS_PORT),--redis-port $(REDIS_PORT)) $(if $(MAIL_PORT),--mail-port $(MAIL_PORT)) \
		$(if $(METRICS_PORT),--metrics-port $(METRICS_PORT))

test: .venv/.ready-test ## all that CI runs: servers, check, and every test
	@.ci/servers
	@.ci/helm
	@$(MAKE) --no-print-directory style
	@types=$$(mktemp); nice $(PY) -m mypy $(CODE) >$$types 2>&1 & checked=$$!; \
	trap 'kill $$checked; exit 130' INT; failed=0; \
	$(PY) -m pytest --numprocesses 2 --dist loadscope $(PARTS) || failed=1; \
	wait $$checked || failed=1; cat $$types; rm $$types; \
	trap 'exit 130' INT; \
	$(PY) -m pytest --numprocesses 2 --dist loadfile $(WHOLES) $(CLOCKED:%=--ignore=%) || failed=1; \
	$(PY) -m pytest $(PROOFS) || failed=1; \
	exit $$failed

check: lint ## the quick part of test: lint, types, import table, docs
	@$(PY) -m pytest -q tests/unit/test_imports.py tests/unit/test_docs.py tests/unit/test_packaging.py

.PHONY: lint style
lint: style
	@$(PY) -m mypy $(CODE)

style: .venv/.ready-test
	@$(PY) -m ruff check $(CODE)
	@$(PY) -m ruff format --quiet --check --diff $(CODE)

format: .venv/.ready-test ## format the code and mend what can be mended
	@$(PY) -m ruff check --quiet --fix $(CODE) ; $(PY) -m ruff format $(CODE)

fence: .venv/.ready-test ## seeded fault runs with a checker (SEED=1 RUNS=10); goes on where it stopped
	@.ci/servers
	@$(PY) -m tests.fence --seed $(SEED) --runs $(RUNS)

guarantee-%: .venv/.ready-test ## the long proof of a guarantee; NAME: G3, G4, G7, G8, G9, G10, G11, G13, G16
	@.ci/servers
	@$(PY) -m tests.guarantees $*

bench-%: .venv/.ready-test ## ours beside a peer in one run; NAME: submit, outage, memory, throughput, promotion, limits, delegation, connections
	@.ci/servers
	@$(PY) -m benchmarks.$*

image: ## build the container image (IMAGE=celadon:local)
	@docker build --file deploy/Dockerfile --tag $(IMAGE) \
		--build-arg VERSION="$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)" \
		--build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null || echo unknown)" .

image-test: .venv/.ready-test ## run deploy/compose.yaml with the image, place orders, stop it: some minutes, needs Docker
	@tests/containers/run.sh

chart: .venv/.ready ## lint the chart and pack it into dist/
	@.ci/helm
	@.venv/bin/helm lint --strict --quiet helm/celadon --values tests/chart/values.yaml
	@.venv/bin/helm package helm/celadon --destination dist

wheel: .venv/.ready ## build the wheels `celadon` and `celadon-feature` into dist/
	@rm -rf build celadon_feature/build  # What an earlier build left there would get into these wheels.
	@$(PY) -m pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation --wheel-dir dist \
		. ./celadon_feature && ls dist
	@rm -rf celadon_feature/build celadon_feature/*.egg-info  # A copy of the code within the code would be checked too.

reference: .venv/.ready ## write the generated pages of docs/ anew
	@$(PY) -m docs.reference.generate_settings
	@$(PY) -m docs.reference.generate_metrics

pins: ## pin requirements*.txt anew from requirements*.in (needs uv)
	@for set in requirements requirements-local requirements-test; do \
		uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
			--no-emit-index-url --no-emit-find-links --custom-compile-command "make pins" \
			$$set.in --output-file $$set.txt || exit 1; \
	done

clean: ## remove what running and testing made, not .venv
	@rm -rf run build dist *.egg-info celadon_feature/build celadon_feature/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# The stamps make a second run instant.
.venv/.ready: requirements.txt requirements-local.txt pyproject.toml deploy/setup.sh
	@PYTHON="$(PYTHON)" deploy/setup.sh requirements.txt requirements-local.txt
	@touch $@

.venv/.ready-test: .venv/.ready requirements-test.txt
	@$(PY) -m pip --disable-pip-version-check install --quiet --require-hashes --requirement requirements-test.txt
	@touch $@

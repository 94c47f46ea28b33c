# `make` lists what there is to do. Nothing is needed but Python 3.11+, make and a package registry.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.synced
# Servers that are only measured beside ours, in an environment of their own: never in the product's lock.
PEERS_STAMP := .venv-peers/.synced
# All of pyproject's extras but Spark, whose 430 MB are pinned apart and installed by `make spark`.
EXTRAS := features training serving monitoring postgres tuning examples dev

# A benchmark is a module that runs; the others are its parts.
BENCHMARKS := $(filter-out table contenders,$(basename $(notdir $(shell grep -l __main__ tests/benchmarks/*.py))))

# Evidently asks its makers' server for nothing when this is set; one thread keeps builds equal byte for byte.
export DO_NOT_TRACK := 1
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help env spark demo flights-table test soak bench check format lock doctor clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

env: $(STAMP) ## Install the pinned, hashed packages into .venv

$(STAMP): requirements.lock requirements.bootstrap.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; try make PYTHON=python3.12 env"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.bootstrap.lock
	$(BIN)/uv pip sync --system-certs --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --system-certs --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

spark: env ## Add the Spark engine (430 MB; needs Java 17)
	$(BIN)/uv pip install --system-certs --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements.spark.lock

demo: env ## The whole way on real flights: features, training, a served day, a drift report
	$(BIN)/python -m tests.loop.demo

flights-table: env ## How well the flights can be told, honestly and by leaking; ten CPU minutes
	$(BIN)/python -m tests.loop.flights_table

check: env ## Lint, format, layers and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

test: check ## Everything that must hold before a change lands; names what it had to leave out
	$(BIN)/python -m pytest -n 2 --dist loadgroup

soak: env ## The laws and faults at length: hundreds of seeds, minutes of load
	KNOWNAT_SOAK=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

$(PEERS_STAMP): requirements.peers.lock $(STAMP)
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	$(BIN)/uv pip sync --system-certs --quiet --python .venv-peers/bin/python --require-hashes requirements.peers.lock
	@touch $@

bench: env $(PEERS_STAMP) ## Every benchmark beside its peers, into docs/benchmarks.md
	for topic in $(BENCHMARKS); do $(BIN)/python -m tests.benchmarks.$$topic || exit; done
	$(BIN)/python -m tests.benchmarks.table

format: env ## Format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

doctor: env ## Look for what can be silently wrong
	$(BIN)/knownat doctor

lock: ## Pin the newest allowed packages with hashes
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	  $(EXTRAS:%=--extra %) pyproject.toml --output-file requirements.lock
	echo 'pyspark>=4.0' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --constraint requirements.lock - --output-file requirements.spark.lock
	printf 'bentoml>=1.4\nlightgbm==4.7.0\nmlflow>=3.4\n' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	  - --output-file requirements.peers.lock

clean: ## Remove what was built; the prediction log and the releases stay
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis

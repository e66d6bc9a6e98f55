# Two commands do all the set-up: `make demo` and `make test`. Everything they make lies under $(BUILD), never in the
# checkout, unless BUILD is there by default; another place is named by LINESHAFT_BUILD_DIR. A finished step leaves a
# stamp named after the contents of its inputs, so that a fresh clone finds the work of the last one done.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := help

PYTHON ?= python3
BUILD  := $(abspath $(or $(LINESHAFT_BUILD_DIR),build))
VENV   := $(BUILD)/venv
PY     := $(VENV)/bin/python
STAMPS := $(BUILD)/stamps
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(BUILD)/tools/cargo-deny-$(CARGO_DENY_VERSION)
TEST_MINUTES_MAX := 40
# The documentation is for those who work on the crates: it shows private items, so it may link to them.
RUSTDOC_LINTS := -D warnings -A rustdoc::private_intra_doc_links

export CARGO_TARGET_DIR ?= $(BUILD)/target
export PYO3_PYTHON := $(PY)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUNBUFFERED := 1
unexport PYTHONPATH PYTHONHOME

# The hash of the named files, or of all files below the named folders that are not made by running them.
hash = $(shell find $(1) -type f ! -name '*.pyc' ! -name '*.so' -print0 2>/dev/null \
	| LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
# One line for each step, with the seconds since the start.
START := $(shell date +%s)
say  = printf '==> %3d s  %s\n' $$(($$(date +%s) - $(START)))
# $(call done,name): the step is done for this stamp, and for no other version of its inputs.
done = mkdir -p $(STAMPS) && rm -f $(STAMPS)/$(1)-* && touch $@

# The stubs are read out of the same build that the wheel is made of.
NATIVE_STUB := $(BUILD)/stubs/lineshaft/_native.pyi
generate_stubs = $(VENV)/bin/maturin generate-stubs --quiet --profile release --locked --out $(BUILD)/stubs

ENVIRONMENT := $(STAMPS)/venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null || echo none)
BUILDER  := $(STAMPS)/builder-$(call hash,requirements/build.txt)
EXAMPLES := $(STAMPS)/examples-$(call hash,requirements/examples.txt)
TESTS    := $(STAMPS)/tests-$(call hash,requirements/test.txt)
PEERS    := $(STAMPS)/peers-$(call hash,requirements/bench.txt)
# The browser that the dashboard's tests use, found or installed.
BROWSER  := $(STAMPS)/chromium-$(if $(shell command -v chromium 2>/dev/null),found,missing)
# The dashboard's pages. Without npm the wheel has none, and its server says how to get them.
HAS_NPM  := $(if $(shell command -v npm 2>/dev/null),yes,no)
WEB      := $(BUILD)/web-$(HAS_NPM)-$(call hash,web/index.html web/package.json web/package-lock.json web/src web/test web/tsconfig.json web/vite.config.js)
PAGES    := $(STAMPS)/pages-$(notdir $(WEB))
WHEEL    := $(STAMPS)/wheel-$(call hash,Cargo.toml Cargo.lock pyproject.toml README.md LICENSE crates python)-$(notdir $(WEB))
export LINESHAFT_WEB_DIST := $(WEB)/dist

# Steps share one virtual environment.
.NOTPARALLEL:
.PHONY: help demo test conformance bench fmt stubs lock dev clean

help: ## show the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '  make %-12s %s\n' "$$name" "$$text"; done

demo: $(WHEEL) $(EXAMPLES) ## run the main example with plain python and with lineshaft, compare answers and times
	@$(say) "examples/flights.py with plain python and with lineshaft run"
	@$(PY) examples/compare.py

test: $(TESTS) $(EXAMPLES) $(WHEEL) $(CARGO_DENY) $(BROWSER) ## check and test everything, Rust and Python
	@$(say) "ruff: style of the Python code"
	@$(VENV)/bin/ruff check --quiet . && $(VENV)/bin/ruff format --quiet --check .
	@$(say) "cargo fmt: style of the Rust code"
	@cargo fmt --all --check
	@$(say) "mypy --strict: types of the package and of the programs beside it"
	@$(PY) -m mypy --no-error-summary --cache-dir $(BUILD)/mypy
	@$(say) "cargo deny: licences and sources of all crates"
	@$(CARGO_DENY) --log-level warn check licenses bans sources
	@$(say) "cargo clippy: lints"
	@cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
	@$(say) "cargo doc: no warning"
	@RUSTDOCFLAGS='$(RUSTDOC_LINTS)' cargo doc --quiet --workspace --no-deps --document-private-items --locked
	@$(say) "cargo test: every crate but the Python module, which pytest tests"
	@cargo test --quiet --workspace --locked
	@$(say) "cargo test: the dashboard as it is where npm is missing"
	@env -u LINESHAFT_WEB_DIST cargo test --quiet -p lineshaft-dashboard --tests --locked
ifeq ($(HAS_NPM),yes)
	@$(say) "node --test: what the pages reckon by themselves"
	@cd $(WEB) && npm run --silent test
endif
	@$(say) "stubtest: the committed stubs say what the native module has"
	@$(generate_stubs)
	@diff -u python/lineshaft/_native.pyi $(NATIVE_STUB) || { echo "error: the stubs are not those of the Rust code; write them anew by: make stubs" >&2; exit 1; }
	@$(PY) -m mypy.stubtest lineshaft._native
	@$(say) "pytest: the installed wheel"
	@timeout --kill-after=20 $(TEST_MINUTES_MAX)m $(PY) -m pytest -q -o cache_dir=$(BUILD)/pytest

conformance: $(TESTS) $(EXAMPLES) $(WHEEL) ## run all of Dask's and joblib's own tests on Lineshaft (about fifteen minutes)
	@$(PY) -m tests.joblib.conformance
	@$(PY) -m tests.dask.conformance

bench: $(WHEEL) $(PEERS) $(EXAMPLES) ## measure lineshaft beside its peers, as ratios (about five minutes)
	@$(PY) -m benches.compare

dev: $(TESTS) $(EXAMPLES) $(PEERS) $(PAGES) ## put the checkout itself into the environment, unoptimised, for a quick edit loop
	@rm -f $(STAMPS)/wheel-*
	@VIRTUAL_ENV=$(VENV) $(VENV)/bin/maturin develop --locked
	@echo "activate it by: source $(VENV)/bin/activate"

fmt: $(TESTS) ## format the Rust and Python code
	@cargo fmt --all
	@$(VENV)/bin/ruff check --quiet --fix --exit-zero . && $(VENV)/bin/ruff format --quiet .

stubs: $(BUILDER) ## write python/lineshaft/_native.pyi anew from the Rust code
	@$(say) "stubs of lineshaft._native"
	@$(generate_stubs)
	@cp $(NATIVE_STUB) python/lineshaft/_native.pyi

lock: $(ENVIRONMENT) ## resolve the Python requirements anew
	@$(PY) requirements/lock.py

clean: ## remove everything that was built
	@rm -rf $(BUILD) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(ENVIRONMENT):
	@for tool in $(PYTHON) cargo cc; do command -v $$tool >/dev/null || { echo "error: $$tool is missing: Lineshaft needs Python 3.11 or later with venv, Rust and a C compiler" >&2; exit 1; }; done
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11; name another one by PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON) has no venv module; on Debian: apt install python3-venv" >&2; exit 1; }
	@$(say) "virtual environment in $(VENV)"
	@rm -rf $(VENV) $(STAMPS) && $(PYTHON) -m venv $(VENV)
	@$(call done,venv)

# setuptools is pinned with maturin, so that the one source distribution among the requirements is built by it too.
$(BUILDER): | $(ENVIRONMENT)
	@$(say) "maturin which builds the wheel"
	@$(PY) -m pip install --quiet -r requirements/build.txt
	@$(call done,builder)

$(EXAMPLES): | $(BUILDER)
	@$(say) "packages and data of the examples"
	@$(PY) -m pip install --quiet --no-build-isolation --use-pep517 -r requirements/examples.txt
	@$(call done,examples)

$(TESTS): | $(BUILDER)
	@$(say) "packages of the tests"
	@$(PY) -m pip install --quiet -r requirements/test.txt
	@$(call done,tests)

$(BROWSER): | $(ENVIRONMENT)
	@command -v chromium >/dev/null || { $(say) "Chromium, which the dashboard's tests use" && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
		|| { echo "error: chromium is missing and could not be installed; on Debian, as root: apt install chromium" >&2; exit 1; }
	@$(call done,chromium)

$(PEERS): | $(BUILDER)
	@$(say) "packages that the benchmarks compare with"
	@$(PY) -m pip install --quiet -r requirements/bench.txt
	@$(call done,peers)

$(PAGES): | $(ENVIRONMENT)
	@$(say) "pages of the dashboard"
	@rm -rf $(BUILD)/web-* && mkdir -p $(WEB)
ifeq ($(HAS_NPM),yes)
	@cp -r web/index.html web/package.json web/package-lock.json web/src web/test web/tsconfig.json web/vite.config.js $(WEB)
	@cd $(WEB) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm run --silent build -- --logLevel=warn
else
	@echo "    npm is missing: the dashboard will have no pages (Node.js 20 or later brings it)"
endif
	@$(call done,pages)

$(WHEEL): | $(BUILDER) $(PAGES)
	@$(say) "release wheel of lineshaft"
	@rm -rf $(BUILD)/wheel
	@$(VENV)/bin/maturin build --quiet --release --locked --out $(BUILD)/wheel
	@$(PY) -m pip install --quiet --force-reinstall --no-deps $(BUILD)/wheel/*.whl
	@$(PY) -m pip install --quiet $$(grep '^cloudpickle==' requirements/examples.txt)
	@$(call done,wheel)

# Built without optimisation: that takes a third of the time, and checking takes half a second either way.
$(CARGO_DENY):
	@$(say) "cargo-deny $(CARGO_DENY_VERSION) (once; about a minute)"
	@CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=0 \
		CARGO_TARGET_DIR=$(BUILD)/tools/target \
		cargo install --quiet --locked --root $(BUILD)/tools cargo-deny@$(CARGO_DENY_VERSION)
	@mv $(BUILD)/tools/bin/cargo-deny $@ && rm -rf $(BUILD)/tools/target $(BUILD)/tools/bin $(BUILD)/tools/.crates*

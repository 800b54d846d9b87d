# Two commands are all you need: `make run` and `make test`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python
# Each step writes its stamp last, so an interrupted step is repeated.
INSTALLED := .venv/.installed
TOOLS := .venv/.installed-tools
STATIC := staticfiles/.collected
# Python compiles each module on first import. pip would compile all of them, which takes longer than the installation.
INSTALL := $(PYTHON) -m pip --disable-pip-version-check install -qq --no-compile --no-deps --require-hashes
# Keep compiled modules, whatever the environment says. Otherwise each process would compile them again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help run serve test test-all test-scaled-out bench lint format lock screenshot lighthouse

help:  ## Show this help
	@sed -nE 's/^([a-z0-9-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 24

run: $(INSTALLED) $(STATIC)  ## Set up and serve the site, with a demo if the database is empty
	@exec $(PYTHON) manage.py serve --demo

serve: $(INSTALLED) $(STATIC)  ## Set up and serve the site without the demo (DATA_DIR=/srv/results)
	@exec $(PYTHON) manage.py serve

PYTEST := $(PYTHON) -m pytest -n auto --dist loadfile

test: lint  ## Run the checks, and the tests that need only one machine
	@$(PYTEST) -m "not scaled_out" $(PYTEST_ARGS)

# These targets also run tests that are marked `thorough`, and try more examples.
test-all test-scaled-out: export TEST_THOROUGHLY := 1
test-all: lint  ## Run the checks, and the same tests with everything that they can try
	@$(PYTEST) -m "not scaled_out" $(PYTEST_ARGS)

test-scaled-out: $(INSTALLED) $(TOOLS)  ## Run all tests on a PostgreSQL and an S3 server that this starts
	@TEST_DATABASE=postgresql TEST_STORAGE=s3 $(PYTEST) $(PYTEST_ARGS)

bench: $(INSTALLED) $(TOOLS)  ## Compare the site with the best tools (QUICK=1: less data)
	@$(PYTHON) -m bench $(if $(QUICK),--quick)

# The checks use a separate data folder.
lint: export DATA_DIR := .venv/data-of-checks
lint: $(INSTALLED) $(TOOLS)  ## Run the checks without the tests
	@$(MAKE) --jobs check-style check-types check-templates check-site check-scripts

check-style:
	@$(PYTHON) -m ruff check --quiet .
	@$(PYTHON) -m ruff format --check --quiet .

check-types:
	@$(PYTHON) -m mypy --no-error-summary

check-templates:
	@$(PYTHON) -m djlint --lint --quiet templates

check-site:
	@$(PYTHON) manage.py makemigrations --check --dry-run
	@PUBLIC_URL=https://results.example.com $(PYTHON) manage.py check --deploy --fail-level WARNING

check-scripts:
	@.venv/bin/shellcheck .ci/run .ci/image deploy/make_secrets.sh
	@.venv/bin/hadolint Dockerfile

format: $(TOOLS)  ## Format the code
	@$(PYTHON) -m ruff check --fix --quiet .
	@$(PYTHON) -m ruff format .

lock: $(INSTALLED)  ## Lock the dependencies of pyproject.toml (UPGRADE=1: newest versions)
	@$(PYTHON) -m pip --disable-pip-version-check install -qq 'uv>=0.9'
	@$(COMPILE) pyproject.toml --output-file requirements.txt
	@$(COMPILE) --group dev --constraint requirements.txt --output-file tests/requirements.txt

COMPILE = $(PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate $(if $(UPGRADE),--upgrade)

screenshot: $(INSTALLED) $(TOOLS)  ## Update the screenshot in the README
	@$(PYTHON) docs/screenshot.py

lighthouse: $(INSTALLED) $(TOOLS)  ## Measure the pages with Lighthouse (npm install --global lighthouse)
	@$(PYTHON) docs/lighthouse.py

# Try each candidate, because a name on the PATH may be a pyenv shim that runs nothing, or lack venv (Debian's
# python3). A .venv without its stamp is incomplete.
$(INSTALLED): requirements.txt
	@if [ ! -e $@ ]; then \
	  for python in python3 python3.14 python3.13 python3.12 python3.11 ""; do \
	    if "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo "Error: Python 3.11 or newer with venv was not found. Install it (Debian: python3-venv)." >&2; \
	    exit 1; \
	  fi; \
	  echo "Setting up .venv with $$("$$python" --version)"; \
	  "$$python" -m venv --clear .venv; \
	fi
	@echo "Installing the packages (70 MB)"
	@$(INSTALL) -r requirements.txt
	@touch $@

$(TOOLS): tests/requirements.txt $(INSTALLED)
	@echo "Installing the packages for the tests"
	@$(INSTALL) -r tests/requirements.txt
	@touch $@

$(STATIC): $(INSTALLED) $(shell find static)
	@echo "Preparing the static files"
	@$(PYTHON) manage.py collectstatic --noinput --clear --verbosity 0
	@touch $@

# Everything a contributor runs. `make help` lists it. A machine with Python 3.11 or newer and make is enough.

PYTHON ?=
ARGS ?=
BIN := .venv/bin
QUICK := tests/core tests/config tests/test_cli.py tests/test_timers.py tests/test_relay.py tests/test_live.py \
	tests/test_logs.py tests/test_shape.py --ignore=tests/core/test_the_suite_bites.py
export PYTHON

.DEFAULT_GOAL := help
.NOTPARALLEL:

.PHONY: help
help: ## this list
	@echo 'make TARGET [PYTHON=python3.12] [ARGS="what is passed on to the program"]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-19s %s\n", $$1, $$2 }'

# ---- run it

.PHONY: demo
demo: runtime ## a gateway timeout and its cure, live in the browser (ARGS=--check: as a table)
	@$(BIN)/sseproxy demo $(ARGS)

.PHONY: nginx-stand
nginx-stand: runtime ## what a real nginx does to streams with and without sseproxy, measured, as a table
	@PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null || sh .ci/debian nginx
	@$(BIN)/python nginx/stand.py $(ARGS)

.PHONY: demo-picture
demo-picture: runtime ## the picture in README.md again, from a run of two minutes with the real nginx
	@PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null || sh .ci/debian nginx
	@$(BIN)/python nginx/picture.py $(ARGS)

.PHONY: bench
bench: tests-setup bench-programs ## CPU, latency and memory beside nginx and others: half an hour, on an idle machine
	@$(BIN)/python -m benchmarks.run $(ARGS)

.PHONY: bench-report
bench-report: tests-setup ## benchmarks/README.md again, from the figures of the last run
	@$(BIN)/python -m benchmarks.run --report

.PHONY: bench-short
bench-short: tests-setup bench-compiler ## is the CPU per event below twice nginx's? Half a minute
	@PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null || sh .ci/debian nginx
	@$(BIN)/python -m benchmarks.short

.PHONY: bench-startup
bench-startup: tests-setup ## how long does it take to start, beside uvicorn?
	@$(BIN)/python -m benchmarks.startup $(ARGS)

.PHONY: bench-dashboard
bench-dashboard: tests-setup bench-compiler ## what an open dashboard costs while 2,000 streams are live
	@$(BIN)/python -m benchmarks.dashboard $(ARGS)

.PHONY: bench-guessing
bench-guessing: tests-setup ## does the time of a 404 tell a ticket that exists from one that does not?
	@$(BIN)/python -m benchmarks.guessing $(ARGS)

.PHONY: bench-middleware
bench-middleware: tests-setup ## what the ASGI middleware costs: a request, and an event of a stream
	@$(BIN)/python benchmarks/middleware.py $(ARGS)

.PHONY: bench-push
bench-push: tests-setup bench-programs ## 5,000 subscribers by Redis, beside Nchan: connections, memory, CPU, latency
	@$(BIN)/python -m benchmarks.push $(ARGS)

.PHONY: bench-journal
bench-journal: tests-setup bench-programs ## what a journal costs: answers, a feed with 2,000 readers, beside Nchan, memory. Ten minutes
	@$(BIN)/python -m benchmarks.journal $(ARGS)

.PHONY: bench-cold
bench-cold: tests-setup ## what an event costs in Python where each belongs to another stream: relayed, kept, of a feed
	@$(BIN)/python -m benchmarks.cold $(ARGS)

.PHONY: bench-journal-short
bench-journal-short: tests-setup bench-compiler ## does an event of a kept answer cost less than twice a relayed one?
	@$(BIN)/python -m benchmarks.journal --check

.PHONY: bench-doors
bench-doors: tests-setup bench-compiler ## what an event costs inside an app: uvicorn, granian, hypercorn, aiohttp
	@$(BIN)/python -m benchmarks.doors $(ARGS)

.PHONY: map
map: ## the question that each module answers
	@for file in $$(git ls-files 'sseproxy/*.py'); do printf '%-44s %s\n' "$$file" "$$(sed -n '1s/^"""//; 1s/"""$$//; 1p' "$$file")"; done

.PHONY: shape
shape: tests-setup ## how the house is built, in figures, and which way a GET goes through it
	@$(BIN)/python -m tests.shape
	@$(BIN)/python -m benchmarks.journey

# ---- document it

# Not with --quiet: MkDocs would count no warning then, and --strict would let all pass.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs

.PHONY: docs
docs: tests-setup ## the documentation as a site, in build/site; a broken link is an error
	@$(MKDOCS) build --strict

.PHONY: docs-serve
docs-serve: tests-setup ## the same, on http://127.0.0.1:8000, built again after each change
	@$(MKDOCS) serve --strict $(ARGS)

.PHONY: docs-reference
docs-reference: tests-setup ## docs/reference.md again, from the schema of the configuration
	@$(BIN)/python -m docs.website.reference >docs/reference.md.new && mv docs/reference.md.new docs/reference.md

# ---- test it

.PHONY: test
test: tests-setup programs ## all tests (ARGS="-k heartbeat": some)
	@$(BIN)/python -m pytest -n 6 --dist loadfile $(ARGS)

# The engine, the configuration and the command line: no other program is needed, and few processes are started.
.PHONY: test-quick
test-quick: tests-setup ## engine, configuration and command line, in under a minute
	@$(BIN)/python -m pytest -q -n 4 --dist loadfile $(QUICK) $(ARGS)

.PHONY: push-soak
push-soak: tests-setup programs ## 50 users, 200,000 messages by Redis, which is killed and frozen meanwhile (ARGS="--seed 7")
	@$(BIN)/python -m tests.push.soak $(ARGS)

.PHONY: journal-sim
journal-sim: tests-setup ## seeded histories of the journal on a virtual clock (ARGS="--histories 1000000 --seed 7")
	@$(BIN)/python -W ignore -m tests.sim.simulate $(ARGS)

.PHONY: journal-mutations
journal-mutations: tests-setup ## the journal is broken in one way at a time: is each noticed? Some minutes (ARGS="--only login")
	@$(BIN)/python -m tests.sim.mutations $(ARGS)

.PHONY: journal-soak
journal-soak: tests-setup ## a million events of a journal, while network, service and sseproxy come and go (ARGS="--seed 7")
	@$(BIN)/python -m tests.soak.soak $(ARGS)

.PHONY: journal-bounds
journal-bounds: tests-setup ## does memory stay in its bounds? A million keys, 15 minutes to an hour (ARGS="-k keys")
	@JOURNAL_KEYS=$${JOURNAL_KEYS:-1000000} $(BIN)/python -m pytest -o faulthandler_timeout=0 tests/e2e/journal/test_bounds.py $(ARGS)

.PHONY: doors-all
doors-all: tests-setup ## 20,000 random requests through six servers in front of the proxy (ARGS="--requests 1000 --seed 7")
	@$(BIN)/python -W ignore -m tests.proxy.alike.fuzz $(ARGS)

.PHONY: cov
cov: tests-setup programs ## all tests, and which lines they did not reach
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

.PHONY: check
check: lint types imports ## lint, format, types and import rules

.PHONY: lint
lint: tests-setup ## style and format, without changing anything
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

.PHONY: format
format: tests-setup ## repair style and format
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

.PHONY: types
types: tests-setup ## mypy, strict
	@$(BIN)/mypy

.PHONY: imports
imports: tests-setup ## which room may import which
	@$(BIN)/lint-imports

# ---- what these need

.PHONY: runtime
runtime: ## .venv with sseproxy in it
	@sh .ci/venv runtime

.PHONY: tests-setup
tests-setup: ## .venv with all that lint, types and tests need
	@sh .ci/venv tests

.PHONY: programs
programs: tests-setup ## nginx, a browser, Node and whatever else the tests use, where that is possible
	@missing=$$($(BIN)/python tests/support/programs.py) || exit 1; \
	if [ -n "$$missing" ] && ! sh .ci/debian $$missing; then \
		echo 'sseproxy: the tests that need what is missing will be skipped' >&2; \
	fi
	@sh .ci/node

.PHONY: bench-compiler
bench-compiler:
	@command -v cc >/dev/null || sh .ci/debian gcc libc6-dev

.PHONY: bench-programs
bench-programs: bench-compiler
	@for peer in nginx haproxy caddy pushpin; do \
		PATH="$$PATH:/usr/sbin" command -v $$peer >/dev/null || sh .ci/debian $$peer || \
			echo "sseproxy: measured without $$peer" >&2; \
	done
	@test -e /usr/lib/nginx/modules/ngx_nchan_module.so || sh .ci/debian libnginx-mod-nchan || \
		echo "sseproxy: measured without Nchan" >&2

.PHONY: clean
clean: ## remove all that was made here
	rm -rf .venv build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name node_modules -prune -exec rm -rf {} +
	find . -name __pycache__ -prune -exec rm -rf {} +

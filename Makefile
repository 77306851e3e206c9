# Every habit of the project, one target each. `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# The cargo profile of `make build` and what measures. PROFILE=dev reuses what the tests built.
PROFILE ?= release
# Cargo calls the folder of the dev profile `debug`.
BIN_DIR = $(or $(CARGO_TARGET_DIR),target)/$(patsubst dev,debug,$(PROFILE))

PYTHON_SCRIPTS := scripts/demo $(wildcard scripts/demonstration/*.py tests/effects/*.py) scripts/fetch-tools
SHELL_SCRIPTS := .ci/run scripts/cargo-deny scripts/fuzz

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

.PHONY: build
build: ## build the program (PROFILE=dev for a debug build)
	cargo build --locked --profile $(PROFILE)

.PHONY: demo
# optimised it would show the same, after three times as long
demo: PROFILE = dev
demo: tools ## a leak on real servers: its alert, its diagnosis, a plan, its approval, the run and the verified end; Ctrl-C ends it
	cargo build --locked --profile $(PROFILE) --bin connwarden --example swarm
	@scripts/demo --bin-dir $(BIN_DIR)

.PHONY: test
test: tools browser ## all tests, the ones against real servers and the ones in the documentation among them
	cargo build --locked --example swarm
	cargo test --locked

.PHONY: bench
bench: tools ## what it costs, against floors of the same run; also in target/bench.json (some minutes)
	cargo bench --locked --bench bench

# How many times `make torture` kills the daemon.
TORTURE_ROUNDS ?= 1000

# For how many random clusters `make torture` checks plans of mitigations.
PLAN_CASES ?= 1000000

.PHONY: torture
torture: tools ## kill the daemon under load TORTURE_ROUNDS=1000 times, and plan for PLAN_CASES=1000000 clusters (some minutes)
	@mkdir -p target
	PLAN_CASES=$(PLAN_CASES) cargo test --locked --lib plans_are_what_the_rules_say
	TORTURE_ROUNDS=$(TORTURE_ROUNDS) cargo test --locked --test it torture -- --nocapture 2>&1 | tee target/torture.log
	@grep '^torture: rounds' target/torture.log | tail -n 1

.PHONY: scenes
scenes: tools ## trouble on real servers, and whether the diagnosis sees it: SCENES=leak,nat SEEDS=4 (about an hour)
	@mkdir -p target
	@status=0; cargo test --locked --profile $(PROFILE) --test scenes all_scenes -- --ignored --nocapture \
	  2>&1 | tee target/scenes.log || status=$$?; \
	grep '^scenes: ' target/scenes.log | tail -n 1; exit $$status

# Where `make effects` keeps the clients that it fetches.
EFFECTS = $(or $(CARGO_TARGET_DIR),target)/effects

.PHONY: effects
effects: tools ## what kick and drain do to clients of five libraries (Python, Go, Node.js, Java and the network needed; half an hour)
	cargo build --locked --example effects-client
	mkdir -p $(EFFECTS)
	python3 -m venv $(EFFECTS)/python
	$(EFFECTS)/python/bin/pip install --quiet nats-py==2.16.0
	go -C tests/effects build -o $(abspath $(EFFECTS))/client-go
	cp tests/effects/client.mjs tests/effects/package.json $(EFFECTS)/
	npm install --silent --no-audit --prefix $(EFFECTS)
	mvn --quiet --file tests/effects/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath $(EFFECTS))/java
	$(EFFECTS)/python/bin/python tests/effects/measure.py .tools/bin $(EFFECTS)

.PHONY: check
check: format-check lint doc deny architecture scripts-check fuzz-briefly ## everything but the tests: the seven targets below

.PHONY: format-check
format-check: ## is every file formatted?
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml

.PHONY: lint
lint: ## clippy, warnings are errors
	cargo clippy --locked --all-targets -- -D warnings

.PHONY: doc
doc: ## build the documentation, private items too, warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

.PHONY: deny
deny: deny-tool ## licences, banned crates and sources of the dependencies
	scripts/cargo-deny --locked check --hide-inclusion-graph bans licenses sources

.PHONY: architecture
architecture: ## do the modules depend on each other only as drawn?
	cargo test --locked --test it architecture

.PHONY: scripts-check
scripts-check: ## syntax of the scripts (and shellcheck, where it is installed)
	bash -n $(SHELL_SCRIPTS)
	@if command -v shellcheck >/dev/null; then (set -x; shellcheck $(SHELL_SCRIPTS)); fi
	python3 -c 'import ast, sys; [ast.parse(open(name).read(), name) for name in sys.argv[1:]]' $(PYTHON_SCRIPTS)

.PHONY: fuzz-briefly
fuzz-briefly: ## fuzz what strangers can send, 20 s each (the first time cargo-fuzz and all dependencies are compiled)
	scripts/fuzz 20

# How long `make fuzz` tries each target, in seconds.
FUZZ_SECONDS ?= 300

.PHONY: fuzz
fuzz: ## the same for longer: FUZZ_SECONDS=300 each
	scripts/fuzz $(FUZZ_SECONDS)

.PHONY: fmt
fmt: ## format the sources
	cargo fmt
	cargo fmt --manifest-path fuzz/Cargo.toml

.PHONY: advisories
advisories: deny-tool ## known vulnerabilities among the dependencies (needs the network)
	scripts/cargo-deny --locked check advisories

.PHONY: tools
tools: ## fetch nats-server, Alertmanager and Prometheus into .tools/, once
	@scripts/fetch-tools

.PHONY: browser
browser: ## have Chromium and its driver at hand in .tools/ (installs them on Debian, as root, if they are missing)
	@scripts/fetch-tools --browser

.PHONY: screenshots
screenshots: tools browser ## every page in a real browser, wide and narrow, light and dark, into target/screenshots/
	cargo test --locked --test it screenshots

.PHONY: deny-tool
deny-tool: ## compile cargo-deny into .tools/ unless it is there, once (some minutes)
	@scripts/cargo-deny --version

.PHONY: clean-tools
clean-tools: ## remove .tools/
	rm -rf .tools

# make demo   set up .venv and run the main job on a shipped trace
# make test   set up .venv with torch on the CPU and run every test
# make check  what CI runs: format, lint, types, tests
# make peers  set up .venv-peers with the real sglang and vllm and compare with them (docs/peers.md)
PYTHON ?= python3
BIN := .venv/bin
PEERS := .venv-peers

.PHONY: demo test check peers lint clean

.venv/core.stamp: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/dev.stamp: .venv/core.stamp constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[gpu,dev]'
	touch $@

# An extra cannot leave out what a wheel depends on, so the two wheels are installed by themselves.
$(PEERS)/peers.stamp: pyproject.toml constraints.txt tests/peers/wheels.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade pip
	$(PEERS)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,peers]'
	$(PEERS)/bin/python -m pip install --quiet --no-deps --requirement tests/peers/wheels.txt
	touch $@

demo: .venv/core.stamp
	@echo "Simulating (the first run also compiles, which takes about a minute) ..."
	@rm -rf reports/demo
	$(BIN)/pcache simulate traces/multi-turn-chat.jsonl.xz --policy radix,hash,exact --ladder \
	    --kv-tokens 60k --time-scale 4 --slo-ttft 200ms --slo-tpot 20ms --out reports/demo/runs
	$(BIN)/pcache report reports/demo/runs --out reports/demo --title "Demo: multi-turn chat"

test: .venv/dev.stamp
	$(BIN)/python -m pytest

peers: $(PEERS)/peers.stamp
	$(PEERS)/bin/python -m pytest -m peers

lint: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test

clean:
	rm -rf .venv $(PEERS) reports/demo

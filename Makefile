# make demo   set up .venv and run the main job on a shipped trace
# make test   set up .venv with torch on the CPU and run every test
# make check  what CI runs: format, lint, types, tests
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check lint clean

.venv/core.stamp: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/dev.stamp: .venv/core.stamp constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[gpu,dev]'
	touch $@

demo: .venv/core.stamp
	@echo "Simulating (the first run also compiles, which takes about a minute) ..."
	@rm -rf reports/demo
	$(BIN)/pcache simulate traces/multi-turn-chat.jsonl.xz --policy radix,hash,exact --ladder \
	    --kv-tokens 60k --time-scale 4 --slo-ttft 200ms --slo-tpot 20ms --out reports/demo/runs
	$(BIN)/pcache report reports/demo/runs --out reports/demo --title "Demo: multi-turn chat"

test: .venv/dev.stamp
	$(BIN)/python -m pytest

lint: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test

clean:
	rm -rf .venv reports/demo

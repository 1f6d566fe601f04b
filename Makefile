# Everything that one does with this repository. `make` alone lists it.
#
# A target that needs something from Debian says what it installs before it does, and skips what is there.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

# The network mode of the demo: awsvpc, bridge or host.
MODE    ?= awsvpc

# PROFILE=dev builds faster and runs slower.
PROFILE ?= release
PREFIX  ?= /usr/local
DESTDIR ?=

CARGO  = cargo
# .cargo/config.toml builds for the host's own triple by name, so what is built lies in a folder of that name.
TRIPLE = $(shell rustc --print host-tuple)
OUT    = $(or $(CARGO_TARGET_DIR),target)/$(TRIPLE)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

TEST   = $(CARGO) test

.PHONY: help
help: ## this list
	@echo 'make TARGET   (PROFILE=dev for quicker builds)'
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: deps ## the static binary ecsnet
	$(CARGO) build --profile $(PROFILE) -p ecsnet
	@echo "built $(OUT)/ecsnet"

.PHONY: demo
demo: build docker image-shop ## start examples/shop, show what it does, leave it running (MODE=bridge, MODE=host)
	ECSNET_BIN="$(abspath $(OUT))/ecsnet" MODE="$(MODE)" examples/shop/demo.sh

.PHONY: test
test: lint unit kernel e2e ## everything that CI runs (root, Docker)

.PHONY: check
check: deps ## does it compile, tests included
	$(CARGO) check --workspace --all-targets

.PHONY: unit
unit: deps ## ring 1: pure tests beside the code, no privileges
	$(TEST) --workspace --exclude e2e --lib --bins
	$(TEST) -p shop --tests
	$(TEST) --workspace --exclude e2e --doc

.PHONY: kernel
kernel: deps kernel-packages ## ring 2: the network in throw-away namespaces (root, no Docker)
	$(TEST) -p netmodes --tests

.PHONY: e2e
e2e: build docker image-shop image-debian e2e-packages ## ring 3: the binary, Docker and real packets (root)
	$(TEST) -p agent --tests
	ECSNET_BIN="$(abspath $(OUT))/ecsnet" $(TEST) -p e2e

# One line for each program in tests/benches; each adds its figures to target/bench/results.json.
.PHONY: bench
bench: build docker image-shop bench-packages ## measure against Docker and CNI; table, SVG, target/bench/results.json
	ECSNET_BIN="$(abspath $(OUT))/ecsnet" $(CARGO) run --release -p e2e --bin bench-network
	ECSNET_BIN="$(abspath $(OUT))/ecsnet" $(CARGO) run --release -p e2e --bin bench-start
	$(CARGO) run --release -p e2e --bin bench-placement
	ECSNET_BIN="$(abspath $(OUT))/ecsnet" $(CARGO) run --release -p e2e --bin bench-metadata
	ECSNET_BIN="$(abspath $(OUT))/ecsnet" $(CARGO) run --release -p e2e --bin bench-bridge

.PHONY: bench-bridge
bench-bridge: build docker ## measure a published port in bridge mode beside docker run -p; a part of bench
	ECSNET_BIN="$(abspath $(OUT))/ecsnet" $(CARGO) run --release -p e2e --bin bench-bridge

.PHONY: conformance
conformance: deps ## how much of the reference of ECS is held by tests; ARGS=--list names the rest
	$(CARGO) run -q -p e2e --bin conformance -- $(ARGS)

.PHONY: fmt
fmt: ## format the code
	$(CARGO) fmt --all

.PHONY: lint
lint: deps ## format, clippy, docs; cargo deny and cargo machete where they are installed
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@$(MAKE) --no-print-directory docs conformance
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check; else echo 'lint: cargo-deny is not installed, left out'; fi
	@if command -v cargo-machete >/dev/null; then $(CARGO) machete; else echo 'lint: cargo-machete is not installed, left out'; fi

.PHONY: docs
docs: deps ## the code's documentation, every warning an error
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --document-private-items

.PHONY: image-shop
image-shop: deps docker ## the example's image, from its static binary, without a registry
	$(CARGO) build --profile $(PROFILE) -p shop
	examples/shop/image.sh "$(OUT)/shop"

.PHONY: image-debian
image-debian: docker ## nginx and redis for examples/debian, from Debian's packages, without a registry
	examples/debian/image.sh

.PHONY: docker
docker: ## make sure that Docker's engine answers: install and start it if it does not
	@.ci/docker

# The C compiler is for the bundled SQLite.
.PHONY: deps
deps: ## what building needs: a C compiler, CA certificates; Rust itself is yours to install
	@.ci/packages gcc=gcc /usr/include/stdlib.h=libc6-dev /etc/ssl/certs/ca-certificates.crt=ca-certificates
	@command -v cargo >/dev/null || { echo 'deps: no cargo on the PATH: install Rust 1.91 or newer, https://rustup.rs' >&2; exit 3; }

# The independent readers of what we wrote into the kernel.
.PHONY: kernel-packages
kernel-packages:
	@.ci/packages nft=nftables ip=iproute2 conntrack=conntrack

.PHONY: e2e-packages
e2e-packages: kernel-packages
	@.ci/packages dig=dnsutils docker-registry=docker-registry /usr/bin/busybox=busybox-static \
		/usr/lib/python3/dist-packages/botocore=python3-botocore

.PHONY: bench-packages
bench-packages: kernel-packages
	@.ci/packages /usr/lib/cni/bridge=containernetworking-plugins iptables=iptables

.PHONY: install
install: build ## the binary into $(DESTDIR)$(PREFIX)/bin
	install -D -m 0755 "$(OUT)/ecsnet" "$(DESTDIR)$(PREFIX)/bin/ecsnet"

.PHONY: clean
clean: ## remove ecsnet's containers (by label) and images (by name) from Docker
	@.ci/clean

.PHONY: distclean
distclean: clean ## and everything that was built
	$(CARGO) clean

# Weir. `make demo` and `make test` do everything on a fresh Debian 12 with Node 20; see README.md.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

CLANG ?= clang-19
CLANG_FORMAT ?= clang-format-19
BPFTOOL ?= bpftool
ARCH_INCLUDE := /usr/include/$(shell uname -m)-linux-gnu
BPF_CFLAGS := -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -target bpf -mcpu=v3 -I$(ARCH_INCLUDE)
BPF_SOURCES := bpf/lb.bpf.c bpf/policy.bpf.c bpf/sock.bpf.c
BPF_HEADERS := $(wildcard bpf/*.h)
BPF_OBJECT := bpf/build/weir.bpf.o
TS_SOURCES := $(shell find src test scripts bench -name '*.ts' 2>/dev/null)

# node-gyp compiles the FFI against the headers that came with this node, where it has them, instead of fetching some
export npm_config_nodedir := $(shell d=$$(node -p 'require("path").resolve(process.execPath, "../..")' 2>/dev/null); [ -e "$$d/include/node/node.h" ] && echo $$d)
# node-addon-api 3, with which the FFI is written, is not C++20, and the headers of Node 24 ask for that unless told otherwise
export CXXFLAGS ?= -std=gnu++17

.PHONY: build test demo bench check clean deps layout format test-unit test-packet test-netns test-vm

build: deps $(BPF_OBJECT) dist/.built dist/bundle/cli/weir

deps: node_modules/.installed
	@scripts/install-packages

node_modules/.installed: package-lock.json package.json
	@scripts/install-packages
	npm ci --no-progress --loglevel=error
	@touch $@

bpf/build/%.bpf.o: bpf/%.bpf.c $(BPF_HEADERS) | deps
	@mkdir -p bpf/build
	$(CLANG) $(BPF_CFLAGS) -c $< -o $@

$(BPF_OBJECT): $(BPF_SOURCES:bpf/%.bpf.c=bpf/build/%.bpf.o)
	$(BPFTOOL) gen object $@ $^

dist/.built: $(TS_SOURCES) tsconfig.json node_modules/.installed
	node_modules/.bin/tsc -p tsconfig.json
	@touch $@

# the command line in one file
dist/bundle/cli/weir: dist/.built
	node dist/scripts/bundle.js

# src/maps/layout.ts is generated from the object's BTF and committed
layout: $(BPF_OBJECT) dist/.built
	node dist/scripts/layout.js $(BPF_OBJECT)

test: build
	node_modules/.bin/ava

test-unit: build
	node_modules/.bin/ava 'dist/test/unit/**/*.test.js'

test-packet: build
	node_modules/.bin/ava 'dist/test/packet/**/*.test.js'

test-netns: build
	node_modules/.bin/ava 'dist/test/netns/**/*.test.js'

# the same stories in virtual machines, on every kernel that is supported; `make test` has one of them
test-vm: build
	WEIR_KERNELS=5.10,6.1,6.12 node_modules/.bin/ava 'dist/test/vm/**/*.test.js'

demo: build
	@node dist/scripts/demo.js $(if $(KEEP),--keep) $(if $(STOP),--stop)

bench/build/%.bpf.o: bench/%.bpf.c | deps
	@mkdir -p bench/build
	$(CLANG) $(BPF_CFLAGS) -Wno-missing-field-initializers -c $< -o $@

bench: build bench/build/wrap.bpf.o bench/build/floors.bpf.o
	node dist/bench/main.js

check: build
	node_modules/.bin/prettier --check --log-level warn src test scripts bench
	node_modules/.bin/eslint src test scripts bench
	$(CLANG_FORMAT) --dry-run --Werror bpf/*.c bpf/*.h bench/*.c
	node dist/scripts/layout.js $(BPF_OBJECT) --check

format: deps
	node_modules/.bin/prettier --write --log-level warn src test scripts bench
	$(CLANG_FORMAT) -i bpf/*.c bpf/*.h bench/*.c

clean:
	rm -rf dist bpf/build bench/build bench/results

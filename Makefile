# `make help` lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-builtin-rules

# sudo drops Go's usual place from PATH; su keeps a user's PATH, without bpftool's.
export PATH := $(PATH):/usr/local/go/bin:/usr/sbin

VERSION = $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
STATICCHECK := go tool -modfile=tools/go.mod staticcheck
SCRIPTS = .ci/run $(shell grep -slE '^\#!.*bash' tools/*)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: ## build ./bin/xlb, one static binary; needs Go alone
	@tools/deps
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/xlb ./cmd/xlb

.PHONY: demo
demo: need-root build ## run the demonstration lab on this machine (root); as JSON: make -s demo ARGS=--json
	bin/xlb demo $(ARGS)

# Control packages run once more under the race detector, which needs cgo. A cached result says nothing about a kernel.
.PHONY: test
test: need-root ## install what the tests need, then run every test (root)
	@tools/deps test
	go -C tools test ./...
	CGO_ENABLED=1 go test -count=1 -race ./control/...
	go test -count=1 ./...

.PHONY: generate
generate: ## regenerate the BPF objects, their bindings and all other generated files
	@tools/deps generate
	go generate ./...

.PHONY: verify
verify: ## fail if a generated file, go.mod or the formatting is out of date
	@tools/deps generate
	tools/verify

.PHONY: lint
lint: ## vet, staticcheck, direction of imports, C files, scripts
	@tools/deps lint
	go vet ./...
	go -C tools vet ./...
	$(STATICCHECK) ./...
	go -C tools tool staticcheck ./...
	go -C tools run ./imports ..
	tools/csource
	shellcheck $(SCRIPTS)

.PHONY: deps
deps: ## install the Debian packages that any target needs
	@tools/deps test generate lint

.PHONY: vmlinux
vmlinux: ## rewrite vmlinux.h from this kernel's BTF and tools/vmlinux.types
	@tools/deps generate
	bpftool btf dump file /sys/kernel/btf/vmlinux format c \
		| go -C tools run ./vmlinux vmlinux.types "$$(uname -r)" >vmlinux.h.new
	mv vmlinux.h.new vmlinux.h

.PHONY: clean
clean: ## remove what was built
	rm -rf bin

.PHONY: need-root
need-root:
	@[ "$$(id -u)" = 0 ] || { echo "this target makes network namespaces and loads BPF programs: run it as root (sudo make ...)" >&2; exit 1; }

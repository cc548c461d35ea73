# `make help` lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-builtin-rules

# sudo drops Go's usual place from PATH; su keeps a user's PATH, without bpftool's.
export PATH := $(PATH):/usr/local/go/bin:/usr/sbin

VERSION = $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
STATICCHECK := go tool -modfile=tools/go.mod staticcheck
FAULTS = ^Test(DaemonMayDie|AChangeThatKills|AStepThatFails|Restart|Upgrade|TwoInstances|Reloads)
SCRIPTS = .ci/run $(shell grep -slE '^\#!.*bash' tools/*)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: ## build ./bin/xlb, one static binary; needs Go alone
	@tools/deps
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/xlb ./cmd/xlb

.PHONY: man
man: build ## write the man pages of all commands into ./bin/man
	bin/xlb man bin/man

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
	@# once more aloud, so that the seeds of the random comparison are on record
	XLB_FUZZ_TIME=10s go test -count=1 -v -run='^TestProgramAndModelAgree' ./bpf

.PHONY: fuzz
fuzz: T := 1m
fuzz: need-root ## compare the data path with its Go model on random packets for T=1m; XLB_FUZZ_SEED=n repeats a run (root)
	XLB_FUZZ_TIME=$(T) go test -count=1 -v -timeout=0 -run='^TestProgramAndModelAgreeOnRandomPackets$$' ./bpf

.PHONY: mutate
mutate: need-root ## break the data path's C in many small ways; fail if the tests catch fewer than 95 % (root)
	@tools/deps generate
	go -C tools run ./mutate $(ARGS) ..

.PHONY: bench
bench: need-root ## measure the data path, ns per packet, on one CPU; writes bench.json, prints a table (root); ARGS=-check fails on missed bars
	go run ./testenv/bench $(ARGS)

.PHONY: bench-guard
bench-guard: need-root ## fail if the data path costs 15 % more than the committed baseline: instructions, and time against a control (root)
	go run ./testenv/bench -guard testenv/bench/baseline.json

.PHONY: bench-baseline
bench-baseline: need-root ## write that baseline anew, on a quiet machine (root)
	go run ./testenv/bench -guard testenv/bench/baseline.json -update

.PHONY: bench-control
bench-control: need-root build ## measure the control plane: tables, flips, a large configuration; writes bench-control.json (root); ARGS=-check
	go run ./testenv/bench/control $(ARGS)

.PHONY: bench-e2e
bench-e2e: need-root build ## measure balancers end to end: xlb, nftables, HAProxy; writes bench-e2e.json (root); ARGS=-check
	@tools/deps bench
	go run ./testenv/bench/e2e $(ARGS)

.PHONY: churn
churn: need-root build ## change everything about a node under 2,250 connections; writes churn.json, fails if one breaks (root)
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)-next' -o bin/xlb-next ./cmd/xlb
	go run ./testenv/churn $(ARGS)

.PHONY: faults
faults: need-root ## kill, fail and reload a node at full length: every step, 1,000 reloads (root); the figures of docs/RELIABILITY.md
	XLB_TEST_LONG=1 go test -count=1 -v -timeout=0 -run='$(FAULTS)' ./cmd/xlb

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

.PHONY: simulate
simulate: ## print the tables of docs/CONSISTENCY.md; about a minute on one core, no root
	GOMAXPROCS=1 go run ./control/balance/sim/simulate $(ARGS)

.PHONY: deps
deps: ## install the Debian packages that any target needs
	@tools/deps test generate lint bench

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

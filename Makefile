# Go, git and make are all that this needs; `make image` needs Docker or Podman too.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
IMAGE    ?= muster:$(VERSION)
PLATFORM ?=
# kustomize without Go plugins, which Muster refuses anyway. With them, and with cgo, each test is linked by the C linker and
# keeps every exported method: two thirds more time for each, and 79 MB instead of 56.
export GOFLAGS := $(strip $(shell go env GOFLAGS) -tags=kustomize_disable_go_plugin_support)

# What the tests run: all packages, or for example TEST=./gitsync/...
TEST     ?= ./...
BENCH    ?= .
FUZZTIME ?= 1m

# The servers that tests start. Each is built once, into .cache/devenv.
SERVERS := etcd kube-apiserver kube-controller-manager vault gitea promtool kubectl

# The race detector needs cgo, which the go command turns off where it finds no C compiler.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

# The linter is built anew when its version changes, or Go's: it can only read what its own Go version can.
LINT_MODULE := cmd/devenv/build/golangci-lint
LINT_VERSION = $(shell sed -n 's|^require github.com/golangci/golangci-lint/v2 \([^ ]*\).*|\1|p' $(LINT_MODULE)/go.mod)
LINT         = .cache/tools/golangci-lint-$(LINT_VERSION)-$(shell go env GOVERSION)

# Packages that are tested at once. The tests of controllers take longest and mostly wait: they start first, and one more package runs beside.
PARALLEL = $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))

# Tests whose worth is the number or the size of what they try. The race detector makes them up to ten times slower, so `make test` runs these
# without it. What runs concurrently has tests of its own, which keep it.
ROUNDS := ^(TestAmplification|TestAnHour|TestAsKustomizeDoes|TestHonestGrowth|TestHostileEdits|TestQuickIsSops|TestSizes|TestTries|TestUnitsAreTheWhole)$$

.PHONY: help
help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

# Built, and not by `go run`, which calls Ctrl-C a failure.
.PHONY: run
run: ## Show Muster at work: starts a control plane and Git on this machine, until Ctrl-C; FORGE=gitea: with commit statuses
	@echo "Building devenv…"
	@go build -o .cache/bin/devenv ./cmd/devenv
	@exec .cache/bin/devenv demo $(if $(FORGE),--forge=$(FORGE))

.PHONY: test
test: servers ## Run all tests, against real servers that the first run builds (19 minutes on 2 cores)
	@[ -n "$(RACE)" ] || echo "test: there is no C compiler, so the race detector is off"
	go test $(RACE) -p $(PARALLEL) -timeout 30m $(if $(filter ./...,$(TEST)),-skip '$(ROUNDS)' ./controllers) $(TEST)
ifeq ($(TEST),./...)
	go test ./clusters ./clusters/review ./clusters/unseal ./controllers/scans -run '$(ROUNDS)'
	go test ./clusters/kustomize -run '$(ROUNDS)' -trees 2000 -mixes 300
endif

.PHONY: servers
servers:
	@go run ./cmd/devenv build $(SERVERS) >/dev/null

.PHONY: bench
bench: ## Run the benchmarks; BENCH=REGEXP selects
	go test -run '^$$' -bench '$(BENCH)' -benchmem $(TEST)

.PHONY: fuzz
fuzz: ## Run every fuzz test for FUZZTIME each (1m)
	@git grep --untracked -oE '^func Fuzz[A-Za-z0-9_]*' -- '*_test.go' | while IFS=: read -r file target; do \
		echo "fuzz: $${target#func } in $${file%/*}, $(FUZZTIME)"; \
		go test "./$${file%/*}" -run '^$$' -fuzz "^$${target#func }$$" -fuzztime $(FUZZTIME) </dev/null || exit 1; \
	done

.PHONY: lint
lint: $(LINT) ## Run the linters of .golangci.yml
	$(LINT) run

# It gets its name when it is complete.
$(LINT):
	@echo "building golangci-lint $(LINT_VERSION) from source (first time only, about 2 minutes on 2 cores)"
	@mkdir -p $(@D)
	@CGO_ENABLED=0 GOWORK=off go -C $(LINT_MODULE) build -mod=readonly -trimpath -buildvcs=false \
		-ldflags '-s -w -X main.version=$(LINT_VERSION)' -o $(CURDIR)/$@.building \
		github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@mv $@.building $@

.PHONY: generate
generate: ## Write the generated files: deep copies, the CRD, the JSON Schemas for editors, the rules reference
	go tool controller-gen object crd paths=./controllers/api/... output:crd:dir=config/crd
	go generate ./...

.PHONY: verify
verify: ## Check what a machine can: generated files, formatting, go.mod, go vet
	@.ci/generated
	@unformatted=$$(gofmt -l cmd controllers gitsync clusters config); \
		[ -z "$$unformatted" ] || { printf 'run gofmt -w on:\n%s\n' "$$unformatted"; exit 1; }
	go mod tidy -diff
	go vet ./...

.PHONY: picture
picture: ## Draw the picture of README.md from a real run with Gitea
	@go build -o .cache/bin/devenv ./cmd/devenv
	@.cache/bin/devenv picture cmd/devenv/picture.svg

.PHONY: build
build: ## Build bin/muster, a static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.release=$(VERSION)' -o bin/muster ./cmd/muster

.PHONY: image
image: ## Build the container image IMAGE, with Docker or Podman; PLATFORM=linux/arm64 for another than this machine's
	@engine=$$(command -v docker || command -v podman) || { echo "image: needs Docker (with BuildKit) or Podman"; exit 1; }; \
	$$engine info >/dev/null 2>&1 || { echo "image: $$engine is here, but its engine does not answer; is it running?"; exit 1; }; \
	$$engine build $(if $(PLATFORM),--platform $(PLATFORM)) --build-arg VERSION=$(VERSION) --tag $(IMAGE) .

.PHONY: release
release: ## Build the archives of VERSION into dist/, with checksums and the manifest of the kubectl plugin
	@rm -rf dist
	@go run ./cmd/devenv release $(VERSION) dist

.PHONY: clean
clean: ## Remove bin/, dist/ and .cache/, built servers and linter included
	rm -rf bin dist .cache

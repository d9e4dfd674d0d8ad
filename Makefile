# make        builds bin/usher
# make test   is everything that must hold: format, vet, lint, all tests with the
#             race detector, real servers. CI runs this and nothing else.

GO      ?= go
TOOL     = $(GO) tool -modfile=tools/go.mod
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.1.0-dev)
FUZZTIME ?= 30s

.PHONY: build test check packages fmt format vet lint unit fuzz golden doc soak bench clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/usher ./cmd/usher

test: packages check

check: fmt vet lint unit

packages:
	@scripts/packages
	@scripts/aside

fmt:
	@files=$$($(TOOL) gofumpt -l .); test -z "$$files" || { echo "not formatted (run: make format):"; echo "$$files"; exit 1; }

format:
	$(TOOL) gofumpt -w .

vet:
	$(GO) vet ./...

lint:
	$(TOOL) golangci-lint run ./...

# Not cached: many tests run the program itself, of which go test does not know. They
# build it, and should find its packages compiled. The longest tests come first, and
# what make vet has said need not be said again. Those that measure have the machine for
# themselves at the end. The helper's children are others where there is no C library (shed_linux.go):
# that is what make builds, and what the race detector is not there for.
unit:
	$(GO) build -race ./...
	$(GO) test -race -count=1 -vet=off ./interop $$($(GO) list ./... | grep -v /bench/)
	$(GO) test -race -count=1 -vet=off -p=1 ./bench/...
	CGO_ENABLED=0 $(GO) test -count=1 -vet=off ./internal/spawn ./internal/thrift

# Every fuzz target for FUZZTIME.
fuzz:
	@for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

# Rewrites what clients hear in the golden conversations; then read the diff.
golden:
	$(GO) test ./internal/imap ./internal/pop3 -update

# Writes the documents that are made from the code.
doc:
	$(GO) run ./internal/config/manual > doc/config.md

# 2,000 idle sessions and 200 logins a second for a minute; 200 attackers for another;
# 10,000 refusals of each kind, timed.
soak:
	$(GO) test -count=1 -v ./bench/soak -full -timeout 30m

# What usher costs beside other proxies, those that are installed: 17 minutes on two
# processors. BENCH=-rounds=1 is quicker, BENCH=-help tells more. Then what looking an
# account up costs: 3 minutes; programs of this machine, and logins by another node: 1.
bench: build
	$(GO) run ./bench -usher bin/usher -out bench/RESULTS.md $(BENCH)
	$(GO) test -count=1 -timeout 30m ./bench/lookup -full -out $(CURDIR)/bench/LOOKUP.md
	$(GO) test -count=1 -timeout 30m ./bench/local -full -usher $(CURDIR)/bin/usher -out $(CURDIR)/bench/LOCAL.md
	$(GO) test -count=1 -v ./bench/pool -full -usher $(CURDIR)/bin/usher

clean:
	rm -rf bin

# make test         everything that must hold, from a fresh clone
# make generate     the Go code of the views, after a change of a .templ file
# make icons        the pictures of the mark, after a change of static/icon.svg (needs Chromium)
# make screenshots  the pictures of the README, from the example of models/demo
# make run          the server

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
TOOL := go tool -modfile=tools.mod

.PHONY: run test generate icons screenshots needs format generated reviews modules lint vulnerabilities suite alone

run:
	go run main.go

# What reads the code runs beside the tests, of which many only wait.
test: needs format generated
	@folder=$$(mktemp -d "$$($(ROOMY))/conclave-XXXXXX"); trap 'rm -rf "$$folder"' EXIT; export TMPDIR="$$folder"; \
	$(MAKE) --no-print-directory --jobs=2 suite reviews; \
	$(MAKE) --no-print-directory alone
	@echo "all checks passed"

# Where the tests keep their databases. Each commit waits for the disk, which is most of the time of a test; so it is
# memory, if there are 2 GiB of it and programs may be run there.
ROOMY = try=$$(mktemp /dev/shm/conclave-XXXXXX 2>/dev/null) && echo true >"$$try" && chmod u+x "$$try" && "$$try" 2>/dev/null && \
	[ "$$(df -Pk /dev/shm | awk 'NR == 2 { print $$4 }')" -ge 2097152 ] && echo /dev/shm || echo "$${TMPDIR:-/tmp}"; rm -f "$$try"

generate:
	$(TOOL) templ generate
	$(TOOL) templ fmt views

icons:
	go run static/icons/draw.go

screenshots: needs
	CONCLAVE_PICTURES="$(CURDIR)/.github/images" go test -count=1 -run BrowserPictures ./handlers
	@ls -l .github/images

# What a fresh Debian machine lacks. Nothing is skipped silently: what cannot be installed is named.
BROWSERS := chromium chromium-browser google-chrome
needs:
	@command -v go >/dev/null || { echo "Go is missing: install it from https://go.dev/dl/"; exit 1; }
	@missing=""; \
	command -v gcc >/dev/null || missing="gcc libc6-dev"; \
	for b in $(BROWSERS); do command -v $$b >/dev/null && found=1; done; \
	[ -n "$${CONCLAVE_CHROME:-}$${found:-}" ] || missing="$$missing chromium"; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ]; then sudo=""; else sudo="sudo -n"; fi; \
	echo "installing: $$missing"; \
	{ $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing; } >/dev/null \
	|| { echo "These are missing and could not be installed here: $$missing. Install them and run make test again."; exit 1; }

# Not needed, but most tests in a browser take half the time in the engine alone. Only root is not asked.
	@command -v chromium-headless-shell >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || { \
	get() { DEBIAN_FRONTEND=noninteractive timeout 120 apt-get install -y -qq --no-install-recommends chromium-headless-shell >/dev/null 2>&1; }; \
	get || { timeout 60 apt-get update -qq >/dev/null 2>&1 && get; } || echo "chromium-headless-shell cannot be had here: the whole browser does its work, in twice the time"; }

reviews: modules lint vulnerabilities

format:
	@wrong=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$wrong" ] || { echo "gofmt would change:"; echo "$$wrong"; exit 1; }

lint:
	go vet ./...
	$(TOOL) staticcheck ./...

# Generating must change nothing. It always runs here, at the root: the output names the file's path.
generated:
	@before=$$(cat views/*_templ.go | sha256sum); $(TOOL) templ generate 2>/dev/null; \
	[ "$$before" = "$$(cat views/*_templ.go | sha256sum)" ] || { echo "The generated views were stale: run make generate and commit."; exit 1; }
	@$(TOOL) templ fmt -fail views >/dev/null 2>&1 || { echo "templ fmt would change a view: run make generate and commit."; exit 1; }

modules:
	@go mod tidy -diff || { echo "go.mod or go.sum has drifted: run go mod tidy and commit."; exit 1; }
	@go mod verify

# Exit code 3 is a finding. Anything else that fails is a database that cannot be reached from here.
vulnerabilities:
	@code=0; $(TOOL) govulncheck ./... >/tmp/conclave-govulncheck.$$$$ 2>&1 || code=$$?; \
	case $$code in 0) echo "no known vulnerabilities";; \
	3) cat /tmp/conclave-govulncheck.$$$$; exit 1;; \
	*) echo "vulnerabilities: skipped, the database cannot be reached from here";; esac; \
	rm -f /tmp/conclave-govulncheck.$$$$

# A test without its browser fails here instead of being skipped.
export CONCLAVE_REQUIRE_BROWSER := 1

# What measures how long people wait needs the machine to itself: beside a crowd, and in a browser. The race detector
# watches the same handlers in all the other tests; here it would make the server slow, and the wait its own.
CROWDS := _T61|AfterARestartAll

# All packages, two at a time, under the race detector. The program that the tests of main start is built as it ships.
suite:
	go test -race -vet=off -skip '$(CROWDS)|Browser' ./...

alone:
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	go test -vet=off -c -o "$$folder/handlers.test" ./handlers; cd handlers; \
	"$$folder/handlers.test" -test.timeout 5m -test.parallel 2 -test.run '$(CROWDS)'; \
	rm -rf "$(CURDIR)/_artifacts"; "$$folder/handlers.test" -test.timeout 10m -test.parallel 3 -test.run Browser -test.artifacts -test.outputdir "$(CURDIR)"

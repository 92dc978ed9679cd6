# make demo: fetch libtorch, build, run the demo recipe on drawn birds.   make test: the tests.
CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto

.PHONY: all demo test build libtorch check

all: build

libtorch:
	@scripts/fetch-libtorch

build: libtorch
	@$(CARGO) build --release --quiet

test: libtorch
	$(CARGO) test --release

check: libtorch
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings

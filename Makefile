# make demo   fetch libtorch, build, draw a small bird dataset, build its recipe, show where the report is
# make test   fetch libtorch, build, run every test
# make weights fetch FID's Inception network (87 MB), check it, convert it to weights/inception.safetensors
# make faults break builds at random moments, 200 times each
CARGO ?= cargo
BIRDAUG = target/release/birdaug

.PHONY: all build libtorch weights demo birds24 test faults check

all: build

libtorch:
	@scripts/fetch-libtorch

build: libtorch
	$(CARGO) build --release

weights: build
	@BIRDAUG=$(BIRDAUG) scripts/fetch-weights

demo: build
	@test -e data/sample || $(BIRDAUG) sample data/sample
	$(BIRDAUG) build recipes/demo.toml

# Real photos, which are not part of the project.
birds24: build
	@if test -d ../shared/data/birds24; then $(BIRDAUG) build recipes/birds24.toml; else echo "skipped: no ../shared"; fi

test: libtorch
	OMP_WAIT_POLICY=passive $(CARGO) test --release --workspace

# Kills, races, full disks, flipped bits: each tried many times. `make faults BIRDAUG_FAULTS_SEED=2` tries other moments.
faults: libtorch
	BIRDAUG_FAULTS=$${BIRDAUG_FAULTS:-200} OMP_WAIT_POLICY=passive $(CARGO) test --release --test all faults -- --nocapture

check: libtorch
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings

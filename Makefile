# Everything a newcomer types. `make demo` needs Rust and a C compiler; `make test` installs what it needs.

CARGO ?= cargo

MINUTES ?= 10

.PHONY: demo build test bench latency seeds setup-test check-format lint unit

# ARGS go to the demo: make demo ARGS="--seconds 20 --fault 3:silence@5..10"
demo:
	$(CARGO) build --release
	./target/release/fieldbeat demo $(ARGS)

build:
	$(CARGO) build --release

test: setup-test check-format lint unit

setup-test:
	sh tests/setup.sh

check-format:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

unit:
	$(CARGO) test --no-fail-fast
	$(CARGO) test -p fieldbeat-loom
	$(CARGO) test -p fieldbeat-cyclictest

bench:
	sh benches/run.sh

# ARGS go to the harness: make latency ARGS="--seconds 60 --load all --board jetson-orin-nano"
latency:
	$(CARGO) build --release -p fieldbeat-cyclictest
	./target/release/fieldbeat-latency $(ARGS)

# Seeds of the simulator that nobody has run, on every core: make seeds MINUTES=60
seeds:
	$(CARGO) build --release --bin fieldbeat
	./target/release/fieldbeat sim --fresh --minutes $(MINUTES) $(ARGS)

# The front door: `make` alone lists what there is. What is more than a cargo call is in tools/exo,
# so that a laptop, CI and a board run the same code.
#
# Read from the environment or the command line: QEMU= (emulator binary), QEMU_EXTRA= (more arguments
# for it), PORT= (run the target suite on the board at this serial port), FUZZ_SECONDS= (for each
# fuzz target), MIRI_MINUTES= (for each crate).

# rustup's folder comes last: it is found also by shells that have not read the profile.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# Exact versions of what is used only here; the toolchain itself is in rust-toolchain.toml.
MDBOOK := 0.5.4
NIGHTLY := nightly-2026-05-20
# Crates that Miri can run: all decisions, no hardware; and minutes that it may take for each of them.
LOGIC := $(patsubst kernel/%/Cargo.toml,miri-%,$(wildcard kernel/*/Cargo.toml))
MIRI_MINUTES := 10

.DEFAULT_GOAL := help
.PHONY: help setup image qemu test test-host test-target test-e2e lint test-emulators bench sizes \
	gdb docs miri miri-toolchain $(LOGIC) fuzz clean setup-host

help:
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' Makefile

setup: ## Install what is missing: emulator, C linker, Rust targets, tools for FAT and captures
	@tools/setup.sh host emulator volumes captures

# What needs no emulator.
setup-host:
	@tools/setup.sh host

image: setup-host ## Build the boot image, and the card's image target/exopi.img with it
	@cargo exo image

qemu: setup ## Build everything and boot it in the emulator, console here (status 2 if the guest fails: `cargo exo run` gives its own)
	@cargo exo run

test: setup ## Everything that CI runs; ends with `N passed, N failed`
	@cargo exo stages

test-host: setup-host ## Tests of logic crates, tools and the house on this machine
	@tools/setup.sh volumes
	@cargo exo stages host

test-target: $(if $(PORT),setup-host,setup) ## Suites that run at EL0, in the emulator with a check from outside after each (or on a board: PORT=/dev/tty...)
	@cargo exo stages target $(if $(PORT),--port '$(PORT)')

test-e2e: setup ## The booted image driven from outside
	@cargo exo stages e2e

lint: setup-host ## rustfmt, and clippy and rustdoc for host, kernel and EL0
	@cargo exo stages lint

test-emulators: setup-host ## The target suite on emulators 7.2 and 10.0 (Debian only)
	@cargo exo emulators

bench: setup ## The benchmark table, beside the stored one
	@cargo exo bench

sizes: setup-host ## Sizes of kernel and programs
	@cargo exo sizes

gdb: setup ## Boot in the emulator under gdb
	@tools/setup.sh gdb
	@cargo exo gdb

docs: setup-host target/tools/$(MDBOOK)/bin/mdbook ## Build the book in docs/
	@target/tools/$(MDBOOK)/bin/mdbook build docs --dest-dir '$(CURDIR)/target/book'

target/tools/$(MDBOOK)/bin/mdbook:
	cargo install mdbook --version =$(MDBOOK) --no-default-features --locked --root target/tools/$(MDBOOK)

miri: $(LOGIC) ## Logic crates under Miri, on a pinned nightly (`make miri-pages` for one; `-j` for all side by side; MIRI_MINUTES= each at most)

miri-toolchain: setup-host
	@cargo +$(NIGHTLY) miri --version >/dev/null 2>&1 || rustup toolchain install $(NIGHTLY) \
		--no-self-update --profile minimal --component miri --component rust-src

# What is used by tests alone that do not run there is not complained of.
$(LOGIC): miri-%: miri-toolchain
	@PROPTEST_CASES=4 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1 MIRIFLAGS=-Zmiri-disable-isolation \
		RUSTFLAGS='-Adead_code -Aunused_imports' \
		timeout $(MIRI_MINUTES)m cargo +$(NIGHTLY) miri test --package exopi-$*

# libFuzzer, which the crate libfuzzer-sys brings along as C++, and what has its passes count how often each edge is
# taken: all that cargo-fuzz would add to this on a toolchain that is not a nightly. The host's triple is
# given so that build scripts go without.
FUZZ_SECONDS := 20
FUZZ_TARGETS := filter wire handover images disk calls frames volume
FUZZ_FLAGS := --cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
	$(addprefix -Cllvm-args=-sanitizer-coverage-,level=4 inline-8bit-counters pc-table trace-compares)
fuzz: ## Each fuzz target for FUZZ_SECONDS= seconds, one after the other: corpora and findings in target/fuzz
	@tools/setup.sh host fuzz
	@set -e; host=$$(rustc -vV | sed -n 's/^host: //p'); \
	RUSTFLAGS='$(FUZZ_FLAGS)' cargo build --locked --release --target $$host \
		--manifest-path tests/fuzz/libfuzzer/Cargo.toml --target-dir target/fuzz/build; \
	status=0; for target in $(FUZZ_TARGETS); do \
		echo "fuzz: $$target"; mkdir -p target/fuzz/corpus/$$target; \
		FUZZ_TARGET=$$target target/fuzz/build/$$host/release/exopi-libfuzzer target/fuzz/corpus/$$target \
			-max_total_time=$(FUZZ_SECONDS) -artifact_prefix=target/fuzz/$$target- \
			-timeout=10 -verbosity=0 -print_final_stats=1 || status=1; \
	done; exit $$status

clean: ## Remove everything that was built or unpacked
	@cargo clean

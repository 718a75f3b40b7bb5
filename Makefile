# SPDX-License-Identifier: Apache-2.0
# The front door; meson and ninja do the work.  `make help` lists the targets.
#
# SETUP=no never installs anything: what then cannot run is skipped with its reason.

BUILD ?= build
MESON_ARGS ?=
DESTDIR ?=
PREFIX ?= /usr/local
SETUP ?= yes
export SETUP

.PHONY: all help demo test soak bench coverage fuzz install format lint setup clean

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

# Without meson there is nothing to build with: setup-build brings it.
$(BUILD)/build.ninja:
	@scripts/setup build
	@meson setup $(BUILD) --prefix $(PREFIX) $(MESON_ARGS) >$(BUILD).log 2>&1 || { cat $(BUILD).log; rm -f $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log

help:
	@echo 'make            build/vmtime'
	@echo 'make demo       all set-up, build, and the clock errors of a real guest, beside QEMU'
	@echo 'make test       every test that CI runs'
	@echo 'make soak       the scenarios at full length, for the figures in docs/benchmarks.md'
	@echo 'make bench      speed and size, each beside its peer'
	@echo 'make coverage   line coverage of the unit tests (gcovr)'
	@echo 'make fuzz       each fuzz target for TIME (60s)'
	@echo 'make install    into DESTDIR and PREFIX'
	@echo 'make format     clang-format over all sources'
	@echo 'make lint       clang-tidy and cppcheck'
	@echo 'make setup      install what is missing from the distribution; SETUP=no: never'

setup:
	@scripts/setup build test

demo:
	@scripts/setup build
	@$(MAKE) --no-print-directory all
	@scripts/demo $(BUILD)

test:
	@scripts/setup build test
	@scripts/suites

soak: all
	@scripts/soak $(BUILD)

bench: all
	@scripts/bench $(BUILD)

coverage:
	@scripts/setup build test
	@scripts/coverage

fuzz:
	@scripts/setup build test
	@scripts/fuzz $(or $(TIME),60s)

install: all
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD)

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

lint: all
	@scripts/lint $(BUILD)

clean:
	@rm -rf build build-*

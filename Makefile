# brainenc: `make run` and `make test` do everything; `make help` lists the rest.
#
#   V=1                          show the commands
#   SANITIZER=address,undefined  build and test under sanitizers (or SANITIZER=thread), in a folder of its own
#   WERROR=1                     warnings are errors (set by CI=true)

CC      ?= cc
comma   := ,
BUILD   := build/$(if $(SANITIZER),$(subst $(comma),-,$(SANITIZER)),plain)

WERROR  ?= $(if $(CI),1)
VERSION := 0.1.0

# What is built on, and what only the tests need: Debian package, then the name pkg-config knows it by.
PACKAGES      := build-essential pkg-config libopenblas-pthread-dev libpng-dev libjpeg-dev libzip-dev libcjson-dev libssl-dev \
                 libmicrohttpd-dev libyaml-dev libsystemd-dev libcurl4-openssl-dev libgiftiio-dev libexpat1-dev \
                 libhdf5-dev zlib1g-dev
TEST_PACKAGES := libcmocka-dev curl python3 python3-pytest python3-numpy python3-nibabel python3-h5py
MODULES       := libpng libjpeg libzip libcjson libcrypto
TOOL_MODULES  := openblas libcurl hdf5-serial zlib
SERVER_MODULES := libmicrohttpd yaml-0.1 libsystemd
# gifticlib has no pkg-config file. Its header includes nifti1_io.h from a folder of its own, and expat's without depending on it.
GIFTI_CFLAGS := -isystem /usr/include/nifti
GIFTI_LIBS   := -lgiftiio

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wundef \
            $(if $(WERROR),-Werror)
OPTIMISE := $(if $(SANITIZER),-O1 -fno-omit-frame-pointer,-O2)
SANITIZE := $(if $(SANITIZER),-fsanitize=$(SANITIZER) $(if $(findstring undefined,$(SANITIZER)),-fno-sanitize-recover=undefined))
CFLAGS   ?= -g
CFLAGS_ALL  = -std=c11 -D_GNU_SOURCE -I. -DBRAINENC_VERSION='"$(VERSION)"' $(WARNINGS) $(OPTIMISE) $(SANITIZE) -pthread \
              $(shell pkg-config --cflags $(MODULES) $(TOOL_MODULES) $(SERVER_MODULES) 2>/dev/null) $(GIFTI_CFLAGS) $(CFLAGS)
LDFLAGS_ALL = $(SANITIZE) -pthread $(LDFLAGS)
LIBS        = $(shell pkg-config --libs $(MODULES) 2>/dev/null) $(GIFTI_LIBS) -lm
TOOL_LIBS   = $(shell pkg-config --libs $(TOOL_MODULES) 2>/dev/null)
SERVER_LIBS = $(shell pkg-config --libs $(SERVER_MODULES) 2>/dev/null)

CORE_SOURCES := $(wildcard core/*.c core/*/*.c)
TOOL_SOURCES := $(wildcard clients/brainenc/*.c)
SERVER_SOURCES := $(wildcard server/*.c)
UNIT_SOURCES := $(wildcard tests/unit/test_*.c)
UNIT_SUPPORT := $(filter-out $(UNIT_SOURCES),$(wildcard tests/unit/*.c))

objects    = $(patsubst %.c,$(BUILD)/%.o,$(1))
LIBRARY   := $(BUILD)/libbrainenc.a
TOOL      := $(BUILD)/brainenc
DAEMON    := $(BUILD)/brainencd
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(UNIT_SOURCES))

Q := $(if $(V),,@)
say = $(if $(V),@true,@printf '  %-7s %s\n' $(1) $(2))

# One kernel file an instruction set, with flags of its own; chosen at run time from CPUID.
# AddressSanitizer of gcc 12, when it watches for use after return, may give a frame of 64-byte variables an address that is no
# multiple of 64: a store to them then crashes.
ASAN_VECTOR := $(if $(findstring address,$(SANITIZER)),--param asan-use-after-return=0)
VECTOR := -O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math -Wno-psabi
AVX2   := -mavx2 -mfma -mf16c
AVX512 := -mavx512f -mavx512vl -mavx512dq -mavx512bw -mfma -mprefer-vector-width=512 $(ASAN_VECTOR)
instruction_set = $(foreach file,kernels matrix,$(BUILD)/core/compute/$(file)_$(1).o): private CFLAGS_FILE := $(VECTOR) $(2)
$(call instruction_set,generic)
$(call instruction_set,avx2,$(AVX2))
$(call instruction_set,avx512,$(AVX512))
$(call instruction_set,avx512bf16,$(AVX512) -mavx512bf16)
$(call instruction_set,amx,$(AVX512) -mavx512bf16)
# Transforms, pooling and the measuring of peaks want their loops unrolled and in vectors; those of every processor are wide enough.
$(BUILD)/core/compute/convolution.o $(BUILD)/core/compute/winograd.o: private CFLAGS_FILE := $(VECTOR)
$(BUILD)/core/compute/peak.o: private CFLAGS_FILE := $(VECTOR) $(ASAN_VECTOR)

# The packages are installed first, then make is called again: what pkg-config knows is different then.
AGAIN := $(MAKE) --no-print-directory -j$(shell nproc)
# Of several goals each is done after the other, whatever -j says: two makes must not build the same objects at once.
ifneq ($(word 2,$(MAKECMDGOALS)),)
ifneq ($(filter-out $(BUILD)/%,$(MAKECMDGOALS)),)
.NOTPARALLEL:
endif
endif

.PHONY: all help run test unit-tests $(BUILD)/unit-tests check-unit check-tool check-http install uninstall bench \
        bench-programs bench-onednn bench-cost bench-results bench-models yardsticks deps test-deps clean FORCE
all: deps
	$(Q)$(AGAIN) $(TOOL) $(DAEMON)

help:
	@echo 'make            build the library, the tool and the daemon (build/plain/brainenc, brainencd)'
	@echo 'make run        install what is missing, build, serve a demo subject on http://127.0.0.1:8080'
	@echo 'make test       install what is missing, build, run every test'
	@echo 'make bench      every benchmark at full size, with a ViT-B/14 model of random weights in build/bench; make bench-cost:'
	@echo '                cost by size, with plots; make bench-results: both, written to tests/bench/RESULTS.md; make bench-models:'
	@echo '                larger models; make yardsticks: install PyTorch and oneDNN to be measured beside'
	@echo 'make install    the tool, the daemon, its configuration and its service (DESTDIR=, PREFIX=/usr/local); make uninstall'
	@echo 'make clean      remove build/'
	@echo 'Variables: V=1, SANITIZER=address,undefined or thread, WERROR=1, CC, CFLAGS, LDFLAGS'

# --- packages -------------------------------------------------------------------------------------
# Nothing is asked and nothing is printed when all of them are there.
define install_missing
	@missing=""; for package in $(1); do \
	    dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ] && ! command -v apt-get >/dev/null; then \
	    echo "This is no Debian or Ubuntu: install what these packages hold there, then call" \
	         "make $(MAKECMDGOALS) PACKAGES= TEST_PACKAGES= :$$missing"; exit 1; \
	fi; \
	if [ -n "$$missing" ]; then \
	    sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	    echo "Installing with $$sudo apt-get:$$missing"; \
	    $$sudo apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
endef

deps:
	$(call install_missing,$(PACKAGES))
test-deps: deps
	$(call install_missing,$(TEST_PACKAGES))

# --- building -------------------------------------------------------------------------------------
# The flags of the last build: when they change, everything is built anew.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(CC) $(CFLAGS_ALL) $(VECTOR) $(LDFLAGS_ALL) $(LIBS))' | cmp -s - $@ || \
	 echo '$(subst ','\'',$(CC) $(CFLAGS_ALL) $(VECTOR) $(LDFLAGS_ALL) $(LIBS))' > $@

$(BUILD)/%.o: %.c $(BUILD)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(CFLAGS_FILE) -MMD -MP -c -o $@ $<

# Objects of tests are kept: a change in the library only links them anew.
.SECONDARY:

$(LIBRARY): $(call objects,$(CORE_SOURCES))
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(TOOL): $(call objects,$(TOOL_SOURCES)) $(LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(TOOL_LIBS) $(LIBS)

$(DAEMON): $(call objects,$(SERVER_SOURCES)) $(LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(SERVER_LIBS) $(LIBS)

# Measure the matrix products alone; the second beside oneDNN's, of the version whose interface it speaks.
BENCH_SUPPORT := $(BUILD)/tests/bench/operands.o $(BUILD)/clients/brainenc/blas.o
$(BUILD)/bench_products: $(BUILD)/tests/bench/products.o $(BENCH_SUPPORT) $(LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(TOOL_LIBS) $(LIBS)

$(BUILD)/tests/bench/onednn.o: private CFLAGS_FILE := -fopenmp
$(BUILD)/bench_onednn: $(BUILD)/tests/bench/onednn.o $(BENCH_SUPPORT) $(LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -fopenmp -o $@ $^ -ldnnl $(TOOL_LIBS) $(LIBS)

bench-onednn:
	$(Q)if printf '#include <dnnl.h>\n#if DNNL_VERSION_MAJOR != 2\n#error\n#endif\n' | $(CC) -E -x c - >/dev/null 2>&1; \
	    then $(MAKE) --no-print-directory $(BUILD)/bench_onednn; \
	    else rm -f $(BUILD)/bench_onednn; \
	        echo 'oneDNN is not installed (libdnnl-dev, version 2), so there is nothing to compare the products with'; fi

# Tests of failing allocations see every malloc, calloc, realloc, posix_memalign, strdup and mmap of the library.
WRAPPED := malloc calloc realloc posix_memalign strdup mmap
$(BUILD)/tests/test_allocation%: private LDFLAGS_TEST := $(foreach name,$(WRAPPED),-Wl$(comma)--wrap=$(name))
# With the libraries of the tool, which one object of the library needs (core/image/hdf5_*) and the daemon does not.
$(BUILD)/tests/test_%: $(BUILD)/tests/unit/test_%.o $(call objects,$(UNIT_SUPPORT)) $(LIBRARY)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS_TEST) -o $@ $^ $(TOOL_LIBS) $(LIBS) $(shell pkg-config --libs cmocka)

# --- tests ----------------------------------------------------------------------------------------
# The first python3 that can import what the tests need: one on PATH may not be the one Debian's packages serve.
PYTHON_NEEDS := h5py, nibabel, numpy, pytest
PYTHON = $(shell for p in python3 /usr/bin/python3; do $$p -c 'import $(PYTHON_NEEDS)' 2>/dev/null && { echo $$p; break; }; done)
export ASAN_OPTIONS ?= detect_leaks=1:allocator_may_return_null=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS ?= print_stacktrace=1
export TSAN_OPTIONS ?= halt_on_error=1:second_deadlock_stack=1
# ThreadSanitizer of gcc 12 cannot place its shadow memory under the address randomisation of newer kernels.
RUNNER := $(if $(findstring thread,$(SANITIZER)),setarch -R)

test: test-deps
	$(Q)$(AGAIN) $(BUILD)/unit-tests $(TOOL) $(DAEMON)
	$(Q)$(MAKE) --no-print-directory check-unit
	$(Q)$(MAKE) --no-print-directory check-tool
	$(Q)$(MAKE) --no-print-directory check-http

unit-tests:
	$(Q)$(AGAIN) $(BUILD)/unit-tests
$(BUILD)/unit-tests: $(UNIT_TESTS)
	@:
check-unit: unit-tests
	$(Q)for test in $(sort $(UNIT_TESTS)); do $(RUNNER) $$test || { echo "FAILED: $$test"; exit 1; }; done

check-tool: $(TOOL)
	$(Q)[ -n "$(PYTHON)" ] || { echo 'no python3 here can import $(PYTHON_NEEDS)'; exit 1; }
	$(Q)BRAINENC='$(abspath $(TOOL))' BRAINENC_RUNNER='$(RUNNER)' BRAINENC_SANITIZER='$(SANITIZER)' \
	    $(PYTHON) -B -m pytest -q -p no:cacheprovider tests/tool

check-http: $(TOOL) $(DAEMON)
	$(Q)[ -n "$(PYTHON)" ] || { echo 'no python3 here can import $(PYTHON_NEEDS)'; exit 1; }
	$(Q)BRAINENC='$(abspath $(TOOL))' BRAINENCD='$(abspath $(DAEMON))' BRAINENC_RUNNER='$(RUNNER)' \
	    BRAINENC_SANITIZER='$(SANITIZER)' $(PYTHON) -B -m pytest -q -p no:cacheprovider tests/http

# --- running and installing -----------------------------------------------------------------------
run: all
	$(Q)[ -f build/demo/brainencd.yaml ] && $(DAEMON) --config build/demo/brainencd.yaml --check >/dev/null || \
	    $(TOOL) demo -o build/demo
	$(Q)exec $(DAEMON) --config build/demo/brainencd.yaml

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR    ?= /lib/systemd/system
install: $(TOOL) $(DAEMON)
	install -D -m 755 $(TOOL) '$(DESTDIR)$(PREFIX)/bin/brainenc'
	install -D -m 755 $(DAEMON) '$(DESTDIR)$(PREFIX)/bin/brainencd'
	[ -e '$(DESTDIR)$(SYSCONFDIR)/brainenc/brainencd.yaml' ] || \
	    install -D -m 644 config/brainencd.yaml '$(DESTDIR)$(SYSCONFDIR)/brainenc/brainencd.yaml'
	install -d '$(DESTDIR)$(UNITDIR)'
	sed 's|/usr/local|$(PREFIX)|g; s|/etc/brainenc|$(SYSCONFDIR)/brainenc|g' systemd/brainencd.service \
	    > '$(DESTDIR)$(UNITDIR)/brainencd.service'
	[ -n '$(DESTDIR)' ] || ! command -v systemctl >/dev/null || systemctl daemon-reload || true

# The configuration is the administrator's: it stays.
uninstall:
	rm -f '$(DESTDIR)$(PREFIX)/bin/brainenc' '$(DESTDIR)$(PREFIX)/bin/brainencd' '$(DESTDIR)$(UNITDIR)/brainencd.service'
	[ -n '$(DESTDIR)' ] || ! command -v systemctl >/dev/null || systemctl daemon-reload || true

# --- benchmarks -----------------------------------------------------------------------------------
# All of them, of a ViT-B/14 model of random weights in build/bench: `make bench BENCH_OPTIONS='--only stages'`. PyTorch, oneDNN and
# matplotlib are yardsticks and plots where they are installed (YARDSTICK_PACKAGES), and nothing needs them.
YARDSTICK_PACKAGES := python3-torch libdnnl-dev python3-matplotlib
BENCH_PYTHON = $(PYTHON) -B tests/bench
BENCH_PRECISION ?= bf16

bench: bench-programs
	$(Q)$(BENCH_PYTHON)/run.py build/bench --json build/bench.json $(BENCH_OPTIONS)

bench-programs: test-deps
	$(Q)$(AGAIN) $(TOOL) $(DAEMON) $(BUILD)/bench_products
	$(Q)$(MAKE) --no-print-directory bench-onednn
	$(Q)[ -f build/bench/subj01.safetensors ] || $(TOOL) demo --full -o build/bench

# Cost by tokens, vertices, members, subjects and clients, with plots.
bench-cost: bench-programs
	$(Q)$(BENCH_PYTHON)/cost.py build/bench --precision $(BENCH_PRECISION) --json build/cost.json

# All of it, one after the other whatever -j says, and the page that keeps it.
bench-results:
	$(Q)$(MAKE) --no-print-directory bench
	$(Q)$(MAKE) --no-print-directory bench-cost
	$(Q)$(BENCH_PYTHON)/results.py build/bench.json build/cost.json > build/RESULTS.md
	$(Q)mv build/RESULTS.md tests/bench/RESULTS.md

# Larger models for a section of `make bench`: 18 GB.
bench-models: bench-programs
	$(Q)[ -f build/bench-voxels/subj01.safetensors ] || $(TOOL) demo --full --readout voxels -o build/bench-voxels
	$(Q)[ -f build/bench-ensemble/subj01.safetensors ] || $(TOOL) demo --full --layers 1,3,5,7 --runs 10 -o build/bench-ensemble
	$(Q)mkdir -p build/bench-ensemble-bf16
	$(Q)ln -sf ../bench-ensemble/dinov2_vitb14_pretrain.pth ../bench-ensemble/picture.png build/bench-ensemble-bf16/
	$(Q)[ -f build/bench-ensemble-bf16/subj01.safetensors ] || $(TOOL) import --ensemble build/bench-ensemble/results \
	    --data build/bench-ensemble/algonauts/subj01 --storage bf16 -o build/bench-ensemble-bf16/subj01.safetensors

yardsticks:
	$(call install_missing,$(YARDSTICK_PACKAGES))

clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

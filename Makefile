# Levee: build, test, install. `make help` lists what there is.

CC      ?= cc
BUILD   ?= build
PREFIX  ?= /usr/local
VERSION := 0.1.0

# Code that is made from descriptions: messages of TensorBoard's event files.
GENERATED = $(BUILD)/generated

WARNINGS := -Wall -Wextra -Wshadow -Wundef -Wstrict-prototypes -Wvla -Werror -Wno-psabi
CFLAGS   ?= -O3 -g
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -fno-math-errno -ffp-contract=fast -fPIC -fvisibility=hidden $(WARNINGS) -Iinclude -Isrc -I$(GENERATED) -MMD -MP \
             $(CFLAGS) $(SANITIZE)
LIBS := -ldnnl -ljansson -lyaml -lpcre2-8 -lutf8proc -lxxhash -lmicrohttpd -lprotobuf-c -lgomp -lm -lpthread

PACKAGES := gcc make pkg-config libdnnl-dev libjansson-dev libyaml-dev libpcre2-dev libutf8proc-dev libxxhash-dev libmicrohttpd-dev \
            libprotobuf-c-dev protobuf-c-compiler libcmocka-dev

# Each system has its own way to read memory; the rest is written for Linux.
OTHER_SYSTEM := $(if $(filter Darwin,$(shell uname)),src/platform/process_meter.c src/platform/machine_memory.c,src/platform/macos/%)
LIB_SOURCES  := $(sort $(filter-out src/cli/% $(OTHER_SYSTEM),$(wildcard src/*/*.c src/*/*/*.c)))
CLI_SOURCES  := $(sort $(wildcard src/cli/*.c))
TEST_SOURCES := $(sort $(wildcard tests/test_*.c))
TEST_PROGRAMS := tests/golden.c tests/held.c tests/neighbour.c tests/program.c tests/http.c
TEST_HELPERS := $(filter-out $(TEST_SOURCES) $(TEST_PROGRAMS),$(sort $(wildcard tests/*.c)))
object = $(patsubst %.c,$(BUILD)/objects/%.o,$(1))
# ThreadSanitizer does not see how libgomp synchronises; then Levee's own loops run on threads that it does see.
SEEN_THREADS := $(if $(findstring thread,$(SANITIZE)),$(call object,tests/threads.c))
LIB_OBJECTS := $(call object,$(LIB_SOURCES)) $(BUILD)/objects/tensorboard.pb-c.o
TESTS       := $(patsubst tests/%.c,$(BUILD)/tests/%,$(TEST_SOURCES))
FUZZERS     := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))

.PHONY: all help deps check-deps demo test golden interop bench bench-scaling bench-budgets accuracy bench-planning bench-probe bench-estimates bench-growth bench-web leaks guard-cost monitor-cost install uninstall \
        format lint asan tsan valgrind fuzz run-fuzzers clean
all: $(BUILD)/levee $(BUILD)/liblevee.so

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14
	@echo "Variables: CC=gcc|clang BUILD=build PREFIX=/usr/local CFLAGS='-O3 -g'"

deps: ## install the Debian packages that the build needs
	@echo "Installing packages: $(PACKAGES)"
	@tools/install-packages.sh $(PACKAGES)

check-deps:
	@tools/missing-packages.sh || $(MAKE) --no-print-directory deps

$(BUILD)/objects/%.o: %.c | check-deps
	@mkdir -p $(@D)
	@echo '  CC   $<'
	@$(CC) $(ALL_CFLAGS) -c $< -o $@

$(GENERATED)/%.pb-c.c $(GENERATED)/%.pb-c.h: src/report/%.proto | check-deps
	@mkdir -p $(GENERATED)
	@echo '  GEN  $<'
	@protoc-c --c_out=$(GENERATED) -Isrc/report $<

$(BUILD)/objects/%.pb-c.o: $(GENERATED)/%.pb-c.c
	@mkdir -p $(@D)
	@echo '  CC   $<'
	@$(CC) $(ALL_CFLAGS) -c $< -o $@

$(call object,src/report/tensorboard.c): $(GENERATED)/tensorboard.pb-c.h

# The page is a part of the program.
$(call object,src/web/page.c): src/web/page.html

$(BUILD)/liblevee.a: $(LIB_OBJECTS)
	@rm -f $@
	@echo '  AR   $@'
	@$(AR) rcs $@ $^

$(BUILD)/liblevee.so: $(LIB_OBJECTS)
	@echo '  LINK $@'
	@$(CC) $(SANITIZE) -shared -Wl,-soname,liblevee.so.0 $^ $(LIBS) -o $@

$(BUILD)/levee: $(call object,$(CLI_SOURCES)) $(SEEN_THREADS) $(BUILD)/liblevee.a
	@echo '  LINK $@'
	@$(CC) $(SANITIZE) $^ $(LIBS) -o $@

$(BUILD)/golden $(BUILD)/held $(BUILD)/neighbour $(BUILD)/program: $(BUILD)/%: $(BUILD)/objects/tests/%.o $(SEEN_THREADS) $(BUILD)/liblevee.a
	@echo '  LINK $@'
	@$(CC) $(SANITIZE) $^ $(LIBS) -o $@

$(BUILD)/http: $(call object,tests/http.c tests/http_client.c) $(BUILD)/liblevee.a
	@echo '  LINK $@'
	@$(CC) $(SANITIZE) $^ $(LIBS) -o $@

$(BUILD)/tests/%: $(BUILD)/objects/tests/%.o $(call object,$(TEST_HELPERS)) $(BUILD)/liblevee.a
	@mkdir -p $(@D)
	@echo '  LINK $@'
	@$(CC) $(SANITIZE) $(filter-out %.so,$^) $(LIBS) -lcmocka -o $@

$(BUILD)/tests/libnvidia-ml-fake.so: $(BUILD)/objects/tests/fake/nvml.o
	@mkdir -p $(@D)
	@echo '  LINK $@'
	@$(CC) $(SANITIZE) -shared $^ -o $@

$(BUILD)/tests/test_guard_sample $(BUILD)/tests/test_doctor: $(BUILD)/tests/libnvidia-ml-fake.so

$(BUILD)/bench/%: $(BUILD)/objects/bench/%.o $(call object,tests/memory_trace.c) $(BUILD)/liblevee.a
	@mkdir -p $(@D)
	@echo '  LINK $@'
	@$(CC) $(SANITIZE) $^ $(LIBS) -o $@

$(BUILD)/fuzz/%: $(BUILD)/objects/tests/fuzz/%.o $(BUILD)/objects/tests/fuzz/harness.o $(BUILD)/liblevee.a
	@mkdir -p $(@D)
	@echo '  LINK $@'
	@$(CC) $(SANITIZE) -fsanitize=fuzzer $^ $(LIBS) -o $@

.SECONDARY: # objects of tests are kept

golden: $(BUILD)/golden ## build the program that compares the engine with PyTorch's numbers

demo: $(BUILD)/levee ## train a small model from scratch, fine-tune it inside a budget, show that it held
	@tools/demo.sh $(BUILD)/levee

test: all $(BUILD)/golden $(BUILD)/held $(BUILD)/neighbour $(BUILD)/program $(BUILD)/http $(BUILD)/bench/scaling_plot $(TESTS) ## build and run all tests
	@LEVEE=$(BUILD)/levee GOLDEN=$(BUILD)/golden HELD=$(BUILD)/held NEIGHBOUR=$(BUILD)/neighbour PROGRAM=$(BUILD)/program HTTP=$(BUILD)/http PLOT=$(BUILD)/bench/scaling_plot CC='$(CC)' SANITIZE='$(SANITIZE)' tests/run.sh $(TESTS)

interop: $(BUILD)/levee $(BUILD)/golden $(BUILD)/http ## needs Python: round trips through PEFT, transformers, gguf and mlx-lm, installed into a throw-away environment
	@tests/interop/run.sh $(BUILD)/levee $(BUILD)/golden
	@tests/interop/prometheus.sh $(BUILD)/levee $(BUILD)/http

bench: $(BUILD)/levee $(BUILD)/held ## run Levee beside PyTorch with PEFT and mlx-lm, which it installs (an hour or two; bench/peers.sh says how to have less; MODEL=DIR ROUNDS=2)
	@bench/peers.sh $(BUILD)/levee $(BUILD)/held "$(MODEL)" $(ROUNDS)

bench-scaling: $(BUILD)/levee $(BUILD)/bench/scaling_plot ## measure how time and memory of a step grow with tokens, length, layers, vocabulary, rank (five minutes)
	@bench/scaling.sh $(BUILD)/levee $(BUILD)/bench/scaling_plot

bench-budgets: $(BUILD)/levee ## measure speed and memory by budget, and changes of plan (ten minutes)
	@bench/run.sh $(BUILD)/levee
	@bench/budgets.sh $(BUILD)/levee
	@bench/shrinks.sh $(BUILD)/levee

accuracy: $(BUILD)/levee $(BUILD)/held ## compare predicted with measured peaks (hours; MODELS=50 TYPES=lora for less)
	@bench/accuracy.sh $(BUILD)/levee $(BUILD)/held

bench-planning: $(BUILD)/levee $(BUILD)/held ## measure how tightly plans are packed, and what planning an 8B and a 70B model takes
	@bench/planning.sh $(BUILD)/levee $(BUILD)/held

bench-probe: $(BUILD)/levee $(BUILD)/held ## train 500 steps with what probe finds for three budgets (minutes)
	@bench/probe.sh $(BUILD)/levee $(BUILD)/held

bench-estimates: $(BUILD)/levee ## compare the time of a step that plan estimates with what train takes (minutes, on a quiet machine)
	@bench/estimates.sh $(BUILD)/levee

bench-growth: $(BUILD)/levee ## measure how held memory grows over 10,000 steps (a quarter of an hour)
	@bench/growth.sh $(BUILD)/levee

bench-web: $(BUILD)/levee $(BUILD)/bench/web_load ## measure what 200 clients of the page cost a training (three minutes, two quiet processors)
	@bench/web_load.sh $(BUILD)/levee $(BUILD)/bench/web_load

leaks: $(BUILD)/bench/leaks ## simulate the leak estimator: delays, false alarms, intervals (some minutes)
	@$< early 100 && $< delays 300 && $< alarms 8

guard-cost: $(BUILD)/bench/guard_cost ## measure what a sample and a decision of the guard cost
	@$<

monitor-cost: $(BUILD)/bench/monitor_cost ## measure what it costs a training to tell of itself
	@$<

install: all ## install under PREFIX (and DESTDIR)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include \
	  $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
	  $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	install -m 755 $(BUILD)/levee $(DESTDIR)$(PREFIX)/bin/levee
	install -m 755 $(BUILD)/liblevee.so $(DESTDIR)$(PREFIX)/lib/liblevee.so.$(VERSION)
	ln -sf liblevee.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/liblevee.so.0
	ln -sf liblevee.so.0 $(DESTDIR)$(PREFIX)/lib/liblevee.so
	install -m 644 $(BUILD)/liblevee.a $(DESTDIR)$(PREFIX)/lib/liblevee.a
	install -m 644 include/levee.h $(DESTDIR)$(PREFIX)/include/levee.h
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' levee.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/levee.pc
	chmod 644 $(DESTDIR)$(PREFIX)/lib/pkgconfig/levee.pc
	install -m 644 docs/levee.1 $(DESTDIR)$(PREFIX)/share/man/man1/levee.1
	install -m 644 completions/levee.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/levee
	install -m 644 completions/_levee $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_levee
	install -m 644 completions/levee.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/levee.fish

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/levee $(DESTDIR)$(PREFIX)/lib/liblevee.* $(DESTDIR)$(PREFIX)/include/levee.h \
	  $(DESTDIR)$(PREFIX)/lib/pkgconfig/levee.pc $(DESTDIR)$(PREFIX)/share/man/man1/levee.1 \
	  $(DESTDIR)$(PREFIX)/share/bash-completion/completions/levee \
	  $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_levee \
	  $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/levee.fish

format: ## lay out the sources by clang-format
	@clang-format -i $(wildcard include/*.h src/*/*.[ch] src/*/*/*.[ch] tests/*.[ch] tests/*/*.[ch] bench/*.[ch])

# One file at a time: in one run over several, clang-tidy 14 takes every va_list for uninitialised.
lint: $(GENERATED)/tensorboard.pb-c.h ## clang-tidy over the sources
	@for source in $(LIB_SOURCES) $(CLI_SOURCES); do \
	  clang-tidy --quiet $$source -- -std=c11 -D_GNU_SOURCE -Iinclude -Isrc -I$(GENERATED) 2>/dev/null || failed=1; done; [ -z "$$failed" ]

asan: ## run the tests under AddressSanitizer, LeakSanitizer and UBSan
	$(MAKE) BUILD=build-asan CFLAGS='-O1 -g -fno-omit-frame-pointer' \
	  SANITIZE='-fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all' test

tsan: ## run the tests under ThreadSanitizer
	$(MAKE) BUILD=build-tsan CFLAGS='-O2 -g' SANITIZE='-fsanitize=thread' test

valgrind: $(BUILD)/levee $(TESTS) ## train, evaluate and generate under valgrind, and the tests that need neither time nor exact counts
	@tests/valgrind.sh $(BUILD)/levee $(filter-out %_products %_attention %_kernels %_pack %_dataset %_allocations %_order \
	  %_leak %_model %_sample %_guard %_meters %_groups %_tree %_server,$(TESTS))

fuzz: ## fuzz each reader of files for FUZZ_SECONDS (60) with clang's libFuzzer
	$(MAKE) CC=clang BUILD=build-fuzz CFLAGS='-O1 -g -fno-omit-frame-pointer' \
	  SANITIZE='-fsanitize=fuzzer-no-link,address,undefined,float-cast-overflow -fno-sanitize-recover=all' run-fuzzers

run-fuzzers: $(FUZZERS)
	@tests/fuzz/run.sh $(FUZZERS)

clean: ## remove what was built
	rm -rf build build-asan build-tsan build-fuzz

-include $(LIB_OBJECTS:.o=.d) $(patsubst %.c,$(BUILD)/objects/%.d,$(CLI_SOURCES) $(wildcard tests/*.c tests/*/*.c bench/*.c))

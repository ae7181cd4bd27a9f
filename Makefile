# Nutshell: every target; `make help` lists them. What a target needs is installed by wasm/toolchain.sh into .toolchain/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
export PATH := $(CURDIR)/.toolchain/bin:$(PATH)

TOOLS := .toolchain
PARTS = wasm/toolchain.sh

# ---- sources: one list for every build ------------------------------------------------------------------------
LIB_SRC := $(sort $(wildcard $(patsubst %,src/%/*.c,base kernels model run chat evaluate compress train)))
CLI_SRC := $(sort $(wildcard src/cli/*.c))
FUZZ    := $(patsubst tests/fuzz/%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
UNIT    := $(patsubst tests/unit/%.c,%,$(sort $(wildcard tests/unit/test_*.c)))
BENCH   := $(patsubst tests/bench/%.c,%,$(sort $(wildcard tests/bench/bench_*.c)))

WARN  := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Werror
CBASE := -std=c11 -D_POSIX_C_SOURCE=200809L -ffp-contract=off $(WARN) -Isrc -MMD -MP
SIMD  := -DNUT_COMPAT -Isrc/kernels/compat
CLANG := $(shell command -v clang-19 || command -v clang || echo clang-19)

# ---- variants: compiler, flags, what runs the result -----------------------------------------------------------
VARIANTS := native asan scalar gcc arm wasi wasi128 fuzz cover count
# The native build takes the compiler that there is, and does without SIMD where that lacks vector extensions: asked once,
# when needed. Warnings are errors with the pinned compiler (which warns of its own reading of -march=native), else silent.
CC_native := $(or $(shell command -v clang-19 || command -v clang || command -v gcc || command -v cc),clang-19)
accepts = $(shell $(CC_native) -Werror=implicit-function-declaration -fsyntax-only $(1) > /dev/null 2>&1 && echo $(1))
SIMD_native = $(eval SIMD_native := $(if $(call \
    accepts,-x c src/kernels/compat/wasm_simd128.h),$(SIMD),-DNUT_NO_SIMD))$(SIMD_native)
MARCH_native = $(eval MARCH_native := $(firstword $(call accepts,-march=native -x c /dev/null)))$(MARCH_native)
CF_native = -O3 $(MARCH_native) -DNUT_THREADS -pthread $(SIMD_native) \
    $(if $(filter %clang-19,$(CC_native)),-Wno-invalid-feature-combination,-w)
LF_native := -pthread -lm
CC_gcc := gcc-12
CF_gcc := -O2 -march=x86-64-v3 -DNUT_THREADS -pthread $(SIMD)
LF_gcc := -pthread -lm
# ARM with its dot product, run by qemu-aarch64.
CC_arm := aarch64-linux-gnu-gcc
CF_arm := -O2 -march=armv8.2-a+dotprod -DNUT_THREADS -pthread $(SIMD)
LF_arm := -static -pthread -lm
CC_asan := $(CLANG)
CF_asan := -O1 -gline-tables-only -mssse3 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all \
    -DNUT_THREADS -pthread $(SIMD)
LF_asan := -fuse-ld=lld -fsanitize=address,undefined -pthread -lm
CC_scalar := $(CLANG)
CF_scalar := -O2 -DNUT_NO_SIMD -DNUT_THREADS -pthread
LF_scalar := -pthread -lm
CC_wasi := $(TOOLS)/bin/wasi-cc
CF_wasi := -O3 -msimd128
LF_wasi := -O3 -s -msimd128 -mrelaxed-simd -Wl,-z,stack-size=1048576 -Wl,--stack-first
CC_wasi128 := $(TOOLS)/bin/wasi-cc
CF_wasi128 := -O3 -msimd128
LF_wasi128 := -O3 -s -msimd128 -Wl,-z,stack-size=1048576 -Wl,--stack-first
# libFuzzer's harnesses: with every check there is, and to see which lines they reach.
CC_fuzz := $(CLANG)
CF_fuzz := -O2 -march=x86-64-v3 -gline-tables-only -fno-omit-frame-pointer \
    -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -DNUT_ARENA_GUARD=64 $(SIMD)
LF_fuzz := -fuse-ld=lld -fsanitize=fuzzer,address,undefined -lm
CC_cover := $(CLANG)
CF_cover := -O1 -mssse3 -fsanitize=fuzzer-no-link -fprofile-instr-generate -fcoverage-mapping $(SIMD)
LF_cover := -fuse-ld=lld -fsanitize=fuzzer -fprofile-instr-generate -lm
# Counts the library's work instead of timing it: tests/cost/work.h.
CC_count := $(CLANG)
CF_count := -O1 -fno-builtin -fsanitize-coverage=trace-pc -DNUT_NO_SIMD
LF_count := -lm $(foreach f,memcpy memmove memset memchr memcmp strlen,-Wl,--wrap=$(f))
RUN_wasi := $(TOOLS)/bin/wasmtime run --dir . --dir ../shared
RUN_wasi128 := $(RUN_wasi)
EXE_wasi := .wasm
EXE_wasi128 := .wasm

# Relaxed instructions are allowed in two files alone, so that no other code can come to depend on them; and in
# the benchmark that counts how many of them a thread computes.
build/wasi/src/kernels/relaxed.o build/wasi/src/kernels/pairs.o build/wasi/tests/bench/bounds.o: CF_wasi += -mrelaxed-simd

# Overflow of pointers is not checked where nothing but products is computed: the check takes two thirds of the time that
# these files compile, and the address sanitizer sees each access that such a pointer is used for.
UNCHECKED := $(patsubst %,src/kernels/%.o,simd128 relaxed pairs simd_attend)
$(UNCHECKED:%=build/asan/%): CF_asan += -fno-sanitize=pointer-overflow
$(UNCHECKED:%=build/fuzz/%): CF_fuzz += -fno-sanitize=pointer-overflow

# The flags that tests are linked with. Optimizing 30 WebAssembly programs once more takes minutes: that is left out, but for
# those tests that compute most, since a faulty wasm-opt breaks SIMD code silently.
LT = $(if $(EXE_$(1)),$(LF_$(1):-O3=-O0),$(LF_$(1)))
OPTIMIZED := $(foreach t,test_kernels test_attend test_bits,build/wasi/$(t).wasm build/wasi128/$(t).wasm)
$(OPTIMIZED): LT = $(LF_$(1))

define variant_rules
build/$(1)/%.o: %.c
	@mkdir -p $$(@D)
	$$(CC_$(1)) $$(CBASE) $$(CF_$(1)) -c $$< -o $$@
build/$(1)/nutshell$$(EXE_$(1)): $$(patsubst %.c,build/$(1)/%.o,$$(LIB_SRC) $$(CLI_SRC))
	$$(CC_$(1)) $$^ $$(LF_$(1)) -o $$@
build/$(1)/test_%$$(EXE_$(1)): build/$(1)/tests/unit/test_%.o $$(patsubst %.c,build/$(1)/%.o,$$(LIB_SRC))
	$$(CC_$(1)) $$^ $$(call LT,$(1)) -o $$@
build/$(1)/bench_%$$(EXE_$(1)): build/$(1)/tests/bench/bench_%.o $$(patsubst %.c,build/$(1)/%.o,$$(LIB_SRC))
	$$(CC_$(1)) $$^ $$(LF_$(1)) -o $$@
build/$(1)/fuzz_%: build/$(1)/tests/fuzz/fuzz_%.o $$(patsubst %.c,build/$(1)/%.o,$$(LIB_SRC))
	$$(CC_$(1)) $$^ $$(LF_$(1)) -o $$@
build/$(1)/fuzz_args: $(patsubst %,build/$(1)/src/cli/%.o,args file stored terminal)
build/$(1)/bench_kernels$$(EXE_$(1)): build/$(1)/tests/bench/bounds.o
.PHONY: units-$(1)
units-$(1): $$(UNIT:%=build/$(1)/%$$(EXE_$(1))) build/$(1)/nutshell$$(EXE_$(1))
endef
$(foreach v,$(VARIANTS),$(eval $(call variant_rules,$(v))))
build/count/test_cost: build/count/tests/cost/test_cost.o $(patsubst %.c,build/count/%.o,$(LIB_SRC))
	$(CC_count) $^ $(LF_count) -o $@
build/asan/nutshell_faults: build/asan/tests/faults/shell_memory.o $(patsubst %.c,build/asan/%.o,$(LIB_SRC) $(CLI_SRC))
	$(CC_asan) $^ $(LF_asan) $(foreach f,malloc calloc realloc aligned_alloc,-Wl,--wrap=$(f)) -o $@
build/native/make_seeds: build/native/tests/fuzz/make_seeds.o $(patsubst %.c,build/native/%.o,$(LIB_SRC))
	$(CC_native) $^ $(LF_native) -o $@
build/native/make_model build/native/make_variant: build/native/make_%: build/native/tests/peers/make_%.o \
    $(patsubst %.c,build/native/%.o,$(LIB_SRC))
	$(CC_native) $^ $(LF_native) -o $@
.PHONY: fuzzers
fuzzers: $(FUZZ:%=build/fuzz/%) $(FUZZ:%=build/cover/%) build/native/make_seeds
.SECONDARY:
-include $(shell find build -name '*.d' 2>/dev/null)

include wasm/modules.mk

# ---- what people call ------------------------------------------------------------------------------------------
.PHONY: help demo demo-model test fuzz cli dist bench bench-kernels bench-quality lint format clean setup

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n",$$1,$$2}' Makefile

demo: ## open the chat page on a real model (or, without a network, on the small one that is here)
	@$(PARTS) node
	@python3 demo/fetch_model.py || echo "The demo runs on the small model in dist/."
	node demo/serve.mjs

# The best source there is: what was quantized already loses a second time.
MODELS_HERE = $(wildcard $(patsubst %,models/SmolLM2-135M-Instruct-%.gguf,F32 F16 Q8_0 Q4_1))
demo-model: ## make a coded model of 60 MB of the demo's model, in some minutes; the demo then offers both
	@$(PARTS) node
	@python3 demo/fetch_model.py
	@$(MAKE) -s build/native/nutshell
	build/native/nutshell compress $(or $(SOURCE),$(firstword $(MODELS_HERE))) \
	    models/SmolLM2-135M-Instruct-60MB.gguf --size 60MB --threads $$(nproc)

test: ## install what is missing, build everything, run every suite
	@$(PARTS) node
	node tests/run.mjs

fuzz: ## feed the readers bytes of every kind for T seconds (600), and say which lines they reach
	@$(PARTS) native node
	@$(MAKE) -s fuzzers
	node tests/fuzz/run.mjs $(or $(T),600) $(HARNESS)

# MODELS: "all", files or SHAPE:TYPE, such as qwen2.5-0.5b:q4_k; SURFACES: "all" or a list as in tests/bench/surfaces.mjs;
# LONG=1: a prompt of 4,096 tokens too
bench: ## speed beside llama.cpp and wllama; ROUNDS=1 for a quick look, MODELS="..." for others, LONG=1
	@$(PARTS) native wasmtime node npm browsers peers model \
	    $(if $(findstring transformers,$(SURFACES))$(filter all,$(SURFACES)),rivals)
	@$(MAKE) -s build/native/nutshell
	@PATH="$$PWD/$(TOOLS)/bin:$$PATH" node tests/bench/bench.mjs --rounds $(or $(ROUNDS),3) --surfaces "$(SURFACES)" \
	    $(if $(LONG),--long) $(MODELS)

# KERNELS: options of tests/bench/kernels.mjs, such as "--surface chromium --format Q4_0 --only products"
bench-kernels: ## speed of the kernels alone, natively, under wasmtime and in browsers; KERNELS="..." for some of it
	@$(PARTS) native wasm wasi wasmtime node npm browsers
	@PATH="$$PWD/$(TOOLS)/bin:$$PATH" node tests/bench/kernels.mjs --csv $(KERNELS)

# SIZES: in MB, such as 60,75; references: tests/bench/quality.mjs
bench-quality: ## KL divergence for bytes beside llama.cpp's files: measures what is missing (hours), draws docs/quality.svg
	@$(PARTS) native node
	@$(MAKE) -s build/native/nutshell
	node tests/bench/quality.mjs $(if $(SIZES),--sizes $(SIZES))

cli: ## the native command line tool, build/native/nutshell, by the C11 compiler that is here (clang, or gcc 12 or later)
	@command -v $(CC_native) > /dev/null || { echo "There is no C compiler here: install clang or gcc."; exit 1; }
	@$(MAKE) -s build/native/nutshell
	@echo "build/native/nutshell, by $$($(CC_native) --version | head -1)," \
	    $(if $(filter $(SIMD),$(SIMD_native)),"with SIMD kernels", \
	    "with the reference kernels alone, which are slow: this compiler lacks the vector extensions of gcc 12 and clang")

dist: ## rebuild dist/ from the sources
	@$(PARTS) native wasm wasi node npm
	$(MAKE) web build/wasi/nutshell.wasm
	cp build/wasi/nutshell.wasm dist/nutshell-cli.wasm

lint: ## rooms, formatting and types
	node tests/run.mjs lint

format: ## clang-format all C
	clang-format-19 -i $$(git ls-files 'src/*.[ch]' 'src/*.inc' 'tests/*.[ch]' 'wasm/*.c')

clean: ## remove what was built (not .toolchain, models or dist)
	rm -rf build

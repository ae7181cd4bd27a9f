# The four browser modules: {simd128, relaxed} x {one thread, threads}, from the same sources as every other build.
# Objects are shared by simd128 and relaxed but for the files that differ: the relaxed kernels and the list of kernels.
# Included by the Makefile, which has LIB_SRC, CBASE and T.

EMCC := $(T)/bin/emcc
WEB_C := wasm/nut_wasm.c $(LIB_SRC)
WEB_RELAXED_C := src/kernels/relaxed.c src/kernels/kernels.c
WEB_MODULES := $(patsubst %,build/web/nutshell-%.wasm,simd128 relaxed simd128-mt relaxed-mt)

# -O2 when linking: from -O3 on, emcc renames the exports, and they could not be compared with wasm/exports.txt.
# Memory starts small and grows by what the model needs. emmalloc can give blocks above 2 GiB, dlmalloc cannot.
CF_web := -O3 -msimd128
LF_web := -O2 -msimd128 --no-entry -sALLOW_MEMORY_GROWTH -sMEMORY_GROWTH_GEOMETRIC_STEP=0 -sINITIAL_MEMORY=4MB \
    -sMAXIMUM_MEMORY=4GB -sSTACK_SIZE=256KB -sMALLOC=emmalloc -sEXPORTED_FUNCTIONS=@build/web/exports.list

# One thread: a bare .wasm that web/worker/instantiate.js starts itself.
LF_webst := $(LF_web) -sSTANDALONE_WASM

# Threads need Emscripten's start-up code, a .mjs beside the .wasm; it has no file system and no eval. The browsers named
# are the first ones that have both WebAssembly SIMD and module workers.
CF_webmt := $(CF_web) -pthread -DNUT_THREADS
LF_webmt := $(LF_web) -pthread -sPTHREAD_POOL_SIZE="Module['pthreadPoolSize']" -sDEFAULT_PTHREAD_STACK_SIZE=256KB \
    -Wno-pthreads-mem-growth -sMODULARIZE -sEXPORT_ES6 -sENVIRONMENT=worker -sFILESYSTEM=0 -sDYNAMIC_EXECUTION=0 \
    -sINCOMING_MODULE_JS_API=instantiateWasm,pthreadPoolSize -sEXPORTED_RUNTIME_METHODS=wasmMemory \
    -sMIN_CHROME_VERSION=91 -sMIN_FIREFOX_VERSION=114 -sMIN_SAFARI_VERSION=160400

web_plain = $(patsubst %.c,build/web/$(1)/%.o,$(WEB_C))
web_relaxed = $(patsubst %.c,build/web/$(1)/%.o,$(filter-out $(WEB_RELAXED_C),$(WEB_C))) \
    $(patsubst %.c,build/web/$(1)-relaxed/%.o,$(filter $(WEB_RELAXED_C),$(WEB_C)))

define web_compile
build/web/$(1)/%.o: %.c
	@mkdir -p $$(@D)
	$(EMCC) $$(CBASE) $(2) -c $$< -o $$@
endef
$(eval $(call web_compile,st,$(CF_web)))
$(eval $(call web_compile,mt,$(CF_webmt)))
$(eval $(call web_compile,st-relaxed,$(CF_web) -mrelaxed-simd))
$(eval $(call web_compile,mt-relaxed,$(CF_webmt) -mrelaxed-simd))

build/web/exports.list: wasm/exports.txt
	@mkdir -p $(@D)
	sed -n '/^nutw_/s/^/_/p' $< > $@

build/web/nutshell-simd128.wasm: $(call web_plain,st)
	$(EMCC) $(filter %.o,$^) $(LF_webst) -o $@
build/web/nutshell-relaxed.wasm: $(call web_relaxed,st)
	$(EMCC) $(filter %.o,$^) $(LF_webst) -mrelaxed-simd -o $@
build/web/nutshell-simd128-mt.wasm: $(call web_plain,mt)
	$(EMCC) $(filter %.o,$^) $(LF_webmt) -o $(@:.wasm=.mjs)
build/web/nutshell-relaxed-mt.wasm: $(call web_relaxed,mt)
	$(EMCC) $(filter %.o,$^) $(LF_webmt) -mrelaxed-simd -o $(@:.wasm=.mjs)
$(WEB_MODULES): build/web/exports.list wasm/modules.mk

# What a page needs, in dist/: the modules, and the JavaScript bundled by wasm/bundle.mjs.
.PHONY: web
web: $(WEB_MODULES)
	node wasm/check-exports.mjs $^
	node wasm/bundle.mjs

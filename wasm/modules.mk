# The four browser modules: {simd128, relaxed} x {one thread, threads}, from the same sources as every other build.
# Objects are shared by simd128 and relaxed but for the files that differ: the relaxed kernels and the list of kernels.
# Included by the Makefile, which has LIB_SRC, CBASE and T.

EMCC := $(T)/bin/emcc
ESBUILD := node_modules/.bin/esbuild
WEB_C := wasm/nut_wasm.c $(LIB_SRC)
WEB_MODULES := simd128 relaxed simd128-mt relaxed-mt
WEB_RELAXED_C := src/kernels/relaxed.c src/kernels/kernels.c

CF_web := -O3 -msimd128
CF_webmt := $(CF_web) -pthread -DNUT_THREADS

# No file system, no eval, names of exports kept so that they can be compared with wasm/exports.txt. Memory starts small
# and grows as the model needs it. The browsers named are the first ones that have WebAssembly SIMD.
LF_web := -O2 -msimd128 --no-entry -sMODULARIZE -sEXPORT_ES6 -sENVIRONMENT=worker -sFILESYSTEM=0 \
    -sDYNAMIC_EXECUTION=0 -sALLOW_MEMORY_GROWTH -sINITIAL_MEMORY=4MB -sMAXIMUM_MEMORY=4GB -sSTACK_SIZE=256KB \
    -sMALLOC=emmalloc -sEXPORTED_RUNTIME_METHODS=HEAPU8 \
    -sINCOMING_MODULE_JS_API=instantiateWasm,pthreadPoolSize,printErr \
    -sMIN_CHROME_VERSION=91 -sMIN_FIREFOX_VERSION=114 -sMIN_SAFARI_VERSION=160400 \
    -sEXPORTED_FUNCTIONS=@build/web/exports.list
LF_webmt := $(LF_web) -pthread -sPTHREAD_POOL_SIZE="Module['pthreadPoolSize']" -sDEFAULT_PTHREAD_STACK_SIZE=256KB \
    -Wno-pthreads-mem-growth

web_objects = $(patsubst %.c,build/web/$(1)/%.o,$(WEB_C))
relaxed_objects = $(patsubst %.c,build/web/$(1)/%.o,$(filter-out $(WEB_RELAXED_C),$(WEB_C))) \
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

build/web/nutshell-simd128.mjs: $(call web_objects,st)
	$(EMCC) $(filter %.o,$^) $(LF_web) -o $@
build/web/nutshell-relaxed.mjs: $(call relaxed_objects,st)
	$(EMCC) $(filter %.o,$^) $(LF_web) -mrelaxed-simd -o $@
build/web/nutshell-simd128-mt.mjs: $(call web_objects,mt)
	$(EMCC) $(filter %.o,$^) $(LF_webmt) -o $@
build/web/nutshell-relaxed-mt.mjs: $(call relaxed_objects,mt)
	$(EMCC) $(filter %.o,$^) $(LF_webmt) -mrelaxed-simd -o $@
$(WEB_MODULES:%=build/web/nutshell-%.mjs): build/web/exports.list wasm/modules.mk

# Everything a page needs, in dist/: the modules, and the JavaScript bundled by web/build.mjs.
.PHONY: web
web: $(WEB_MODULES:%=build/web/nutshell-%.mjs) ## dist/: the browser modules and the JavaScript
	node wasm/check-exports.mjs $^
	node web/build.mjs

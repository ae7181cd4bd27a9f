# The four browser modules that run models: {simd128, relaxed} x {one thread, threads}, from the same sources as every
# other build, and four with what few pages need besides: models larger than a tab's memory, drafts by a model and adapters;
# nutshell-chat, which has the templates and answers of
# chats for all of them; and nutshell-compress, which makes models (both at the end of the file).
# Objects are shared by simd128 and relaxed but for the files of the kernel sets. A module has simd128, or relaxed and pairs, and ref:
# JavaScript tries what a browser computes before it fetches a module (web/page/host.js). Other builds have all sets.
# Included by the Makefile, which has LIB_SRC, CBASE and T.

EMCC := $(TOOLS)/bin/emcc
OWN_C := src/run/mix_linear.c # of families of our own, which pages do without (NUT_PAGES)
WEB_C := wasm/nut_wasm.c src/chat/tokens.c src/chat/families.c \
    $(filter-out src/chat/% src/evaluate/% src/compress/% src/train/% $(OWN_C),$(LIB_SRC))
MORE_C := wasm/nut_beside.c wasm/nut_stored.c
WEB_RELAXED_C := src/kernels/relaxed.c src/kernels/pairs.c src/kernels/simd128.c
CF_RELAXED := -mrelaxed-simd -DNUT_RELAXED_ALONE
WEB_MODULES := $(patsubst %,build/web/nutshell-%.wasm,simd128 relaxed simd128-mt relaxed-mt)
MORE_MODULES := $(patsubst %,build/web/nutshell-%.wasm,simd128-more relaxed-more simd128-more-mt relaxed-more-mt)

# -O2 when linking: from -O3 on, emcc renames the exports, and they could not be compared with wasm/surface.txt.
# Memory starts small and grows by what the model needs. emmalloc can give blocks above 2 GiB, dlmalloc cannot.
# Data stays as it is laid out: cut at its zeros it needs code that puts the pieces in place, and has 2.2 kB more, gzipped.
# emcc writes a start-up script beside each module; it is not used, since web/worker/instantiate.js needs few lines.
CF_web := -O3 -msimd128 -mbulk-memory -DNUT_NO_LIVE
LF_web := -O2 -msimd128 -mbulk-memory --no-entry -sALLOW_MEMORY_GROWTH -sINITIAL_MEMORY=4MB -sMAXIMUM_MEMORY=4GB -sSTACK_SIZE=512KB \
    -sMALLOC=emmalloc -sFILESYSTEM=0 -sDYNAMIC_EXECUTION=0 -sENVIRONMENT=worker -sMODULARIZE \
    -sBINARYEN_EXTRA_PASSES=--skip-pass=memory-packing -sEXPORTED_FUNCTIONS=@build/web/exports.list

# Threads: memory is shared, and made by the worker. -sWASM_WORKERS chooses the system libraries that are built for that.
# nut_thread_start is the worker's; wasm/check-surface.mjs sees to it that nothing else is undefined.
CF_webmt := $(CF_web) -matomics -DNUT_THREADS -DNUT_THREADS_WEB
LF_webmt := $(LF_web) -sWASM_WORKERS -Wno-pthreads-mem-growth -sERROR_ON_UNDEFINED_SYMBOLS=0 -sWARN_ON_UNDEFINED_SYMBOLS=0

web_plain = $(patsubst %.c,build/web/$(1)/%.o,$(WEB_C))
web_relaxed = $(patsubst %.c,build/web/$(1)/%.o,$(filter-out $(WEB_RELAXED_C),$(WEB_C))) \
    $(patsubst %.c,build/web/$(1)-relaxed/%.o,$(filter $(WEB_RELAXED_C),$(WEB_C)))

# What takes the time: kernels, packing, and what goes over all tokens of a vocabulary. The rest is compiled for size, the
# forward pass too, whose loops are in kernels, and so are kernels whose loops do not get slower by it. Later -O options win.
WEB_SMALL := $(addprefix src/kernels/,ref.c formats.c layouts.c blocks.c kernels.c cache.c simd_activate.c simd_cache.c simd_ops.c)
WEB_HOT := $(filter-out $(WEB_SMALL),$(filter src/kernels/%,$(LIB_SRC))) \
    $(addprefix src/,base/threads.c model/bind_data.c model/token_table.c run/sampler.c)

# Loops that gain nothing, or 2 % of attention, by being unrolled: 2.6 kB less.
WEB_NOT_UNROLLED := $(addprefix src/kernels/,rans.c simd_attend.c)

define web_compile
build/web/$(1)/%.o: %.c wasm/modules.mk
	@mkdir -p $$(@D)
	$(EMCC) $$(CBASE) $(2) $$(if $$(filter $$<,$(WEB_NOT_UNROLLED)),-Os,$$(if $$(filter $$<,$(WEB_HOT)),,-Oz)) -c $$< -o $$@
endef
# No call from pages loads a model as a reference, in floats; nutshell-compress does, with objects of its own. Vectors and
# adapters, which alone are made floats there, are rarely quantized.
$(foreach v,st mt,$(addprefix build/web/$(v)/src/,model/arch.o model/arch_keys.o model/arch_read.o kernels/blocks.o run/attend.o run/block.o run/sequence.o)): \
    CBASE += -DNUT_PAGES
build/web/st/src/kernels/simd_attend.o build/web/mt/src/kernels/simd_attend.o: CBASE += -DNUT_FLOAT_CACHE_BY_REF
$(eval $(call web_compile,st,$(CF_web)))
$(eval $(call web_compile,mt,$(CF_webmt)))
$(eval $(call web_compile,st-relaxed,$(CF_web) $(CF_RELAXED)))
$(eval $(call web_compile,mt-relaxed,$(CF_webmt) $(CF_RELAXED)))

build/web/exports.list: wasm/surface.txt
	@mkdir -p $(@D)
	sed -n '/^\[more\]/,/^$$/d; /^nutw_/s/^/_/p' $< > $@

# The same objects and two more, which would not fit under the modules' limit.
build/web/more.list: wasm/surface.txt
	@mkdir -p $(@D)
	sed -n '/^nutw_/s/^/_/p' $< > $@

# $(1) kernels, $(2) -mt or nothing, $(3) the objects' folder, $(4) their list, $(5) link flags
define web_module
build/web/nutshell-$(1)$(2).wasm: $$(call $(4),$(3)) build/web/exports.list wasm/modules.mk
	$$(EMCC) $$(filter %.o,$$^) $(5) -o $$(@:.wasm=.js)
build/web/nutshell-$(1)-more$(2).wasm: $$(call $(4),$(3)) $(MORE_C:%.c=build/web/$(3)/%.o) build/web/more.list wasm/modules.mk
	$$(EMCC) $$(filter %.o,$$^) $(subst exports.list,more.list,$(5)) $(IMPORTS) -o $$(@:.wasm=.js)
endef
IMPORTS := -sERROR_ON_UNDEFINED_SYMBOLS=0 -sWARN_ON_UNDEFINED_SYMBOLS=0
$(eval $(call web_module,simd128,,st,web_plain,$(LF_web)))
$(eval $(call web_module,relaxed,,st,web_relaxed,$(LF_web) -mrelaxed-simd))
$(eval $(call web_module,simd128,-mt,mt,web_plain,$(LF_webmt)))
$(eval $(call web_module,relaxed,-mt,mt,web_relaxed,$(LF_webmt) -mrelaxed-simd))

# The benchmark of the kernels as a program for browsers: tests/bench/kernels/worker.js has the imports that it needs.
BENCH_C := $(filter-out $(OWN_C),$(LIB_SRC)) tests/bench/bench_kernels.c tests/bench/bounds.c
BENCH_RELAXED_C := $(WEB_RELAXED_C) tests/bench/bounds.c
LF_bench := -O2 -msimd128 -mbulk-memory -sSTANDALONE_WASM -sINITIAL_MEMORY=192MB -sSTACK_SIZE=512KB -sMALLOC=emmalloc
build/web/bench_kernels-simd128.wasm: $(BENCH_C:%.c=build/web/st/%.o)
	$(EMCC) $^ $(LF_bench) -o $@
build/web/bench_kernels-relaxed.wasm: $(patsubst %.c,build/web/st/%.o,$(filter-out $(BENCH_RELAXED_C),$(BENCH_C))) \
    $(BENCH_RELAXED_C:%.c=build/web/st-relaxed/%.o)
	$(EMCC) $^ $(LF_bench) -mrelaxed-simd -o $@

# What JavaScript has to know of the engine, printed by a program. Committed, since tests read web/ as it is;
# tests/browser/unit-test.mjs fails where it is not what this makes.
build/native/tables: build/native/wasm/tables.o
	$(CC_native) $^ -o $@
.PHONY: FORCE
web/shared/tables.js: build/native/tables FORCE
	@$< | cmp -s - $@ || $< > $@

# nutshell-compress: one thread, SIMD128, its own entry points and export list. What takes its time is compiled for speed.
COMPRESS_MODULE := build/web/nutshell-compress.wasm
COMPRESS_C := wasm/nut_compress.c $(filter-out $(OWN_C),$(LIB_SRC))
COMPRESS_HOT := src/kernels/blocks.c src/kernels/simd_attend.c src/evaluate/gather.c \
    $(filter src/compress/% src/train/%,$(LIB_SRC))
build/web/compress/%.o: %.c wasm/modules.mk
	@mkdir -p $(@D)
	$(EMCC) $(CBASE) $(CF_web) -c $< -o $@
build/web/compress.list: wasm/surface.txt
	@mkdir -p $(@D)
	sed -n '/^nutc_/s/^/_/p' $< > $@
$(COMPRESS_MODULE): LF_web := $(subst exports.list,compress.list,$(LF_web))
$(COMPRESS_MODULE): $(patsubst %.c,build/web/st/%.o,$(filter-out $(COMPRESS_HOT),$(COMPRESS_C))) \
    $(COMPRESS_HOT:%.c=build/web/compress/%.o) build/web/compress.list wasm/modules.mk
	$(EMCC) $(filter %.o,$^) $(LF_web) -o $(@:.wasm=.js)

# nutshell-chat: texts alone, for size. What it has to do takes a millisecond or two.
CHAT_MODULE := build/web/nutshell-chat.wasm
CHAT_C := wasm/nut_chat.c $(filter-out src/chat/tokens.c src/chat/families.c,$(filter src/chat/%,$(LIB_SRC))) \
    src/base/error.c src/base/mem.c src/base/sort.c src/model/unicode.c
build/web/chat/%.o: %.c wasm/modules.mk
	@mkdir -p $(@D)
	$(EMCC) $(CBASE) -Oz -mbulk-memory -c $< -o $@
build/web/chat.list: wasm/surface.txt
	@mkdir -p $(@D)
	sed -n '/^nutm_/s/^/_/p' $< > $@
LF_chat = $(subst -sMAXIMUM_MEMORY=4GB,-sMAXIMUM_MEMORY=512MB,$(subst -msimd128,,$(subst exports.list,chat.list,$(LF_web)))) \
    -sERROR_ON_UNDEFINED_SYMBOLS=0 -sWARN_ON_UNDEFINED_SYMBOLS=0
$(CHAT_MODULE): $(CHAT_C:%.c=build/web/chat/%.o) build/web/chat.list wasm/modules.mk
	$(EMCC) $(filter %.o,$^) $(LF_chat) -o $(@:.wasm=.js)

# What a page needs, in dist/: the modules, and the JavaScript bundled by wasm/bundle.mjs.
.PHONY: web
web: $(WEB_MODULES) $(MORE_MODULES) $(CHAT_MODULE) $(COMPRESS_MODULE) web/shared/tables.js
	node wasm/check-surface.mjs $(WEB_MODULES) $(MORE_MODULES) $(CHAT_MODULE) $(COMPRESS_MODULE)
	node wasm/bundle.mjs

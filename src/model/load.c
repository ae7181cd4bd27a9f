/*
 * The pushed loader. Bytes come once, in order; the header goes to the GGUF reader, tensor data straight to
 * its packed place. Between two feeds at most one unfinished block is kept. What a page must download is
 * known and judged as soon as the header is there. A model in several files comes file by file: each one's
 * header brings tensors, for which memory is taken then.
 */
#include "base/error.h"
#include "model/bind.h"
#include "model/parts.h"

#include <stdio.h>
#include <string.h>

enum { DEFAULT_CTX = 4096, PLAN_BATCH = 64, FLOATS_AT_ONCE = 4 };

struct nut_loader {
    nut_load_options options;
    nut_model *model;
    bind_rest rest; // of the model, to come with other files
    parts parts;
    nut_load_plan plan;
    bool failed;
    // the file that is fed
    uint64_t at; // bytes fed
    gguf file;   // its header, while that is read
    bool header_done;
    uint64_t end;      // of its last tensor, by its header
    binding *bindings; // (n_bindings) of its tensors
    size_t n_bindings;
    size_t current; // binding whose data comes now or next
    size_t n_kept;  // bytes of an unfinished block
    uint8_t kept[FORMAT_MAX_BYTES];
};

nut_load_options nut_load_defaults(void) {
    return (nut_load_options){0};
}

/* ---- begin ---- */

static nut_status find_kernels(const char *name, const kernel_set **out, nut_error *err) {
    *out = kernel_find(name);
    if (*out) return NUT_OK;
    for (size_t i = 0; name && i < kernel_count(); i++)
        if (!strcmp(kernel_at(i)->name, name))
            return error_set(err, NUT_E_UNSUPPORTED,
                             "the %s kernels compute wrongly on this machine; leave the choice open", name);
    char names[64] = "";
    for (size_t i = 0, n = 0; i < kernel_count() && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", kernel_at(i)->name);
    return error_set(err, NUT_E_ARGUMENT, "no kernels are called \"%.20s\" in this build; it has %s",
                     name ? name : "", names);
}

nut_status nut_load_begin(const nut_load_options *options, uint64_t file_size, nut_loader **out,
                          nut_error *err) {
    const kernel_set *kernels;
    TRY(find_kernels(options->kernel, &kernels, err));
    if ((unsigned)options->kv_type >= NUT_KV_COUNT)
        return error_set(err, NUT_E_ARGUMENT, "there is no kind %d of cache", (int)options->kv_type);
    nut_loader *l = mem_calloc(1, sizeof *l);
    nut_model *m = mem_calloc(1, sizeof *m);
    nut_status status =
        l && m ? gguf_begin(&l->file, file_size, err) : error_memory(err, sizeof *l + sizeof *m);
    if (status != NUT_OK) {
        mem_free(l);
        mem_free(m);
        return status;
    }
    m->kernels = kernels;
    l->options = *options;
    l->model = m;
    *out = l;
    return NUT_OK;
}

/* ---- the plan ---- */

const cache_kind *model_cache_kind(const model_hparams *hp, nut_kv_type type) {
    if ((unsigned)type >= NUT_KV_COUNT) return NULL;
    return &cache_kinds[hp->exact && type == NUT_KV_F16 ? (int)CACHE_F32 : (int)type];
}

uint64_t model_session_bytes(const model_hparams *hp, const cache_kind *kind, uint32_t n_ctx,
                             uint32_t n_batch, uint32_t n_logits) {
    const double n_vocab = hp->n_vocab, q = (double)hp->n_head * hp->head_dim,
                 kv = (double)hp->n_head_kv * hp->head_dim;
    const double wide = q > 2.0 * hp->n_embd ? q : 2.0 * hp->n_embd;
    const double tiles = (double)hp->n_layer * hp->n_head_kv * (double)cache_tiles(n_ctx);
    const double spans = (double)cache_spans(n_ctx);
    double cache = tiles * (double)cache_tile_bytes(kind, hp->head_dim) + 2.0 * n_ctx * sizeof(int32_t);
    double token =
        4 * (2.0 * hp->n_embd + 2 * q + 4 * kv + 2.0 * hp->n_ff + hp->n_rot) + 6.625 * (wide + hp->n_ff);
    double bytes =
        cache + token * n_batch + n_vocab * (16 + 4.0 * n_logits) + spans * 4 * (q + 2.0 * hp->n_head);
    return bytes < 9e18 ? (uint64_t)bytes : UINT64_MAX;
}

static nut_status check_fit(nut_loader *l, nut_error *err) {
    const nut_model *m = l->model;
    uint32_t trained = m->hp.n_ctx_train, n_ctx = l->options.n_ctx;
    if (!n_ctx) n_ctx = trained < DEFAULT_CTX ? trained : DEFAULT_CTX;
    const cache_kind *kind = model_cache_kind(&m->hp, l->options.kv_type);
    uint64_t limit = l->options.memory_limit ? l->options.memory_limit : SIZE_MAX, weights, need;
    l->plan.complete = true;
    l->plan.n_parts = l->parts.n;
    l->plan.n_read = l->parts.i + 1;
    l->plan.file_bytes = m->header.file_bytes;
    l->plan.weight_bytes = m->weights.overflow ? UINT64_MAX : m->weights.size;
    l->plan.cache_bytes = model_session_bytes(&m->hp, kind, n_ctx, PLAN_BATCH, 1);
    if (!u64_add(l->plan.weight_bytes, l->rest.bytes, &weights)) weights = UINT64_MAX;
    if (u64_add(weights, l->plan.cache_bytes, &need) && need <= limit) return NUT_OK;
    return error_set(
        err, NUT_E_TOO_LARGE,
        "the model needs %s%.1f MB for weights and %.1f MB for %u positions of context, and %.1f MB are "
        "there; use a smaller model or a shorter context",
        l->rest.bytes ? "at least " : "", (double)weights / 1e6, (double)l->plan.cache_bytes / 1e6, n_ctx,
        (double)limit / 1e6);
}

/* A family that is known. */
static nut_status find_arch(nut_model *m, nut_error *err) {
    gguf_str name;
    TRY(gguf_get_str(&m->header, "general.architecture", "", &name, err));
    m->arch = arch_find(name);
    if (m->arch) return NUT_OK;
    return error_set(err, NUT_E_UNSUPPORTED, "the architecture \"%.*s\" is not supported (these are: %s)",
                     (int)(name.n < 40 ? name.n : 40), name.s, arch_names());
}

/* What the first file's metadata says. */
static nut_status read_model(nut_loader *l, nut_error *err) {
    nut_model *m = l->model;
    TRY(find_arch(m, err));
    if (!l->parts.n_tensors)
        return error_set(err, NUT_E_CORRUPT,
                         "the file holds no weights, only metadata; choose a whole model");
    TRY(vocab_new(&m->header, &m->vocab, err));
    TRY(arch_hparams(&m->header, m->arch, vocab_size(m->vocab), &m->hp, err));
    m->hp.exact = l->options.dequantize;
    if (m->hp.n_layer > l->parts.n_tensors)
        return error_set(err, NUT_E_CORRUPT, "the model file is damaged: it has %llu tensors and %u layers",
                         (unsigned long long)l->parts.n_tensors, m->hp.n_layer);
    m->layers = mem_calloc(m->hp.n_layer, sizeof *m->layers);
    if (!m->layers) return error_memory(err, m->hp.n_layer * sizeof *m->layers);
    l->rest = bind_needs(m, l->options.dequantize);
    return NUT_OK;
}

/* Plans the tensors of the model's table from `first` on, which this file has brought. */
static nut_status plan_tensors(nut_loader *l, uint64_t first, nut_error *err) {
    nut_model *m = l->model;
    l->n_bindings = (size_t)(m->header.n_tensors - first);
    l->bindings = mem_calloc(l->n_bindings, sizeof *l->bindings);
    if (!l->bindings) return error_memory(err, l->n_bindings * sizeof *l->bindings);
    const gguf_tensor *tensors = l->n_bindings ? m->header.tensors + first : NULL;
    TRY(bind_plan(m, l->options.dequantize, tensors, l->n_bindings, l->bindings, &l->rest, err));
    return bind_check(m, &l->rest, parts_to_come(&l->parts, &m->header), err);
}

static nut_status finish_header(nut_loader *l, nut_error *err) {
    nut_model *m = l->model;
    const uint64_t first = m->header.n_tensors;
    l->end = l->file.file_bytes;
    l->plan.header_bytes = l->file.data_offset;
    TRY(parts_take(&l->parts, &m->header, &l->file, err));
    if (l->parts.i == 0) TRY(read_model(l, err));
    TRY(plan_tensors(l, first, err));
    TRY(check_fit(l, err));
    if (!arena_open(&m->weights)) return error_memory(err, m->weights.size - m->weights.opened);
    bind_place(m, l->bindings, l->n_bindings);
    l->header_done = true;
    return NUT_OK;
}

/* ---- data ---- */

/* Puts n blocks, the first being block `first` of the tensor, where they belong; all of one row. False where
 * one is damaged. */
static bool put_blocks(const binding *b, uint64_t row, size_t first, size_t n, const uint8_t *src) {
    const size_t cols = (size_t)b->source->dims[0];
    float floats[FLOATS_AT_ONCE * FORMAT_MAX_BLOCK];
    const matrix w = {.format = b->to, .n_rows = 1, .n_cols = cols};
    uint8_t *group = b->data + (size_t)(row / FORMAT_LANES) * matrix_group_bytes(&w);
    uint32_t lane = (uint32_t)(row % FORMAT_LANES);
    if (b->spec->kind == ARCH_MATRIX && b->to == b->from) return b->to->pack(group, lane, first, n, src);
    size_t at_once = FLOATS_AT_ONCE * FORMAT_MAX_BLOCK / b->from->block;
    for (size_t i = 0; i < n; i += at_once) {
        size_t some = n - i < at_once ? n - i : at_once, col = (first + i) * b->from->block;
        b->from->dequantize(src + i * b->from->bytes, some, floats);
        if (b->spec->kind == ARCH_VECTOR)
            memcpy(b->data + col * sizeof(float), floats, some * b->from->block * sizeof(float));
        else
            b->to->pack(group, lane, col, some * b->from->block, (const uint8_t *)floats);
    }
    return true;
}

/* Takes whole blocks that begin at byte `at` of the tensor. */
static bool take_blocks(const binding *b, uint64_t at, const uint8_t *src, size_t n_blocks) {
    const size_t per_row = (size_t)b->source->dims[0] / b->from->block;
    uint64_t block = at / b->from->bytes;
    while (n_blocks) {
        size_t first = (size_t)(block % per_row),
               n = per_row - first < n_blocks ? per_row - first : n_blocks;
        if (!put_blocks(b, block / per_row, first, n, src)) return false;
        block += n;
        n_blocks -= n;
        src += n * b->from->bytes;
    }
    return true;
}

/* Takes n bytes of tensor b's data from byte `at` of it on; a block at the end that is not whole is kept. */
static bool take_data(nut_loader *l, const binding *b, uint64_t at, const uint8_t *src, size_t n) {
    if (!b->spec) return true;
    const size_t bytes = b->from->bytes;
    if (l->n_kept) {
        size_t more = bytes - l->n_kept < n ? bytes - l->n_kept : n;
        memcpy(l->kept + l->n_kept, src, more);
        l->n_kept += more;
        src += more, at += more, n -= more;
        if (l->n_kept < bytes) return true;
        if (!take_blocks(b, at - bytes, l->kept, 1)) return false;
        l->n_kept = 0;
    }
    if (!take_blocks(b, at, src, n / bytes)) return false;
    l->n_kept = n % bytes;
    memcpy(l->kept, src + n - l->n_kept, l->n_kept);
    return true;
}

/* Shares bytes that stand at l->at among the tensors; padding between them is dropped. */
static nut_status take_bytes(nut_loader *l, const uint8_t *src, size_t n, nut_error *err) {
    const uint64_t end = l->at + n;
    while (l->current < l->n_bindings) {
        const binding *b = &l->bindings[l->current];
        uint64_t begin = b->source->offset, last = begin + b->source->n_bytes;
        uint64_t from = begin > l->at ? begin : l->at, to = last < end ? last : end;
        if (from < to && !take_data(l, b, from - begin, src + (from - l->at), (size_t)(to - from)))
            return error_set(
                err, NUT_E_CORRUPT,
                "the model file is damaged: the tensor %.*s has a scale that is no ordinary number; "
                "download the file again",
                (int)b->source->name.n, b->source->name.s);
        if (last > end) break;
        l->current++;
    }
    l->at = end;
    return NUT_OK;
}

static nut_status feed_header(nut_loader *l, const uint8_t *bytes, size_t n, size_t *n_used,
                              nut_error *err) {
    bool complete;
    TRY(parts_blame(&l->parts, gguf_feed(&l->file, bytes, n, n_used, &complete, err), err));
    l->at += *n_used;
    return complete ? finish_header(l, err) : NUT_OK;
}

nut_status nut_load_feed(nut_loader *l, uint64_t offset, const void *bytes, size_t n, nut_error *err) {
    const uint8_t *p = bytes;
    size_t n_used = 0;
    nut_status status;
    if (l->failed) return error_set(err, NUT_E_STATE, "this load has failed; abort it and begin again");
    if (offset != l->at)
        return error_set(err, NUT_E_ARGUMENT, "bytes at %llu were fed and those at %llu come next",
                         (unsigned long long)offset, (unsigned long long)l->at);
    if (!n) return NUT_OK;
    if (!l->header_done) {
        status = feed_header(l, p, n, &n_used, err);
        l->failed = status != NUT_OK;
        if (status != NUT_OK) return status;
    }
    status = n_used < n ? take_bytes(l, p + n_used, n - n_used, err) : NUT_OK;
    status = parts_blame(&l->parts, status, err);
    l->failed = status != NUT_OK;
    return status;
}

nut_load_plan nut_load_get_plan(const nut_loader *l) {
    return l->plan;
}

/* ---- end ---- */

static nut_status file_end(const nut_loader *l, nut_error *err) {
    if (!l->header_done) return gguf_end(&l->file, err);
    if (l->at >= l->end) return NUT_OK;
    return error_set(err, NUT_E_TRUNCATED,
                     "the file ends at byte %llu and %llu bytes are missing; download it again",
                     (unsigned long long)l->at, (unsigned long long)(l->end - l->at));
}

/* That the file that is fed is all there. */
static nut_status check_file(const nut_loader *l, nut_error *err) {
    if (l->failed) return error_set(err, NUT_E_STATE, "this load has failed; abort it and begin again");
    return parts_blame(&l->parts, file_end(l, err), err);
}

static nut_status begin_next(nut_loader *l, uint64_t file_size, nut_error *err) {
    TRY(check_file(l, err));
    mem_free(l->bindings);
    l->bindings = NULL;
    l->n_bindings = l->current = 0;
    l->header_done = false;
    l->at = 0;
    l->parts.i++;
    return gguf_begin(&l->file, file_size, err);
}

nut_status nut_load_next(nut_loader *l, uint64_t file_size, nut_error *err) {
    if (!l->failed && l->header_done && l->parts.i + 1 == l->parts.n)
        return error_set(err, NUT_E_STATE, "no file is to come: the model has %u", l->parts.n);
    nut_status status = begin_next(l, file_size, err);
    l->failed = status != NUT_OK;
    return status;
}

static nut_status check_whole(const nut_loader *l, nut_error *err) {
    TRY(check_file(l, err));
    return parts_end(&l->parts, err);
}

nut_status nut_load_finish(nut_loader *l, nut_model **out, nut_error *err) {
    nut_status status = check_whole(l, err);
    l->failed = status != NUT_OK;
    if (status != NUT_OK) return status;
    bind_finish(l->model);
    *out = l->model;
    l->model = NULL;
    nut_load_abort(l);
    return NUT_OK;
}

void nut_load_abort(nut_loader *l) {
    if (!l) return;
    nut_model_free(l->model);
    gguf_free(&l->file);
    mem_free(l->bindings);
    mem_free(l);
}

void nut_model_free(nut_model *m) {
    if (!m) return;
    vocab_free(m->vocab);
    gguf_free(&m->header);
    arena_close(&m->weights);
    mem_free(m->layers);
    mem_free(m);
}

/* ---- facts ---- */

uint32_t nut_model_n_vocab(const nut_model *m) {
    return m->hp.n_vocab;
}
uint32_t nut_model_n_ctx_train(const nut_model *m) {
    return m->hp.n_ctx_train;
}
const char *nut_model_kernel(const nut_model *m) {
    return m->kernels->name;
}

const char *nut_model_meta(const nut_model *m, const char *key, size_t *n) {
    gguf_str s;
    if (!gguf_find(&m->header, key) || gguf_get_str(&m->header, key, NULL, &s, NULL) != NUT_OK) return NULL;
    *n = (size_t)s.n;
    return s.s;
}

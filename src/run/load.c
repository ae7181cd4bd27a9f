/*
 * The pushed loader. Bytes come once, in order; the header goes to the GGUF reader, tensor data straight to
 * its packed place. Between two feeds at most one unfinished block is kept. What a page must download is
 * known, and refused where it cannot fit, as soon as the header is there. A model in several files comes
 * file by file: each one's header brings tensors, for which memory is taken then.
 */
#include "base/error.h"
#include "model/bind.h"
#include "model/splits.h"
#include "run/block.h"
#include "run/layer_load.h"
#include "run/race.h"

#include <stdio.h>
#include <string.h>

struct nut_loader {
    nut_load_options options;
    nut_model *model;
    bind_rest rest; // of the model, to come with other files
    splits splits;
    nut_load_plan plan;
    bool headers_only; // load_headers_only
    bool failed;
    // the file that is fed
    uint64_t at; // bytes fed
    gguf file;   // its header, while that is read
    bool header_done;
    uint64_t end;      // of its last tensor, by its header
    binding *bindings; // (n_bindings) of its tensors
    size_t n_bindings;
    size_t current; // binding whose data comes now or next
    bind_fill fill;
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
    if (options->n_threads > THREADS_MOST)
        return error_set(err, NUT_E_ARGUMENT, "threads must be 1 to %d, not %u", THREADS_MOST,
                         options->n_threads);
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
    kernel_choose_all(kernels, &m->products);
    m->blocks = block_specs;
    l->options = *options;
    l->model = m;
    *out = l;
    return NUT_OK;
}

void load_headers_only(nut_loader *l) {
    l->headers_only = true;
}

/* ---- the plan ---- */

static nut_status check_fit(nut_loader *l, nut_error *err) {
    const nut_model *m = l->model;
    const nut_session_options session = {
        .n_ctx = l->options.n_ctx, .n_threads = 1, .kv_type = l->options.kv_type};
    const uint64_t limit = l->options.memory_limit ? l->options.memory_limit : SIZE_MAX;
    uint64_t weights, need;
    l->plan.weight_bytes = m->weights.overflow ? UINT64_MAX : m->weights.size;
    l->plan.cache_bytes = session_bytes(m, &session);
    if (!u64_add(l->plan.weight_bytes, l->rest.bytes, &weights)) weights = UINT64_MAX;
    if (u64_add(weights, l->plan.cache_bytes, &need) && need <= limit) return NUT_OK;
    return error_set(
        err, NUT_E_TOO_LARGE,
        "the model needs %s%.1f MB for weights and %.1f MB for %u positions of context, and %.1f MB are "
        "there; use a smaller model or a shorter context",
        l->rest.bytes ? "at least " : "", (double)weights / 1e6, (double)l->plan.cache_bytes / 1e6,
        session_context(m, l->options.n_ctx), (double)limit / 1e6);
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
    if (!l->splits.n_tensors)
        return error_set(err, NUT_E_CORRUPT,
                         "the file holds no weights, only metadata; choose a whole model");
    TRY(vocab_new(&m->header, l->options.pre_tokenizer, &m->vocab, err));
    TRY(arch_hparams(&m->header, m->arch, vocab_size(m->vocab), &m->hp, err));
    m->hp.reference = l->options.reference;
    TRY(bind_layers(m, l->splits.n_tensors, err));
    l->rest = bind_needs(m);
    return NUT_OK;
}

/* Plans the tensors of the model's table from `first` on, which this file has brought. */
static nut_status plan_tensors(nut_loader *l, uint64_t first, nut_error *err) {
    nut_model *m = l->model;
    l->n_bindings = (size_t)(m->header.n_tensors - first);
    l->bindings = mem_calloc(l->n_bindings, sizeof *l->bindings);
    if (!l->bindings) return error_memory(err, l->n_bindings * sizeof *l->bindings);
    const gguf_tensor *tensors = l->n_bindings ? m->header.tensors + first : NULL;
    TRY(bind_plan(m, BIND_ALL, &m->weights, tensors, l->n_bindings, l->bindings, &l->rest, err));
    return bind_check(m, &l->rest, splits_to_come(&l->splits, &m->header), err);
}

/* The weights are not wanted now: what was planned for them is forgotten. */
static nut_status take_header(nut_loader *l) {
    arena_close(&l->model->weights);
    l->n_bindings = 0;
    l->end = l->file.data_offset;
    l->header_done = true;
    return NUT_OK;
}

static void plan_header(nut_loader *l) {
    l->plan.complete = true;
    l->plan.n_splits = l->splits.n;
    l->plan.n_read = l->splits.i + 1;
    l->plan.file_bytes = l->model->header.file_bytes;
}

/* Vocabulary and facts are all that is wanted: of a family that is not known, too. */
static nut_status read_header(nut_loader *l, nut_error *err) {
    nut_model *m = l->model;
    gguf_str name;
    m->header_only = true;
    TRY(gguf_get_str(&m->header, "general.architecture", "", &name, err));
    m->arch = arch_find(name);
    TRY(vocab_new(&m->header, l->options.pre_tokenizer, &m->vocab, err));
    if (!m->arch || arch_hparams(&m->header, m->arch, vocab_size(m->vocab), &m->hp, NULL) != NUT_OK)
        m->hp = (model_hparams){.n_vocab = vocab_size(m->vocab)};
    plan_header(l);
    l->end = l->at;
    l->header_done = true;
    return NUT_OK;
}

/* Threads, for a file with coded tensors. */
static nut_status start_threads(nut_loader *l, nut_error *err) {
    bool any = false;
    for (size_t i = 0; i < l->n_bindings; i++)
        any |= l->bindings[i].spec && format_is_coded(l->bindings[i].from);
    if (!any || l->options.n_threads < 2) return NUT_OK;
    return threads_new(l->options.n_threads, &l->fill.coded.team, err);
}

/* A page's threads can serve its session only when they are free again, so that they end with the data. */
static void end_threads(nut_loader *l) {
    threads_free(l->fill.coded.team);
    l->fill.coded.team = NULL;
}

static nut_status finish_header(nut_loader *l, nut_error *err) {
    nut_model *m = l->model;
    const uint64_t first = m->header.n_tensors;
    l->end = l->file.file_bytes;
    l->plan.header_bytes = l->file.data_offset;
    TRY(splits_take(&l->splits, &m->header, &l->file, err));
    if (l->options.header_only) return read_header(l, err);
    if (l->splits.i == 0) TRY(read_model(l, err));
    TRY(plan_tensors(l, first, err));
    plan_header(l);
    if (l->headers_only) return take_header(l);
    TRY(check_fit(l, err));
    if (!arena_open(&m->weights)) return error_memory(err, m->weights.size - m->weights.opened);
    bind_place(m, &m->weights, l->bindings, l->n_bindings);
    TRY(start_threads(l, err));
    l->header_done = true;
    return NUT_OK;
}

/* ---- data ---- */

/* Shares bytes that stand at l->at among the tensors; padding between them is dropped. */
static nut_status take_bytes(nut_loader *l, const uint8_t *src, size_t n, nut_error *err) {
    const uint64_t end = l->at + n;
    while (l->current < l->n_bindings) {
        const binding *b = &l->bindings[l->current];
        uint64_t begin = b->source->offset, last = begin + b->source->n_bytes;
        uint64_t from = begin > l->at ? begin : l->at, to = last < end ? last : end;
        if (from < to)
            TRY(bind_data(&l->fill, b, from - begin, src + (from - l->at), (size_t)(to - from), err));
        if (last > end) break;
        l->current++;
    }
    l->at = end;
    if (l->current == l->n_bindings) end_threads(l);
    return NUT_OK;
}

static nut_status feed_header(nut_loader *l, const uint8_t *bytes, size_t n, size_t *n_used,
                              nut_error *err) {
    bool complete;
    TRY(splits_blame(&l->splits, gguf_feed(&l->file, bytes, n, n_used, &complete, err), err));
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
    status = splits_blame(&l->splits, status, err);
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
    return splits_blame(&l->splits, file_end(l, err), err);
}

static nut_status begin_next(nut_loader *l, uint64_t file_size, nut_error *err) {
    TRY(check_file(l, err));
    mem_free(l->bindings);
    l->bindings = NULL;
    l->n_bindings = l->current = 0;
    l->header_done = false;
    l->at = 0;
    l->splits.i++;
    return gguf_begin(&l->file, file_size, err);
}

nut_status nut_load_next(nut_loader *l, uint64_t file_size, nut_error *err) {
    if (!l->failed && l->header_done && l->splits.i + 1 == l->splits.n)
        return error_set(err, NUT_E_STATE, "no file is to come: the model has %u", l->splits.n);
    nut_status status = begin_next(l, file_size, err);
    l->failed = status != NUT_OK;
    return status;
}

static nut_status check_whole(const nut_loader *l, nut_error *err) {
    TRY(check_file(l, err));
    return l->options.header_only ? NUT_OK : splits_end(&l->splits, err);
}

static void finish_weights(nut_loader *l) {
    bind_finish(l->model);
    if (!l->options.kernel) race_products(l->model, l->options.races);
}

nut_status nut_load_finish(nut_loader *l, nut_model **out, nut_error *err) {
    nut_status status = check_whole(l, err);
    l->failed = status != NUT_OK;
    if (status != NUT_OK) return status;
    if (l->headers_only)
        bind_forget(l->model, BIND_ALL);
    else if (!l->options.header_only)
        finish_weights(l);
    *out = l->model;
    l->model = NULL;
    nut_load_abort(l);
    return NUT_OK;
}

void nut_load_abort(nut_loader *l) {
    if (!l) return;
    model_free(l->model);
    gguf_free(&l->file);
    end_threads(l);
    bind_fill_free(&l->fill);
    mem_free(l->bindings);
    mem_free(l);
}

void nut_model_free(nut_model *m) {
    model_free(m);
}

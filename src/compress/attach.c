/*
 * The job that writes a model with an adapter beside its weights, in one file, which this engine runs as it
 * is (docs/format.md): the weights keep their types, where `merge` needs floats. For pages, which load no
 * adapters of their own.
 */
#include "nutshell_compress.h"

#include "base/error.h"
#include "compress/rewrite.h"
#include "evaluate/model_source.h"
#include "model/adapter_file.h"

#include <stdio.h>
#include <string.h>

enum { NAME = 80 };

typedef struct attach {
    nut_job job;
    nut_status (*phase)(struct attach *a, nut_error *err); // what the next step does
    nut_attach_options options;
    adapter adapter;
    model_source source;
    rewrite rewrite;
    rewrite_tensor *plan; // (n)
    size_t n, n_pairs;
    char (*names)[NAME]; // (2 n_pairs)
} attach;

/* ---- the plan ---- */

static nut_status check_family(const attach *a, nut_error *err) {
    gguf_str made_for, is;
    TRY(gguf_get_str(&a->adapter.g, "general.architecture", "", &made_for, err));
    TRY(gguf_get_str(&a->source.m->header, "general.architecture", "", &is, err));
    if (made_for.n == is.n && !memcmp(made_for.s, is.s, (size_t)is.n)) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "the adapter was made for a model of family %.*s, and this one is of family %.*s",
                     (int)(made_for.n < 40 ? made_for.n : 40), made_for.s, (int)is.n, is.s);
}

static uint64_t padded(uint64_t rank) {
    return (rank + FORMAT_LANES - 1) / FORMAT_LANES * FORMAT_LANES;
}

/* A tensor behind the last one of the plan. */
static void plan_factor(attach *a, const gguf_tensor *of, int which, uint64_t rank) {
    char *name = a->names[2 * a->n_pairs + (size_t)which];
    const int n = snprintf(name, NAME, "%.*s%s", (int)of->name.n, of->name.s, adapter_ends[which]);
    a->plan[a->n++] = (rewrite_tensor){.from = of,
                                       .name = {name, (uint64_t)n},
                                       .n_cols = which ? padded(rank) : of->dims[0],
                                       .n_rows = which ? of->dims[1] : padded(rank),
                                       .computed = true};
}

static nut_status plan_tensor(attach *a, const rewrite_tensor *t, nut_error *err) {
    const uint32_t rank = adapter_rank(&a->adapter, t->name);
    a->plan[a->n++] = *t;
    if (!rank) return NUT_OK;
    const linear *l = bind_linear(a->source.m, t->name);
    if (!l || t->from->n_dims != 2 || padded(rank) > t->n_cols || l->side.a.format)
        return error_set(err, NUT_E_ARGUMENT,
                         "tensor %.*s takes no adapter of rank %u beside it; merge it without --beside",
                         (int)t->name.n, t->name.s, rank);
    plan_factor(a, t->from, 0, rank);
    plan_factor(a, t->from, 1, rank);
    a->n_pairs++;
    return NUT_OK;
}

static nut_status plan_all(attach *a, nut_error *err) {
    const gguf *g = &a->source.m->header;
    const uint64_t most = a->adapter.g.n_tensors;
    rewrite_tensor *source;
    if (most > 2 * g->n_tensors)
        return error_set(err, NUT_E_ARGUMENT,
                         "the adapter has more tensors than there can be for this model; give the model "
                         "that it was made for");
    TRY(rewrite_plan(g, &source, err));
    a->plan = mem_calloc((size_t)g->n_tensors, 3 * sizeof *a->plan);
    a->names = mem_calloc((size_t)g->n_tensors, 2 * sizeof *a->names);
    nut_status status = a->plan && a->names ? NUT_OK : error_memory(err, g->n_tensors * NAME);
    for (uint64_t i = 0; status == NUT_OK && i < g->n_tensors; i++) status = plan_tensor(a, &source[i], err);
    mem_free(source);
    if (status != NUT_OK || (a->n_pairs && 2 * a->n_pairs == most)) return status;
    return error_set(err, NUT_E_ARGUMENT,
                     "the adapter has %llu tensors, and %zu of them belong to matrices that this model has; "
                     "give the model that it was made for",
                     (unsigned long long)most, 2 * a->n_pairs);
}

/* ---- numbers ---- */

/* Rows of A, or rows of B times the adapter's scale; zeros fill both up to the padded rank. */
static nut_status rows(void *ctx, size_t tensor, size_t row, size_t n, float *out, nut_error *err) {
    const attach *a = ctx;
    const rewrite_tensor *t = &a->plan[tensor];
    const gguf_str of = t->from->name;
    const int which = t->name.s[t->name.n - 1] == 'b';
    const uint32_t rank = adapter_rank(&a->adapter, of);
    const size_t n_rows = which ? (size_t)t->n_rows : rank, n_cols = which ? rank : (size_t)t->n_cols;
    const double alpha = a->adapter.alpha;
    const float by = which ? (float)((double)a->options.scale * (alpha > 0 ? alpha / rank : 1)) : 1;
    memset(out, 0, n * (size_t)t->n_cols * sizeof *out);
    for (size_t r = row; r < row + n && r < n_rows; r++, out += t->n_cols) {
        TRY(adapter_row(&a->adapter, of, which, n_rows, n_cols, r, out, err));
        for (size_t i = 0; i < n_cols; i++) out[i] *= by;
    }
    return NUT_OK;
}

/* ---- the job ---- */

static nut_status run_write(attach *a, nut_error *err) {
    bool ready = false;
    TRY(rewrite_step(&a->rewrite, &a->job, a->n, &ready, err));
    if (ready) job_done(&a->job);
    return NUT_OK;
}

static nut_status read_headers(attach *a, nut_error *err) {
    bool ready = false;
    TRY(model_source_headers(&a->source, &a->job, false, &ready, err));
    if (!ready) return NUT_OK;
    TRY(check_family(a, err));
    TRY(plan_all(a, err));
    a->rewrite.rows = rows, a->rewrite.ctx = a;
    a->phase = run_write;
    return rewrite_begin(&a->rewrite, &a->source.m->header, a->plan, a->n, err);
}

static nut_status step(nut_job *job, nut_error *err) {
    attach *a = (attach *)job;
    return a->phase(a, err);
}

static void free_job(nut_job *job) {
    attach *a = (attach *)job;
    rewrite_free(&a->rewrite);
    mem_free(a->plan);
    mem_free(a->names);
    model_source_free(&a->source);
    adapter_free(&a->adapter);
    mem_free(a);
}

nut_status nut_attach_begin(const nut_attach_options *options, nut_job **out, nut_error *err) {
    static const job_ops ops = {step, free_job};
    attach *a = mem_calloc(1, sizeof *a);
    if (!a) return error_memory(err, sizeof *a);
    a->job.ops = &ops;
    a->options = *options;
    a->phase = read_headers;
    const bool fits = options->scale > -1e6F && options->scale < 1e6F;
    nut_status status =
        fits ? adapter_read(&a->adapter, options->adapter, options->n_adapter, err)
             : error_set(err, NUT_E_ARGUMENT, "the scale of an adapter is a number, such as 1");
    if (status == NUT_OK)
        *out = &a->job;
    else
        free_job(&a->job);
    return status;
}

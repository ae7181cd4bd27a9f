/* Layers that lose channels or heads. */
#include "compress/narrow.h"

#include "base/error.h"
#include "base/mem.h"
#include "compress/activity.h"
#include "compress/channels.h"
#include "compress/parts.h"
#include "compress/shares.h"

#include <stdio.h>
#include <string.h>

enum { SITES = 2 }; // of a layer: its feed-forward, its attention

typedef struct narrow {
    changing c;
    narrow_options o;
    shares shares;        // (SITES, n_layer), where layers do not lose the same
    parts *parts;         // (SITES, n_layer) of kind NULL: the layer has none
    uint32_t *kept;       // memory of all parts' kept
    uint32_t **lists;     // (n_tensors) elements that stay of the dimension that changes; NULL: none does
    float *row;           // of the widest matrix whose columns change
    layer_weights now;    // of the tensor that is written
    double before, after; // parameters
    bool has_zeros;       // that an order is for
} narrow;

/* ---- kinds ---- */

static nut_status kind_of(const narrow *s, const nut_model *m, size_t site, uint32_t il,
                          const part_kind **out, nut_error *err) {
    *out = NULL;
    if (!(s->o.what >> site & 1)) return NUT_OK;
    return site == 0 ? parts_channels(m, il, out, err) : parts_heads(m, il, out, err);
}

static nut_status refuse_all(const nut_model *m, nut_error *err) {
    return error_set(err, NUT_E_UNSUPPORTED,
                     "heads cannot be changed in this %s model: no layer has attention", m->arch->name);
}

/* How many go together. */
static uint32_t step_of(const part_kind *k, uint32_t n) {
    return k->packs && n % 32 == 0 ? 32 : 1;
}

/* ---- the plan ---- */

static parts *parts_at(const narrow *s, size_t site, uint32_t il) {
    return &s->parts[site * s->c.m->hp.n_layer + il];
}

static nut_status count_left(const narrow *s, size_t site, uint32_t il, parts *p, nut_error *err) {
    const uint32_t step = step_of(p->kind, p->n);
    p->n_keep = s->shares.n_left ? s->shares.n_left[site * s->c.m->hp.n_layer + il]
                                 : (uint32_t)((1 - s->o.share) * (double)p->n / step + 0.5) * step;
    if (p->n_keep && (p->n_keep < p->n || s->shares.n_left || !(s->o.share > 0))) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "a share of %g leaves layer %u %s of its %u %s, which go by %u; give a %s one",
                     s->o.share, (unsigned)il, p->n_keep ? "all" : "none", (unsigned)p->n, p->kind->name,
                     (unsigned)step, p->n_keep ? "larger" : "smaller");
}

static nut_status find_parts(narrow *s, nut_error *err) {
    const nut_model *m = s->c.m;
    size_t n_kept = 0;
    s->parts = mem_calloc(SITES * (size_t)m->hp.n_layer, sizeof *s->parts);
    if (!s->parts) return error_memory(err, SITES * (size_t)m->hp.n_layer * sizeof *s->parts);
    for (size_t site = 0; site < SITES; site++)
        for (uint32_t il = 0; il < m->hp.n_layer; il++) {
            parts *p = parts_at(s, site, il);
            TRY(kind_of(s, m, site, il, &p->kind, err));
            if (!p->kind) continue;
            p->n = parts_count(m, il, p->kind);
            TRY(count_left(s, site, il, p, err));
            n_kept += p->n_keep;
        }
    if (!n_kept) return refuse_all(m, err);
    s->kept = mem_calloc(n_kept, sizeof *s->kept);
    if (!s->kept) return error_memory(err, n_kept * sizeof *s->kept);
    n_kept = 0;
    for (size_t i = 0; i < SITES * (size_t)m->hp.n_layer; i++) {
        s->parts[i].kept = s->kept + n_kept;
        n_kept += s->parts[i].n_keep;
    }
    return NUT_OK;
}

/* What a tensor loses: rows, which are copied, or elements of its rows, which are computed. */
static nut_status plan_tensor(narrow *s, size_t i, uint32_t il, const tensor_spec *spec, const parts *p,
                              nut_error *err) {
    rewrite_tensor *t = &s->c.plan[i];
    const size_t n = parts_list(s->c.m, il, p, spec, NULL);
    s->lists[i] = mem_calloc(n, sizeof **s->lists);
    if (!s->lists[i]) return error_memory(err, n * sizeof **s->lists);
    if (!parts_in_columns(spec, p->kind) && spec->shape[1])
        t->rows = s->lists[i], t->n_rows = n;
    else
        t->computed = true, t->n_cols = n;
    return NUT_OK;
}

static nut_status plan_tensors(narrow *s, nut_error *err) {
    const changing *c = &s->c;
    size_t most = 1;
    s->lists = mem_calloc((size_t)c->m->header.n_tensors, sizeof *s->lists);
    if (!s->lists) return error_memory(err, c->m->header.n_tensors * sizeof *s->lists);
    for (size_t i = c->ends[0]; i < c->m->header.n_tensors; i++) {
        uint32_t il = 0;
        gguf_str rest;
        void *to;
        const tensor_spec *spec = bind_find(c->m, c->plan[i].name, &to);
        if (!spec || !layer_of_tensor(c->plan[i].name, &il, &rest)) continue;
        if (c->plan[i].n_cols > most) most = (size_t)c->plan[i].n_cols;
        for (size_t site = 0; site < SITES; site++) {
            const parts *p = parts_at(s, site, il);
            if (p->kind && (parts_in_columns(spec, p->kind) || parts_in_rows(spec, p->kind)))
                TRY(plan_tensor(s, i, il, spec, p, err));
        }
    }
    s->row = mem_alloc(most * sizeof *s->row);
    return s->row ? NUT_OK : error_memory(err, most * sizeof *s->row);
}

/* ---- metadata ---- */

/* A layer's number of a letter; of one that has no parts, what the file says. */
static uint32_t count_at(const narrow *s, size_t site, const gguf_kv *kv, uint32_t il, char letter) {
    const parts *p = parts_at(s, site, il);
    int64_t old = 0;
    if (p->kind) return (uint32_t)parts_size_left(s->c.m, il, p, letter);
    if (kv) gguf_integer_at(kv, il, &old);
    return (uint32_t)old;
}

/* "<arch>.suffix", of all layers or of each. */
static nut_status set_counts(narrow *s, size_t site, const char *suffix, char letter, nut_error *err) {
    char key[96];
    const uint32_t n_layer = s->c.m->hp.n_layer;
    uint32_t first = 0;
    snprintf(key, sizeof key, "%.64s.%s", s->c.m->arch->name, suffix);
    const gguf_kv *kv = gguf_find(&s->c.m->header, key);
    while (first + 1 < n_layer && !parts_at(s, site, first)->kind) first++;
    if (!s->shares.n_left && (!kv || kv->type != GGUF_ARRAY))
        return gguf_meta_int(&s->c.rewrite.meta, key, GGUF_U32, count_at(s, site, kv, first, letter), err);
    uint32_t *all = mem_alloc(n_layer * sizeof *all);
    if (!all) return error_memory(err, n_layer * sizeof *all);
    for (uint32_t il = 0; il < n_layer; il++) all[il] = count_at(s, site, kv, il, letter);
    const nut_status status = gguf_meta_array(&s->c.rewrite.meta, key, GGUF_U32, all, n_layer, err);
    mem_free(all);
    return status;
}

static nut_status set_meta(narrow *s, nut_error *err) {
    gguf_meta *meta = &s->c.rewrite.meta;
    if (s->o.what & NARROW_CHANNELS) {
        if (s->o.share > 0) {
            TRY(set_counts(s, 0, "feed_forward_length", 'F', err));
            TRY(gguf_meta_f32(meta, "nutshell.channels.share", (float)s->o.share, err));
        }
        if (s->o.order) TRY(gguf_meta_int(meta, "nutshell.channels.order", GGUF_BOOL, true, err));
    }
    if (!(s->o.what & NARROW_HEADS)) return NUT_OK;
    TRY(set_counts(s, 1, "attention.head_count", 'H', err));
    TRY(set_counts(s, 1, "attention.head_count_kv", 'h', err));
    TRY(parts_set_lengths(s->c.m, meta, err));
    return gguf_meta_f32(meta, "nutshell.heads.share", (float)s->o.share, err);
}

static nut_status plan(changing *c, nut_error *err) {
    narrow *s = (narrow *)c;
    TRY(find_parts(s, err));
    TRY(set_meta(s, err));
    TRY(plan_tensors(s, err));
    for (uint64_t i = 0; i < c->m->header.n_tensors; i++) {
        const gguf_tensor *t = c->plan[i].from;
        s->before += (double)t->dims[0] * (double)(t->dims[1] * t->dims[2] * t->dims[3]);
        s->after += (double)c->plan[i].n_cols * (double)c->plan[i].n_rows;
    }
    return NUT_OK;
}

/* ---- layers ---- */

typedef struct behind {
    layer_weights w;
    channels_inputs in;
    float *weights; // (w.n_rows, w.n_cols), to be freed
} behind;

/* The matrix behind the parts of the layer that is complete. */
static nut_status find_behind(const changing *c, uint32_t il, const part_kind *k, behind *out,
                              nut_error *err) {
    char name[64];
    const nut_model *m = calibrate_model(c->calibrate);
    const int length =
        snprintf(name, sizeof name, "blk.%u.%s", (unsigned)il, arch_file_name(m->arch, k->behind));
    const gguf_str tensor = {name, (uint64_t)length};
    const uint32_t n = parts_count(m, il, k);
    size_t n_rows = 0;
    *out = (behind){.w = layer_weights_of(m, tensor), .in.s = calibrate_find(c->calibrate, tensor)};
    if (!out->w.n || out->w.n_cols % n || !out->in.s)
        return error_set(err, NUT_E_UNSUPPORTED, "layer %u has no %s that can be fitted", (unsigned)il,
                         k->behind);
    out->in.unit = out->w.n_cols / n;
    if (c->fisher) out->in.felt = fisher_of_rows(c->fisher, tensor, &n_rows);
    if (c->fisher && n_rows != out->w.n_rows)
        return error_set(err, NUT_E_UNSUPPORTED, "layer %u has no gradients of %s; leave \"fisher\" out",
                         (unsigned)il, k->behind);
    const size_t size = out->w.n_rows * out->w.n_cols;
    out->weights = mem_alloc(size * sizeof *out->weights);
    if (!out->weights) return error_memory(err, size * sizeof *out->weights);
    layer_weights_get(&out->w, 0, out->w.n_rows, out->weights);
    return NUT_OK;
}

static nut_status remove_parts(narrow *s, uint32_t il, const parts *p, nut_error *err) {
    behind b;
    nut_status status = NUT_OK;
    TRY(find_behind(&s->c, il, p->kind, &b, err));
    if (p->kind->drifts) b.in.drift = calibrate_drift(s->c.calibrate, &b.in.n_drift);
    if (s->o.share > 0)
        status = channels_remove(s->c.d, &b.in, b.w.n_rows, b.w.n_cols, b.weights, p->n_keep, p->kept, err);
    else
        for (uint32_t i = 0; i < p->n; i++) p->kept[i] = i;
    if (status == NUT_OK) layer_weights_set(&b.w, 0, b.w.n_rows, b.weights);
    mem_free(b.weights);
    if (status != NUT_OK || !s->o.order || p->kind != &parts_channels_kind) return status;
    s->has_zeros |= activity_has_zeros(b.in.s);
    return activity_order(b.in.s, p->n_keep, p->kept, err);
}

static nut_status change_layer(changing *c, uint32_t il, nut_error *err) {
    narrow *s = (narrow *)c;
    for (size_t site = 0; site < SITES; site++) {
        const parts *p = parts_at(s, site, il);
        if (!p->kind) continue;
        TRY(remove_parts(s, il, p, err));
        for (size_t i = c->ends[il]; i < c->ends[il + 1]; i++) {
            void *to;
            const tensor_spec *spec = bind_find(c->m, c->plan[i].name, &to);
            if (spec && (parts_in_columns(spec, p->kind) || parts_in_rows(spec, p->kind)))
                parts_list(c->m, il, p, spec, s->lists[i]);
        }
    }
    return NUT_OK;
}

/* What the layer loses with parts of a kind: as the loss feels it, or as a part of what tokens are behind
 * it. */
static nut_status measure_parts(narrow *s, size_t site, uint32_t il, const part_kind *k, nut_error *err) {
    const nut_model *m = calibrate_model(s->c.calibrate);
    const uint32_t n = parts_count(m, il, k), at = (uint32_t)site * m->hp.n_layer + il;
    behind b;
    size_t n_residual;
    double *losses;
    TRY(find_behind(&s->c, il, k, &b, err));
    nut_status status = shares_layer(&s->shares, SITES * m->hp.n_layer, at, n, step_of(k, n), &losses, err);
    if (status == NUT_OK)
        status =
            channels_losses(s->c.d, &b.in, b.w.n_rows, b.w.n_cols, b.weights, shares_most(n), losses, err);
    mem_free(b.weights);
    if (status != NUT_OK) return status;
    const float *residual = calibrate_residual(s->c.calibrate, &n_residual);
    const double weight = s->c.fisher ? 1 : 1 / shares_typical_square(residual, n_residual, m->hp.n_embd);
    shares_weigh(&s->shares, at, weight, parts_weights(m, il, k));
    return NUT_OK;
}

static nut_status measure(changing *c, uint32_t il, nut_error *err) {
    narrow *s = (narrow *)c;
    const nut_model *m = calibrate_model(c->calibrate);
    for (size_t site = 0; site < SITES; site++) {
        const part_kind *k;
        TRY(kind_of(s, m, site, il, &k, err));
        if (k) TRY(measure_parts(s, site, il, k, err));
    }
    if (il + 1 < m->hp.n_layer) return NUT_OK;
    if (!s->shares.layers) return refuse_all(m, err);
    return shares_choose(&s->shares, s->o.share, err);
}

/* ---- what is computed ---- */

/* Rows of a matrix whose columns change, or a vector. */
static nut_status rows(void *ctx, size_t tensor, size_t row, size_t n, float *out, nut_error *err) {
    narrow *s = ctx;
    const rewrite_tensor *t = &s->c.plan[tensor];
    void *to;
    const tensor_spec *spec = bind_find(s->c.m, t->name, &to);
    const bool is_vector = spec && spec->kind == TENSOR_VECTOR;
    if (!is_vector && !row) s->now = layer_weights_of(s->c.m, t->name);
    if (!is_vector && s->now.n_cols != t->from->dims[0])
        return error_set(err, NUT_E_UNSUPPORTED, "tensor %.*s cannot be changed here", (int)t->name.n,
                         t->name.s);
    for (size_t r = 0; r < n; r++) {
        const float *from = is_vector ? *(const float *const *)to : s->row;
        if (!is_vector) layer_weights_get(&s->now, row + r, 1, s->row);
        for (size_t i = 0; i < t->n_cols; i++) *out++ = from[s->lists[tensor][i]];
    }
    return NUT_OK;
}

/* "; of 1536 channels stay 1408, 1344, ...", where layers differ. */
static size_t tell_parts(const narrow *s, size_t site, char *out, size_t room) {
    const uint32_t n_layer = s->c.m->hp.n_layer;
    const parts *last = NULL;
    size_t n = 0;
    for (uint32_t il = 0; il < n_layer && n < room; il++) {
        const parts *p = parts_at(s, site, il);
        if (!p->kind || (last && !s->shares.n_left)) continue;
        if (!last) n += (size_t)snprintf(out, room, "; of %u %s stay", (unsigned)p->n, p->kind->name);
        if (n < room)
            n += (size_t)snprintf(out + n, room - n, "%s %u", last ? "," : "", (unsigned)p->n_keep);
        last = p;
    }
    return n;
}

static void end(changing *c) {
    const narrow *s = (const narrow *)c;
    size_t n = (size_t)snprintf(c->note, sizeof c->note, "the model has %.1f of %.1f million weights now",
                                s->after / 1e6, s->before / 1e6);
    for (size_t site = 0; site < SITES && n < sizeof c->note; site++)
        n += tell_parts(s, site, c->note + n, sizeof c->note - n);
    if (s->o.order && n < sizeof c->note)
        snprintf(c->note + n, sizeof c->note - n, "; channels are in order%s",
                 s->has_zeros ? "" : ", which gains nothing here: none was ever zero");
}

static void free_narrow(changing *c) {
    narrow *s = (narrow *)c;
    shares_free(&s->shares);
    for (uint64_t i = 0; s->lists && i < c->m->header.n_tensors; i++) mem_free(s->lists[i]);
    mem_free(s->lists);
    mem_free(s->parts);
    mem_free(s->kept);
    mem_free(s->row);
}

/* ---- the job ---- */

nut_status narrow_check(const narrow_options *o, nut_error *err) {
    if (o->order && !(o->share > 0) && (o->by_layer || o->what != NARROW_CHANNELS))
        return error_set(err, NUT_E_ARGUMENT,
                         "an order alone takes nothing away: leave out \"by_layer\" and \"heads\", or give "
                         "a \"share\"");
    if (!(o->share > 0) && !o->order)
        return error_set(err, NUT_E_ARGUMENT, "say which part of the %s goes: \"share\": 0.3",
                         o->what & NARROW_CHANNELS ? "channels" : "heads");
    if (o->what == (NARROW_CHANNELS | NARROW_HEADS) && !o->by_layer)
        return error_set(err, NUT_E_ARGUMENT,
                         "channels and heads together go where they cost least: add \"by_layer\": true");
    return NUT_OK;
}

nut_status narrow_begin(recipe *r, const narrow_options *o, nut_job **out, nut_error *err) {
    static const changing_ops even = {
        .plan = plan, .layer = change_layer, .rows = rows, .end = end, .free = free_narrow};
    static const changing_ops by_layer = {.measure = measure,
                                          .plan = plan,
                                          .layer = change_layer,
                                          .rows = rows,
                                          .end = end,
                                          .free = free_narrow};
    const bool fits = (o->what & NARROW_CHANNELS) && !o->alone && o->share > 0;
    const changing_wants wants = {.kinds = (o->share > 0 ? STATISTICS_HESSIAN : 0u) |
                                           (o->order ? STATISTICS_TOGETHER : 0u),
                                  .window = o->window,
                                  .fisher = o->fisher,
                                  .fitted = fits ? parts_channels_kind.behind : NULL};
    changing *c;
    TRY(changing_begin(r, o->by_layer ? &by_layer : &even, &wants, sizeof(narrow), &c, err));
    ((narrow *)c)->o = *o;
    *out = &c->job;
    return NUT_OK;
}

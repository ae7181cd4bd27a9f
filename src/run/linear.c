/*
 * Products, with all that they carry. How inputs are quantized, how a product is cut among threads, and in
 * which order bias, sides and a second term come, is known here alone.
 *
 * A product is cut by rows, at multiples of 32, a whole block of the next quantized input, so that a thread
 * can go on with what it made. Each result is the same sequence of operations whatever the number of
 * threads.
 */
#include "run/linear.h"

#include <string.h>

enum { ROWS_PER_UNIT = 32 / FORMAT_LANES }; // groups
enum { MOST_LIVE = 60 };                    // percent of a token's steps: with more, products gain nothing

typedef struct product {
    const forward_step *s;
    linear_input in; // scaled
    const linear_job *jobs;
    size_t n_jobs;
    linear_then *then;
    bool live; // there is one token, and ws->int8.live says where it is not zero
} product;

static bool takes_int8(const linear *l) {
    return l->w.format->layout->act == FORMAT_ACT_Q8;
}

/* ---- input ---- */

/* The input as products read it: terms * n tokens, token n + t being what the first term left out of token
 * t. */
static kernel_act input_view(const product *p, unsigned terms) {
    const workspace *ws = p->s->ws;
    const size_t n = terms * p->s->n;
    return (kernel_act){.n_tokens = n,
                        .n_cols = p->in.width,
                        .x = p->in.x,
                        .lanes = kernel_lanes(n),
                        .bytes = p->s->k->act_bytes,
                        .q = ws->int8.q,
                        .d = ws->int8.d,
                        .d_sum = ws->int8.d_sum,
                        .sum = ws->int8.sum,
                        .live = ws->int8.live};
}

typedef void product_fn(const product *p, size_t t);
typedef struct product_region {
    const product *p;
    product_fn *fn;
} product_region;

static void product_member(void *ctx, unsigned i, unsigned n) {
    const product_region *r = ctx;
    size_t begin, end;
    threads_split(r->p->s->n, i, n, &begin, &end);
    for (size_t t = begin; t < end; t++) r->fn(r->p, t);
}

/* One token is too little work to share. */
static void each_token(const product *p, product_fn *fn) {
    product_region r = {p, fn};
    if (p->s->n == 1)
        fn(p, 0);
    else
        threads_run(p->s->ws->team, product_member, &r);
}

static void quantize_token(const product *p, size_t t) {
    const size_t width = p->in.width;
    const kernel_act to = input_view(p, p->in.terms);
    float *rest = p->in.terms == 2 ? p->s->ws->rest + t * width : NULL;
    p->s->k->quantize_q8(p->in.x + t * width, 0, width, t, &to, rest);
    if (rest) p->s->k->quantize_q8(rest, 0, width, p->s->n + t, &to, NULL);
}

/* Whether so many of a token's inputs are zero that products pass over them. */
static bool find_live(const product *p) {
    workspace *ws = p->s->ws;
    if (!FORMAT_LIVE || !p->in.has_zeros || p->s->n > 1 || p->in.terms > 1) return false;
    const kernel_act x = input_view(p, 1);
    const size_t n = kernel_find_live(&x, ws->int8.live), all = x.n_cols / 4;
    const bool pays = n * 100 <= all * MOST_LIVE;
    ws->n_live += pays ? n : all;
    ws->n_known += all;
    return pays;
}

static void scale_token(const product *p, size_t t) {
    const size_t width = p->in.width;
    const linear *l = p->jobs->l;
    float *to = p->s->ws->scaled + t * width;
    memcpy(to, p->in.x + t * width, width * sizeof *to);
    for (size_t i = 0; l->input_scale && i < width; i++) to[i] *= l->input_scale[i];
    for (size_t i = 0; l->w.coded && i < width; i++) to[i] *= l->w.coded->col_scale[i];
}

/* ---- sides ---- */

static void run_together(product p);

static void run_matrix(const product *p, const matrix *w, linear_input in, float *y) {
    const linear l = {.w = *w};
    const linear_job job = {&l, y};
    run_together((product){p->s, in, &job, 1, NULL, false});
}

/* Where the results of a side are, (n, n_out padded to 8), whose memory begins at *at; *at moves on. */
static float *side_results(const product *p, const linear_side *side, float **at) {
    float *y = *at + p->s->n * side->a.n_rows;
    *at = y + p->s->n * run_pad8(side->b.n_rows);
    return y;
}

/* Returns what is left of their memory. */
static float *run_sides(const product *p) {
    float *at = p->s->ws->side;
    for (const linear_side *side = &p->jobs->l->side; side; side = side->next) {
        if (!side->b.format) continue;
        float *low = at, *y = side_results(p, side, &at);
        run_matrix(p, &side->a, (linear_input){p->in.x, p->in.width, 1, false}, low);
        run_matrix(p, &side->b, (linear_input){low, side->a.n_rows, 1, false}, y);
    }
    return at;
}

/* The matrix in front of the linear's own makes its input. */
static void run_inner(product *p, float *low) {
    const matrix *a = &p->jobs->l->side.a;
    run_matrix(p, a, p->in, low);
    p->in.x = low, p->in.width = a->n_rows;
}

static void add_sides(const product *p, const linear *l, size_t t, size_t begin, size_t end, float *y) {
    float *at = p->s->ws->side;
    for (const linear_side *side = &l->side; side; side = side->next) {
        if (!side->b.format) continue;
        const float *add = side_results(p, side, &at) + t * run_pad8(side->b.n_rows);
        const float by = side->adapter ? side->scale * p->s->rows[t].seq->adapters[side->adapter - 1] : 1;
        for (size_t i = begin; i < end; i++) y[i] += by * add[i];
    }
}

/* ---- results ---- */

/* Completes rows [begin, end) of token t. */
static void complete_rows(const product *p, const linear_job *job, size_t t, size_t begin, size_t end) {
    const size_t width = run_pad8(job->l->w.n_rows);
    float *y = job->y + t * width;
    if (p->in.terms == 2 && takes_int8(job->l))
        p->s->k->add(y + begin, job->y + (p->s->n + t) * width + begin, end - begin);
    if (job->l->w.coded) matrix_add_outliers(&job->l->w, begin, end, p->in.x + t * p->in.width, y);
    if (job->l->bias) p->s->k->add(y + begin, job->l->bias + begin, end - begin);
    if (linear_has_sides(job->l)) add_sides(p, job->l, t, begin, end, y);
}

/* Rows [begin, end) of a matrix that member i of n makes, in groups. */
static void split_groups(const matrix *w, unsigned i, unsigned n, size_t *begin, size_t *end) {
    const size_t groups = matrix_groups(w), units = (groups + ROWS_PER_UNIT - 1) / ROWS_PER_UNIT;
    threads_split(units, i, n, begin, end);
    *begin *= ROWS_PER_UNIT;
    *end = *end * ROWS_PER_UNIT < groups ? *end * ROWS_PER_UNIT : groups;
}

static size_t row_end(const matrix *w, size_t group) {
    return group * FORMAT_LANES < w->n_rows ? group * FORMAT_LANES : w->n_rows;
}

static void multiply(const product *p, const linear_job *job, unsigned i, unsigned n) {
    const matrix *w = &job->l->w;
    const kernel_act x = input_view(p, takes_int8(job->l) ? p->in.terms : 1);
    size_t begin, end;
    split_groups(w, i, n, &begin, &end);
    if (begin >= end) return;
    kernel_mul_mat_fn *live = p->live ? model_mul_live(p->s->m, w) : NULL;
    (live ? live : model_mul_mat(p->s->m, w, x.n_tokens))(w, begin, end, &x, job->y, run_pad8(w->n_rows));
    for (size_t t = 0; t < p->s->n; t++) complete_rows(p, job, t, begin * FORMAT_LANES, row_end(w, end));
}

static void multiply_member(void *ctx, unsigned i, unsigned n) {
    const product *p = ctx;
    size_t begin, end;
    for (size_t j = 0; j < p->n_jobs; j++) multiply(p, &p->jobs[j], i, n);
    if (!p->then) return;
    const matrix *w = &p->jobs->l->w;
    split_groups(w, i, n, &begin, &end);
    for (size_t t = 0; t < p->s->n && begin < end; t++)
        p->then(p->s, t, begin * FORMAT_LANES, row_end(w, end));
}

/* ---- all of it ---- */

static bool any_takes_int8(const product *p) {
    for (size_t j = 0; j < p->n_jobs; j++)
        if (takes_int8(p->jobs[j].l)) return true;
    return false;
}

/* Jobs with one input; one that has sides is alone. */
static void run_together(product p) {
    float *left = linear_has_sides(p.jobs->l) ? run_sides(&p) : NULL;
    if (linear_has_inner(p.jobs->l)) run_inner(&p, left);
    if (p.jobs->l->input_scale || p.jobs->l->w.coded) {
        each_token(&p, scale_token);
        p.in.x = p.s->ws->scaled;
    }
    if (any_takes_int8(&p)) {
        each_token(&p, quantize_token);
        p.live = find_live(&p);
    }
    threads_run(p.s->ws->team, multiply_member, &p);
}

/* Whether both scale their input in the same way. Coded matrices that read the same input have scales of
 * their own, which are usually equal. */
static bool same_scales(const linear *a, const linear *b) {
    const matrix_coded *x = a->w.coded, *y = b->w.coded;
    if (a->input_scale != b->input_scale || !x != !y) return false;
    return !x || !memcmp(x->col_scale, y->col_scale, a->w.n_cols * sizeof(float));
}

/* How many of the first jobs of n can go together. */
static size_t count_together(const linear_job *jobs, size_t n) {
    const linear *first = jobs->l;
    size_t i = 1;
    while (i < n && !linear_has_sides(first) && !linear_has_sides(jobs[i].l) &&
           same_scales(jobs[i].l, first))
        i++;
    return i;
}

void linears_run(const forward_step *s, linear_input in, const linear_job *jobs, size_t n,
                 linear_then *then) {
    for (size_t j = 0; j < n && s->ws->tap; j++) s->ws->tap(s->ws->tap_ctx, jobs[j].l, in.x, s->n, j > 0);
    while (n) {
        const size_t some = count_together(jobs, n);
        run_together((product){s, in, jobs, some, some == n ? then : NULL, false});
        jobs += some;
        n -= some;
    }
}

void linear_run(const forward_step *s, const linear *l, const float *x, size_t width, float *y) {
    const linear_job job = {l, y};
    linears_run(s, (linear_input){x, width, 1, false}, &job, 1, NULL);
}

/*
 * Round to nearest: each weight gets the nearest code (the survey arXiv 2402.09748, section 3, weight-only
 * post-training quantization; the block formats are ggml's). A block of Q8_0, Q4_0 and Q4_1 gets the scale
 * that its largest weight needs, as ggml rounds; for the other types the scales with the least error are
 * looked for (types.h), and errors count by the mean square of a column's input where there are statistics.
 * It takes one pass, and needs no text.
 */
#include "compress/round.h"
#include "compress/types.h"

#include "base/error.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LARGEST_HALF 65504.0f    // scales and offsets are half floats
#define LARGEST_LUT  7560.0f     // of the largest scale
#define LARGEST_BF16 0x1.fep127f // what is beyond may round to infinity

/* general.file_type of files whose matrices have a type: llama.cpp's llama_ftype (llama.h). */
static const struct {
    uint32_t ggml_type, file_type;
} file_types[] = {
    {0, 0} /* F32 */,       {1, 1} /* F16 */,      {2, 2} /* Q4_0 */,      {3, 3} /* Q4_1 */,
    {6, 8} /* Q5_0 */,      {7, 9} /* Q5_1 */,     {8, 7} /* Q8_0 */,      {10, 10} /* Q2_K */,
    {11, 12} /* Q3_K */,    {12, 15} /* Q4_K */,   {13, 17} /* Q5_K */,    {14, 18} /* Q6_K */,
    {30, 32} /* BF16 */,    {20, 25} /* IQ4_NL */, {23, 30} /* IQ4_XS */,  {34, 36} /* TQ1_0 */,
    {35, 37} /* TQ2_0 */,   {39, 38} /* MXFP4 */,  {16, 19} /* IQ2_XXS */, {17, 20} /* IQ2_XS */,
    {18, 23} /* IQ3_XXS */, {19, 24} /* IQ1_S */,  {21, 26} /* IQ3_S */,   {22, 28} /* IQ2_S */,
    {29, 31} /* IQ1_M */,
};

static uint32_t file_type(const format *f) {
    for (size_t i = 0; i < sizeof file_types / sizeof *file_types; i++)
        if (file_types[i].ggml_type == f->ggml_type) return file_types[i].file_type;
    return METHOD_FILE_TYPE_UNSAID;
}

static bool is_written(const format *f) {
    return f->quantize || type_find(f->id);
}

static const format *written_of(const char *name) {
    const format *f = format_by_name(name ? name : "");
    return f && is_written(f) ? f : NULL;
}

/* "f32, f16, ..., q4_1" */
static void list_types(char *out, size_t cap) {
    size_t n = 0;
    for (size_t i = 0; i < FORMAT_COUNT; i++)
        if (is_written(&format_table[i]) && n < cap)
            n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? ", " : "", format_table[i].name);
    for (char *p = out; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p - 'A' + 'a');
}

static const named_mix *mix_of(const void *ctx) {
    return ctx ? ((const round_inputs *)ctx)->mix : NULL;
}

/* what: which type it is. */
static nut_status refuse_type(const char *what, const char *type, nut_error *err) {
    char types[280] = "";
    list_types(types, sizeof types);
    if (!type) return error_set(err, NUT_E_ARGUMENT, "say which type to write: %s", types);
    if (named_mix_find(type))
        return error_set(err, NUT_E_ARGUMENT, "%.20s is a mix of types, and no type; give it as the mix",
                         type);
    return error_set(err, NUT_E_ARGUMENT, "cannot write %s \"%.20s\"; choose one of %s", what, type, types);
}

nut_status round_embedding(const char *name, const format **out, nut_error *err) {
    *out = written_of(name);
    return *out ? NUT_OK : refuse_type("embedding type", name, err);
}

static nut_status begin(const nut_compress_options *o, const void *ctx, gguf_meta *meta, nut_error *err) {
    const format *to = written_of(o->type);
    if (!mix_of(ctx) && !to) return refuse_type("type", o->type, err);
    TRY(gguf_meta_int(meta, "general.file_type", GGUF_U32,
                      mix_of(ctx) ? named_mix_file_type(mix_of(ctx)) : file_type(to), err));
    return gguf_meta_int(meta, "general.quantization_version", GGUF_U32, 2, err);
}

static bool has_tensor(const gguf *g, const char *name) {
    for (uint64_t i = 0; i < g->n_tensors; i++)
        if (gguf_str_is(g->tensors[i].name, name)) return true;
    return false;
}

/* The matrix that gives the logits: the token embedding where it is used for that too. */
static bool is_output(const gguf *g, const gguf_tensor *t) {
    if (gguf_str_is(t->name, "output.weight")) return true;
    return gguf_str_is(t->name, "token_embd.weight") && !has_tensor(g, "output.weight");
}

/* Whether a has fewer bits a weight than b. */
static bool is_smaller(const format *a, const format *b) {
    return a->bytes * b->block < b->bytes * a->block;
}

/* The output matrix keeps 8 bits, or the fewer that it has: each logit is a product with one of its rows,
 * and in 4 bits it alone makes the perplexity of SmolLM2-135M a seventh larger (45.7 for 40.0;
 * llama-quantize keeps 6 or 8 bits: ggml-org/llama.cpp, issue 5650). */
static const format *plan(const nut_compress_options *o, const void *ctx, const gguf *model,
                          const gguf_tensor *t) {
    const round_inputs *with = ctx;
    if (with && with->embedding && gguf_str_is(t->name, "token_embd.weight"))
        return type_for(with->embedding, t);
    if (mix_of(ctx)) return (*with->types)[t - model->tensors];
    const format *to = written_of(o->type), *from = format_by_ggml(t->ggml_type),
                 *least = &format_table[FORMAT_Q8_0];
    if (!from || !(method_is_matrix(t) || method_is_stack(t)) || method_is_small(t)) return NULL;
    if (!is_smaller(to, least) || !is_output(model, t)) return type_for(to, t);
    return is_smaller(from, least) ? from : least;
}

static float largest(const format *to) {
    if (format_has_table(to)) return LARGEST_LUT;
    return to->id == FORMAT_F32 ? FLT_MAX : to->id == FORMAT_BF16 ? LARGEST_BF16 : LARGEST_HALF;
}

/* Whether no weight, or scale of one, is rounded to infinity. */
static bool in_range(const format *to, const float *x, size_t n) {
    size_t beyond = 0;
    for (size_t i = 0; i < n; i++) beyond += !(fabsf(x[i]) <= largest(to));
    return !beyond;
}

/* ---- weights of columns ---- */

/* A column whose input was 0 all over the text still counts as this part of a mean one: its weights keep
 * their values where they can. */
#define LEAST_WEIGHT 1e-3

/* The factor that makes the mean of a matrix' sums 1; 0: they tell nothing. */
static double unit_of(const statistics *s) {
    double sum = 0;
    if (!s || !s->n_tokens) return 0;
    for (size_t c = 0; c < s->n_cols; c++) sum += s->sum_squares[c];
    return sum > 0 ? (double)s->n_cols / sum : 0;
}

/* What n columns from col on count: the mean square of their input. */
static void weigh(const statistics *s, double unit, size_t col, size_t n, float *weight) {
    for (size_t c = 0; c < n; c++)
        weight[c] = (float)(unit > 0 ? unit * s->sum_squares[col + c] + LEAST_WEIGHT : 1);
}

/* One row of a slice, or a stretch of it, block by block. */
static void encode_row(const method_slice *s, const type_row *t, size_t row, uint8_t *blocks) {
    const statistics *of = s->statistics ? s->statistics + (s->row + row) / s->tensor->dims[1] : NULL;
    const double unit = unit_of(of);
    const float *x = s->weights + row * s->n_cols;
    float weight[FIT_COLS];
    for (size_t c = 0; c < s->n_cols; c += s->to->block, blocks += s->to->bytes) {
        weigh(of, unit, (size_t)s->col + c, s->to->block, weight);
        type_encode(t, x + c, weight, 1, blocks);
    }
}

/* A file whose errors count by column looks for all scales; without, the plainest types are ggml's. */
static void encode_rows(const method_slice *s, uint8_t *blocks) {
    const type_row *t = type_any(s->to->id);
    const size_t n = s->n_cols / s->to->block;
    if (!t || (s->to->quantize && !s->statistics)) {
        s->to->quantize(s->weights, s->n_rows * n, blocks);
        return;
    }
    for (size_t row = 0; row < s->n_rows; row++) encode_row(s, t, row, blocks + row * n * s->to->bytes);
}

nut_status round_in_range(const method_slice *s, nut_error *err) {
    if (in_range(s->to, s->weights, s->n_rows * s->n_cols)) return NUT_OK;
    return error_set(err, NUT_E_CORRUPT,
                     "tensor %.*s holds weights beyond %.5g, which type %s cannot hold; choose %s",
                     (int)s->tensor->name.n, s->tensor->name.s, (double)largest(s->to), s->to->name,
                     s->to->id == FORMAT_BF16 ? "f32" : "bf16");
}

static nut_status encode(const method_slice *s, uint8_t *blocks, nut_error *err) {
    TRY(round_in_range(s, err));
    encode_rows(s, blocks);
    return NUT_OK;
}

static nut_status check(const void *ctx, const gguf *model, nut_error *err) {
    const round_inputs *with = ctx;
    if (!with) return NUT_OK;
    if (with->statistics) TRY(imatrix_check(with->statistics, model, err));
    return with->mix ? named_mix_types(with->mix, model, with->statistics, with->types, err) : NUT_OK;
}

const statistics *round_find(const void *ctx, gguf_str tensor) {
    return imatrix_find(((const round_inputs *)ctx)->statistics, tensor);
}

const method method_round = {.name = "round",
                             .weighs = STATISTICS_SQUARES,
                             .begin = begin,
                             .check = check,
                             .plan = plan,
                             .encode = encode};
const method round_mix = {.name = "round",
                          .weighs = STATISTICS_SQUARES,
                          .tells = true,
                          .begin = begin,
                          .check = check,
                          .plan = plan,
                          .encode = encode};

/* Recipes: what is wrong in them is said, with its place; work that was stopped at any step goes on and
 * gives the same file; what was kept is not trusted; what was written is read again. */
#include "check.h"
#include "counting_alloc.h"
#include "long_text.h"
#include "make_gguf.h"
#include "memory_job.h"

#include "base/error.h"
#include "model/gguf.h"

/* ---- recipes ---- */

static void test_errors(void) {
    static const struct {
        const char *recipe, *message;
    } cases[] = {
        {"", "line 1, column 1"},
        {"{}", "'[' is missing"},
        {"[]", "writes no model"},
        {"[{}]", "line 1, column 2: a step begins with its name"},
        {"[{\"type\": \"q8_0\"}]", "begins with its name"},
        {"[\n  {\"step\": \"melt\"}\n]",
         "line 2, column 12: there is no step \"melt\"; there are calibrate, channels, coded"},
        {"[{\"step\": \"round\", \"typ\": \"q8_0\"}]",
         "column 20: step \"round\" has no option \"typ\"; it has type, mix, embedding, method"},
        {"[{\"step\": \"round\", \"type\": 8}]", "option \"type\" takes a text"},
        {"[{\"step\": \"round\", \"type\": \"q9_9\"}]", "cannot write type \"q9_9\"; choose one of f32"},
        {"[{\"step\": \"round\", \"type\": \"q8_0\", \"method\": \"magic\"}]", "no method \"magic\""},
        {"[{\"step\": \"coded\", \"size\": 99999}]", "step \"coded\" needs statistics"},
        {"[{\"step\": \"round\", \"type\": \"q8_0\"}, {\"step\": \"round\", \"type\": \"q8_0\"}]",
         "a second time"},
        {"[{\"step\": \"calibrate\"}, {\"step\": \"coded\"}]", "say how large"},
        {"[{\"step\": \"calibrate\"}, {\"step\": \"coded\", \"size\": \"60 monkeys\"}]",
         "takes a size such as"},
        {"[{\"step\": \"calibrate\"}, {\"step\": \"coded\", \"size\": \"60MB\", \"bpw\": 3}]", "not both"},
        {"[{\"step\": \"calibrate\"}, {\"step\": \"coded\", \"bpw\": 33}]", "a number from 0.1 to 32"},
        {"[{\"step\": \"calibrate\"}, {\"step\": \"coded\", \"bpw\": true}]", "takes a number"},
        {"[{\"step\": \"calibrate\", \"gradients\": 1}, {\"step\": \"coded\", \"bpw\": 3}]",
         "takes true or false"},
        {"[{\"step\": \"gptq\", \"type\": \"q4_0\"}]", "step \"gptq\" needs statistics"},
        {"[{\"step\": \"calibrate\"}, {\"step\": \"gptq\", \"type\": \"q4_0\", \"bpw\": 4}]",
         "a type or a size, not both"},
        {"[{\"step\": \"calibrate\"}, {\"step\": \"gptq\"}]", "say how large"},
        {"[{\"step\": \"calibrate\"}, {\"step\": \"gptq\", \"type\": \"q4_0\", \"own\": true}]",
         "with a \"type\" there is no choice"},
        {"[{\"step\": \"calibrate\"}, {\"step\": \"gptq\", \"bpw\": 4, \"alpha\": 0}]", "from 0.01 to 1"},
        {"[{\"step\": \"calibrate\"}, {\"step\": \"gptq\", \"type\": \"q4_0\", \"scales\": \"norms\"}]",
         "choose one of columns, smooth, awq, none"},
        {"[{\"step\": \"calibrate\"}, {\"step\": \"gptq\", \"type\": \"q4_0\", \"alpha\": 0.3}]",
         "scales \"columns\" have none"},
        {"[{\"step\": \"round\", \"type\": \"q8_0\"}] and", "the end is missing"},
        {"[{\"step\": \"evaluate\"}, {\"step\": \"round\", \"type\": \"q8_0\"}]",
         "step \"evaluate\" comes after the one that writes"},
        {"[{\"step\": \"round\", \"type\": \"q8_0\"}, {\"step\": \"evaluate\"}]",
         "which is not possible here"},
    };
    nut_job *job = NULL;
    nut_error err = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memory_job m = {.n_bytes = {0}};
        const nut_compress_options o = {.recipe = cases[i].recipe, .n_recipe = strlen(cases[i].recipe)};
        nut_status status = nut_compress_begin(&o, &job, &err);
        if (status == NUT_OK) status = memory_job_run(&m, job, &err); // a method's begin comes with the step
        CHECK(status != NUT_OK && strstr(err.message, cases[i].message), "%s: %s", cases[i].recipe,
              err.message);
    }
    const char whole[] = "[{\"step\": \"calibrate\"}, {\"step\": \"coded\", \"size\": 99999}]";
    nut_compress_options o = {.recipe = whole, .n_recipe = strlen(whole), .size = 5000};
    CHECK(nut_compress_begin(&o, &job, &err) == NUT_E_ARGUMENT && strstr(err.message, "already"), "%s",
          err.message);
    o.size = 0, o.fast = true;
    CHECK(nut_compress_begin(&o, &job, &err) == NUT_E_ARGUMENT && strstr(err.message, "gradients"), "%s",
          err.message);
    const char round[] = "[{\"step\": \"round\", \"type\": \"q8_0\"}]";
    o = (nut_compress_options){.recipe = round, .n_recipe = strlen(round), .bpw = 3};
    CHECK(nut_compress_begin(&o, &job, &err) == NUT_E_ARGUMENT && strstr(err.message, "no step that a size"),
          "%s", err.message);
}

/* ---- runs ---- */

typedef struct source {
    make_gguf g;
    uint8_t *file;
    size_t n;
    char *words;
    size_t n_words;
} source;

static source make_source(void) {
    source s = {.g = make_model(&(make_options){.n_embd = 96, .n_ff = 128})};
    s.file = make_file(&s.g, &s.n);
    s.words = long_text(&s.n_words);
    return s;
}

static void free_source(source *s) {
    make_free(&s->g);
    free(s->file);
    free(s->words);
}

static nut_compress_options options_of(const source *s) {
    return (nut_compress_options){
        .size = s->n / 3, .text = s->words, .n_text = s->n_words, .keeps_state = true, .reads_output = true};
}

/* Runs up to a step; the state of m is kept, its output is new. */
static nut_status go_on(memory_job *m, const source *s, const nut_compress_options *o, size_t stop_at,
                        nut_error *err) {
    nut_job *job;
    uint8_t *state = m->state;
    const size_t n_state = m->n_state;
    free(m->out);
    *m = (memory_job){
        .file = {s->file}, .n_bytes = {s->n}, .state = state, .n_state = n_state, .stop_at = stop_at};
    TRY(nut_compress_begin(o, &job, err));
    return memory_job_run(m, job, err);
}

static bool same_file(const memory_job *a, const memory_job *b) {
    return a->done && b->done && a->n_out == b->n_out && !memcmp(a->out, b->out, a->n_out);
}

static void test_resume(void) {
    source s = make_source();
    const nut_compress_options o = options_of(&s);
    memory_job whole = {0}, m = {0};
    nut_error err = {0};
    CHECK(go_on(&whole, &s, &o, 0, &err) == NUT_OK && whole.done && !whole.n_wrong, "%s", err.message);
    // ends again and again, later each time, and comes to its end at last
    size_t n_runs = 0, n_steps = 0;
    while (!m.done && n_runs < 300) {
        CHECK(go_on(&m, &s, &o, 5 + 9 * n_runs++, &err) == NUT_OK && !m.n_wrong, "run %zu: %s", n_runs,
              err.message);
        n_steps = m.n_steps;
    }
    CHECK(same_file(&whole, &m), "%zu runs give another file", n_runs);
    CHECK(n_steps < whole.n_steps, "%zu steps in the end, %zu in all", n_steps, whole.n_steps);
    // with all that is to be known it is only written
    CHECK(go_on(&m, &s, &o, 0, &err) == NUT_OK && same_file(&whole, &m) && m.n_steps < whole.n_steps / 2,
          "again: %s", err.message);
    CHECK(strstr(m.notes, "going on"), "notes: %s", m.notes);
    // the text's length and the model count, the size does not
    nut_compress_options other = o;
    other.n_text -= 200;
    CHECK(go_on(&m, &s, &other, 0, &err) == NUT_OK && !strstr(m.notes, "going on"), "another text: %s",
          m.notes);
    free(m.state), m.state = NULL, m.n_state = 0;
    CHECK(go_on(&m, &s, &o, 0, &err) == NUT_OK, "%s", err.message);
    other = o, other.size = s.n / 4;
    CHECK(go_on(&m, &s, &other, 0, &err) == NUT_OK && strstr(m.notes, "going on") && m.n_out <= s.n / 4,
          "another size: %s", m.notes);
    free(m.out), free(m.state), free(whole.out), free(whole.state);
    free_source(&s);
}

/* What is kept may be cut, or damaged anywhere: the same file comes of it, or an error. */
static void test_damage(void) {
    source s = make_source();
    const nut_compress_options o = options_of(&s);
    memory_job whole = {0}, m = {0};
    nut_error err = {0};
    go_on(&whole, &s, &o, 0, &err);
    for (size_t i = 0; i < 24; i++) {
        const size_t cut = whole.n_state * i / 24;
        free(m.state);
        m.state = malloc(whole.n_state);
        memcpy(m.state, whole.state, whole.n_state);
        m.n_state = i % 2 ? cut : whole.n_state;
        if (!(i % 2)) m.state[cut] ^= 0x10;
        const nut_status status = go_on(&m, &s, &o, 0, &err);
        CHECK(status == NUT_OK ? same_file(&whole, &m) : i < 1, "%zu at %zu: %s", i, cut, err.message);
    }
    memset(m.state, 'x', 100);
    CHECK(go_on(&m, &s, &o, 0, &err) == NUT_E_ARGUMENT && strstr(err.message, "is none"),
          "a file of another kind: %s", err.message);
    free(m.out), free(m.state), free(whole.out), free(whole.state);
    free_source(&s);
}

/* A disk that changes what was written is found out. */
static void test_check(void) {
    source s = make_source();
    nut_compress_options o = options_of(&s);
    size_t n_found = 0;
    o.keeps_state = false;
    for (size_t k = 1; k <= 4; k++) {
        memory_job m = {.file = {s.file}, .n_bytes = {s.n}};
        nut_job *job;
        nut_job_event e;
        nut_error err = {0};
        nut_status status = nut_compress_begin(&o, &job, &err);
        bool damaged = false;
        while (status == NUT_OK && !m.done) {
            status = nut_job_step(job, &e, &err);
            if (status == NUT_OK) status = memory_job_answer(&m, job, &e, &err);
            if (e.kind == NUT_JOB_OPEN && e.split == NUT_JOB_OUTPUT && !damaged)
                damaged = true, m.out[m.n_out * k / 5] ^= 0x40;
        }
        n_found += status == NUT_E_CORRUPT && strstr(err.message, "what was written");
        nut_job_free(job);
        free(m.out);
    }
    CHECK(n_found >= 3, "%zu of 4 damages were found", n_found); // norms have no checksums
    free_source(&s);
}

/* A recipe of one step is what a type is. */
static void test_round(void) {
    source s = make_source();
    memory_job a = {.file = {s.file}, .n_bytes = {s.n}}, b = a;
    const char recipe[] = "[{\"step\": \"round\", \"type\": \"q8_0\"}]";
    const nut_compress_options o = {.recipe = recipe, .n_recipe = strlen(recipe), .reads_output = true};
    nut_job *job;
    nut_error err = {0};
    gguf g;
    CHECK(nut_compress_begin(&o, &job, &err) == NUT_OK && memory_job_run(&a, job, &err) == NUT_OK && a.done,
          "%s", err.message);
    CHECK(memory_job_round(&b, "q8_0", &err) == NUT_OK && b.done, "%s", err.message);
    if (a.done && b.done && CHECK(gguf_begin(&g, a.n_out, &err) == NUT_OK, "%s", err.message)) {
        size_t used;
        bool complete;
        gguf_feed(&g, a.out, a.n_out, &used, &complete, &err);
        const gguf_kv *kv = gguf_find(&g, "nutshell.compress.recipe");
        CHECK(complete && kv && kv->n_bytes >= strlen(recipe), "the recipe is told in the file");
        const size_t n_data = a.n_out - (size_t)g.data_offset;
        CHECK(b.n_out > n_data && !memcmp(a.out + a.n_out - n_data, b.out + b.n_out - n_data, n_data),
              "the weights are those of the type");
        gguf_free(&g);
    }
    free(a.out), free(b.out);
    free_source(&s);
}

/* What was lost is told last; where it cannot be measured the model is there all the same. */
static void test_evaluate(void) {
    source s = make_source();
    const char recipe[] =
        "[{\"step\": \"round\", \"type\": \"q4_0\"}, {\"step\": \"evaluate\", \"window\": 32}]";
    nut_compress_options o = {.recipe = recipe,
                              .n_recipe = strlen(recipe),
                              .text = s.words,
                              .n_text = s.n_words,
                              .reads_output = true};
    memory_job m = {0};
    nut_error err = {0};
    double kl = 0, error = 0;
    CHECK(go_on(&m, &s, &o, 0, &err) == NUT_OK && m.done, "%s", err.message);
    const char *said = strstr(m.notes, "KL divergence from the source ");
    CHECK(said && sscanf(said, "KL divergence from the source %lf +- %lf", &kl, &error) == 2 && kl > 0 &&
              kl < 1 && error < kl,
          "notes: %s", m.notes);
    o.n_text = 60;
    CHECK(go_on(&m, &s, &o, 0, &err) == NUT_OK && m.done &&
              strstr(m.notes, "was not evaluated: the text has"),
          "%s %s", err.message, m.notes);
    free(m.out), free(m.state);
    free_source(&s);
}

static void fail_each_allocation(const source *s, const nut_compress_options *o) {
    for (size_t k = 1; k < 3000; k += 1 + k / 6) {
        memory_job m = {.file = {s->file}, .n_bytes = {s->n}};
        nut_job *job;
        nut_error err = {0};
        counting_start(k);
        nut_status status = nut_compress_begin(o, &job, &err);
        if (status == NUT_OK) status = memory_job_run(&m, job, &err);
        CHECK(counting.alive == 0, "allocation %zu fails: %zu are left", k, counting.alive);
        CHECK(status == NUT_OK || status == NUT_E_MEMORY, "allocation %zu: %s", k, err.message);
        counting_stop();
        free(m.out), free(m.state);
    }
}

/* ---- GPTQ ---- */

/* The types of the matrices, as bits by their number in ggml; 1 << 63: those beyond. */
static uint64_t types_of(const memory_job *m) {
    gguf g;
    size_t used;
    bool complete;
    uint64_t types = 0;
    if (!CHECK(gguf_begin(&g, m->n_out, NULL) == NUT_OK, "begin")) return 0;
    CHECK(gguf_feed(&g, m->out, m->n_out, &used, &complete, NULL) == NUT_OK && complete, "header");
    for (uint64_t i = 0; i < g.n_tensors; i++)
        if (g.tensors[i].n_dims == 2)
            types |= (uint64_t)1 << (g.tensors[i].ggml_type < 63 ? g.tensors[i].ggml_type : 63);
    gguf_free(&g);
    return types;
}

/* What the step "evaluate" has said. */
static double told_kl(const memory_job *m) {
    const char *at = strstr(m->notes, "from the source ");
    return at ? atof(at + strlen("from the source ")) : NAN;
}

/* One type for all matrices; errors that are passed on leave less divergence than those that are not, and so
 * does rounding that is learned. */
static void test_gptq_type(void) {
    enum { Q4_0 = 2 }; // ggml's number
    source s = make_source();
    static const char *const ways[] = {"\"alone\": false", "\"alone\": true",
                                       "\"alone\": true, \"learned\": true"};
    double kl[3];
    for (int i = 0; i < 3; i++) {
        memory_job m = {0};
        nut_error err = {0};
        char recipe[200];
        snprintf(recipe, sizeof recipe,
                 "[{\"step\": \"calibrate\"}, {\"step\": \"gptq\", \"type\": \"q4_0\", %s}, "
                 "{\"step\": \"evaluate\", \"window\": 32}]",
                 ways[i]);
        nut_compress_options o = options_of(&s);
        o.size = 0, o.recipe = recipe, o.n_recipe = strlen(recipe);
        CHECK(go_on(&m, &s, &o, 0, &err) == NUT_OK && m.done, "%s", err.message);
        CHECK(m.done && types_of(&m) == 1u << Q4_0, "all matrices are Q4_0");
        kl[i] = told_kl(&m);
        free(m.out), free(m.state);
    }
    CHECK(kl[0] < 0.8 * kl[1], "KL %g with feedback, %g without", kl[0], kl[1]);
    CHECK(kl[2] < 0.9 * kl[1], "KL %g learned, %g nearest", kl[2], kl[1]);
    free_source(&s);
}

/* Element i of a tensor of a layer, of floats. */
static float *weight_at(source *s, int layer, const char *base, size_t i) {
    char name[64];
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, base);
    make_tensor *t = make_find(&s->g, name);
    return t ? (float *)(void *)t->data.p + i : NULL;
}

static float planted(size_t i) {
    return exp2f((float)(i % 7) - 3);
}

/* Columns of different sizes, whose inputs are as much smaller: the model computes the same. head: columns
 * of a head, of which two share what gives them their input; 0: column c is row c of it. */
static void plant(source *s, int layer, const char *base, size_t n_rows, size_t n_cols, size_t head) {
    for (size_t i = 0; i < n_rows * n_cols; i++) {
        const size_t c = i % n_cols, row = head ? c / head / 2 * head + c % head : c;
        *weight_at(s, layer, base, i) *= planted(row);
    }
}

static void plant_columns(source *s) {
    enum { N = 96, FF = 128, HEAD = 24, KV = 48 }; // make_source's
    for (int l = 0; weight_at(s, l, "attn_norm", 0); l++) {
        plant(s, l, "attn_q", N, N, 0), plant(s, l, "attn_k", KV, N, 0), plant(s, l, "attn_v", KV, N, 0);
        plant(s, l, "ffn_gate", FF, N, 0), plant(s, l, "ffn_up", FF, N, 0);
        plant(s, l, "ffn_down", N, FF, 0), plant(s, l, "attn_output", N, N, HEAD);
        for (size_t i = 0; i < N; i++) {
            *weight_at(s, l, "attn_norm", i) /= planted(i);
            *weight_at(s, l, "ffn_norm", i) /= planted(i);
        }
        for (size_t i = 0; i < FF * N; i++) *weight_at(s, l, "ffn_up", i) /= planted(i / N);
        for (size_t i = 0; i < KV * N; i++) *weight_at(s, l, "attn_v", i) /= planted(i / N);
    }
    free(s->file);
    s->file = make_file(&s->g, &s->n);
}

static double kl_of(const source *s, const char *step) {
    memory_job m = {0};
    nut_error err = {0};
    char recipe[200];
    snprintf(
        recipe, sizeof recipe,
        "[{\"step\": \"calibrate\"}, {\"step\": \"gptq\", %s}, {\"step\": \"evaluate\", \"window\": 32}]",
        step);
    nut_compress_options o = options_of(s);
    o.size = 0, o.recipe = recipe, o.n_recipe = strlen(recipe);
    CHECK(go_on(&m, s, &o, 0, &err) == NUT_OK && m.done, "%s", err.message);
    const double kl = told_kl(&m);
    free(m.out), free(m.state);
    return kl;
}

/* Scales that go from matrices to what is before them change nothing but what rounding loses. */
static void test_fold(void) {
    source s = make_source();
    const double even = kl_of(&s, "\"type\": \"q4_0\"");
    plant_columns(&s);
    const double fine = kl_of(&s, "\"type\": \"q8_0\""), scaled = kl_of(&s, "\"type\": \"q4_0\""),
                 unscaled = kl_of(&s, "\"type\": \"q4_0\", \"scales\": \"none\"");
    CHECK(fine < 0.02 * scaled, "KL %g in 8 bits, %g in 4", fine, scaled);
    CHECK(scaled < 1.3 * even, "KL %g, %g before the sizes differed", scaled, even);
    CHECK(scaled < 0.2 * unscaled, "KL %g with scales, %g without", scaled, unscaled);
    const double smooth = kl_of(&s, "\"type\": \"q4_0\", \"scales\": \"smooth\""),
                 awq = kl_of(&s, "\"type\": \"q4_0\", \"scales\": \"awq\"");
    CHECK(smooth < 0.3 * unscaled && awq < 0.5 * unscaled, "KL %g with scales smooth, %g with awq", smooth,
          awq);
    free_source(&s);
}

/* Matrices whose rows allow it get tables of their own; the others a type of 32. */
static void test_tables(void) {
    enum { IQ4_NL = 20, OWN = 63 }; // ggml's number; ours are beyond
    source s = make_source();
    memory_job m = {0};
    nut_error err = {0};
    gguf g = {0};
    bool complete = false;
    size_t used, n = 0, n_learned = 0;
    nut_compress_options o = options_of(&s);
    o.size = 0, o.recipe = "[{\"step\": \"calibrate\"}, {\"step\": \"gptq\", \"type\": \"lut4\"}]";
    o.n_recipe = strlen(o.recipe);
    CHECK(go_on(&m, &s, &o, 0, &err) == NUT_OK && m.done, "%s", err.message);
    CHECK(m.done && types_of(&m) == ((uint64_t)1 << OWN | 1u << IQ4_NL), "types of matrices");
    gguf_begin(&g, 0, NULL);
    CHECK(gguf_feed(&g, m.out, m.n_out, &used, &complete, &err) == NUT_OK && complete, "%s", err.message);
    for (uint64_t i = 0; i < g.n_tensors; i++) {
        n += g.tensors[i].has_table;
        n_learned += g.tensors[i].has_table && memcmp(g.tensors[i].table, format_lut_values, FORMAT_TABLE);
    }
    const gguf_kv *kv = gguf_find(&g, "nutshell.tables");
    CHECK(n > 0 && n_learned == n && kv && kv->n == 16 * n, "%zu tables, %zu learned", n, n_learned);
    gguf_free(&g);
    free(m.out), free(m.state);
    const double lut = kl_of(&s, "\"type\": \"lut4\""), nl = kl_of(&s, "\"type\": \"iq4_nl\"");
    CHECK(lut < 1.5 * nl, "KL %g, %g of IQ4_NL", lut, nl);
    free_source(&s);
}

/* Two of four weights stay, by pruning or in the rounding itself, and the file's types say so. Embeddings
 * stay whole. */
static void test_sparse(void) {
    enum { Q8_0 = 8, OWN = 63 }; // ggml's number; ours are beyond
    static const char *const recipes[] = {
        "[{\"step\": \"prune\", \"pattern\": \"2:4\"}, {\"step\": \"round\", \"type\": \"q8_24\"}]",
        "[{\"step\": \"calibrate\"}, {\"step\": \"gptq\", \"type\": \"q8_24\"}]"};
    source s = make_source();
    for (int i = 0; i < 2; i++) {
        memory_job m = {0};
        nut_error err = {0};
        nut_compress_options o = options_of(&s);
        o.size = 0, o.recipe = recipes[i], o.n_recipe = strlen(recipes[i]);
        CHECK(go_on(&m, &s, &o, 0, &err) == NUT_OK && m.done && !m.n_wrong, "%s", err.message);
        CHECK(m.done && types_of(&m) == ((uint64_t)1 << OWN | 1u << Q8_0), "types of matrices: %llx",
              (unsigned long long)types_of(&m));
        free(m.out), free(m.state);
    }
    const double joint = kl_of(&s, "\"type\": \"q8_24\""),
                 alone = kl_of(&s, "\"type\": \"q8_24\", \"alone\": true");
    CHECK(joint < 0.8 * alone, "KL %g with feedback, %g without", joint, alone);
    free_source(&s);
}

/* With this engine's own types a file of the same size loses no more than without them. */
static void test_own(void) {
    source s = make_source();
    char how[80];
    double kl[2];
    for (int own = 0; own < 2; own++) {
        snprintf(how, sizeof how, "\"size\": %zu, \"own\": %s", s.n / 6, own ? "true" : "false");
        kl[own] = kl_of(&s, how);
    }
    CHECK(kl[1] < kl[0], "KL %g with own types, %g without", kl[1], kl[0]);
    free_source(&s);
}

/* Types for a size: they are others' types, the file fits and uses what it may, and a run that was stopped
 * makes the same. */
static void test_portable(void) {
    source s = make_source();
    nut_compress_options o = options_of(&s);
    memory_job whole = {0}, m = {0};
    nut_error err = {0};
    o.portable = true;
    o.size = s.n / 4;
    CHECK(go_on(&whole, &s, &o, 0, &err) == NUT_OK && whole.done && !whole.n_wrong, "%s", err.message);
    CHECK(whole.n_out <= o.size && (double)whole.n_out > 0.93 * (double)o.size, "%zu bytes of %zu",
          whole.n_out, (size_t)o.size);
    const uint64_t types = types_of(&whole);
    CHECK(types && !(types >> 63) && (types & (types - 1)), "types %llx", (unsigned long long)types);
    for (size_t i = 0; i < 4 && !m.done; i++)
        CHECK(go_on(&m, &s, &o, whole.n_steps * (i + 1) / 4, &err) == NUT_OK && !m.n_wrong, "run %zu: %s", i,
              err.message);
    CHECK(same_file(&whole, &m), "a run that was stopped gives another file");
    // of another size the losses are known: what is chosen is the same as anew, in a part of the steps
    memory_job anew = {0};
    o.size = s.n / 3;
    CHECK(go_on(&anew, &s, &o, 0, &err) == NUT_OK && anew.done, "%s", err.message);
    CHECK(go_on(&m, &s, &o, 0, &err) == NUT_OK && same_file(&anew, &m), "another size: %s", err.message);
    CHECK(m.n_out != whole.n_out && m.n_steps < anew.n_steps / 2, "%zu steps again, %zu anew", m.n_steps,
          anew.n_steps);
    free(anew.out), free(anew.state);
    o.size = s.n / 20;
    CHECK(go_on(&m, &s, &o, 0, &err) == NUT_E_ARGUMENT && strstr(err.message, "takes at least"), "%s",
          err.message);
    free(m.out), free(m.state), free(whole.out), free(whole.state);
    free_source(&s);
}

static void test_memory(void) {
    source s = make_source();
    const char recipe[] =
        "[{\"step\": \"round\", \"type\": \"q8_0\"}, {\"step\": \"evaluate\", \"window\": 32}]";
    nut_compress_options o = options_of(&s);
    fail_each_allocation(&s, &o);
    o.portable = true;
    fail_each_allocation(&s, &o);
    o = (nut_compress_options){.recipe = recipe,
                               .n_recipe = strlen(recipe),
                               .text = s.words,
                               .n_text = s.n_words,
                               .reads_output = true};
    fail_each_allocation(&s, &o);
    free_source(&s);
}

int main(void) {
    test_errors();
    test_resume();
    test_damage();
    test_check();
    test_round();
    test_evaluate();
    test_gptq_type();
    test_tables();
    test_sparse();
    test_own();
    test_fold();
    test_portable();
    test_memory();
    return check_report();
}

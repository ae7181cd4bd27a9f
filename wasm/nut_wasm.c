/*
 * What a page's worker can call: one model and one session per module instance, over nutshell.h alone.
 *
 * JavaScript sees numbers and addresses only. 64-bit quantities travel as doubles (exact below 2^53). A
 * function that can fail returns a negative number or 0 for an address; nutw_error_name and
 * nutw_error_message then tell why. Inputs are written by JavaScript into one staging buffer, which also
 * takes the model's bytes, so that nothing is copied between the network and the weights but once into
 * place. Outputs lie at nutw_result() until the next call.
 */
#include "nutshell.h"

#include <stdlib.h>
#include <string.h>

/* A page has 4 GiB of WebAssembly memory at most; the rest is for the program, its stack and the staging
 * buffer. */
static const uint64_t MEMORY_LIMIT = (4ull << 30) - (48ull << 20);

enum { MAX_STOPS = 16 };

static struct {
    nut_error err;
    nut_loader *loader;
    nut_model *model;
    nut_session *session;
    unsigned char *staging;
    size_t staging_size;
    char *result; // owned; NULL while text is borrowed
    size_t result_cap;
    const void *out; // what nutw_result() shows
    size_t out_size; // bytes
    double facts[5];
} w;

/* ---- errors and results ---- */

static int fail(nut_status code, const char *message) {
    w.err.code = code;
    strncpy(w.err.message, message, sizeof w.err.message - 1);
    w.err.message[sizeof w.err.message - 1] = '\0';
    return -1;
}

static int check(nut_status status) {
    return status == NUT_OK ? 0 : -1;
}

static bool need_session(void) {
    if (w.session) return true;
    fail(NUT_E_STATE, "no model is loaded");
    return false;
}

const char *nutw_version(void) {
    return nut_version();
}

const char *nutw_error_name(void) {
    return nut_status_name(w.err.code);
}

const char *nutw_error_message(void) {
    return w.err.message;
}

/* The last result and its size in bytes; it lives until the next call of any function here. */
const void *nutw_result(void) {
    return w.out;
}

double nutw_result_size(void) {
    return (double)w.out_size;
}

static void show(const void *p, size_t n) {
    w.out = p;
    w.out_size = n;
}

/* Room for n bytes in the result buffer; false when there is no memory. */
static bool result_reserve(size_t n) {
    if (n <= w.result_cap) return true;
    char *p = realloc(w.result, n);
    if (!p) {
        fail(NUT_E_MEMORY, "no memory is left for a result; unload another model or close other tabs");
        return false;
    }
    w.result = p;
    w.result_cap = n;
    return true;
}

/* ---- numbers from JavaScript ---- */

static uint64_t to_u64(double x) {
    const double max = 9007199254740992.0; // 2^53
    return !(x > 0) ? 0 : x >= max ? (uint64_t)max : (uint64_t)x;
}

static uint32_t to_u32(double x) {
    return !(x > 0) ? 0 : x >= 4294967295.0 ? UINT32_MAX : (uint32_t)x;
}

/* ---- staging ---- */

/* Address of a buffer of at least n bytes for the next call's input; 0 without memory. n = 0 frees it. */
void *nutw_staging(double n) {
    size_t size = to_u64(n) > SIZE_MAX ? SIZE_MAX : (size_t)to_u64(n);
    if (size != 0 && size <= w.staging_size) return w.staging;
    free(w.staging);
    w.staging = size ? malloc(size) : NULL;
    w.staging_size = w.staging ? size : 0;
    if (size && !w.staging)
        fail(NUT_E_MEMORY, "no memory is left for an input; unload another model or close tabs");
    return w.staging;
}

/* Address of n bytes for the stack of a thread, for as long as the module lives; 0 without memory. Aligned
 * to 16, as compiled code takes for granted of its stack: from malloc alone, which aligns to 8 here, threads
 * computed wrong addresses on every other start. n is a multiple of 16. */
void *nutw_thread_stack(double n) {
    return aligned_alloc(16, (size_t)to_u32(n));
}

/* ---- loading ---- */

/* Frees model, session and a load that did not finish. */
void nutw_reset(void) {
    nut_load_abort(w.loader);
    nut_session_free(w.session);
    nut_model_free(w.model);
    w.loader = NULL;
    w.session = NULL;
    w.model = NULL;
    show(NULL, 0);
}

/* kernel: terminated name, or 0 for the fastest; file_size and n_ctx: 0 if unknown; kv_type: see nutshell.h.
 */
int nutw_load_begin(double file_size, double n_ctx, int kv_type, const char *kernel) {
    nutw_reset();
    nut_load_options o = nut_load_defaults();
    o.kernel = kernel;
    o.memory_limit = MEMORY_LIMIT;
    o.n_ctx = to_u32(n_ctx);
    o.kv_type = (nut_kv_type)kv_type;
    return check(nut_load_begin(&o, to_u64(file_size), &w.loader, &w.err));
}

/* Feeds the first n bytes of the staging buffer. */
int nutw_load_feed(double offset, double n) {
    if (!w.loader) return fail(NUT_E_STATE, "no load was begun");
    if (!(n >= 0) || n > (double)w.staging_size) return fail(NUT_E_ARGUMENT, "more bytes than were staged");
    return check(nut_load_feed(w.loader, to_u64(offset), w.staging, (size_t)n, &w.err));
}

/* Files of the model that is loaded, 1 where it is one; 0 until a header says so. */
int nutw_load_parts(void) {
    return w.loader ? (int)nut_load_get_plan(w.loader).n_parts : 0;
}

/* The next file of a model in several follows, its offsets from 0 again; file_size: 0 if unknown. */
int nutw_load_next(double file_size) {
    if (!w.loader) return fail(NUT_E_STATE, "no load was begun");
    return check(nut_load_next(w.loader, to_u64(file_size), &w.err));
}

/* Ends the load and opens the session. After an error only nutw_reset and nutw_load_begin make sense. */
int nutw_load_finish(double n_ctx, int kv_type, double n_threads) {
    if (!w.loader) return fail(NUT_E_STATE, "no load was begun");
    if (nut_load_finish(w.loader, &w.model, &w.err) != NUT_OK) return -1;
    w.loader = NULL;
    nut_session_options o = nut_session_defaults();
    o.n_ctx = to_u32(n_ctx);
    o.n_threads = to_u32(n_threads);
    o.kv_type = (nut_kv_type)kv_type;
    return check(nut_session_new(w.model, &o, &w.session, &w.err));
}

/* ---- facts ---- */

/* Result: the model's facts as JSON. */
int nutw_info(void) {
    size_t n = 0;
    if (!need_session()) return -1;
    nut_model_info(w.model, false, NULL, 0, &n, NULL);
    if (!result_reserve(n + 1) || nut_model_info(w.model, false, w.result, n + 1, &n, &w.err) != NUT_OK)
        return -1;
    show(w.result, n);
    return 0;
}

/* Five doubles: positions of the session, positions in use, threads, bytes, vocabulary size. */
const double *nutw_session(void) {
    if (!need_session()) return NULL;
    w.facts[0] = nut_session_n_ctx(w.session);
    w.facts[1] = nut_session_n_past(w.session);
    w.facts[2] = nut_session_n_threads(w.session);
    w.facts[3] = (double)nut_session_bytes(w.session);
    w.facts[4] = nut_model_n_vocab(w.model);
    return w.facts;
}

/* The name of the kind of cache that the session has; NULL without one. */
const char *nutw_kv_type(void) {
    return need_session() ? nut_session_kv_type(w.session) : NULL;
}

/* ---- text and tokens ---- */

static int tokenize(const char *text, size_t n_text, unsigned flags, size_t *n_ids) {
    size_t n = 0;
    nut_status status = nut_tokenize(w.model, text, n_text, flags, NULL, 0, &n, &w.err);
    if (status != NUT_OK && status != NUT_E_ARGUMENT) return -1;
    if (n > SIZE_MAX / sizeof(int32_t)) return fail(NUT_E_MEMORY, "the text is too long");
    if (!result_reserve(n * sizeof(int32_t))) return -1;
    return check(nut_tokenize(w.model, text, n_text, flags, (int32_t *)(void *)w.result, n, n_ids, &w.err));
}

/* Result: token ids, 4 bytes each. */
int nutw_tokenize(const char *text, double n_text, unsigned flags) {
    size_t n = 0;
    if (!need_session() || tokenize(text, (size_t)to_u64(n_text), flags, &n) != 0) return -1;
    show(w.result, n * sizeof(int32_t));
    return 0;
}

/* Result: the ids' text, bytes that may end inside a character. */
int nutw_detokenize(const int32_t *ids, double n_ids, int special) {
    size_t n = 0, count = (size_t)to_u64(n_ids);
    if (!need_session()) return -1;
    nut_status status = nut_detokenize(w.model, ids, count, special != 0, NULL, 0, &n, &w.err);
    if (n == 0) return check(status);
    if (!result_reserve(n)) return -1;
    if (nut_detokenize(w.model, ids, count, special != 0, w.result, n, &n, &w.err) != NUT_OK) return -1;
    show(w.result, n);
    return 0;
}

/* ---- generation ---- */

/* The order of nutw_generate_begin's numbers; web/worker/engine.js writes them in the same one. */
enum {
    // clang-format off
    O_MAX_TOKENS, O_TEMPERATURE, O_TOP_K, O_TOP_P, O_MIN_P, O_TYPICAL_P, O_REPEAT, O_PRESENCE, O_FREQUENCY,
    O_SEED,
    // clang-format on
    O_COUNT
};

static nut_generate_options read_options(const double *o) {
    nut_generate_options go = nut_generate_defaults();
    go.max_tokens = to_u32(o[O_MAX_TOKENS]);
    go.temperature = (float)o[O_TEMPERATURE];
    go.top_k = to_u32(o[O_TOP_K]);
    go.top_p = (float)o[O_TOP_P];
    go.min_p = (float)o[O_MIN_P];
    go.typical_p = (float)o[O_TYPICAL_P];
    go.repeat_penalty = (float)o[O_REPEAT];
    go.presence_penalty = (float)o[O_PRESENCE];
    go.frequency_penalty = (float)o[O_FREQUENCY];
    go.seed = to_u64(o[O_SEED]);
    return go;
}

/* options: O_COUNT doubles; stops: n_stop terminated texts after one another; prompt: n_prompt bytes of
 * UTF-8. Returns the number of prompt tokens. */
int nutw_generate_begin(const double *options, const char *stops, unsigned n_stop, const char *prompt,
                        double n_prompt, unsigned flags) {
    size_t n = 0;
    const char *stop[MAX_STOPS];
    if (!need_session()) return -1;
    if (n_stop > MAX_STOPS) return fail(NUT_E_ARGUMENT, "more than 16 stop texts; leave some out");
    for (unsigned i = 0; i < n_stop; i++, stops += strlen(stops) + 1) stop[i] = stops;
    nut_generate_options go = read_options(options);
    go.stop = stop;
    go.n_stop = n_stop;
    if (tokenize(prompt, (size_t)to_u64(n_prompt), flags, &n) != 0) return -1;
    const int32_t *ids = (const int32_t *)(const void *)w.result;
    return nut_generate_begin(w.session, ids, n, &go, &w.err) == NUT_OK ? (int)n : -1;
}

/* One batch of the prompt or one token. Returns nut_step_kind; facts: finish, token, done, total. Result:
 * text. */
int nutw_generate_step(void) {
    nut_step step;
    if (!need_session() || nut_generate_step(w.session, &step, &w.err) != NUT_OK) return -1;
    w.facts[0] = step.finish;
    w.facts[1] = step.token;
    w.facts[2] = step.n_done;
    w.facts[3] = step.n_total;
    show(step.text, step.n_text);
    return (int)step.kind;
}

/* The doubles that the last step left. */
const double *nutw_step_facts(void) {
    return w.facts;
}

void nutw_generate_end(void) {
    if (w.session) nut_generate_end(w.session);
}

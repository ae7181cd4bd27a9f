/*
 * What a page's worker can call: one model and its sessions per module instance, over nutshell.h alone.
 * Sessions have handles, small integers: 0 is the model's own, which is there as long as the model.
 *
 * JavaScript sees numbers and addresses only. 64-bit quantities travel as doubles (exact below 2^53). A
 * function that can fail returns a negative number, or 0 where it returns an address; nutw_error_name and
 * nutw_error_message then tell why. Inputs are written by JavaScript into one staging buffer, which also
 * takes the model's bytes, so that nothing is copied between the network and the weights but once into
 * place. Outputs are structs of boundary.h; they, and what they point to, live until the next call. A call
 * that succeeds always fills its struct, so that none can show what an earlier one left.
 */
#include "boundary.h"
#include "page.h"

#include <stdlib.h>
#include <string.h>

/* A page has 4 GiB of WebAssembly memory at most; the rest is for the program, its stack and the staging
 * buffer. */
enum { LOOKUP = 7 }; // tokens that a generation can draft at a time
static const uint64_t MEMORY_LIMIT = (4ull << 30) - (48ull << 20);

static struct {
    nut_error err;
    nut_loader *loader;
    char *races; // of earlier loads, while the model loads
    char *pre;   // the pre-tokenizer to take, as long
    nut_model *model;
    nut_session **sessions; // (n_sessions) by handle; NULL: that handle is free
    int n_sessions;
    unsigned char *staging;
    size_t staging_size;
    char *buffer; // of results
    size_t cap;   // bytes
    nutw_result result;
    nutw_session facts;
    nutw_step step;
    nutw_chat_model chat;
} w;

/* ---- errors and results ---- */

int page_fail(nut_status code, const char *message) {
    w.err.code = code;
    strncpy(w.err.message, message, sizeof w.err.message - 1);
    w.err.message[sizeof w.err.message - 1] = '\0';
    return -1;
}

static int check(nut_status status) {
    return status == NUT_OK ? 0 : -1;
}

nut_session *page_session(int handle) {
    if (handle >= 0 && handle < w.n_sessions && w.sessions[handle]) return w.sessions[handle];
    page_fail(NUT_E_STATE, w.n_sessions ? "there is no such session; open another" : "no model is loaded");
    return NULL;
}

const char *nutw_error_name(void) {
    return nut_status_name(w.err.code);
}

const char *nutw_error_message(void) {
    return w.err.message;
}

static double address(const void *p) {
    return (double)(uintptr_t)p;
}

/* Room for n bytes in the result buffer, whose content is lost where it grows; false when there is no
 * memory. */
static bool reserve(size_t n) {
    if (n <= w.cap) return true;
    free(w.buffer);
    w.buffer = malloc(n);
    w.cap = w.buffer ? n : 0;
    if (!w.buffer)
        page_fail(NUT_E_MEMORY, "no memory is left for a result; unload another model or close other tabs");
    return w.buffer != NULL;
}

/* A result of n bytes in the buffer. */
static const nutw_result *give(size_t n) {
    w.result = (nutw_result){.address = address(w.buffer), .bytes = (double)n};
    return &w.result;
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
        page_fail(NUT_E_MEMORY,
                  "no memory is left for this many bytes; free sessions, or unload another model");
    return w.staging;
}

/* Whether the staging buffer has n bytes. */
static bool staged(double n) {
    if (n >= 0 && n <= (double)w.staging_size) return true;
    page_fail(NUT_E_ARGUMENT, "more bytes than were staged");
    return false;
}

const void *page_staged(double n) {
    return staged(n) ? w.staging : NULL;
}

/* Address of n bytes for the stack of a thread, for as long as the module lives; 0 without memory. Aligned
 * to 16, as compiled code takes for granted of its stack: from malloc alone, which aligns to 8 here, threads
 * computed wrong addresses on every other start. n is a multiple of 16. */
void *nutw_thread_stack(double n) {
    return aligned_alloc(16, (size_t)to_u32(n));
}

/* ---- loading ---- */

/* Frees model, sessions and a load that did not finish. */
void nutw_reset(void) {
    nut_load_abort(w.loader);
    free(w.races), free(w.pre);
    w.races = w.pre = NULL;
    for (int i = 0; i < w.n_sessions; i++) nut_session_free(w.sessions[i]);
    free(w.sessions);
    nut_model_free(w.model);
    w.loader = NULL;
    w.sessions = NULL;
    w.n_sessions = 0;
    w.model = NULL;
}

int page_options(const char *kernel, double n_ctx, int kv_type, nut_load_options *out) {
    nutw_reset();
    nut_load_options o = nut_load_defaults();
    o.kernel = *kernel ? kernel : NULL;
    const char *pre = kernel + strlen(kernel) + 1, *races = pre + strlen(pre) + 1;
    o.races = w.races = strdup(races); // without memory: as without races
    w.pre = strdup(pre);
    if (!w.pre) return page_fail(NUT_E_MEMORY, "no memory to begin a load");
    o.pre_tokenizer = *pre ? w.pre : NULL;
    o.memory_limit = MEMORY_LIMIT;
    o.n_ctx = to_u32(n_ctx);
    o.kv_type = (nut_kv_type)kv_type;
    *out = o;
    return 0;
}

/* texts: see page_options. file_size and n_ctx: 0 if unknown; kv_type, races: see nutshell.h. */
int nutw_load_begin(double file_size, double n_ctx, int kv_type, const char *texts) {
    nut_load_options o;
    if (page_options(texts, n_ctx, kv_type, &o)) return -1;
    return check(nut_load_begin(&o, to_u64(file_size), &w.loader, &w.err));
}

/* Feeds the first n bytes of the staging buffer. */
int nutw_load_feed(double offset, double n) {
    if (!w.loader) return page_fail(NUT_E_STATE, "no load was begun");
    if (!staged(n)) return -1;
    return check(nut_load_feed(w.loader, to_u64(offset), w.staging, (size_t)n, &w.err));
}

/* Files of the model that is loaded, 1 where it is one; 0 until a header says so. */
int nutw_load_splits(void) {
    return w.loader ? (int)nut_load_get_plan(w.loader).n_splits : 0;
}

/* The next file of a model in several follows, its offsets from 0 again; file_size: 0 if unknown. */
int nutw_load_next(double file_size) {
    if (!w.loader) return page_fail(NUT_E_STATE, "no load was begun");
    return check(nut_load_next(w.loader, to_u64(file_size), &w.err));
}

/* The least handle that is free; -1 without memory. */
static int free_handle(void) {
    int i = 0;
    while (i < w.n_sessions && w.sessions[i]) i++;
    if (i < w.n_sessions) return i;
    nut_session **sessions = realloc(w.sessions, ((size_t)i + 1) * sizeof *sessions);
    if (!sessions) return page_fail(NUT_E_MEMORY, "no memory is left for a session; free others");
    sessions[i] = NULL;
    w.sessions = sessions;
    w.n_sessions = i + 1;
    return i;
}

nut_model *page_model(void) {
    return w.model;
}

nut_error *page_error(void) {
    return &w.err;
}

int page_part(nut_model **model, nut_session **own) {
    if (!page_session(0)) return -1;
    *model = w.model;
    *own = w.sessions[0];
    w.model = NULL;
    w.sessions[0] = NULL;
    return 0;
}

/* Of the modules without nut_beside.c. */
__attribute__((weak)) int page_adapt(nut_model *model) {
    (void)model;
    return 0;
}

int page_open(nut_model *model, double n_ctx, int kv_type, double n_threads, int fewer, unsigned n_batch) {
    nut_session_options o = nut_session_defaults();
    o.n_ctx = to_u32(n_ctx);
    o.n_threads = to_u32(n_threads);
    o.n_batch = n_batch;
    o.lookup = LOOKUP;
    o.fewer_threads = fewer;
    o.kv_type = (nut_kv_type)kv_type;
    w.model = model;
    if (page_adapt(model)) return -1;
    const int own = free_handle(); // 0: a load begins without sessions
    return own < 0 ? -1 : check(nut_session_new(w.model, &o, &w.sessions[own], &w.err));
}

/* Ends the load and opens the model's own session: see page_open. After an error only nutw_reset and
 * nutw_load_begin make sense. */
int nutw_load_finish(double n_ctx, int kv_type, double n_threads, int fewer) {
    nut_model *model;
    if (!w.loader) return page_fail(NUT_E_STATE, "no load was begun");
    if (nut_load_finish(w.loader, &model, &w.err) != NUT_OK) return -1;
    w.loader = NULL;
    return page_open(model, n_ctx, kv_type, n_threads, fewer, 0);
}

/* ---- sessions ---- */

/* Opens a session in the workspace of the model's own. n_ctx: 0 for as many positions as that has. Returns
 * its handle. */
int nutw_session_new(double n_ctx) {
    const nut_session *own = page_session(0);
    const int handle = own ? free_handle() : -1;
    if (handle < 0) return -1;
    const uint32_t n = n_ctx > 0 ? to_u32(n_ctx) : nut_session_n_ctx(own);
    return check(nut_session_add(nut_session_workspace(own), n, &w.sessions[handle], &w.err)) ? -1 : handle;
}

/* Opens a session that goes on from where that one is. Returns its handle. */
int nutw_session_fork(int session) {
    const nut_session *from = page_session(session);
    const int handle = from ? free_handle() : -1;
    if (handle < 0) return -1;
    return check(nut_session_fork(from, &w.sessions[handle], &w.err)) ? -1 : handle;
}

/* Frees a session; its handle will be another's. The model's own stays. */
void nutw_session_free(int session) {
    if (session <= 0 || session >= w.n_sessions) return;
    nut_session_free(w.sessions[session]);
    w.sessions[session] = NULL;
}

/* The session's bytes, in the staging buffer: they may be many, and that buffer can be freed. */
const nutw_result *nutw_session_save(int session) {
    size_t n = 0;
    const nut_session *s = page_session(session);
    if (!s) return NULL;
    nut_session_save(s, NULL, 0, &n, NULL);
    if (!nutw_staging((double)n)) return NULL;
    if (nut_session_save(s, w.staging, w.staging_size, &n, &w.err) != NUT_OK) return NULL;
    w.result = (nutw_result){.address = address(w.staging), .bytes = (double)n};
    return &w.result;
}

/* Makes the session what the first n bytes of the staging buffer say, which may be hostile. */
int nutw_session_restore(int session, double n) {
    nut_session *s = page_session(session);
    if (!s || !staged(n)) return -1;
    return check(nut_session_restore(s, w.staging, (size_t)n, &w.err));
}

/* ---- facts ---- */

/* The model's facts as JSON. */
const nutw_result *nutw_info(void) {
    size_t n = 0;
    if (!page_session(0)) return NULL;
    while (nut_model_info(w.model, false, w.buffer, w.cap, &n, &w.err) != NUT_OK)
        if (n < w.cap || !reserve(n + 1)) return NULL; // with a terminator
    return give(n);
}

const nutw_session *nutw_session_facts(int session) {
    const nut_session *s = page_session(session);
    nut_chat_model m;
    if (!s) return NULL;
    nut_chat_model_of(w.model, &m);
    w.facts = (nutw_session){.contextLength = nut_session_n_ctx(s),
                             .positions = nut_session_n_past(s),
                             .threads = nut_session_n_threads(s),
                             .bytes = (double)nut_session_bytes(s),
                             .shifted = nut_session_n_left(s),
                             .vocabulary = nut_model_n_vocab(w.model),
                             .chat = m.source || m.tool_source,
                             .kvType = address(nut_session_kv_type(s))};
    return &w.facts;
}

/* ---- text and tokens ---- */

/* The tokens of a text, in the result buffer. Once: few texts have more tokens than bytes; of those it is
 * done again. */
static const int32_t *tokenize(const char *text, double n_text, unsigned flags, size_t *n) {
    const size_t bytes = (size_t)to_u64(n_text), size = sizeof(int32_t);
    if (!reserve(bytes < SIZE_MAX / size - 16 ? (bytes + 16) * size : size)) return NULL;
    while (nut_tokenize(w.model, text, bytes, flags, (int32_t *)(void *)w.buffer, w.cap / size, n, &w.err) !=
           NUT_OK)
        if (*n <= w.cap / size || *n > SIZE_MAX / size || !reserve(*n * size)) return NULL;
    return (const int32_t *)(const void *)w.buffer;
}

/* Token ids, 4 bytes each. */
const nutw_result *nutw_tokenize(const char *text, double n_text, unsigned flags) {
    size_t n = 0;
    if (!page_session(0) || !tokenize(text, n_text, flags, &n)) return NULL;
    return give(n * sizeof(int32_t));
}

/* The ids' text, bytes that may end inside a character. */
const nutw_result *nutw_detokenize(const int32_t *ids, double n_ids, int special) {
    const size_t count = (size_t)to_u64(n_ids);
    size_t n = 0;
    if (!page_session(0)) return NULL;
    while (nut_detokenize(w.model, ids, count, special != 0, w.buffer, w.cap, &n, &w.err) != NUT_OK)
        if (n <= w.cap || !reserve(n)) return NULL;
    return give(n);
}

/* The vector of a text of n ids, n_embd floats: see nut_session_embed. */
const nutw_result *nutw_embed(int session, const int32_t *ids, double n) {
    nut_session *s = page_session(session);
    const size_t bytes = s ? nut_model_n_embd(w.model) * sizeof(float) : 0;
    if (!s || !reserve(bytes)) return NULL;
    float *vector = (float *)(void *)w.buffer;
    return check(nut_session_embed(s, ids, (size_t)to_u64(n), NULL, vector, &w.err)) ? NULL : give(bytes);
}

/* ---- chat ---- */

/* What the module nutshell-chat needs of the model to write its prompts. */
const nutw_chat_model *nutw_chat_model_of(void) {
    nut_chat_model m;
    if (!page_session(0)) return NULL;
    nut_chat_model_of(w.model, &m);
    w.chat = (nutw_chat_model){.name = address(m.name),
                               .nameBytes = (double)strlen(m.name),
                               .source = address(m.source),
                               .sourceBytes = (double)m.n_source,
                               .toolSource = address(m.tool_source),
                               .toolSourceBytes = (double)m.n_tool_source,
                               .bos = address(m.bos),
                               .bosBytes = (double)m.n_bos,
                               .eos = address(m.eos),
                               .eosBytes = (double)m.n_eos};
    return &w.chat;
}

/* The ids of a prompt that nutshell-chat has written, 4 bytes each; marks: a byte for each of the text's, or
 * 0: see nut_chat_tokenize. */
const nutw_result *nutw_chat_tokenize(const char *text, double n_text, const uint8_t *marks) {
    const size_t bytes = (size_t)to_u64(n_text), size = sizeof(int32_t);
    size_t n = bytes / 2 + 16;
    if (!page_session(0)) return NULL;
    do {
        if (n > SIZE_MAX / size || !reserve(n * size)) return NULL;
    } while (nut_chat_tokenize(w.model, text, marks, bytes, (int32_t *)(void *)w.buffer, w.cap / size, &n,
                               &w.err) != NUT_OK &&
             n > w.cap / size);
    return n <= w.cap / size ? give(n * size) : NULL;
}

/* ---- generation ---- */

/* Numbers, in the order of the list, to the fields of its types. */
static nut_generate_options read_options(const double *numbers) {
    nut_generate_options o = nut_generate_defaults();
#define TO_bool(x)                                          ((x) != 0)
#define TO_float(x)                                         ((float)(x))
#define TO_uint32_t(x)                                      to_u32(x)
#define TO_uint64_t(x)                                      to_u64(x)
#define NUT_X(type, field, standard, least, most, js, help) o.field = TO_##type(*numbers), numbers++;
    NUT_GENERATE_OPTION_LIST(NUT_X)
#undef NUT_X
    return o;
}

/* options: a double for each row of NUT_GENERATE_OPTION_LIST; stops: n_stop terminated texts after one
 * another; prompt: n_prompt bytes of UTF-8, or n_ids ids where that is not 0; shown, shift: see
 * nut_generate_options. Returns the number of prompt tokens. */
int nutw_generate_begin(int session, const double *options, const char *stops, unsigned n_stop,
                        const char *prompt, double n_prompt, unsigned flags, double n_ids,
                        const int32_t *shown, unsigned n_shown, int shift) {
    size_t n = (size_t)to_u64(n_ids);
    const char *stop[NUT_MAX_STOPS];
    nut_session *s = page_session(session);
    if (!s) return -1;
    if (n_stop > NUT_MAX_STOPS)
        return page_fail(NUT_E_ARGUMENT, "there are too many stop texts; leave some out");
    for (unsigned i = 0; i < n_stop; i++, stops += strlen(stops) + 1) stop[i] = stops;
    nut_generate_options o = read_options(options);
    o.stop = stop;
    o.n_stop = n_stop;
    o.shown = shown;
    o.n_shown = n_shown;
    o.shift = shift;
    const int32_t *ids = n ? (const int32_t *)(const void *)prompt : tokenize(prompt, n_prompt, flags, &n);
    return ids && nut_generate_begin(s, ids, n, &o, &w.err) == NUT_OK ? (int)n : -1;
}

/* One batch of the prompt or one token: all of it in one call. */
const nutw_step *nutw_generate_step(int session) {
    nut_step step;
    nut_session *s = page_session(session);
    if (!s || nut_generate_step(s, &step, &w.err) != NUT_OK) return NULL;
    w.step = (nutw_step){.kind = step.kind,
                         .finish = step.finish,
                         .done = step.n_done,
                         .drafted = (double)step.n_drafted,
                         .accepted = (double)step.n_accepted,
                         .draftedByModel = (double)step.n_drafted_by_model,
                         .acceptedByModel = (double)step.n_accepted_by_model,
                         .logProbability = step.log_probability,
                         .entropy = step.entropy,
                         .text = address(step.text),
                         .textBytes = (double)step.n_text};
    return &w.step;
}

void nutw_generate_end(int session) {
    nut_session *s = page_session(session);
    if (s) nut_generate_end(s);
}

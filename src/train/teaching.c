/* Teachers: whether they can teach a student, and what they say of its windows. */
#include "train/teaching.h"

#include "base/error.h"
#include "base/rng.h"
#include "train/align.h"

#include <string.h>

/* The part of a window that the student's own text begins with. */
enum { PROMPT_PART = 4 };

/* ---- the beginning ---- */

static nut_status begin_teacher(teaching *t, nut_error *err) {
    const nut_model *m = t->student->m, *teacher = t->o.teacher;
    const size_t n = t->student->n, window = t->student->window;
    TRY(align_tokens(m->vocab, teacher->vocab, &t->aligned, err));
    if (window > teacher->hp.n_ctx_train)
        return error_set(err, NUT_E_ARGUMENT,
                         "the teacher sees %u tokens at most; give a smaller \"window\"",
                         teacher->hp.n_ctx_train);
    TRY(pass_new(teacher, dense_team(t->student->d), n, window, false, &t->pass, err));
    t->x = mem_calloc(n, teacher->hp.n_embd * sizeof *t->x);
    t->ids = mem_calloc(n, sizeof *t->ids);
    if (!t->x || !t->ids) return error_memory(err, n * teacher->hp.n_embd * sizeof *t->x);
    if (t->o.hint.kind) TRY(hints_new(&t->o.hint, t->student, t->pass, &t->hints, err));
    if (t->o.mixed > 0 && t->aligned)
        return error_set(err, NUT_E_ARGUMENT,
                         "a teacher of another vocabulary has no share in what the student writes; give "
                         "\"mixture\": 0");
    if (!(t->o.own > 0)) return NUT_OK;
    return own_text_new(m, teacher, t->o.mixed, window, t->o.n_threads, &t->own_text, err);
}

nut_status teaching_begin(teaching *t, const teaching_options *o, pass *student, batches *b,
                          nut_error *err) {
    *t = (teaching){.o = *o, .student = student, .batches = b};
    t->rows = mem_calloc(student->n, sizeof *t->rows);
    t->own = mem_calloc(student->n / student->window, sizeof *t->own);
    if (!t->rows || !t->own) return error_memory(err, student->n * sizeof *t->rows);
    if (o->teacher) TRY(begin_teacher(t, err));
    if (!o->logits) return NUT_OK;
    return stored_teacher_read(&t->stored, o->logits, o->n_logits, b, student->m->vocab, err);
}

void teaching_free(teaching *t) {
    hints_free(t->hints);
    own_text_free(t->own_text);
    pass_free(t->pass);
    void *const all[] = {t->aligned, t->ids, t->x, t->rows, t->own};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
    *t = (teaching){0};
}

/* ---- a group ---- */

/* The student goes on from the window's beginning. */
static nut_status write_own(teaching *t, rng *random, size_t at, int32_t *ids, int32_t *labels,
                            nut_error *err) {
    t->own[at] = true;
    return own_text_write(t->own_text, rng_u64(random), t->student->window / PROMPT_PART, ids, labels, err);
}

nut_status teaching_take(teaching *t, uint64_t which, size_t at, int32_t *ids, int32_t *labels,
                         nut_error *err) {
    const size_t window = t->student->window;
    const size_t of_text = batches_take(t->batches, which, ids, labels);
    rng random;
    rng_seed(&random, t->o.seed + 0x5851f42d4c957f2d * (which + 1));
    t->own[at] = false;
    for (size_t i = 0; t->o.logits && i < window; i++)
        t->rows[at * window + i] = stored_teacher_row(&t->stored, of_text, i);
    return t->own_text && rng_f64(&random) < t->o.own ? write_own(t, &random, at, ids, labels, err) : NUT_OK;
}

void teaching_rest(teaching *t) {
    memset(t->own, 0, t->student->n / t->student->window * sizeof *t->own);
    for (size_t i = 0; i < t->student->n; i++) t->rows[i] = NULL;
}

void teaching_forward(teaching *t, const int32_t *ids) {
    if (!t->pass) return;
    for (size_t i = 0; i < t->student->n; i++) {
        const int32_t id = t->aligned ? t->aligned[ids[i]] : ids[i];
        t->ids[i] = id >= 0 ? id : 0;
    }
    pass_embed(t->pass, t->ids, t->x);
    for (uint32_t il = 0; il < t->pass->m->hp.n_layer; il++) {
        pass_forward(t->pass, il, t->x);
        if (t->hints) hints_see(t->hints, il, t->x);
    }
}

loss_batch teaching_batch(const teaching *t, const float *x, const int32_t *labels) {
    return (loss_batch){
        .x = x, .teacher_x = t->x, .labels = labels, .rows = t->pass ? NULL : t->rows, .own = t->own};
}

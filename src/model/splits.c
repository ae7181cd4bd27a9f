/* What files must say of themselves to be the splits of one model, in order. */
#include "model/splits.h"

#include "base/error.h"
#include "model/role.h"

#include <stdio.h>
#include <string.h>

enum { MAX_SPLITS = UINT16_MAX }; // split.count has 16 bits

static const char key_no[] = "split.no", key_count[] = "split.count", key_tensors[] = "split.tensors.count";

/* What a header says; n 1: a whole file. */
static nut_status read_keys(const gguf *file, splits *k, nut_error *err) {
    uint32_t n_tensors;
    *k = (splits){.n = 1, .n_tensors = file->n_tensors};
    TRY(gguf_get_u32(file, key_count, 1, &k->n, err));
    if (k->n == 0) k->n = 1; // splits that were merged
    if (k->n == 1) return NUT_OK;
    TRY(gguf_get_u32(file, key_no, UINT32_MAX, &k->i, err));
    TRY(gguf_get_u32(file, key_tensors, UINT32_MAX, &n_tensors, err));
    k->n_tensors = n_tensors;
    if (k->n <= MAX_SPLITS && k->i < k->n && n_tensors <= INT32_MAX) return NUT_OK;
    return error_set(
        err, NUT_E_CORRUPT,
        "the model file is damaged: the numbers that make it a split of a model (%s, %s, %s) are "
        "missing or impossible; download it again",
        key_no, key_count, key_tensors);
}

static nut_status check_first(const splits *k, nut_error *err) {
    if (k->i == 0) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT,
                     "this is split %u of %u of a model: begin with the first, whose name ends in "
                     "-00001-of-%05u.gguf",
                     k->i + 1, k->n, k->n);
}

static nut_status check_next(const splits *p, const splits *k, nut_error *err) {
    const unsigned want = p->i + 1;
    if (k->n == 1)
        return error_set(err, NUT_E_ARGUMENT,
                         "this is a whole model, and split %u of %u of another comes next: give the file "
                         "whose name ends in -%05u-of-%05u.gguf",
                         want, p->n, want, p->n);
    if (k->n != p->n || k->n_tensors != p->n_tensors)
        return error_set(
            err, NUT_E_ARGUMENT,
            "this is split %u of another model (of %u splits and %llu tensors; the first split is of "
            "%u and %llu): give the splits of one model",
            k->i + 1, k->n, (unsigned long long)k->n_tensors, p->n, (unsigned long long)p->n_tensors);
    if (k->i != p->i)
        return error_set(err, NUT_E_ARGUMENT,
                         "this is split %u of %u and split %u comes next: give the file whose name ends in "
                         "-%05u-of-%05u.gguf",
                         k->i + 1, k->n, want, want, p->n);
    return NUT_OK;
}

/* A split need not say its architecture. */
static nut_status check_arch(const gguf *whole, const gguf *file, nut_error *err) {
    static const char key[] = "general.architecture";
    gguf_str first, own;
    TRY(gguf_get_str(whole, key, "", &first, err));
    if (!gguf_find(file, key)) return NUT_OK;
    TRY(gguf_get_str(file, key, "", &own, err));
    if (own.n == first.n && !memcmp(own.s, first.s, (size_t)own.n)) return NUT_OK;
    return error_set(
        err, NUT_E_ARGUMENT,
        "this is a split of another model (its architecture is \"%.*s\"): give the splits of one "
        "model",
        (int)(own.n < 40 ? own.n : 40), own.s);
}

static nut_status check_tensors(const splits *p, const gguf *whole, nut_error *err) {
    const bool last = p->i + 1 == p->n;
    if (whole->n_tensors <= p->n_tensors && !(last && whole->n_tensors < p->n_tensors))
        return last && p->n > 1 ? gguf_check_names(whole, err) : NUT_OK;
    return error_set(
        err, NUT_E_CORRUPT,
        "%u of the model's %u splits hold %llu tensors, and all must hold %llu: download them again",
        p->i + 1, p->n, (unsigned long long)whole->n_tensors, (unsigned long long)p->n_tensors);
}

nut_status splits_take(splits *p, gguf *whole, gguf *file, nut_error *err) {
    splits k;
    TRY(read_keys(file, &k, err));
    if (p->i == 0) {
        TRY(check_first(&k, err));
        TRY(role_check(file, err));
        *p = k;
        *whole = *file;
        *file = (gguf){0};
    } else {
        TRY(check_next(p, &k, err));
        TRY(check_arch(whole, file, err));
        TRY(gguf_append(whole, file, p->i, err));
        gguf_free(file);
    }
    return check_tensors(p, whole, err);
}

uint64_t splits_to_come(const splits *p, const gguf *whole) {
    return p->n_tensors - whole->n_tensors;
}

nut_status splits_end(const splits *p, nut_error *err) {
    if (p->i + 1 >= p->n) return NUT_OK;
    return error_set(err, NUT_E_TRUNCATED,
                     "the model has %u splits and only %u came: give the file whose name ends in "
                     "-%05u-of-%05u.gguf too",
                     p->n, p->i + 1, p->i + 2, p->n);
}

nut_status splits_blame(const splits *p, nut_status status, nut_error *err) {
    char message[sizeof err->message];
    if (status == NUT_OK || status == NUT_E_MEMORY || !err || p->n <= 1) return status;
    memcpy(message, err->message, sizeof message);
    return error_set(err, status, "split %u of %u: %s", p->i + 1, p->n, message);
}

void splits_forget(gguf *whole) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < whole->n_kv; i++) {
        const gguf_str key = whole->kv[i].key;
        if (!gguf_str_is(key, key_no) && !gguf_str_is(key, key_count) && !gguf_str_is(key, key_tensors))
            whole->kv[n++] = whole->kv[i];
    }
    whole->n_kv = n;
}

/* Types for weights that are rounded while they learn (train/rounding.h): the same search for scales as when
 * a file is written without statistics, so that what was learned with is what is written. */
#include "train/rounding.h"

#include "base/error.h"
#include "compress/types.h"

#include <stdio.h>

static void encode_plain(const format *to, const float *x, size_t n, uint8_t *blocks) {
    to->quantize(x, n, blocks);
}

static void encode_searched(const format *to, const float *x, size_t n, uint8_t *blocks) {
    type_encode(type_any(to->id), x, NULL, n, blocks);
}

static bool is_written(const format *f) {
    return f->block > 1 && (f->quantize || type_any(f->id));
}

static nut_status refuse(const char *name, nut_error *err) {
    char names[280] = "";
    size_t n = 0;
    for (size_t i = 0; i < FORMAT_COUNT && n < sizeof names; i++)
        if (is_written(&format_table[i]))
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", format_table[i].name);
    for (char *p = names; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p - 'A' + 'a');
    return error_set(err, NUT_E_ARGUMENT, "matrices cannot learn as type \"%.20s\"; choose one of %s", name,
                     names);
}

nut_status rounding_find(const char *name, uint64_t n_cols, rounding *out, nut_error *err) {
    const format *f = format_by_name(name);
    if (!f || f->id >= FORMAT_COUNT || !is_written(f)) return refuse(name, err);
    if (n_cols % f->block && type_find(f->id)) f = &format_table[type_find(f->id)->shorter];
    *out = (rounding){.to = f, .encode = f->quantize ? encode_plain : encode_searched};
    if (n_cols % f->block == 0) return NUT_OK;
    return error_set(err, NUT_E_ARGUMENT, "rows of %llu weights are no whole blocks of %s",
                     (unsigned long long)n_cols, f->name);
}

bool rounding_halves(const format *f, rounding *out) {
    const type_row *t = f->id < FORMAT_COUNT ? type_any(f->id) : NULL;
    *out = (rounding){.to = f};
    if (!t || f->id == FORMAT_IQ1_M || f->id == FORMAT_MXFP4 || f->id == FORMAT_LUT4) return false;
    out->at[out->n_halves++] = t->d;
    if (t->dmin) out->at[out->n_halves++] = t->dmin;
    out->adds = t->dmin && t->kind.min_hi == 1;
    return true;
}

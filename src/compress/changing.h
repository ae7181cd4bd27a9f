/*
 * What steps share that change a model layer by layer: a text goes through it (evaluate/calibrate.h), and as
 * soon as a layer's inputs are known, the layer is changed and written, while it is in memory. Layers behind
 * see what the changed ones give.
 */
#ifndef NUT_COMPRESS_CHANGING_H
#define NUT_COMPRESS_CHANGING_H

#include "compress/layer_weights.h"
#include "compress/recipe.h"
#include "compress/rewrite.h"
#include "evaluate/calibrate.h"
#include "kernels/dense.h"
#include "train/fisher.h"

typedef struct changing changing;

/* What a step that changes a model does at each point of its work. Its own data is a struct whose first
 * member is a `changing`. */
typedef struct changing_ops {
    /* Looks at a layer of the source, whose statistics are complete, before anything is changed: a text goes
     * through the whole model first. NULL: it does not. */
    nut_status (*measure)(changing *c, uint32_t il, nut_error *err);
    /* The headers are read and nothing was written: marks what is computed in c->plan, whose tensors are
     * those outside of layers and then layer by layer, and sets c->rewrite.meta. */
    nut_status (*plan)(changing *c, nut_error *err);
    /* Changes a layer whose statistics are complete. */
    nut_status (*layer)(changing *c, uint32_t il, nut_error *err);
    rewrite_rows *rows;        // of computed tensors of that layer; ctx is the changing
    void (*end)(changing *c);  // all is written: fills c->note
    void (*free)(changing *c); // what the kind holds, not the struct; NULL: nothing
} changing_ops;

/* Of the text, as calibrate_options has them. */
typedef struct changing_wants {
    unsigned kinds;
    uint32_t window;
    const char *fitted;
    bool fisher; // how much the loss feels results is found out first: changing.fisher
    bool apart;  // layers are written otherwise, but not changed in memory: those behind see what they gave
} changing_wants;

struct changing {
    nut_job job;
    nut_status (*phase)(changing *c, nut_error *err); // what the next step does
    const changing_ops *ops;
    changing_wants wants;
    recipe *r;
    nut_job *fisher;    // done (fisher.h), where it is wanted; else NULL
    nut_job *calibrate; // that measures, then the one beside which layers change
    bool measures;
    const nut_model *m; // once the headers are read
    dense *d;
    rewrite rewrite;
    rewrite_tensor *plan; // (n_plan) the source's, which a step may replace by another list
    size_t n_plan;
    size_t *ends; // (n_layer + 1) of plan: where the tensors outside of layers end, then each layer's
    uint32_t layer;
    char note[400];
};

/* Begins a job in memory of `size` bytes, which *out receives; its fields behind the changing are 0. */
nut_status changing_begin(recipe *r, const changing_ops *ops, const changing_wants *wants, size_t size,
                          changing **out, nut_error *err);

#endif

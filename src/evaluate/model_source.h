/*
 * A model that a job reads by its events: the headers of all its files, then weights layer by layer, as many
 * times as they are wanted. Functions are called step after step until *ready; where they are not ready they
 * have told an event, or have work left.
 */
#ifndef NUT_EVALUATE_MODEL_SOURCE_H
#define NUT_EVALUATE_MODEL_SOURCE_H

#include "base/job.h"
#include "run/layer_load.h"

typedef enum model_source_state { SOURCE_OPEN, SOURCE_OPENED, SOURCE_READING } model_source_state;

typedef struct model_source {
    nut_loader *loader; // until the headers are complete
    nut_model *m;       // then; the source's
    layer_load layer;   // what is loaded; m NULL: nothing
    model_source_state state;
    bool output; // it is what the job has written: NUT_JOB_OUTPUT, set before the headers are read
    uint32_t split, n_splits;
    uint64_t at;    // bytes of the file that were fed
    size_t n;       // bytes wanted
    uint8_t *bytes; // (MODEL_SOURCE_READ)
} model_source;

enum { MODEL_SOURCE_READ = 1 << 20 };

/* Reads the headers. `reference`: weights are to be held as floats. Memory is taken here first. */
nut_status model_source_headers(model_source *s, nut_job *job, bool reference, bool *ready, nut_error *err);
/* Loads a layer or what is outside of layers (BIND_MODEL), after what was loaded was freed. */
nut_status model_source_layer(model_source *s, nut_job *job, int which, bool *ready, nut_error *err);
/* Frees what is loaded. */
void model_source_unload(model_source *s);
void model_source_free(model_source *s);

#endif

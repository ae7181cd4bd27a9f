/*
 * The team: its members wait for the step number to change, do their share of the step, and report back.
 * They spin for some microseconds, since the next step of a layer follows soon, and then sleep, so that an
 * idle page uses no processor time.
 */
#include "base/threads.h"

#include "base/error.h"
#include "base/mem.h"

enum { MAX_MEMBERS = 64 };

#ifdef NUT_THREADS
#include "base/gate.h"

/* About 50 microseconds. WebAssembly has no pause instruction, so that its loop needs more rounds. */
#ifdef __wasm__
enum { SPINS = 50000 };
#else
enum { SPINS = 4000 };
#endif

#ifdef NUT_THREADS_WEB
atomic_uint gate_crashed;
#endif

typedef struct member {
    threads *team;
    gate_thread thread;
    unsigned index;
} member;

struct threads {
    unsigned n;
    threads_fn *fn;
    void *ctx;
    gate step;    // one more for each run
    gate working; // members that have not finished this step
    atomic_bool quit;
    member members[MAX_MEMBERS];
};

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void await_step(threads *t, unsigned seen) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&t->step.value, memory_order_acquire) != seen) return;
        pause_briefly();
    }
    gate_sleep(&t->step, seen);
}

static void await_members(threads *t) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&t->working.value, memory_order_acquire) == 0) return;
        pause_briefly();
    }
    for (unsigned left; (left = atomic_load(&t->working.value)) != 0;) gate_sleep(&t->working, left);
}

static void member_main(void *arg) {
    member *m = arg;
    threads *t = m->team;
    for (unsigned seen = 0;; seen++) {
        await_step(t, seen);
        if (atomic_load(&t->quit)) return;
        t->fn(t->ctx, m->index, t->n);
        atomic_fetch_sub(&t->working.value, 1);
        gate_wake(&t->working);
    }
}

static void announce_step(threads *t) {
    atomic_fetch_add(&t->step.value, 1);
    gate_wake(&t->step);
}

nut_status threads_new(unsigned n, threads **out, nut_error *err) {
    if (n < 1 || n > MAX_MEMBERS)
        return error_set(err, NUT_E_ARGUMENT, "threads must be 1 to %d, not %u", MAX_MEMBERS, n);
    threads *t = mem_calloc(1, sizeof *t);
    if (!t) return error_memory(err, sizeof *t);
    t->n = 1;
    gate_open(&t->step);
    gate_open(&t->working);
    for (unsigned i = 1; i < n; i++) {
        member *m = &t->members[i];
        *m = (member){.team = t, .index = i};
        if (!gate_start(&m->thread, member_main, m)) break;
        t->n = i + 1;
    }
    *out = t;
    return NUT_OK;
}

void threads_free(threads *t) {
    if (!t) return;
    atomic_store(&t->quit, true);
    announce_step(t);
    for (unsigned i = 1; i < t->n; i++) gate_join(&t->members[i].thread);
    gate_close(&t->working);
    gate_close(&t->step);
    mem_free(t);
}

void threads_run(threads *t, threads_fn *fn, void *ctx) {
    if (t->n > 1) {
        t->fn = fn;
        t->ctx = ctx;
        atomic_store(&t->working.value, t->n - 1);
        announce_step(t);
    }
    fn(ctx, 0, t->n);
    if (t->n > 1) await_members(t);
}

#else

struct threads {
    unsigned n;
};

nut_status threads_new(unsigned n, threads **out, nut_error *err) {
    if (n < 1 || n > MAX_MEMBERS)
        return error_set(err, NUT_E_ARGUMENT, "threads must be 1 to %d, not %u", MAX_MEMBERS, n);
    threads *t = mem_calloc(1, sizeof *t);
    if (!t) return error_memory(err, sizeof *t);
    t->n = 1;
    *out = t;
    return NUT_OK;
}

void threads_free(threads *t) {
    mem_free(t);
}

void threads_run(threads *t, threads_fn *fn, void *ctx) {
    fn(ctx, 0, t->n);
}

#endif

unsigned threads_count(const threads *t) {
    return t->n;
}

/*
 * The team: its members wait for the step to change, do their share of it, and report back. They spin for
 * some microseconds, since the next step of a layer follows soon, and then sleep, so that an idle page uses
 * no processor time. How many members a step is for is in the same number as its count: a member that is not
 * among them, for which nobody waits, may read it late and still knows that the step was not its own.
 */
#include "base/threads.h"

#include "base/error.h"
#include "base/mem.h"

enum { STEP_COUNT = 2 * THREADS_MOST }; // of a step, whose lower part is the number of its members

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
    unsigned active; // members of the next step
    bool more;       // than of the step before: some may be resting
    threads_fn *fn;
    void *ctx;
    gate step;    // STEP_COUNT more for each run, plus the members that it is for
    gate working; // members that have not finished this step
    gate resting; // one more when members that were not active may be again
    atomic_bool quit;
    member members[THREADS_MOST];
};

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* Waits until the step number is no longer `seen`, and returns it. A resting thread may have missed several
 * steps in between. */
static unsigned await_step(threads *t, unsigned seen) {
    for (int i = 0; i < SPINS; i++) {
        const unsigned step = atomic_load_explicit(&t->step.value, memory_order_acquire);
        if (step != seen) return step;
        pause_briefly();
    }
    gate_sleep(&t->step, seen);
    return atomic_load(&t->step.value);
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
    for (unsigned step = 0;;) {
        const unsigned rest = atomic_load(&t->resting.value); // before the step: no change is missed
        step = await_step(t, step);
        if (atomic_load(&t->quit)) return;
        const unsigned n = step % STEP_COUNT;
        if (m->index >= n) {
            gate_sleep(&t->resting, rest);
            continue;
        }
        t->fn(t->ctx, m->index, n);
        atomic_fetch_sub(&t->working.value, 1);
        gate_wake(&t->working);
    }
}

static void announce_step(threads *t) {
    const unsigned step = atomic_load(&t->step.value);
    atomic_store(&t->step.value, step - step % STEP_COUNT + STEP_COUNT + t->active);
    gate_wake(&t->step);
}

static void end_rest(threads *t) {
    atomic_fetch_add(&t->resting.value, 1);
    gate_wake(&t->resting);
}

nut_status threads_new(unsigned n, threads **out, nut_error *err) {
    if (n < 1 || n > THREADS_MOST)
        return error_set(err, NUT_E_ARGUMENT, "threads must be 1 to %d, not %u", THREADS_MOST, n);
    threads *t = mem_calloc(1, sizeof *t);
    if (!t) return error_memory(err, sizeof *t);
    t->n = 1;
    gate_open(&t->step);
    gate_open(&t->working);
    gate_open(&t->resting);
    for (unsigned i = 1; i < n; i++) {
        member *m = &t->members[i];
        *m = (member){.team = t, .index = i};
        if (!gate_start(&m->thread, member_main, m)) break;
        t->n = i + 1;
    }
    t->active = t->n;
    *out = t;
    return NUT_OK;
}

void threads_free(threads *t) {
    if (!t) return;
    atomic_store(&t->quit, true);
    announce_step(t);
    end_rest(t);
    for (unsigned i = 1; i < t->n; i++) gate_join(&t->members[i].thread);
    gate_close(&t->resting);
    gate_close(&t->working);
    gate_close(&t->step);
    mem_free(t);
}

void threads_limit(threads *t, unsigned n) {
    t->more |= n > t->active;
    t->active = n;
}

void threads_run(threads *t, threads_fn *fn, void *ctx) {
    if (t->active > 1) {
        t->fn = fn;
        t->ctx = ctx;
        atomic_store(&t->working.value, t->active - 1);
        announce_step(t);
        if (t->more) end_rest(t); // after it: whoever comes back from resting finds the step
        t->more = false;
    }
    fn(ctx, 0, t->active);
    if (t->active > 1) await_members(t);
}

#else

struct threads {
    unsigned n;
};

nut_status threads_new(unsigned n, threads **out, nut_error *err) {
    if (n < 1 || n > THREADS_MOST)
        return error_set(err, NUT_E_ARGUMENT, "threads must be 1 to %d, not %u", THREADS_MOST, n);
    threads *t = mem_calloc(1, sizeof *t);
    if (!t) return error_memory(err, sizeof *t);
    t->n = 1;
    *out = t;
    return NUT_OK;
}

void threads_free(threads *t) {
    mem_free(t);
}

void threads_limit(threads *t, unsigned n) {
    (void)t, (void)n;
}

void threads_run(threads *t, threads_fn *fn, void *ctx) {
    fn(ctx, 0, t->n);
}

#endif

unsigned threads_count(const threads *t) {
    return t->n;
}

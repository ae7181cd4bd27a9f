/*
 * The team: members wait for a step number to change, do their part, and report back. They spin for a few
 * microseconds, since the next step of a layer follows soon, and then sleep, so that an idle page uses no
 * processor.
 */
#include "base/threads.h"

#include "base/error.h"
#include "base/mem.h"

enum { MAX_MEMBERS = 64 };

#ifdef NUT_THREADS
#include <pthread.h>
#include <stdatomic.h>

enum { SPINS = 4000 };

typedef struct member {
    threads *team;
    pthread_t thread;
    unsigned index;
} member;

struct threads {
    unsigned n;
    threads_fn *fn;
    void *ctx;
    atomic_uint step;    // grows by one for each run
    atomic_uint working; // members that have not finished this step
    atomic_bool quit;
    pthread_mutex_t lock;
    pthread_cond_t wake; // step changed
    pthread_cond_t done; // working became 0
    member members[MAX_MEMBERS];
};

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void await_step(threads *t, unsigned seen) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&t->step, memory_order_acquire) != seen) return;
        pause_briefly();
    }
    pthread_mutex_lock(&t->lock);
    while (atomic_load(&t->step) == seen) pthread_cond_wait(&t->wake, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

static void await_members(threads *t) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&t->working, memory_order_acquire) == 0) return;
        pause_briefly();
    }
    pthread_mutex_lock(&t->lock);
    while (atomic_load(&t->working) != 0) pthread_cond_wait(&t->done, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

static void *member_main(void *arg) {
    member *m = arg;
    threads *t = m->team;
    for (unsigned seen = 0;; seen++) {
        await_step(t, seen);
        if (atomic_load(&t->quit)) return NULL;
        t->fn(t->ctx, m->index, t->n);
        if (atomic_fetch_sub(&t->working, 1) == 1) {
            pthread_mutex_lock(&t->lock);
            pthread_cond_signal(&t->done);
            pthread_mutex_unlock(&t->lock);
        }
    }
}

static void announce_step(threads *t) {
    pthread_mutex_lock(&t->lock);
    atomic_fetch_add(&t->step, 1);
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

nut_status threads_new(unsigned n, threads **out, nut_error *err) {
    if (n < 1 || n > MAX_MEMBERS)
        return error_set(err, NUT_E_ARGUMENT, "threads must be 1 to %d, not %u", MAX_MEMBERS, n);
    threads *t = mem_calloc(1, sizeof *t);
    if (!t) return error_memory(err, sizeof *t);
    t->n = 1;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    pthread_cond_init(&t->done, NULL);
    for (unsigned i = 1; i < n; i++) {
        member *m = &t->members[i];
        *m = (member){.team = t, .index = i};
        if (pthread_create(&m->thread, NULL, member_main, m)) break;
        t->n = i + 1;
    }
    *out = t;
    return NUT_OK;
}

void threads_free(threads *t) {
    if (!t) return;
    atomic_store(&t->quit, true);
    announce_step(t);
    for (unsigned i = 1; i < t->n; i++) pthread_join(t->members[i].thread, NULL);
    pthread_cond_destroy(&t->done);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

void threads_run(threads *t, threads_fn *fn, void *ctx) {
    if (t->n > 1) {
        t->fn = fn;
        t->ctx = ctx;
        atomic_store(&t->working, t->n - 1);
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

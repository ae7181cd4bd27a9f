/*
 * What a team of threads needs of the system: to start a thread, and to sleep until a number changes. A gate
 * is such a number with its sleepers. Natively it is made of POSIX threads. In a web page (NUT_THREADS_WEB)
 * the page's worker starts the threads, and WebAssembly's own wait and notify instructions put them to sleep
 * and wake them, so that no thread library has to be sent to the page.
 */
#ifndef NUT_BASE_GATE_H
#define NUT_BASE_GATE_H

#include <stdatomic.h>
#include <stdbool.h>

typedef void gate_main(void *arg); // what a thread runs

#ifdef NUT_THREADS_WEB

typedef struct gate {
    atomic_uint value;
    atomic_uint sleepers;
} gate;

static inline void gate_open(gate *g) {
    atomic_init(&g->value, 0);
    atomic_init(&g->sleepers, 0);
}

static inline void gate_close(gate *g) {
    (void)g;
}

enum { GATE_CHECK_EVERY = 500000000 }; // nanoseconds, for gate_crashed

/* Set to 1 by the page's worker when a thread has trapped: those that wait for it would never be woken. */
extern atomic_uint gate_crashed;

/* Sleeps while the value is `seen`. */
static inline void gate_sleep(gate *g, unsigned seen) {
    atomic_fetch_add(&g->sleepers, 1);
    while (atomic_load(&g->value) == seen) {
        __builtin_wasm_memory_atomic_wait32((int *)(void *)&g->value, (int)seen, GATE_CHECK_EVERY);
        if (atomic_load(&gate_crashed)) __builtin_trap();
    }
    atomic_fetch_sub(&g->sleepers, 1);
}

/* Wakes all sleepers; to be called after the value was changed. A thread counts itself as a sleeper before
 * it reads the value for the last time, so that none is missed. */
static inline void gate_wake(gate *g) {
    if (atomic_load(&g->sleepers)) __builtin_wasm_memory_atomic_notify((int *)(void *)&g->value, ~0u);
}

/* Lets an idle thread of the page run fn(arg); false where none is idle. When fn returns, the thread is idle
 * again; when it traps, *crashed is set to 1. */
bool nut_thread_start(gate_main *fn, void *arg, atomic_uint *crashed)
    __attribute__((import_module("env"), import_name("nut_thread_start")));

typedef struct gate_thread {
    gate_main *fn;
    void *arg;
    gate left; // 1 when fn has returned
} gate_thread;

static inline void gate_run(void *arg) {
    gate_thread *t = arg;
    t->fn(t->arg);
    atomic_store(&t->left.value, 1);
    gate_wake(&t->left);
}

static inline bool gate_start(gate_thread *t, gate_main *fn, void *arg) {
    t->fn = fn;
    t->arg = arg;
    gate_open(&t->left);
    return nut_thread_start(gate_run, t, &gate_crashed);
}

static inline void gate_join(gate_thread *t) {
    gate_sleep(&t->left, 0);
}

#else

#include <pthread.h>

typedef struct gate {
    atomic_uint value;
    atomic_uint sleepers;
    pthread_mutex_t lock;
    pthread_cond_t changed;
} gate;

static inline void gate_open(gate *g) {
    atomic_init(&g->value, 0);
    atomic_init(&g->sleepers, 0);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->changed, NULL);
}

static inline void gate_close(gate *g) {
    pthread_cond_destroy(&g->changed);
    pthread_mutex_destroy(&g->lock);
}

static inline void gate_sleep(gate *g, unsigned seen) {
    atomic_fetch_add(&g->sleepers, 1);
    pthread_mutex_lock(&g->lock);
    while (atomic_load(&g->value) == seen) pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
    atomic_fetch_sub(&g->sleepers, 1);
}

/* The lock makes sure that no thread is between reading the value and falling asleep. */
static inline void gate_wake(gate *g) {
    if (!atomic_load(&g->sleepers)) return;
    pthread_mutex_lock(&g->lock);
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

typedef struct gate_thread {
    pthread_t id;
    gate_main *fn;
    void *arg;
} gate_thread;

static inline void *gate_run(void *arg) {
    gate_thread *t = arg;
    t->fn(t->arg);
    return NULL;
}

/* Starts a thread that runs fn(arg); false where the system gives none. */
static inline bool gate_start(gate_thread *t, gate_main *fn, void *arg) {
    t->fn = fn;
    t->arg = arg;
    return pthread_create(&t->id, NULL, gate_run, t) == 0;
}

/* Returns when the thread's fn has returned. */
static inline void gate_join(gate_thread *t) {
    pthread_join(t->id, NULL);
}

#endif
#endif

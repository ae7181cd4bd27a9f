/* The kinds of divergences. Zero probabilities add nothing; logarithms are finite, since they come from
 * logits. */
#include "train/divergence.h"

#include "base/error.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* log (a e^x + (1 - a) e^y) */
static double log_mixed(double x, double y, double a) {
    const double most = x > y ? x : y;
    return most + log(a * exp(x - most) + (1 - a) * exp(y - most));
}

/* KL(p || q): the student covers all that the teacher does (Hinton et al. 2015, arXiv 1503.02531). */
static void forward_kl(double log_p, double log_q, double a, double *value, double *slope) {
    const double p = exp(log_p);
    (void)a;
    *value = p * (log_p - log_q);
    *slope = -p;
}

/* KL(q || p), q being the student: it is large where the student finds likely what the teacher does not
 * (MiniLLM, arXiv 2306.08543, section 2.1). */
static void reverse_kl(double log_p, double log_q, double a, double *value, double *slope) {
    const double q = exp(log_q);
    (void)a;
    *value = q * (log_q - log_p);
    *slope = q * (log_q - log_p + 1);
}

/* a KL(p || m) + (1 - a) KL(q || m), m = a p + (1 - a) q (GKD, arXiv 2306.13649, equation 1). */
static void jsd(double log_p, double log_q, double a, double *value, double *slope) {
    const double p = exp(log_p), q = exp(log_q), log_m = log_mixed(log_p, log_q, a);
    *value = a * p * (log_p - log_m) + (1 - a) * q * (log_q - log_m);
    *slope = (1 - a) * q * (log_q - log_m);
}

/* KL(p || a p + (1 - a) q) (DistiLLM, arXiv 2402.03898, section 3.1). */
static void skew_kl(double log_p, double log_q, double a, double *value, double *slope) {
    const double p = exp(log_p), log_m = log_mixed(log_p, log_q, a);
    *value = p * (log_p - log_m);
    *slope = -(1 - a) * p * exp(log_q - log_m);
}

/* KL(q || (1 - a) p + a q) (the same). */
static void skew_reverse_kl(double log_p, double log_q, double a, double *value, double *slope) {
    const double q = exp(log_q), log_m = log_mixed(log_q, log_p, a);
    *value = q * (log_q - log_m);
    *slope = q * (log_q - log_m + 1 - a * exp(log_q - log_m));
}

static const divergence kinds[] = {
    {"kl", NULL, 0, forward_kl, false, false},
    {"reverse_kl", NULL, 0, reverse_kl, false, false},
    {"jsd", "the teacher's share of the mixture", 0.5, jsd, false, false},
    {"skew_kl", "the teacher's share of the mixture", 0.1, skew_kl, false, false},
    {"skew_reverse_kl", "the student's share of the mixture", 0.1, skew_reverse_kl, false, false},
    {"token_kl", NULL, 0, forward_kl, true, false},
    {"minillm", "the teacher's share in what is sampled", 0.2, reverse_kl, false, true},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

nut_status divergence_find(const char *name, const divergence **out, nut_error *err) {
    char names[120] = "";
    for (size_t i = 0, n = 0; i < N_KINDS; i++) {
        if (!strcmp(kinds[i].name, name)) return *out = &kinds[i], NUT_OK;
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", kinds[i].name);
    }
    return error_set(err, NUT_E_ARGUMENT, "there is no divergence \"%.30s\"; there are %s", name, names);
}

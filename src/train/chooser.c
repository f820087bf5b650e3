/* Choosing the next token: see chooser.h. */
#include "train/chooser.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "memory/ledger.h"

levee_status chooser_open(chooser *s, const chooser_settings *settings, uint32_t vocabulary, levee_error *error) {
    *s = (chooser){.settings = *settings, .vocabulary = vocabulary};
    s->candidates = ledger_alloc_array(LEVEE_DATA, vocabulary, sizeof *s->candidates);
    return s->candidates ? LEVEE_OK
                         : error_out_of_memory(error, "the likeliest tokens", vocabulary * sizeof *s->candidates);
}

void chooser_close(chooser *s) {
    ledger_free(s->candidates);
    memset(s, 0, sizeof *s);
}

/* Once for each token, however often it was said: from its logit as the model gave it. */
static void penalise(chooser *s, const float *logits, const uint32_t *so_far, uint64_t count) {
    double penalty = s->settings.repetition_penalty;
    if (penalty == 0 || penalty == 1) return;
    uint64_t first = count > s->settings.repetition_context ? count - s->settings.repetition_context : 0;
    for (uint64_t i = first; i < count; i++) {
        if (so_far[i] >= s->vocabulary) continue;
        double logit = logits[so_far[i]];
        s->candidates[so_far[i]].logit = (float)(logit < 0 ? logit * penalty : logit / penalty);
    }
}

static int likelier_first(const void *left, const void *right) {
    const chooser_candidate *a = left, *b = right;
    if (a->logit != b->logit) return a->logit > b->logit ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* How many of the sorted candidates stay. Likelihoods are those at temperature 1. */
static uint32_t count_kept(const chooser *s) {
    const chooser_settings *o = &s->settings;
    const chooser_candidate *c = s->candidates;
    uint32_t most = o->top_k && o->top_k < s->vocabulary ? o->top_k : s->vocabulary, kept = 0;
    double total = 0, above = 0;
    for (uint32_t i = 0; i < s->vocabulary; i++) total += exp((double)c[i].logit - c[0].logit);
    for (; kept < most; kept++) {
        double share = exp((double)c[kept].logit - c[0].logit);
        bool beyond = o->top_p > 0 && o->top_p < 1 && above >= o->top_p * total;
        if (kept && (beyond || share < o->min_p)) break;
        above += share;
    }
    return kept;
}

static uint32_t draw(const chooser *s, uint32_t kept, uint64_t place) {
    const chooser_candidate *c = s->candidates;
    double temperature = s->settings.temperature, total = 0;
    for (uint32_t i = 0; i < kept; i++) total += exp(((double)c[i].logit - c[0].logit) / temperature);
    random_block random = random_philox(s->settings.seed, (uint32_t)place, (uint32_t)(place >> 32), 0, 2);
    double rest = total * random_unit(random.words[0]);
    for (uint32_t i = 0; i + 1 < kept; i++) {
        rest -= exp(((double)c[i].logit - c[0].logit) / temperature);
        if (rest < 0) return c[i].id;
    }
    return c[kept - 1].id;
}

uint32_t chooser_next(chooser *s, const float *logits, const uint32_t *so_far, uint64_t count) {
    chooser_candidate *c = s->candidates, likeliest;
    for (uint32_t i = 0; i < s->vocabulary; i++) c[i] = (chooser_candidate){logits[i], i};
    penalise(s, logits, so_far, count);
    likeliest = c[0];
    for (uint32_t i = 1; i < s->vocabulary; i++)
        if (c[i].logit > likeliest.logit) likeliest = c[i];
    if (s->settings.temperature == 0) return likeliest.id;
    qsort(c, s->vocabulary, sizeof *c, likelier_first);
    return draw(s, count_kept(s), count);
}

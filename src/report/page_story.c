/* The guard's story: see page.h. */
#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "report/chart.h"
#include "report/page.h"

enum { SHOWN_OPEN = 12 };

static const struct {
    const char *action, *done, *thing;
} words[] = {
    {"trim", "it gave caches back", "giving caches back"},
    {"shrink", "it went on with a smaller plan", "a smaller plan"},
    {"grow", "it took a larger plan again", "a larger plan"},
    {"pause", "it stored the run, gave everything back and waited", "a pause"},
    {"resume", "it took the memory again and went on", "going on"},
    {"stop", "it stored the run and ended it", "a stop"},
};
enum { WORDS = sizeof words / sizeof *words };

static unsigned words_of(const char *action) {
    unsigned i = 0;
    while (i < WORDS && strcmp(words[i].action, action) != 0) i++;
    return i;
}

static void tell_evidence(formatter *f, const history_decision *d) {
    format_add(f, " It saw ");
    format_xml_text(f, *d->source ? d->source : "something");
    if (isfinite(d->share)) format_add(f, " at %.0f %%", 100 * d->share);
    if (*d->level) {
        format_add(f, " (");
        format_xml_text(f, d->level);
        format_add(f, ")");
    }
    if (isfinite(d->need_bytes) && d->need_bytes > 0) {
        format_add(f, "; ");
        page_bytes(f, d->need_bytes);
        format_add(f, " were needed");
    }
    format_add(f, ".");
}

static void tell_effect(formatter *f, const history_decision *d) {
    if (!d->carried_out) {
        format_add(f, " Only a warning: nothing was done.");
        return;
    }
    if (!isfinite(d->moved_bytes)) return;
    format_add(f, " ");
    page_bytes(f, fabs(d->moved_bytes));
    format_add(f, " were %s", d->moved_bytes < 0 ? "taken" : "given back");
    if (isfinite(d->expected_bytes)) {
        format_add(f, ", ");
        page_bytes(f, d->expected_bytes);
        format_add(f, " expected");
    }
    if (isfinite(d->seconds)) format_add(f, ", in %.3g ms", 1e3 * d->seconds);
    format_add(f, ".");
}

static void tell_state(formatter *f, const history_decision *d) {
    format_add(f, " Plan %llu", (unsigned long long)d->plan);
    if (*d->breaker) {
        format_add(f, ", breaker ");
        format_xml_text(f, d->breaker);
    }
    if (*d->leak && strcmp(d->leak, "none") != 0) {
        format_add(f, ", leak ");
        format_xml_text(f, d->leak);
        if (isfinite(d->leak_steps)) format_add(f, " (%.0f steps left at least)", d->leak_steps);
    }
    format_add(f, ".");
}

static void tell(formatter *f, const history *h, const history_decision *d) {
    unsigned known = words_of(d->action);
    format_add(f, "<li><strong>After step %llu", (unsigned long long)d->step);
    if (isfinite(d->time - h->begin_time) && d->time >= h->begin_time)
        format_add(f, ", at %.1f s", d->time - h->begin_time);
    format_add(f, ": ");
    if (known < WORDS && d->carried_out)
        format_add(f, "%s", words[known].done);
    else
        format_xml_text(f, d->action);
    format_add(f, "</strong>, because: ");
    format_xml_text(f, d->rule);
    format_add(f, ".");
    tell_evidence(f, d);
    tell_effect(f, d);
    tell_state(f, d);
    format_add(f, "</li>\n");
}

static void tell_sum(formatter *f, const history *h) {
    format_add(
        f, "<p>It decided %llu time%s, and %llu of these %s carried out:", (unsigned long long)h->decision_count,
        h->decision_count == 1 ? "" : "s", (unsigned long long)h->carried_out, h->carried_out == 1 ? "was" : "were");
    const char *comma = " ";
    for (unsigned kind = 0; kind < HISTORY_ACTIONS; kind++) {
        if (!h->actions[kind]) continue;
        const char *name = kind < HISTORY_ACTIONS - 1 ? guard_action_name((guard_action)kind) : "other";
        unsigned known = words_of(name);
        format_add(f, "%s%s %llu", comma, known < WORDS ? words[known].thing : name,
                   (unsigned long long)h->actions[kind]);
        comma = ", ";
    }
    format_add(f, ".</p>\n");
}

static void tell_all(page *p, const history *h) {
    formatter *f = &p->out;
    uint32_t kept = history_decisions(h);
    bool many = kept > SHOWN_OPEN;
    if (many) format_add(f, "<details>\n<summary>All of them</summary>\n");
    format_add(f, "<ol class=\"story\">\n");
    for (uint32_t i = 0; i < kept; i++) {
        if (i == HISTORY_DECISIONS && h->decision_count > kept)
            format_add(f, "</ol>\n<p>%llu more are in events.jsonl.</p>\n<ol class=\"story\" start=\"%llu\">\n",
                       (unsigned long long)(h->decision_count - kept),
                       (unsigned long long)(h->decision_count - HISTORY_DECISIONS + 1));
        tell(f, h, history_decision_at(h, i));
    }
    format_add(f, "</ol>\n%s", many ? "</details>\n" : "");
}

void page_story(page *p, const history *h, unsigned level) {
    format_add(&p->out, "<h%u>What the guard did</h%u>\n", level, level);
    if (!h->events.there)
        format_add(&p->out, "<p>There is no events.jsonl: the guard was off, or its log is not here.</p>\n");
    else if (!h->decision_count)
        format_add(&p->out, "<p>Nothing: events.jsonl holds no decision.</p>\n");
    else {
        tell_sum(&p->out, h);
        tell_all(p, h);
    }
    page_flush(p);
}

void page_story_marks(formatter *f, const chart *c, const history *h) {
    for (uint32_t i = 0; i < history_decisions(h); i++) {
        const history_decision *d = history_decision_at(h, i);
        double step = (double)d->step, x = chart_x(c, step);
        if (step < c->first_step - 1 || step > c->last_step) continue;
        if (step < c->first_step) x = c->frame.left;
        format_add(f, "<path class=\"mark\" d=\"M%.1f %dV%d\"/>", x, c->frame.bottom, c->frame.top);
    }
}

void page_story_words(formatter *f, const history *h, const history_point *p) {
    for (uint32_t i = 0; i < history_decisions(h); i++) {
        const history_decision *d = history_decision_at(h, i);
        if (d->step < p->first || d->step > p->last) continue;
        format_add(f, "\nguard%s, after step %llu: ", d->carried_out ? "" : " (a warning only)",
                   (unsigned long long)d->step);
        format_xml_text(f, d->action);
    }
}

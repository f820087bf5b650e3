/* levee_doctor: what this machine offers a run, and what could hurt. */
#include "base/error.h"
#include "doctor/report.h"
#include "memory/ledger.h"
#include "train/options.h"

typedef struct examination {
    doctor_facts facts;
    finding findings[FINDINGS];
    bool calibrated;
    measured speed; /* when calibrated */
} examination;

static levee_status calibrate(examination *e, const levee_options *options, levee_error *error) {
    measured *m = &e->speed;
    calibration_identify(&m->rates, kernel_roots_default, options->threads);
    levee_status status = calibration_path(m->path, error);
    if (status == LEVEE_OK) status = calibration_measure(&m->rates, options->others_bytes, error);
    if (status == LEVEE_OK) status = calibration_store(m->path, &m->rates, error);
    e->calibrated = status == LEVEE_OK;
    return status;
}

static levee_status print_findings(const examination *e, bool json, levee_print *print, void *context,
                                   levee_error *error) {
    text_buffer text = {0};
    levee_status status =
        (json ? findings_json : findings_text)(&text, e->findings, e->calibrated ? &e->speed : NULL, error);
    if (status == LEVEE_OK && print) print(context, text.data);
    text_free(&text);
    return status;
}

/* Names what is bad, the remedies standing above. */
static levee_status refuse(const examination *e, levee_error *error) {
    const char *first = NULL;
    unsigned bad = findings_count(e->findings, VERDICT_BAD);
    for (unsigned i = 0; i < FINDINGS && !first; i++)
        if (e->findings[i].verdict == VERDICT_BAD) first = e->findings[i].name;
    if (!first) return LEVEE_OK;
    return error_set(error, LEVEE_DOES_NOT_FIT, "this machine: %s is bad%s; see the remedy there", first,
                     bad > 1 ? ", and more than that" : "");
}

levee_status levee_doctor(const levee_options *options, levee_print *print, void *context, levee_error *error) {
    levee_status status = options_check_verb(options, "doctor", error);
    if (status != LEVEE_OK) return status;
    examination *e = ledger_alloc(LEVEE_RUNTIME, sizeof *e);
    if (!e) return error_out_of_memory(error, "the examination", sizeof *e);
    doctor_options asked = {.roots = kernel_roots_default,
                            .directory = options->adapter_path,
                            .reserve_bytes = options->others_bytes,
                            .threads = options->threads};
    doctor_look(&e->facts, &asked);
    doctor_judge(e->findings, &e->facts);
    levee_error failure = {0}; /* to calibrate: the findings, which may tell why, are printed all the same */
    levee_status calibrated = options->analysis.calibrate ? calibrate(e, options, &failure) : LEVEE_OK;
    status = print_findings(e, options->analysis.json, print, context, error);
    if (status == LEVEE_OK) status = refuse(e, error);
    if (status == LEVEE_OK && calibrated != LEVEE_OK) {
        if (error) *error = failure;
        status = calibrated;
    }
    ledger_free(e);
    return status;
}

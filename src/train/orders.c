/* What people ask of a run between two steps: see orders.h. */
#include "train/orders.h"

#include "base/bytes.h"
#include "base/error.h"
#include "platform/machine.h"
#include "platform/process.h"
#include "train/reporting.h"
#include "train/requests.h"

static const double look_seconds = 0.1;  /* between two looks whether it may go on */
static const double retry_seconds = 1.0; /* between two tries to take memory again */

static uint64_t held_bytes(void) {
    process_memory now = {0};
    process_memory_read(&now);
    return now.held_bytes;
}

/* A full disk is no reason to end, and none to give up what is not stored. */
static levee_status store(trainer *t, const char *then, bool *stored, levee_error *error) {
    levee_error why = {0};
    levee_status status = trainer_store_place(t, &why);
    *stored = status == LEVEE_OK;
    if (*stored) return LEVEE_OK;
    if (status == LEVEE_IO_ERROR) {
        run_print(&t->common, "step %llu is not saved, and %s: %s", (unsigned long long)t->place.state.step, then,
                  why.message);
        return LEVEE_OK;
    }
    if (error) *error = why;
    return status;
}

static levee_status release(trainer *t, levee_error *error) {
    char given[BYTES_TEXT];
    uint64_t before = held_bytes();
    guarding_rest(&t->protection);
    levee_status status = training_release(&t->engine, error);
    levee_trim(NULL);
    uint64_t after = held_bytes();
    reporting_state(t, BOARD_PAUSED);
    run_print(&t->common, "paused as asked after step %llu: %s given back; it waits to be resumed",
              (unsigned long long)t->place.state.step, bytes_format(given, before > after ? before - after : 0));
    return status;
}

/* Waits until nobody wants it paused. */
static levee_status wait_for_resume(levee_error *error) {
    while (requests_pausing() && !requests_stopping()) machine_sleep(look_seconds);
    return requests_stopping() ? error_set(error, LEVEE_STOPPED, "stopped as asked, while it was paused") : LEVEE_OK;
}

/* Takes the memory again, as soon as there is room for it. */
static levee_status reclaim(trainer *t, levee_error *error) {
    bool told = false;
    for (;;) {
        levee_error why = {0};
        levee_status status = wait_for_resume(error);
        if (status != LEVEE_OK) return status;
        status = training_reclaim(&t->engine, &why);
        if (status != LEVEE_DOES_NOT_FIT) {
            if (status != LEVEE_OK && error) *error = why;
            return status;
        }
        if (!told) run_print(&t->common, "it stays paused until there is room: %s", why.message);
        told = true;
        machine_sleep(retry_seconds);
    }
}

static levee_status pause(trainer *t, levee_error *error) {
    bool stored;
    levee_status status = store(t, "not paused", &stored, error);
    if (status != LEVEE_OK || !stored) {
        levee_request(LEVEE_REQUEST_RESUME);
        reporting_state(t, BOARD_RUNNING);
        return status;
    }
    status = release(t, error);
    if (status == LEVEE_OK) status = reclaim(t, error);
    if (status == LEVEE_OK) status = resume_reload(&t->place, error);
    if (status != LEVEE_OK) return status;
    guarding_go_on(&t->protection);
    reporting_state(t, BOARD_RUNNING);
    run_print(&t->common, "resumed as asked");
    return LEVEE_OK;
}

static levee_status checkpoint(trainer *t, levee_error *error) {
    bool stored;
    levee_status status = store(t, "training goes on", &stored, error);
    if (stored) run_print(&t->common, "step %llu is saved, as asked", (unsigned long long)t->place.state.step);
    return status;
}

levee_status orders_answer(trainer *t, levee_error *error) {
    levee_status status = requests_take_checkpoint() ? checkpoint(t, error) : LEVEE_OK;
    return status == LEVEE_OK && requests_pausing() ? pause(t, error) : status;
}

/* How fast a machine is, measured once and kept in a small file of the user's, so that a plan can say how long a step
 * takes.
 *
 * The file is $XDG_CACHE_HOME/levee/calibration.yaml, or ~/.cache/levee/calibration.yaml: a list, an entry for each
 * model of processor and number of threads. It is a cache: what cannot be read as an entry is left out when it is
 * written again, which is atomic. Units are operations and bytes a second.
 *
 * Measuring runs the backend's own kernels for some seconds on all threads, and takes some 60 MiB of booked memory.
 */
#ifndef LEVEE_DOCTOR_CALIBRATION_H
#define LEVEE_DOCTOR_CALIBRATION_H

#include "backend/backend.h"
#include "base/file.h"
#include "graph/work.h"
#include "platform/processor.h"

typedef struct calibration {
    char processor[PROCESSOR_NAME_BYTES]; /* its model; plain ASCII without quotes */
    unsigned threads;
    double f32, bf16; /* products; bf16 0: this processor has none */
    double thin;      /* products with LoRA's matrices of rank 8 */
    double attention;
    double bytes; /* moved by an element-wise operator on more than caches hold */
} calibration;

/* Names this machine with so many threads; nothing is measured. */
void calibration_identify(calibration *c, kernel_roots roots, unsigned threads);

/* Measures what calibration_identify left open. LEVEE_DOES_NOT_FIT when the memory for that is not to be had beside
 * the reserve. */
levee_status calibration_measure(calibration *c, uint64_t reserve_bytes, levee_error *error);

/* The place of the file; LEVEE_USAGE when neither variable says where. */
levee_status calibration_path(char path[FILE_PATH_BYTES], levee_error *error);

/* Puts an entry into the file, instead of one for the same machine; makes its directory. */
levee_status calibration_store(const char *path, const calibration *c, levee_error *error);

/* Fills in what is known of an identified machine; false when nothing is, or not all of it is a rate. Takes no
 * memory. */
bool calibration_find(const char *path, calibration *c);

/* The rates for work_seconds, with products in that type; false when they were not measured. */
bool calibration_rates(const calibration *c, compute_type products, double rates[WORK_KINDS]);

#endif

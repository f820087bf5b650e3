/* NVML on a real GPU: a gibibyte that this process takes there is seen on the device. Skips where there is none; what
 * the reader does with every answer of NVML is in test_guard_sample.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include "platform/gpu_memory.h"

static const uint64_t gibibyte = (uint64_t)1 << 30;

/* The few functions of the CUDA driver that it takes, loaded as NVML is. */
typedef struct cuda_driver {
    int (*init)(unsigned flags);
    int (*device)(int *device, int index);
    int (*context)(void **context, unsigned flags, int device);
    int (*allocate)(unsigned long long *address, size_t bytes);
    int (*release)(unsigned long long address);
    int (*leave)(void *context);
} cuda_driver;

static bool load(void *library, const char *name, void *function) {
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

static bool load_driver(cuda_driver *d) {
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    return library && load(library, "cuInit", &d->init) && load(library, "cuDeviceGet", &d->device) &&
           load(library, "cuCtxCreate_v2", &d->context) && load(library, "cuMemAlloc_v2", &d->allocate) &&
           load(library, "cuMemFree_v2", &d->release) && load(library, "cuCtxDestroy_v2", &d->leave) && !d->init(0);
}

static void sees_what_is_taken(void **state) {
    (void)state;
    static gpu_meter meter;
    gpu_readings before, held, after;
    cuda_driver cuda = {0};
    unsigned own = (unsigned)getpid();
    int device;
    void *context;
    unsigned long long address;
    if (!gpu_meter_open(&meter, NULL, 0) || !load_driver(&cuda)) {
        print_message("no NVIDIA GPU here\n");
        skip();
    }
    assert_int_equal(cuda.device(&device, 0), 0);
    assert_int_equal(cuda.context(&context, 0, device), 0);
    gpu_meter_read(&meter, gpu_process_is, &own, &before);
    assert_int_equal(cuda.allocate(&address, gibibyte), 0);
    gpu_meter_read(&meter, gpu_process_is, &own, &held);
    assert_int_equal(cuda.release(address), 0);
    gpu_meter_read(&meter, gpu_process_is, &own, &after);
    assert_true(before.total.known && before.used.known && held.used.known);
    print_message("device: %llu of %llu MiB used with a context, %llu with a gibibyte, %llu after it\n",
                  (unsigned long long)before.used.value >> 20, (unsigned long long)before.total.value >> 20,
                  (unsigned long long)held.used.value >> 20, (unsigned long long)after.used.value >> 20);
    print_message("process: %s, %llu MiB, then %llu\n", held.processes.known ? "known" : "unknown",
                  (unsigned long long)before.processes.value >> 20, (unsigned long long)held.processes.value >> 20);
    assert_true(held.used.value >= before.used.value + gibibyte);
    assert_true(after.used.value <= held.used.value - gibibyte);
    if (held.processes.known) /* not in a container that numbers processes itself */
        assert_int_equal(held.processes.value - before.processes.value, gibibyte);
    cuda.leave(context);
    gpu_meter_close(&meter);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sees_what_is_taken)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

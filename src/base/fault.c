/* Fault points: see fault.h. */
#include "base/fault.h"

#include <stdatomic.h>
#include <stddef.h>

static _Atomic(fault_script *) installed;
static void *installed_context;

void fault_install(fault_script *script, void *context) {
    installed_context = context;
    atomic_store(&installed, script);
}

fault fault_ask(fault_point point) {
    fault_script *script = atomic_load_explicit(&installed, memory_order_relaxed);
    return script ? script(installed_context, point) : (fault){0};
}

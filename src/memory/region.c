/* A region of reserved addresses: see region.h. */
#include "memory/region.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "platform/machine.h"

static uint64_t round_to_pages(uint64_t bytes) {
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

levee_status region_open(region *reservation, uint64_t bytes, levee_error *error) {
    memset(reservation, 0, sizeof *reservation);
    uint64_t wanted = round_to_pages(bytes ? bytes : 1);
    void *base = mmap(NULL, wanted, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return error_set(error, LEVEE_DOES_NOT_FIT, "reserving %llu bytes of addresses: %s; see `ulimit -v`",
                         (unsigned long long)wanted, strerror(errno));
    *reservation = (region){.base = base, .reserved_bytes = wanted};
    return LEVEE_OK;
}

levee_status region_commit(region *reservation, uint64_t bytes, levee_error *error) {
    uint64_t wanted = round_to_pages(bytes);
    if (wanted > reservation->reserved_bytes)
        return error_set(error, LEVEE_INTERNAL, "committing %llu bytes of a region of %llu",
                         (unsigned long long)wanted, (unsigned long long)reservation->reserved_bytes);
    if (wanted < reservation->committed_bytes) {
        unsigned char *tail = reservation->base + wanted;
        uint64_t tail_bytes = reservation->committed_bytes - wanted;
        if (madvise(tail, tail_bytes, MADV_DONTNEED) || mprotect(tail, tail_bytes, PROT_NONE))
            return error_set(error, LEVEE_INTERNAL, "giving memory back: %s", strerror(errno));
    } else if (wanted > reservation->committed_bytes) {
        uint64_t growth = wanted - reservation->committed_bytes, available;
        if (machine_available_bytes(&available) && growth > available)
            return error_set(error, LEVEE_DOES_NOT_FIT,
                             "this machine has %llu bytes available and the plan needs %llu more; close other "
                             "programs or give a smaller --memory",
                             (unsigned long long)available, (unsigned long long)growth);
        if (mprotect(reservation->base + reservation->committed_bytes, growth, PROT_READ | PROT_WRITE))
            return error_set(error, LEVEE_DOES_NOT_FIT, "committing %llu bytes: %s", (unsigned long long)growth,
                             strerror(errno));
    }
    reservation->committed_bytes = wanted;
    return LEVEE_OK;
}

void region_close(region *reservation) {
    if (reservation->base) munmap(reservation->base, reservation->reserved_bytes);
    memset(reservation, 0, sizeof *reservation);
}

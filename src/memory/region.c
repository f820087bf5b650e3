/* A region of reserved addresses: see region.h. */
#include "memory/region.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fault.h"
#include "platform/headroom.h"

static const uint64_t slice_bytes = 64ull * 1024 * 1024;
static const uint64_t huge_bytes = 2ull * 1024 * 1024; /* the usual size; where pages are larger, they are not used */

static uint64_t round_to_pages(uint64_t bytes) {
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

static unsigned char *round_to_huge(unsigned char *address) {
    return address + (-(uintptr_t)address & (huge_bytes - 1));
}

/* Where a huge page can begin, if there is room for one. */
static unsigned char *reserve_addresses(uint64_t bytes) {
    uint64_t slack = bytes >= huge_bytes ? huge_bytes : 0;
    errno = fault_ask(FAULT_RESERVE).failure;
    unsigned char *all =
        errno ? MAP_FAILED : mmap(NULL, bytes + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED) return NULL;
    if (!slack) return all;
    unsigned char *base = round_to_huge(all);
    uint64_t before = (uint64_t)(base - all);
    if (before) munmap(all, before);
    if (before < slack) munmap(base + bytes, slack - before);
    return base;
}

/* In huge pages memory is given back, and taken from us when we are ended, hundreds of times faster: a neighbour that
 * waits for it in a full container may not have that time. Only for what is touched as a whole at once, or more would
 * be held than was taken. A kernel without them says no. */
static void use_huge_pages(unsigned char *from, const unsigned char *to) {
    from = round_to_huge(from);
    if (from < to && (uint64_t)(to - from) >= huge_bytes)
        madvise(from, (uint64_t)(to - from) / huge_bytes * huge_bytes, MADV_HUGEPAGE);
}

static bool make_usable(unsigned char *from, uint64_t bytes) {
    errno = fault_ask(FAULT_COMMIT).failure;
    return !errno && !mprotect(from, bytes, PROT_READ | PROT_WRITE);
}

/* Fresh pages are zero, but only there once they are written to. */
static void touch_pages(unsigned char *from, uint64_t bytes) {
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    volatile unsigned char *pages = from;
    for (uint64_t at = 0; at < bytes; at += page) pages[at] = 0;
}

levee_status region_open(region *reservation, uint64_t bytes, levee_error *error) {
    memset(reservation, 0, sizeof *reservation);
    uint64_t wanted = round_to_pages(bytes ? bytes : 1);
    unsigned char *base = reserve_addresses(wanted);
    if (!base)
        return error_set(error, LEVEE_DOES_NOT_FIT, "reserving %llu bytes of addresses: %s; see `ulimit -v`",
                         (unsigned long long)wanted, strerror(errno));
    /* A child that does not become another program at once would keep each page that we write to from then on. */
    madvise(base, wanted, MADV_DONTFORK);
    *reservation = (region){.base = base, .reserved_bytes = wanted};
    return LEVEE_OK;
}

levee_status region_commit(region *reservation, uint64_t bytes, levee_error *error) {
    uint64_t wanted = round_to_pages(bytes), before = reservation->committed_bytes;
    if (wanted > reservation->reserved_bytes)
        return error_set(error, LEVEE_INTERNAL, "committing %llu bytes of a region of %llu",
                         (unsigned long long)wanted, (unsigned long long)reservation->reserved_bytes);
    if (wanted > before && !make_usable(reservation->base + before, wanted - before))
        return error_set(error, LEVEE_DOES_NOT_FIT, "committing %llu bytes: %s; see `ulimit -d`",
                         (unsigned long long)(wanted - before), strerror(errno));
    if (wanted < before) {
        if (madvise(reservation->base + wanted, before - wanted, MADV_DONTNEED))
            return error_set(error, LEVEE_INTERNAL, "giving memory back: %s", strerror(errno));
        /* The pages are gone; that nobody touches them again is a guard, which the kernel may have no room for. */
        mprotect(reservation->base + wanted, before - wanted, PROT_NONE);
    }
    reservation->committed_bytes = wanted;
    return LEVEE_OK;
}

levee_status region_take(region *reservation, uint64_t bytes, uint64_t reserve_bytes, levee_error *error) {
    uint64_t wanted = round_to_pages(bytes), before = reservation->committed_bytes;
    if (wanted <= before) return region_commit(reservation, bytes, error);
    levee_status status = LEVEE_OK;
    while (status == LEVEE_OK && reservation->committed_bytes < wanted) {
        uint64_t done = reservation->committed_bytes, left = wanted - done;
        status = headroom_check(left, reserve_bytes, error);
        if (status == LEVEE_OK)
            status = region_commit(reservation, left < slice_bytes ? wanted : done + slice_bytes, error);
        if (status != LEVEE_OK) break;
        use_huge_pages(reservation->base + done, reservation->base + reservation->committed_bytes);
        touch_pages(reservation->base + done, reservation->committed_bytes - done);
    }
    if (status != LEVEE_OK && reservation->committed_bytes > before) region_commit(reservation, before, NULL);
    return status;
}

void region_close(region *reservation) {
    if (reservation->base) munmap(reservation->base, reservation->reserved_bytes);
    memset(reservation, 0, sizeof *reservation);
}

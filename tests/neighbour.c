/* neighbour BYTES BYTES_PER_SECOND SECONDS: a program that needs its memory. Touches BYTES, page by page and not
 * faster than that, says how many bytes a second it was, keeps them for SECONDS, and exits with 0. Every byte is its
 * own, so that what it takes is what was asked for. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void sleep_for(double seconds) {
    time_t whole = (time_t)seconds;
    nanosleep(&(struct timespec){.tv_sec = whole, .tv_nsec = (long)((seconds - (double)whole) * 1e9)}, NULL);
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    size_t bytes = strtoull(arguments[1], NULL, 10), page = (size_t)sysconf(_SC_PAGESIZE);
    double rate = strtod(arguments[2], NULL), keep = strtod(arguments[3], NULL), begun = now();
    if (!(rate > 0) || !(keep >= 0)) return 2;
    uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 69;
    madvise(memory, bytes, rate > 3e8 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE); /* small pages are slower than that */
    for (size_t taken = 0; taken < bytes; taken += page) {
        double early = (double)taken / rate - (now() - begun);
        if (early > 0.001) sleep_for(early);
        *(volatile uint8_t *)(memory + taken) = 1;
    }
    printf("%.0f\n", (double)bytes / (now() - begun));
    fflush(stdout);
    sleep_for(keep);
    return 0;
}

/* A training loop of one's own with Levee's guard: cc guarded_loop.c $(pkg-config --cflags --libs levee)
 * Its work leaks 4 MiB a step, so the guard has it use less, and at last save and stop before the budget is passed. */
#include <levee.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void train_one_step(unsigned examples) {
    size_t leaked = 4 << 20;
    void *forgotten = malloc(leaked);
    if (forgotten) memset(forgotten, (int)examples, leaked);
}

int main(void) {
    levee_guard *guard;
    levee_error error;
    levee_guard_settings settings = {.budget_bytes = 256 << 20, .ways = 2, .way_bytes = {32 << 20, 16 << 20}};
    if (levee_guard_open(&guard, &settings, &error) != LEVEE_OK) return fprintf(stderr, "%s\n", error.message), 1;
    levee_guard_place place = {0};
    levee_advice advice = {0};
    while (place.steps < 1000 && advice.action != LEVEE_SAVE_AND_STOP) {
        train_one_step(place.way ? 4 : 8);
        place.steps++;
        while (levee_guard_ask(guard, &place, &advice), advice.action != LEVEE_GO_ON) {
            printf("step %llu: %s\n", (unsigned long long)place.steps, advice.reason);
            if (advice.action == LEVEE_USE_LESS) place.way++;
            if (advice.action == LEVEE_USE_MORE) place.way--;
            if (advice.action == LEVEE_SAVE_AND_STOP) break;
        }
    }
    levee_guard_close(guard);
    return advice.action == LEVEE_SAVE_AND_STOP ? LEVEE_STOPPED : 0;
}

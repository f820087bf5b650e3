/* Serves the page of a run that is made up, to work on the page: build/bench/page_preview [STEPS [ADDRESS
 * [SECONDS]]]. STEPS are told at once, then one each tenth of a second, with decisions of the guard now and then; it
 * ends after SECONDS (600). Orders that arrive are printed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "platform/machine.h"
#include "web/web.h"

static board *shown;

static double chance(uint64_t n) { return (double)((n * 2654435761u ^ n >> 7) * 40503u % 10007) / 10007; }

static step_report make_step(uint64_t n, uint64_t steps) {
    double decay = exp(-(double)n / (0.25 * (double)steps));
    step_report r = {.time = report_time(),
                     .step = n,
                     .steps = steps,
                     .loss = 1.6 + 2.2 * decay + 0.25 * (chance(n) - 0.5),
                     .learning_rate = 2e-4 * (n < steps / 20 ? (double)n / (double)(steps / 20)
                                                             : 0.5 + 0.5 * cos(3.1416 * (double)n / (double)steps)),
                     .gradient_norm = 0.5 + chance(n + 5),
                     .tokens_per_second = 1800 + 300 * chance(n + 9),
                     .seconds = 0.28,
                     .validation_loss = n % (steps / 40 + 1) ? NAN : 1.75 + 2.1 * decay,
                     .tokens = 512,
                     .trained_tokens = 512 * n,
                     .held_bytes = (583ull << 20) + (uint64_t)(6e6 * chance(n + 3)),
                     .peak_bytes = 592ull << 20,
                     .predicted_bytes = 596ull << 20,
                     .budget_bytes = 700ull << 20,
                     .passes = 2,
                     .applied = true};
    const uint64_t mib[LEVEE_CATEGORY_COUNT] = {0, 18, 18, 36, 290, 84, 6, 22, 1, 121};
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) {
        r.planned_bytes[c] = mib[c] << 20;
        r.booked_bytes[c] = c == LEVEE_RUNTIME ? 42ull << 20 : mib[c] << 20;
    }
    uint64_t place = n % (steps / 3 + 1);
    if (place > steps / 6 && place < steps / 5) {
        r.booked_bytes[LEVEE_ACTIVATIONS] /= 2;
        r.held_bytes -= 150ull << 20;
        r.plan_level = 1;
    }
    return r;
}

static sample_report make_sample(uint64_t n) {
    sample_report s = {
        .time = report_time(), .step = n, .seen = {.found = {.source = SOURCE_MACHINE, .share = 0.42}}};
    s.seen.leak_steps = INFINITY;
    const uint64_t mib[METER_COUNT] = {
        [METER_PROCESS_ANONYMOUS] = 580, [METER_PROCESS_FILE] = 270, [METER_BOOKED] = 540,
        [METER_MACHINE_TOTAL] = 24000,   [METER_SWAP_TOTAL] = 8192,  [METER_SWAP_FREE] = 8100};
    for (unsigned m = 0; m < METER_DEVICE_TOTAL; m++) s.sample.meters[m] = (reading){true, mib[m] << 20};
    s.sample.meters[METER_MACHINE_AVAILABLE] = (reading){true, (uint64_t)((13.5 + chance(n)) * 1e9)};
    s.sample.meters[METER_STALL_SOME] = (reading){true, 1234567 + n * 10};
    s.sample.meters[METER_GROUP_LIMIT] = (reading){true, UINT64_MAX};
    return s;
}

static void make_event(const sink *to, uint64_t n, guard_action action, guard_rule rule, pressure_level level,
                       double share) {
    event_report e = {.time = report_time(),
                      .step = n,
                      .carried_out = true,
                      .moved_bytes = action == GUARD_GROW ? -157286400 : 157286400,
                      .seconds = 0.013};
    e.sample = make_sample(n).sample;
    e.decision = (guard_decision){.action = action,
                                  .rule = rule,
                                  .found = {level, SOURCE_MACHINE, share, 2.4e10},
                                  .held = level,
                                  .need_bytes = 1.2e8,
                                  .expected_bytes = 1.5e8,
                                  .leak_steps = INFINITY,
                                  .breaker = action == GUARD_GROW ? BREAKER_HALF_OPEN : BREAKER_OPEN};
    to->event(to->self, &e, NULL);
}

static void tell(const sink *to, uint64_t n, uint64_t steps) {
    sample_report s = make_sample(n);
    step_report r = make_step(n, steps);
    to->sample(to->self, &s, NULL);
    to->step(to->self, &r, NULL);
    uint64_t place = n % (steps / 3 + 1);
    if (place == steps / 6) make_event(to, n, GUARD_TRIM, RULE_YELLOW_TRIM, PRESSURE_YELLOW, 0.87);
    if (place == steps / 6 + 1) make_event(to, n, GUARD_SHRINK, RULE_ORANGE_SHRINK, PRESSURE_ORANGE, 0.93);
    if (place == steps / 5) make_event(to, n, GUARD_GROW, RULE_COOLED_GROW, PRESSURE_GREEN, 0.61);
}

static void take_order(void *context, web_order order) {
    static const char *const names[] = {"pause", "resume", "checkpoint", "stop"};
    (void)context;
    printf("order: %s\n", names[order]);
    fflush(stdout);
    if (order == ORDER_PAUSE) board_set_state(shown, BOARD_PAUSED);
    if (order == ORDER_RESUME) board_set_state(shown, BOARD_RUNNING);
}

int main(int count, char **arguments) {
    uint64_t steps = count > 1 ? strtoull(arguments[1], NULL, 10) : 10000, total = steps + steps / 5 + 5;
    double until = machine_seconds() + (count > 3 ? strtod(arguments[3], NULL) : 600);
    levee_error error = {0};
    web *page = NULL;
    levee_prepare();
    if (board_open(&shown, &error) != LEVEE_OK) return 1;
    board_facts facts = {.verb = "train",
                         .model = "HuggingFaceTB/SmolLM2-135M",
                         .data = "/data/harbour",
                         .result = "/runs/harbour-lora",
                         .type = "lora",
                         .products = "bf16",
                         .steps = total,
                         .budget_bytes = 700ull << 20,
                         .predicted_bytes = 596ull << 20,
                         .pid = (uint64_t)getpid(),
                         .began = report_time(),
                         .takes_orders = true};
    memcpy(facts.planned_bytes, make_step(1, total).planned_bytes, sizeof facts.planned_bytes);
    board_set_facts(shown, &facts);
    web_options options = {.address = count > 2 ? arguments[2] : "",
                           .shown = shown,
                           .order = take_order,
                           .token = getenv("LEVEE_WEB_TOKEN")};
    if (web_open(&page, &options, &error) != LEVEE_OK) {
        fprintf(stderr, "%s\n", error.message);
        return (int)error.status;
    }
    printf("%s\n", web_url(page));
    fflush(stdout);
    sink to = board_sink(shown);
    uint64_t n = 1;
    for (; n <= steps; n++) tell(&to, n, total);
    for (; n <= total && machine_seconds() < until; n++) {
        machine_sleep(0.1);
        tell(&to, n, total);
    }
    while (machine_seconds() < until) machine_sleep(0.1);
    board_set_state(shown, BOARD_ENDED);
    web_close(page);
    board_close(shown);
    return 0;
}

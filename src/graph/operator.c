/* What the graph has to know of each operator besides its kernel: its name, and which buffers it shares. */
#include "graph/graph.h"

typedef struct shared_buffer {
    sharing how;
    unsigned char input;
} shared_buffer;

typedef struct operator_description {
    const char *name;
    shared_buffer outputs[KERNEL_OUTPUTS];
    bool accumulates[KERNEL_OUTPUTS];
} operator_description;

static const operator_description descriptions[OPERATOR_COUNT] = {
    [OPERATOR_COPY] = {.name = "copy"},
    [OPERATOR_EMBEDDING] = {.name = "embedding"},
    [OPERATOR_EMBEDDING_GRADIENT] = {.name = "embedding gradient", .accumulates = {true}},
    [OPERATOR_RMSNORM] = {.name = "rmsnorm"},
    [OPERATOR_RMSNORM_GRADIENT_INPUT] = {.name = "rmsnorm input gradient", .outputs = {{SHARING_REQUIRED, 4}}},
    [OPERATOR_RMSNORM_GRADIENT_WEIGHT] = {.name = "rmsnorm weight gradient", .accumulates = {true}},
    [OPERATOR_LINEAR] = {.name = "linear"},
    [OPERATOR_LINEAR_GRADIENT_INPUT] = {.name = "linear input gradient", .outputs = {{SHARING_REQUIRED, 2}}},
    [OPERATOR_LINEAR_GRADIENT_WEIGHT] = {.name = "linear weight gradient", .accumulates = {true}},
    [OPERATOR_LINEAR_GRADIENT_BIAS] = {.name = "linear bias gradient", .accumulates = {true}},
    [OPERATOR_LORA] = {.name = "linear and lora"},
    [OPERATOR_LORA_GRADIENT] = {.name = "linear and lora gradient",
                                .outputs = {{SHARING_REQUIRED, 2}},
                                .accumulates = {false, true, true}},
    [OPERATOR_ADAPTED_NORM] = {.name = "adapted norm"},
    [OPERATOR_MAGNITUDE] = {.name = "magnitude", .outputs = {{SHARING_ALLOWED, 0}}},
    [OPERATOR_MAGNITUDE_GRADIENT] = {.name = "magnitude gradient",
                                     .outputs = {{SHARING_ALLOWED, 0}},
                                     .accumulates = {false, true}},
    [OPERATOR_ROPE_TABLE] = {.name = "rope table"},
    [OPERATOR_ROPE] = {.name = "rope", .outputs = {{SHARING_ALLOWED, 0}}},
    [OPERATOR_ATTENTION] = {.name = "attention"},
    [OPERATOR_ATTENTION_GRADIENT] = {.name = "attention gradient"},
    [OPERATOR_ATTENTION_CACHED] = {.name = "cached attention",
                                   .outputs = {{SHARING_NONE, 0}, {SHARING_REQUIRED, 4}, {SHARING_REQUIRED, 5}},
                                   .accumulates = {false, true, true}},
    [OPERATOR_SWIGLU] = {.name = "swiglu", .outputs = {{SHARING_ALLOWED, 0}}},
    [OPERATOR_SWIGLU_GRADIENT] = {.name = "swiglu gradient", .outputs = {{SHARING_ALLOWED, 1}, {SHARING_ALLOWED, 2}}},
    [OPERATOR_ADD] = {.name = "add", .outputs = {{SHARING_ALLOWED, 0}}},
    [OPERATOR_HEAD_LOSS] = {.name = "head and loss"},
    [OPERATOR_HEAD_LOSS_GRADIENT] = {.name = "head, loss and gradient", .accumulates = {false, false, true}},
};

const char *operator_name(operator_kind kind) {
    return (unsigned)kind < OPERATOR_COUNT ? descriptions[kind].name : "unknown operator";
}

sharing operator_sharing(operator_kind kind, unsigned output, unsigned *input) {
    *input = descriptions[kind].outputs[output].input;
    return descriptions[kind].outputs[output].how;
}

bool operator_accumulates(operator_kind kind, unsigned output) { return descriptions[kind].accumulates[output]; }

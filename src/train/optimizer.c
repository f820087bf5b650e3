/* AdamW over all parameters at once: see optimizer.h. Loshchilov and Hutter, "Decoupled weight decay regularization".
 */
#include "train/optimizer.h"

#include <math.h>
#include <string.h>

void optimizer_open(optimizer *o, const optimizer_settings *settings, const layout *lasting, unsigned char *base,
                    const backend *device, struct backend_state *state) {
    *o = (optimizer){.settings = *settings,
                     .device = device,
                     .state = state,
                     .parameters = (float *)(void *)(base + lasting->parameters_offset),
                     .gradients = (float *)(void *)(base + lasting->gradients_offset),
                     .first_moments = (float *)(void *)(base + lasting->first_moments_offset),
                     .second_moments = (float *)(void *)(base + lasting->second_moments_offset),
                     .count = lasting->parameters_bytes / sizeof(float)};
}

levee_status optimizer_update(optimizer *o, double learning_rate, double loss, double *gradient_norm, bool *applied,
                              levee_error *error) {
    const optimizer_settings *s = &o->settings;
    double norm = sqrt(o->device->sum_of_squares(o->state, o->gradients, o->count));
    *gradient_norm = norm;
    *applied = isfinite(norm) && isfinite(loss);
    if (!*applied) {
        memset(o->gradients, 0, o->count * sizeof *o->gradients);
        return LEVEE_OK;
    }
    o->updates++;
    /* The small number keeps the factor finite; it is the one PyTorch uses, so that clipped runs agree. */
    double clip = s->max_gradient_norm / (norm + 1e-6);
    adamw_update update = {
        .parameters = o->parameters,
        .gradients = o->gradients,
        .first_moments = o->first_moments,
        .second_moments = o->second_moments,
        .count = o->count,
        .learning_rate = (float)learning_rate,
        .beta1 = (float)s->beta1,
        .beta2 = (float)s->beta2,
        .epsilon = (float)s->epsilon,
        .weight_decay = (float)s->weight_decay,
        .first_correction = s->bias_correction ? (float)(1 - pow(s->beta1, (double)o->updates)) : 1.0f,
        .second_correction = s->bias_correction ? (float)(1 - pow(s->beta2, (double)o->updates)) : 1.0f,
        .gradient_scale = clip < 1 ? (float)clip : 1.0f,
    };
    return o->device->adamw(o->state, &update, error);
}

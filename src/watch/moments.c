/* Moments of samples: see moments.h. */
#include "watch/moments.h"

void moments_add(moments *m, moment now) {
    if (!m->stride) m->stride = 1;
    if (now.sample % m->stride) return;
    if (m->count == MOMENTS_MOST) {
        m->count /= 2;
        m->stride *= 2;
        for (unsigned i = 0; i < m->count; i++) m->kept[i] = m->kept[2 * i];
        if (now.sample % m->stride) return;
    }
    m->kept[m->count++] = now;
}

moment moments_find(const moments *m, uint64_t sample) {
    moment found = {0};
    for (unsigned i = 0; i < m->count && m->kept[i].sample <= sample; i++) found = m->kept[i];
    return found;
}

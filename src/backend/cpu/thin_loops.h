/* The loops of thin.c, for one instruction set: included there once for each, with
 *   THIN_VECTOR    a vector of THIN_LANES floats that has a register of its own there
 *   THIN_PATH      compiles a function for the instruction set
 *   THIN_ON(x)     what x of vector.h is called for such vectors
 *   THIN_NAME(x)   the name of its x */
#define WHOLE(row) THIN_ON(load)((row) + j)
#define PART(row)  THIN_NAME(load)(row, j, n)

/* Lanes from column j on; zeros beyond the width. */
VECTOR_INLINE THIN_VECTOR THIN_NAME(load)(const float *row, uint64_t j, uint64_t width) {
    if (j + THIN_LANES <= width) return THIN_ON(load)(row + j);
    THIN_VECTOR v = THIN_ON(of)(0.0f);
    if (j < width) memcpy(&v, row + j, (width - j) * sizeof *row);
    return v;
}

VECTOR_INLINE void THIN_NAME(store)(float *row, uint64_t j, uint64_t width, THIN_VECTOR v) {
    if (j + THIN_LANES <= width)
        memcpy(row + j, &v, sizeof v);
    else if (j < width)
        memcpy(row + j, &v, (width - j) * sizeof *row);
}

VECTOR_INLINE void THIN_NAME(narrow_body)(thin *p, uint64_t begin, uint64_t end) {
    uint64_t n = p->width, rank = p->rank;
    for (uint64_t r = begin; r < end; r += FOUR) {
        uint64_t last = last_of_four(r, end), r1 = at_most(r + 1, last), r2 = at_most(r + 2, last);
        const float *x0 = p->x + r * n, *x1 = p->x + r1 * n, *x2 = p->x + r2 * n, *x3 = p->x + last * n;
        for (uint64_t k = 0; k < rank; k += FOUR) {
            uint64_t top = last_of_four(k, rank), k1 = at_most(k + 1, top), k2 = at_most(k + 2, top), j = 0;
            const float *w0 = p->w + k * n, *w1 = p->w + k1 * n, *w2 = p->w + k2 * n, *w3 = p->w + top * n;
            THIN_VECTOR zero = THIN_ON(of)(0.0f);
            THIN_VECTOR s00 = zero, s01 = zero, s02 = zero, s03 = zero, s10 = zero, s11 = zero, s12 = zero,
                        s13 = zero;
            THIN_VECTOR s20 = zero, s21 = zero, s22 = zero, s23 = zero, s30 = zero, s31 = zero, s32 = zero,
                        s33 = zero;
            for (; j + THIN_LANES <= n; j += THIN_LANES) NARROW_STEP(THIN_VECTOR, WHOLE);
            if (j < n) NARROW_STEP(THIN_VECTOR, PART);
            const THIN_VECTOR sums[FOUR][FOUR] = {
                {s00, s01, s02, s03}, {s10, s11, s12, s13}, {s20, s21, s22, s23}, {s30, s31, s32, s33}};
            for (uint64_t i = 0; r + i <= last; i++)
                for (uint64_t l = 0; k + l <= top; l++) p->to[(r + i) * rank + k + l] = THIN_ON(sum)(sums[i][l]);
        }
    }
}

VECTOR_INLINE void THIN_NAME(widen_body)(thin *p, uint64_t begin, uint64_t end) {
    uint64_t n = p->width, rank = p->rank, stride = p->stride;
    for (uint64_t r = begin; r < end; r += FOUR) {
        uint64_t last = last_of_four(r, end), r1 = at_most(r + 1, last), r2 = at_most(r + 2, last);
        const float *u0 = p->u + r * rank, *u1 = p->u + r1 * rank, *u2 = p->u + r2 * rank, *u3 = p->u + last * rank;
        float *rows[FOUR] = {p->to + r * n, p->to + r1 * n, p->to + r2 * n, p->to + last * n};
        for (uint64_t j = 0; j < n; j += 2 * THIN_LANES) {
            uint64_t j1 = j + THIN_LANES;
            bool whole = j1 + THIN_LANES <= n;
            THIN_VECTOR sums[FOUR][2];
            for (unsigned i = 0; i < FOUR; i++) {
                sums[i][0] = p->add ? THIN_NAME(load)(rows[i], j, n) : THIN_ON(of)(0.0f);
                sums[i][1] = p->add ? THIN_NAME(load)(rows[i], j1, n) : THIN_ON(of)(0.0f);
            }
            THIN_VECTOR s00 = sums[0][0], s01 = sums[0][1], s10 = sums[1][0], s11 = sums[1][1];
            THIN_VECTOR s20 = sums[2][0], s21 = sums[2][1], s30 = sums[3][0], s31 = sums[3][1];
            for (uint64_t k = 0; k < rank; k++) {
                const float *w = p->w + k * stride;
                THIN_VECTOR b0 = whole ? THIN_ON(load)(w + j) : THIN_NAME(load)(w, j, n),
                            b1 = whole ? THIN_ON(load)(w + j1) : THIN_NAME(load)(w, j1, n);
                s00 += THIN_ON(of)(u0[k]) * b0, s01 += THIN_ON(of)(u0[k]) * b1;
                s10 += THIN_ON(of)(u1[k]) * b0, s11 += THIN_ON(of)(u1[k]) * b1;
                s20 += THIN_ON(of)(u2[k]) * b0, s21 += THIN_ON(of)(u2[k]) * b1;
                s30 += THIN_ON(of)(u3[k]) * b0, s31 += THIN_ON(of)(u3[k]) * b1;
            }
            const THIN_VECTOR left[FOUR] = {s00, s10, s20, s30}, right[FOUR] = {s01, s11, s21, s31};
            for (uint64_t i = 0; r + i <= last; i++) {
                THIN_NAME(store)(rows[i], j, n, left[i]);
                THIN_NAME(store)(rows[i], j1, n, right[i]);
            }
        }
    }
}

/* begin..end count ranks. */
VECTOR_INLINE void THIN_NAME(reduce_body)(thin *p, uint64_t begin, uint64_t end) {
    uint64_t n = p->width, rank = p->rank;
    for (uint64_t k = begin; k < end; k += FOUR) {
        uint64_t top = last_of_four(k, end), k1 = at_most(k + 1, top), k2 = at_most(k + 2, top);
        float *w[FOUR] = {p->to + k * n, p->to + k1 * n, p->to + k2 * n, p->to + top * n};
        for (uint64_t j = 0; j < n; j += 4 * THIN_LANES) {
            uint64_t j1 = j + THIN_LANES, j2 = j1 + THIN_LANES, j3 = j2 + THIN_LANES;
            THIN_VECTOR s00 = THIN_NAME(load)(w[0], j, n), s01 = THIN_NAME(load)(w[0], j1, n),
                        s02 = THIN_NAME(load)(w[0], j2, n), s03 = THIN_NAME(load)(w[0], j3, n);
            THIN_VECTOR s10 = THIN_NAME(load)(w[1], j, n), s11 = THIN_NAME(load)(w[1], j1, n),
                        s12 = THIN_NAME(load)(w[1], j2, n), s13 = THIN_NAME(load)(w[1], j3, n);
            THIN_VECTOR s20 = THIN_NAME(load)(w[2], j, n), s21 = THIN_NAME(load)(w[2], j1, n),
                        s22 = THIN_NAME(load)(w[2], j2, n), s23 = THIN_NAME(load)(w[2], j3, n);
            THIN_VECTOR s30 = THIN_NAME(load)(w[3], j, n), s31 = THIN_NAME(load)(w[3], j1, n),
                        s32 = THIN_NAME(load)(w[3], j2, n), s33 = THIN_NAME(load)(w[3], j3, n);
            bool whole = j3 + THIN_LANES <= n;
            for (uint64_t r = 0; r < p->rows; r++) {
                const float *u = p->u + r * rank, *x = p->x + r * n;
                THIN_VECTOR a0 = THIN_ON(of)(u[k]), a1 = THIN_ON(of)(u[k1]), a2 = THIN_ON(of)(u[k2]),
                            a3 = THIN_ON(of)(u[top]);
                THIN_VECTOR b0 = whole ? THIN_ON(load)(x + j) : THIN_NAME(load)(x, j, n),
                            b1 = whole ? THIN_ON(load)(x + j1) : THIN_NAME(load)(x, j1, n);
                THIN_VECTOR b2 = whole ? THIN_ON(load)(x + j2) : THIN_NAME(load)(x, j2, n),
                            b3 = whole ? THIN_ON(load)(x + j3) : THIN_NAME(load)(x, j3, n);
                s00 += a0 * b0, s01 += a0 * b1, s02 += a0 * b2, s03 += a0 * b3;
                s10 += a1 * b0, s11 += a1 * b1, s12 += a1 * b2, s13 += a1 * b3;
                s20 += a2 * b0, s21 += a2 * b1, s22 += a2 * b2, s23 += a2 * b3;
                s30 += a3 * b0, s31 += a3 * b1, s32 += a3 * b2, s33 += a3 * b3;
            }
            const THIN_VECTOR sums[FOUR][FOUR] = {
                {s00, s01, s02, s03}, {s10, s11, s12, s13}, {s20, s21, s22, s23}, {s30, s31, s32, s33}};
            for (uint64_t i = 0; k + i <= top; i++)
                for (uint64_t l = 0; l < FOUR; l++) THIN_NAME(store)(w[i], j + l * THIN_LANES, n, sums[i][l]);
        }
    }
}

THIN_PATH static void THIN_NAME(narrow)(thin *p, uint64_t begin, uint64_t end) {
    THIN_NAME(narrow_body)(p, begin, end);
}
THIN_PATH static void THIN_NAME(widen)(thin *p, uint64_t begin, uint64_t end) {
    THIN_NAME(widen_body)(p, begin, end);
}
THIN_PATH static void THIN_NAME(reduce)(thin *p, uint64_t begin, uint64_t end) {
    THIN_NAME(reduce_body)(p, begin, end);
}

#undef WHOLE
#undef PART
#undef THIN_VECTOR
#undef THIN_LANES
#undef THIN_PATH
#undef THIN_ON
#undef THIN_NAME

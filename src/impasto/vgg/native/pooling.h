/* Max and average pooling of 2x2 squares, forward and backward, for one instruction set; see isa.h. A last row or
 * column that completes no square is dropped. */

/* The maxima of four, and which they are, the first of equal ones: 0 to 3; 4 if none is positive. */
static inline void NAME(choose)(const float *restrict a, const float *restrict b, const float *restrict c,
                                const float *restrict d, long channels, float *restrict most,
                                unsigned char *restrict chosen) {
    long n = 0;
    for (; n + VL <= channels; n += VL) {
        VEC u = LOAD(a + n), v = LOAD(b + n), w = LOAD(c + n), x = LOAD(d + n);
        INTS right = u < v, far = w < x;
        VEC top = (VEC)((right & (INTS)v) | (~right & (INTS)u)), bottom = (VEC)((far & (INTS)x) | (~far & (INTS)w));
        INTS below = top < bottom;
        VEC best = (VEC)((below & (INTS)bottom) | (~below & (INTS)top)), zero = {0};
        INTS positive = best > zero, which = (below & (2 - far)) | (~below & -right); /* true is -1 */
        which = (positive & which) | (~positive & 4);
        STORE(most + n, best);
        *(BYTES *)(chosen + n) = __builtin_convertvector(which, BYTES);
    }
    for (; n < channels; n++) {
        int right = a[n] < b[n], far = c[n] < d[n];
        float top = right ? b[n] : a[n], bottom = far ? d[n] : c[n];
        int below = top < bottom;
        most[n] = below ? bottom : top;
        chosen[n] = (unsigned char)(most[n] > 0 ? (below ? 2 + far : right) : 4);
    }
}

static void NAME(pool)(const struct job *job, long first, long count, float *scratch) {
    long channels = job->inputs, across = job->width / 2, row = job->width * channels;
    (void)scratch;
    for (long y = first; y < first + count; y++)
        for (long x = 0; x < across; x++) {
            const float *a = job->x + 2 * y * row + 2 * x * channels, *b = a + channels, *c = a + row, *d = b + row;
            float *restrict to = job->y + (y * across + x) * channels;
            if (job->average)
                for (long n = 0; n < channels; n++) to[n] = (a[n] + b[n] + c[n] + d[n]) * 0.25f;
            else if (job->bits)
                NAME(choose)(a, b, c, d, channels, to, job->bits + (y * across + x) * channels);
            else
                for (long n = 0; n < channels; n++) {
                    float top = a[n] < b[n] ? b[n] : a[n], bottom = c[n] < d[n] ? d[n] : c[n];
                    to[n] = top < bottom ? bottom : top;
                }
        }
}

/* Backward pass of a ReLU and max pooling, one of the four: the gradient where it was chosen. */
static inline void NAME(unpool)(const float *restrict from, const unsigned char *restrict chosen, int which, long channels,
                                float *restrict to) {
    for (long n = 0; n < channels; n++) to[n] = chosen[n] == which ? from[n] : 0;
}

/* job->x: the gradient with respect to the output; job->bits: the choices of the forward pass; job->y: the gradient
 * with respect to the input of max pooling, or of the ReLU before it. */
static void NAME(pool_back)(const struct job *job, long first, long count, float *scratch) {
    long channels = job->inputs, across = job->width / 2, row = job->width * channels;
    (void)scratch;
    for (long y = first; y < first + count; y++) {
        float *top = job->y + 2 * y * row;
        if (y == job->height / 2) {
            memset(top, 0, sizeof(float) * row);
            break;
        }
        for (long x = 0; x < across; x++) {
            const float *restrict from = job->x + (y * across + x) * channels;
            float *restrict a = top + 2 * x * channels, *restrict b = a + channels;
            float *restrict c = a + row, *restrict d = b + row;
            if (job->average) {
                for (long n = 0; n < channels; n++) a[n] = b[n] = c[n] = d[n] = from[n] * 0.25f;
                continue;
            }
            const unsigned char *chosen = job->bits + (y * across + x) * channels;
            NAME(unpool)(from, chosen, 0, channels, a), NAME(unpool)(from, chosen, 1, channels, b);
            NAME(unpool)(from, chosen, 2, channels, c), NAME(unpool)(from, chosen, 3, channels, d);
        }
        if (job->width % 2)
            for (long i = 0; i < 2; i++) memset(top + (i + 1) * row - channels, 0, sizeof(float) * channels);
    }
}

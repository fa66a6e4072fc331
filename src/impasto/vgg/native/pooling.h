/* Max and average pooling of 2x2 squares, forward and backward, for one instruction set; see isa.h. A last row or
 * column that completes no square is dropped. */

static void NAME(pool)(const struct job *job, long first, long count, float *scratch) {
    long channels = job->inputs, across = job->width / 2, row = job->width * channels;
    (void)scratch;
    for (long y = first; y < first + count; y++)
        for (long x = 0; x < across; x++) {
            const float *a = job->x + 2 * y * row + 2 * x * channels, *b = a + channels, *c = a + row, *d = b + row;
            float *restrict to = job->y + (y * across + x) * channels;
            if (job->average)
                for (long n = 0; n < channels; n++) to[n] = (a[n] + b[n] + c[n] + d[n]) * 0.25f;
            else
                for (long n = 0; n < channels; n++) {
                    float top = a[n] < b[n] ? b[n] : a[n], bottom = c[n] < d[n] ? d[n] : c[n];
                    to[n] = top < bottom ? bottom : top;
                }
        }
}

/* Backward pass of max pooling, VL channels of one square: the gradient goes to the first of equal maxima. */
static inline void NAME(unpool)(const float *from, const float *p, const float *q, const float *r, const float *s,
                                float *a, float *b, float *c, float *d) {
    typedef __typeof__(LOAD(p) < LOAD(q)) bits;
    VEC g = LOAD(from), u = LOAD(p), v = LOAD(q), w = LOAD(r), x = LOAD(s);
    bits right = u < v, far = w < x;
    VEC upper = (VEC)((right & (bits)v) | (~right & (bits)u)), lower = (VEC)((far & (bits)x) | (~far & (bits)w));
    bits below = upper < lower;
    STORE(a, (VEC)((bits)g & ~below & ~right));
    STORE(b, (VEC)((bits)g & ~below & right));
    STORE(c, (VEC)((bits)g & below & ~far));
    STORE(d, (VEC)((bits)g & below & far));
}

/* job->x: the gradient with respect to the output; job->mask: the input; job->y: the gradient with respect to it. */
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
            const float *p = job->mask + 2 * y * row + 2 * x * channels, *q = p + channels, *r = p + row, *s = q + row;
            for (long n = 0; n < channels; n += VL)
                if (channels - n >= VL)
                    NAME(unpool)(from + n, p + n, q + n, r + n, s + n, a + n, b + n, c + n, d + n);
                else {
                    float g[VL] = {0}, seen[4][VL] = {0}, back[4][VL];
                    long size = sizeof(float) * (channels - n);
                    memcpy(g, from + n, size);
                    memcpy(seen[0], p + n, size), memcpy(seen[1], q + n, size);
                    memcpy(seen[2], r + n, size), memcpy(seen[3], s + n, size);
                    NAME(unpool)(g, seen[0], seen[1], seen[2], seen[3], back[0], back[1], back[2], back[3]);
                    memcpy(a + n, back[0], size), memcpy(b + n, back[1], size);
                    memcpy(c + n, back[2], size), memcpy(d + n, back[3], size);
                }
        }
        if (job->width % 2)
            for (long i = 0; i < 2; i++) memset(top + (i + 1) * row - channels, 0, sizeof(float) * channels);
    }
}

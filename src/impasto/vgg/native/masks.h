/* The backward pass of a ReLU: one bit for each activation, whether it is positive; for one instruction set, see isa.h.
 *
 * The bits of a pixel's channels begin with a byte's lowest one. */

/* v = x where the bits from channel c on are set, else 0. */
static inline __attribute__((always_inline)) VEC NAME(where)(const unsigned char *bits, long c, VEC x) {
    unsigned word = bits[c / 8];
    if (VL == 16) word |= (unsigned)bits[c / 8 + 1] << 8;
    if (VL == 4) word >>= c % 8;
    INTS lanes;
    for (int i = 0; i < VL; i++) lanes[i] = 1 << i;
    return (VEC)(((((INTS){0} + (int)word) & lanes) != 0) & (INTS)x);
}

/* v = x where the bits are set, else 0; v = x without bits. */
static inline void NAME(masked)(const float *restrict x, const unsigned char *restrict bits, float *restrict v, long count) {
    long n = 0;
    if (!bits) {
        memcpy(v, x, sizeof(float) * count);
        return;
    }
    for (; n + VL <= count; n += VL) STORE(v + n, NAME(where)(bits, n, LOAD(x + n)));
    for (; n < count; n++) v[n] = bit(bits, n) ? x[n] : 0;
}

/* The bits of `count` pixels from `first` on, of job->x in job->bits. */
static void NAME(signs)(const struct job *job, long first, long count, float *scratch) {
    long channels = job->inputs, bytes = (channels + 7) / 8;
    (void)scratch;
    for (long i = first; i < first + count; i++) {
        const float *x = job->x + i * channels;
        unsigned char *bits = job->bits + i * bytes;
        for (long c = 0; c < channels; c += 8) {
            unsigned found = 0;
#if VL >= 8
            if (c + 8 <= channels) {
                typedef float eight __attribute__((vector_size(32)));
                typedef float unaligned __attribute__((vector_size(32), aligned(4)));
                eight zero = {0}, values = (eight)*(const unaligned *)(x + c);
                bits[c / 8] = (unsigned char)__builtin_ia32_movmskps256((eight)(values > zero));
                continue;
            }
#endif
            for (long j = 0; j < 8 && c + j < channels; j++) found |= (unsigned)(x[c + j] > 0) << j;
            bits[c / 8] = (unsigned char)found;
        }
    }
}

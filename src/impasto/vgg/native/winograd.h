/* Convolutions by Winograd's minimal filtering, for one instruction set; see isa.h. */

/* The one-dimensional transforms of the input, six values to six, and of the output, six to four: Lavin & Gray,
 * arXiv 1509.09308, at the points 0, 1, -1, 2, -2 and infinity. */
static inline __attribute__((always_inline)) void NAME(input6)(const VEC *d, int step, VEC *o, int ostep) {
    VEC d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    VEC a = d4 - 4 * d2, b = d3 - 4 * d1, c = d4 - d2, e = 2 * (d3 - d1);
    o[0] = 4 * d0 - 5 * d2 + d4;
    o[ostep] = a + b;
    o[2 * ostep] = a - b;
    o[3 * ostep] = c + e;
    o[4 * ostep] = c - e;
    o[5 * ostep] = 4 * d1 - 5 * d3 + d5;
}

static inline __attribute__((always_inline)) void NAME(output4)(const VEC *m, int step, VEC *o, int ostep) {
    VEC s12 = m[step] + m[2 * step], d12 = m[step] - m[2 * step];
    VEC s34 = m[3 * step] + m[4 * step], d34 = m[3 * step] - m[4 * step];
    o[0] = m[0] + s12 + s34;
    o[ostep] = d12 + 2 * d34;
    o[2 * ostep] = s12 + 4 * s34;
    o[3 * ostep] = d12 + 8 * d34 + m[5 * step];
}

/* The transformed input of one tile, its 36 pixels: v[point][tile][channel]. */
static void NAME(tile_in)(const float *const *pixel, const unsigned char *const *mask, long channels, float *v,
                          long point) {
    VEC d[36], t[36];
    for (long c = 0; c < channels; c += VL) {
        long count = channels - c < VL ? channels - c : VL;
        if (count == VL && mask)
            for (int i = 0; i < 36; i++) d[i] = NAME(where)(mask[i], c, LOAD(pixel[i] + c));
        else if (count == VL)
            for (int i = 0; i < 36; i++) d[i] = LOAD(pixel[i] + c);
        else
            for (int i = 0; i < 36; i++) {
                d[i] = (VEC){0};
                for (long j = 0; j < count; j++) d[i][j] = !mask || bit(mask[i], c + j) ? pixel[i][c + j] : 0;
            }
        for (int j = 0; j < 6; j++) NAME(input6)(d + j, 6, t + j, 6);
        for (int i = 0; i < 6; i++) NAME(input6)(t + 6 * i, 1, d + 6 * i, 1);
        for (int i = 0; i < 36; i++) STORE(v + i * point + c, d[i]);
    }
}

/* The 4x4 output pixels of one tile, from its 36 products; those outside the picture are NULL. */
static void NAME(tile_out)(const float *m, long point, long channels, const float *bias, int relu, float *const *pixel) {
    VEC d[36], t[24], o[16];
    for (long c = 0; c < channels; c += VL) {
        for (int i = 0; i < 36; i++) d[i] = LOAD(m + i * point + c);
        for (int j = 0; j < 6; j++) NAME(output4)(d + j, 6, t + j, 6);
        for (int i = 0; i < 4; i++) NAME(output4)(t + 6 * i, 1, o + 4 * i, 1);
        long count = channels - c < VL ? channels - c : VL;
        VEC b = {0}, zero = {0};
        if (bias) for (long j = 0; j < count; j++) b[j] = bias[c + j];
        for (int i = 0; i < 16; i++) {
            if (!pixel[i]) continue;
            VEC r = o[i] + b;
            if (relu) r = (VEC)((r > zero) & (__typeof__(r > zero))r);
            if (count == VL) STORE(pixel[i] + c, r);
            else for (long j = 0; j < count; j++) pixel[i][c + j] = r[j];
        }
    }
}

/* The product of MR rows of v and NV * VL columns of u. */
static inline __attribute__((always_inline)) void NAME(product)(const float *v, long vstep, const float *u, long depth, float *m, long mstep) {
    VEC acc[MR][NV];
    for (int i = 0; i < MR; i++)
        for (int j = 0; j < NV; j++) acc[i][j] = (VEC){0};
    for (long c = 0; c < depth; c++) {
        VEC b[NV];
        for (int j = 0; j < NV; j++) b[j] = LOAD(u + c * NV * VL + j * VL);
        for (int i = 0; i < MR; i++) {
            float a = v[i * vstep + c];
            for (int j = 0; j < NV; j++) acc[i][j] += a * b[j];
        }
    }
    for (int i = 0; i < MR; i++)
        for (int j = 0; j < NV; j++) STORE(m + i * mstep + j * VL, acc[i][j]);
}

/* The transformed inputs of `count` tiles from `first` on, v[point][tile][channel], and zeros up to `rows` tiles. */
static void NAME(fetch)(const struct job *job, long first, long count, long rows, float *v, long point) {
    long deep = round_up(job->inputs, VL);
    for (long n = 0; n < count; n++) {
        const float *pixel[36];
        const unsigned char *mask[36];
        find_inputs(job, first + n, pixel, mask);
        NAME(tile_in)(pixel, job->mask ? mask : 0, job->inputs, v + n * deep, point);
    }
    for (long n = count; n < rows; n++)
        for (int p = 0; p < 36; p++) memset(v + p * point + n * deep, 0, sizeof(float) * deep);
}

static void NAME(block)(const struct job *job, long first, long count, float *scratch) {
    long depth = job->inputs, wide = round_up(job->outputs, NV * VL), rows = round_up(count, MR);
    long deep = round_up(depth, VL), vpoint = rows * deep, mpoint = rows * wide;
    float *v = scratch, *m = scratch + 36 * vpoint;
    NAME(fetch)(job, first, count, rows, v, vpoint);
    for (int p = 0; p < 36; p++)
        for (long k = 0; k < wide; k += NV * VL) {
            const float *u = job->kernel + p * depth * wide + k * depth;
            for (long n = 0; n < rows; n += MR)
                NAME(product)(v + p * vpoint + n * deep, deep, u, depth, m + p * mpoint + n * wide + k, wide);
        }
    for (long n = 0; n < count; n++) {
        float *pixel[16];
        find_outputs(job, first + n, pixel);
        NAME(tile_out)(m + n * wide, mpoint, job->outputs, job->bias, job->relu, pixel);
    }
}

/* The one-dimensional transform of the kernel, three weights to six. */
static inline __attribute__((always_inline)) void NAME(kernel6)(const VEC *g, int step, VEC *o, int ostep) {
    VEC even = g[0] + g[2 * step], part = g[0] / 24 + g[2 * step] / 6;
    o[0] = g[0] / 4;
    o[ostep] = -(even + g[step]) / 6;
    o[2 * ostep] = (g[step] - even) / 6;
    o[3 * ostep] = part + g[step] / 12;
    o[4 * ostep] = part - g[step] / 12;
    o[5 * ostep] = g[2 * step];
}

/* The transformed kernel of one input channel and VL outputs from k on: u[point]. */
static inline void NAME(weights)(const struct job *job, long channel, long k, float *u, long point) {
    VEC g[9], t[18], o[36];
    long left = job->outputs - k < VL ? job->outputs - k : VL;
    for (int i = 0; i < 9; i++) {
        float lane[VL] = {0};
        if (job->backward && left == VL) g[i] = LOAD(weight_of(job, channel, k, i));
        else {
            for (long j = 0; j < left; j++) lane[j] = *weight_of(job, channel, k + j, i);
            g[i] = LOAD(lane);
        }
    }
    for (int j = 0; j < 3; j++) NAME(kernel6)(g + j, 3, t + j, 3);
    for (int i = 0; i < 6; i++) NAME(kernel6)(t + 3 * i, 1, o + 6 * i, 1);
    for (int i = 0; i < 36; i++) STORE(u + i * point, o[i]);
}

/* The transformed kernel of `count` input channels from `first` on. */
static void NAME(transform)(const struct job *job, long first, long count, float *scratch) {
    long depth = job->inputs, wide = round_up(job->outputs, NV * VL);
    (void)scratch;
    for (long k = 0; k < wide; k += VL)
        for (long c = first; c < first + count; c++) {
            float *u = job->y + k / (NV * VL) * (depth * NV * VL) + c * NV * VL + k % (NV * VL);
            NAME(weights)(job, c, k, u, depth * wide);
        }
}

/* The transformed inputs of `count` tiles from `first` on, into job->v, which holds those of all tiles. */
static void NAME(tiles)(const struct job *job, long first, long count, float *scratch) {
    long deep = round_up(job->inputs, VL), rows = round_up(job->tiles, MR);
    long last = first + count == job->tiles;
    (void)scratch;
    NAME(fetch)(job, first, count, last ? rows - first : count, job->v + first * deep, rows * deep);
}

/* All tiles, for `count` panels of outputs from `first` on. */
static void NAME(panels)(const struct job *job, long first, long count, float *scratch) {
    long depth = job->inputs, deep = round_up(depth, VL), rows = round_up(job->tiles, MR), wide = NV * VL;
    float *u = scratch, *m = scratch + 36 * depth * wide;
    for (long k = first * wide; k < (first + count) * wide; k += wide) {
        long channels = job->outputs - k < wide ? job->outputs - k : wide;
        for (long j = 0; j < wide; j += VL)
            for (long c = 0; c < depth; c++) NAME(weights)(job, c, k + j, u + c * wide + j, depth * wide);
        for (int p = 0; p < 36; p++)
            for (long n = 0; n < rows; n += MR)
                NAME(product)(job->v + (p * rows + n) * deep, deep, u + p * depth * wide, depth,
                              m + (p * rows + n) * wide, wide);
        for (long n = 0; n < job->tiles; n++) {
            float *pixel[16];
            find_outputs(job, n, pixel);
            for (int i = 0; i < 16; i++) pixel[i] = pixel[i] ? pixel[i] + k : NULL;
            NAME(tile_out)(m + n * wide, rows * wide, channels, job->bias ? job->bias + k : NULL, job->relu, pixel);
        }
    }
}

/* Convolutions with few input or output channels, as a product with one small matrix, for one instruction set; see
 * isa.h. */

/* The outputs of one pixel: its sums plus the bias, through a ReLU if `relu`. */
static inline void NAME(finish)(const float *restrict sums, const float *restrict bias, int relu, float *restrict to,
                                long outputs) {
    float least = relu ? 0 : -INFINITY;
    for (long k = 0; k < outputs; k++) {
        float value = sums[k] + bias[k];
        to[k] = value > least ? value : least;
    }
}

/* Few inputs: im2col of `count` pixels from `first` on, times the kernel. */
static void NAME(widen)(const struct job *job, long first, long count, float *scratch) {
    long depth = 9 * job->inputs, wide = round_up(job->outputs, NV * VL), rows = round_up(count, MR);
    float *v = scratch, *m = scratch + rows * depth;
    for (long n = 0, y = first / job->width, x = first % job->width; n < count; n++) {
        gather(job, y, x, v + n * depth);
        if (++x == job->width) x = 0, y++;
    }
    memset(v + count * depth, 0, sizeof(float) * (rows - count) * depth);
    for (long k = 0; k < wide; k += NV * VL)
        for (long n = 0; n < rows; n += MR)
            NAME(product)(v + n * depth, depth, job->kernel + k * depth, depth, m + n * wide + k, wide);
    for (long n = 0; n < count; n++)
        NAME(finish)(m + n * wide, job->bias ? job->bias : job->zeros, job->relu, job->y + (first + n) * job->outputs,
                     job->outputs);
}

/* Few outputs: `count` rows from `first` on. Every pixel of these rows and of their neighbours, times the kernel, gives
 * its contributions to the nine pixels around it; each output pixel sums those that it receives. */
static void NAME(narrow)(const struct job *job, long first, long count, float *scratch) {
    enum { MOST = 16 };
    long depth = job->inputs, outputs = job->outputs, width = job->width, wide = round_up(9 * outputs, NV * VL);
    float *v = scratch, *m = scratch + MR * depth;
    for (long r = 0; r < count + 2; r++) {
        long row = inside(first + r - 1, job->height, job->padding);
        if (row < 0) continue;
        for (long x = 0; x < width; x += MR) {
            long pixels = width - x < MR ? width - x : MR, at = (row * width + x) * depth;
            for (long i = 0; i < pixels; i++)
                NAME(masked)(job->x + at + i * depth, bits_of(job, row * width + x + i), v + i * depth, depth);
            memset(v + pixels * depth, 0, sizeof(float) * (MR - pixels) * depth);
            for (long k = 0; k < wide; k += NV * VL)
                NAME(product)(v, depth, job->kernel + k * depth, depth, m + (r * job->across + x) * wide + k, wide);
        }
    }
    for (long y = first; y < first + count; y++)
        for (long x = 0; x < width; x++) {
            float sums[MOST] = {0};
            for (int i = 0; i < 3; i++) {
                if (inside(y + i - 1, job->height, job->padding) < 0) continue;
                for (int j = 0; j < 3; j++) {
                    long column = inside(x + j - 1, width, job->padding);
                    if (column < 0) continue;
                    const float *from = m + ((y + i - first) * job->across + column) * wide + (3 * i + j) * outputs;
                    for (long k = 0; k < outputs; k++) sums[k] += from[k];
                }
            }
            NAME(finish)(sums, job->bias ? job->bias : job->zeros, job->relu, job->y + (y * width + x) * outputs, outputs);
        }
}

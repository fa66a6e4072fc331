/* The operations of VGG, forward and backward: 3x3 convolutions with stride 1 that keep the size, and 2x2 pooling.
 *
 * Layout is NHWC, float32, with a batch of one. Convolutions of many channels use Winograd's minimal filtering
 * F(4x4, 3x3), with a quarter of the multiplications of the direct method (Lavin & Gray, arXiv 1509.09308): the picture
 * is cut into tiles of 4x4 outputs, and one block of tiles at a time is transformed, multiplied at each of 36 points by
 * the transformed kernel, and transformed back while it is in the cache. Convolutions with few inputs or outputs, the
 * first layer and its backward pass, are one product with a small matrix. Threads compute independent blocks, each in
 * the same way whatever thread does it, so results do not depend on their number.
 */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Plain C only, if the compiler cannot change its target within a file. */
#if defined(__x86_64__) && defined(__GNUC__)
#define LEVELS 3
#else
#define LEVELS 1
#endif

struct job {
    const float *x, *weights, *kernel, *bias, *zeros;
    const unsigned char *mask; /* bits, (height, width, inputs rounded up to bytes) */
    float *y, *v, *scratch;
    unsigned char *bits;
    long height, width, inputs, outputs, backward, padding, relu, average;
    long across, tiles, work, per_block, blocks, scratch_each;
    void (*block)(const struct job *, long first, long count, float *scratch);
    atomic_long next, threads_in;
};

enum { ZEROS, REPLICATE, CIRCULAR };

static inline long round_up(long n, long to) { return (n + to - 1) / to * to; }

static inline int bit(const unsigned char *bits, long n) { return bits[n / 8] >> n % 8 & 1; }

/* The bits of a pixel's inputs, NULL if there is no mask. */
static inline const unsigned char *bits_of(const struct job *job, long pixel) {
    return job->mask ? job->mask + pixel * ((job->inputs + 7) / 8) : NULL;
}

/* The weight between two channels at one of nine taps. The weights of a network lie in memory as [outputs][3][3][inputs].
 * A backward pass reads the same ones: what it takes in are the network's outputs, and the taps are rotated. */
static inline const float *weight_of(const struct job *job, long input, long output, long tap) {
    return job->weights + (job->backward ? (input * 9 + 8 - tap) * job->outputs + output
                                         : (output * 9 + tap) * job->inputs + input);
}

/* The row or column that a position beyond the border is padded with; -1 for zeros. */
static inline long inside(long at, long side, long padding) {
    if (at >= 0 && at < side) return at;
    if (padding == ZEROS) return -1;
    if (padding == CIRCULAR) return (at % side + side) % side;
    return at < 0 ? 0 : side - 1;
}

static void find_inputs(const struct job *job, long tile, const float **pixel, const unsigned char **mask) {
    long top = tile / job->across * 4 - 1, left = tile % job->across * 4 - 1;
    for (int i = 0; i < 6; i++) {
        /* The last tiles have rows beyond the padding, which no output pixel needs. */
        long row = top + i > job->height ? -1 : inside(top + i, job->height, job->padding);
        for (int j = 0; j < 6; j++) {
            long column = left + j > job->width ? -1 : inside(left + j, job->width, job->padding);
            long at = row * job->width + column;
            int beyond = row < 0 || column < 0;
            pixel[6 * i + j] = beyond ? job->zeros : job->x + at * job->inputs;
            mask[6 * i + j] = beyond || !job->mask ? (const unsigned char *)job->zeros : bits_of(job, at);
        }
    }
}

static void find_outputs(const struct job *job, long tile, float **pixel) {
    long top = tile / job->across * 4, left = tile % job->across * 4;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            pixel[4 * i + j] = top + i < job->height && left + j < job->width
                                   ? job->y + ((top + i) * job->width + left + j) * job->outputs
                                   : NULL;
}

/* The 3x3 pixels around one, as one row: im2col. */
static void gather(const struct job *job, long y, long x, float *v) {
    long channels = job->inputs;
    for (int i = 0; i < 3; i++) {
        long row = inside(y + i - 1, job->height, job->padding);
        if (row >= 0 && x > 0 && x + 1 < job->width && !job->mask) {
            const float *from = job->x + (row * job->width + x - 1) * channels;
            if (channels == 3) memcpy(v, from, sizeof(float) * 9); /* a constant size, which compilers inline */
            else memcpy(v, from, sizeof(float) * 3 * channels);
            v += 3 * channels;
            continue;
        }
        for (int j = 0; j < 3; j++, v += channels) {
            long column = inside(x + j - 1, job->width, job->padding), at = row * job->width + column;
            for (long n = 0; n < channels; n++)
                v[n] = row < 0 || column < 0 || (job->mask && !bit(bits_of(job, at), n)) ? 0 : job->x[at * channels + n];
        }
    }
}

#define NAME(x) x##_plain
#define VL 4
#define MR 4
#define NV 4
#include "isa.h"

#if LEVELS == 3
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define NAME(x) x##_avx2
#define VL 8
#define MR 6
#define NV 2
#include "isa.h"
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,fma")
#endif
#define NAME(x) x##_avx512
#define VL 16
#define MR 12
#define NV 2
#include "isa.h"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

static int best_level(void) {
#if LEVELS == 3
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw"))
        return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
    return 0;
}

/* The best instruction set of this processor: 0 plain C, 1 AVX2, 2 AVX-512. */
int impasto_level(void) { return best_level(); }

typedef void (*block_function)(const struct job *, long, long, float *);
#if LEVELS == 3
static const block_function blocks_of[] = {block_plain, block_avx2, block_avx512};
static const block_function transforms_of[] = {transform_plain, transform_avx2, transform_avx512};
static const block_function tiles_of[] = {tiles_plain, tiles_avx2, tiles_avx512};
static const block_function panels_of[] = {panels_plain, panels_avx2, panels_avx512};
static const block_function widen_of[] = {widen_plain, widen_avx2, widen_avx512};
static const block_function narrow_of[] = {narrow_plain, narrow_avx2, narrow_avx512};
static const block_function pool_of[] = {pool_plain, pool_avx2, pool_avx512};
static const block_function signs_of[] = {signs_plain, signs_avx2, signs_avx512};
static const block_function pool_back_of[] = {pool_back_plain, pool_back_avx2, pool_back_avx512};
#else
static const block_function blocks_of[] = {block_plain}, transforms_of[] = {transform_plain};
static const block_function tiles_of[] = {tiles_plain}, panels_of[] = {panels_plain};
static const block_function widen_of[] = {widen_plain}, narrow_of[] = {narrow_plain};
static const block_function pool_of[] = {pool_plain}, pool_back_of[] = {pool_back_plain}, signs_of[] = {signs_plain};
#endif

/* The outputs in a panel: columns of the kernel that are contiguous in memory. */
long impasto_panel(int level) { return level == 2 ? 32 : 16; }

static long scratch_of(long per_block, long inputs, long outputs) {
    return 36 * round_up(per_block, 12) * (round_up(inputs, 16) + round_up(outputs, 32));
}

/* Floats of scratch memory that a call needs. */
long impasto_scratch(long per_block, long inputs, long outputs, long threads) {
    return threads * scratch_of(per_block, inputs, outputs) + inputs + 16;
}

static void work(void *given) {
    struct job *job = given;
    float *scratch = job->scratch + atomic_fetch_add(&job->threads_in, 1) * job->scratch_each;
    for (long block; (block = atomic_fetch_add(&job->next, 1)) < job->blocks;) {
        long first = block * job->per_block, left = job->work - first;
        job->block(job, first, left < job->per_block ? left : job->per_block, scratch);
    }
}

static void *work_apart(void *given) {
    work(given);
    return NULL;
}

typedef void (*parallel)(void (*)(void *), void *, unsigned, unsigned);

/* Run the blocks of a job on several threads: those of the pool behind `run`, or new ones if it is NULL. */
static void share(struct job *job, long threads, parallel run) {
    enum { MOST = 256 };
    pthread_t made[MOST];
    long count = 0;
    job->blocks = (job->work + job->per_block - 1) / job->per_block;
    atomic_init(&job->next, 0);
    atomic_init(&job->threads_in, 0);
    if (threads > job->blocks) threads = job->blocks;
    if (threads > MOST) threads = MOST;
    if (run && threads > 1) {
        run(work, job, (unsigned)threads, 0);
        return;
    }
    while (count < threads - 1 && !pthread_create(&made[count], NULL, work_apart, job)) count++;
    work(job);
    while (count > 0) pthread_join(made[--count], NULL);
}

/* Transform a kernel.
 *
 * weights: see weight_of. kernel: the result, [36][outputs by panels][inputs][panel].
 */
void impasto_transform(const float *weights, float *kernel, long inputs, long outputs, long backward, int level,
                       long threads, parallel run) {
    struct job job = {.weights = weights, .y = kernel, .inputs = inputs, .outputs = outputs, .backward = backward};
    job.work = inputs;
    job.per_block = 16;
    job.block = transforms_of[level];
    share(&job, threads, run);
}

/* y = x convolved with the kernel, plus bias, through a ReLU if `relu`.
 *
 * x: (height, width, inputs). mask: one bit for each of x, which counts as 0 where it is not set, see impasto_signs; or NULL.
 * kernel: made by impasto_transform. bias: (outputs), or NULL. y: (height, width, outputs). padding: 0 zeros,
 * 1 replicate, 2 circular. per_block: tiles per block. scratch: impasto_scratch floats. run: GOMP_parallel of the pool
 * to share, or NULL.
 */
void impasto_convolve(const float *x, const unsigned char *mask, const float *kernel, const float *bias, float *y, long height,
                      long width, long inputs, long outputs, long padding, long relu, long per_block, int level,
                      float *scratch, long threads, parallel run) {
    struct job job = {.x = x, .mask = mask, .kernel = kernel, .bias = bias, .y = y, .height = height, .width = width,
                      .inputs = inputs, .outputs = outputs, .padding = padding, .relu = relu, .per_block = per_block};
    job.across = (width + 3) / 4;
    job.work = job.tiles = job.across * ((height + 3) / 4);
    job.zeros = scratch;
    memset(scratch, 0, sizeof(float) * inputs);
    job.scratch = scratch + round_up(inputs, 16);
    job.scratch_each = scratch_of(per_block, inputs, outputs);
    job.block = blocks_of[level];
    share(&job, threads, run);
}

static long panel_scratch(long rows, long inputs) { return 36 * 32 * (inputs + rows); }

/* Floats of scratch memory that a call of impasto_convolve_panels needs. */
long impasto_scratch_panels(long height, long width, long inputs, long threads) {
    long rows = round_up((height + 3) / 4 * ((width + 3) / 4), 12);
    return round_up(inputs, 16) * (1 + 36 * rows) + threads * panel_scratch(rows, inputs);
}

/* impasto_transform and impasto_convolve in one, for a large kernel and a small picture: panels of the kernel are
 * transformed one at a time and applied to all tiles while they are in the cache; they are not stored.
 *
 * weights: see weight_of; scratch: impasto_scratch_panels floats. */
void impasto_convolve_panels(const float *x, const unsigned char *mask, const float *weights, const float *bias, float *y,
                             long height, long width, long inputs, long outputs, long padding, long relu,
                             long backward, int level, float *scratch, long threads, parallel run) {
    struct job job = {.x = x, .mask = mask, .weights = weights, .bias = bias, .y = y, .height = height, .width = width,
                      .inputs = inputs, .outputs = outputs, .padding = padding, .relu = relu, .backward = backward};
    job.across = (width + 3) / 4;
    job.work = job.tiles = job.across * ((height + 3) / 4);
    long rows = round_up(job.tiles, 12), panel = impasto_panel(level);
    job.zeros = scratch;
    memset(scratch, 0, sizeof(float) * inputs);
    job.v = scratch + round_up(inputs, 16);
    job.scratch = job.v + 36 * rows * round_up(inputs, 16);
    job.scratch_each = panel_scratch(rows, inputs);
    job.per_block = 6;
    job.block = tiles_of[level];
    share(&job, threads, run);
    job.work = (outputs + panel - 1) / panel;
    job.per_block = 1;
    job.block = panels_of[level];
    share(&job, threads, run);
}

enum { THIN_PIXELS = 240, THIN_ROWS = 8 };

static long thin_scratch(long width, long inputs, long outputs) {
    return inputs <= outputs ? THIN_PIXELS * (9 * inputs + round_up(outputs, 32))
                             : 12 * inputs + (THIN_ROWS + 2) * round_up(width, 12) * round_up(9 * outputs, 32);
}

/* Floats of scratch memory that a call of impasto_convolve_thin needs. */
long impasto_scratch_thin(long width, long inputs, long outputs, long threads) {
    return 9 * round_up(inputs, 32) * round_up(outputs, 32) + round_up(outputs, 16) + threads * thin_scratch(width, inputs, outputs);
}

/* impasto_convolve for fewer than 16 inputs or outputs. weights: see weight_of; scratch: impasto_scratch_thin floats. */
void impasto_convolve_thin(const float *x, const unsigned char *mask, const float *weights, const float *bias, float *y,
                           long height, long width, long inputs, long outputs, long padding, long relu, long backward,
                           int level, float *scratch, long threads, parallel run) {
    struct job job = {.x = x, .mask = mask, .weights = weights, .kernel = scratch, .bias = bias, .y = y,
                      .height = height, .width = width, .inputs = inputs, .outputs = outputs, .padding = padding,
                      .relu = relu, .backward = backward};
    long wider = inputs <= outputs, panel = impasto_panel(level), depth = wider ? 9 * inputs : inputs;
    long columns = round_up(wider ? outputs : 9 * outputs, panel);
    memset(scratch, 0, sizeof(float) * depth * columns);
    for (long i = 0; i < inputs; i++)
        for (long tap = 0; tap < 9; tap++)
            for (long o = 0; o < outputs; o++) {
                long row = wider ? tap * inputs + i : i, column = wider ? o : tap * outputs + o;
                scratch[column / panel * panel * depth + row * panel + column % panel] = *weight_of(&job, i, o, tap);
            }
    job.zeros = scratch + depth * columns;
    memset(scratch + depth * columns, 0, sizeof(float) * outputs);
    job.scratch = scratch + depth * columns + round_up(outputs, 16);
    job.scratch_each = thin_scratch(width, inputs, outputs);
    job.across = round_up(width, 12);
    job.work = wider ? height * width : height;
    job.per_block = wider ? THIN_PIXELS : THIN_ROWS;
    job.block = (wider ? widen_of : narrow_of)[level];
    share(&job, threads, run);
}

/* Which of x, (pixels, channels), are positive: bits, (pixels, channels rounded up to bytes), from the lowest bit on. */
void impasto_signs(const float *x, unsigned char *bits, long pixels, long channels, int level, long threads, parallel run) {
    struct job job = {.x = x, .bits = bits, .inputs = channels};
    job.work = pixels;
    job.per_block = 1024;
    job.block = signs_of[level];
    share(&job, threads, run);
}

/* y, (height / 2, width / 2, channels): the maximum or mean of every 2x2 square of x, (height, width, channels). choices:
 * for each maximum, which of the four it is, 4 if none is positive; or NULL. */
void impasto_pool(const float *x, float *y, unsigned char *choices, long height, long width, long channels, long average,
                  int level, long threads, parallel run) {
    struct job job = {.x = x, .y = y, .bits = choices, .height = height, .width = width, .inputs = channels,
                      .average = average};
    job.work = height / 2;
    job.per_block = 4;
    job.block = pool_of[level];
    share(&job, threads, run);
}

/* y = the gradient with respect to x, (height, width, channels), given the gradient with respect to the output of
 * impasto_pool for x and its choices: with respect to what a ReLU made x of. An average has no choices. */
void impasto_pool_back(const float *gradient, unsigned char *choices, float *y, long height, long width, long channels,
                       long average, int level, long threads, parallel run) {
    struct job job = {.x = gradient, .bits = choices, .y = y, .height = height, .width = width, .inputs = channels,
                      .average = average};
    job.work = (height + 1) / 2;
    job.per_block = 4;
    job.block = pool_back_of[level];
    share(&job, threads, run);
}

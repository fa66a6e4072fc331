/* 3x3 convolutions with stride 1 that keep the picture's size, by Winograd's minimal filtering F(4x4, 3x3): a quarter
 * of the multiplications of the direct method (Lavin & Gray, arXiv 1509.09308).
 *
 * Pictures are NHWC, one at a time, float32. The picture is cut into tiles of 4x4 outputs. A block of tiles at a time is
 * transformed, multiplied at each of 36 points by the transformed kernel, and transformed back, while it is in the
 * cache. Blocks are independent, and each is computed alike whoever does it: results do not depend on the threads.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Plain C alone where the compiler cannot change its target in the middle of a file. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define LEVELS 3
#else
#define LEVELS 1
#endif

struct job {
    const float *x, *mask, *weights, *kernel, *bias, *zeros;
    float *y, *v, *scratch;
    long height, width, inputs, outputs, padding, relu, tiles_across, tiles, work, per_block, blocks, scratch_each;
    void (*block)(const struct job *, long first, long count, float *scratch);
    atomic_long next, threads_in;
};

enum { ZEROS, REPLICATE, CIRCULAR };

static inline long round_up(long n, long to) { return (n + to - 1) / to * to; }

/* Where a pixel beyond the border is taken from; -1 for zeros. */
static inline long inside(long at, long side, long padding) {
    if (at >= 0 && at < side) return at;
    if (padding == ZEROS) return -1;
    if (padding == CIRCULAR) return (at % side + side) % side;
    return at < 0 ? 0 : side - 1;
}

static void find_inputs(const struct job *job, long tile, const float **pixel, const float **mask) {
    long top = tile / job->tiles_across * 4 - 1, left = tile % job->tiles_across * 4 - 1;
    for (int i = 0; i < 6; i++) {
        /* Rows of the last tiles that no output needs would lie further out than the padding reaches. */
        long row = top + i > job->height ? -1 : inside(top + i, job->height, job->padding);
        for (int j = 0; j < 6; j++) {
            long column = left + j > job->width ? -1 : inside(left + j, job->width, job->padding);
            long at = (row * job->width + column) * job->inputs;
            pixel[6 * i + j] = row < 0 || column < 0 ? job->zeros : job->x + at;
            mask[6 * i + j] = row < 0 || column < 0 || !job->mask ? job->zeros : job->mask + at;
        }
    }
}

static void find_outputs(const struct job *job, long tile, float **pixel) {
    long top = tile / job->tiles_across * 4, left = tile % job->tiles_across * 4;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            pixel[4 * i + j] = top + i < job->height && left + j < job->width
                                   ? job->y + ((top + i) * job->width + left + j) * job->outputs
                                   : NULL;
}

#define NAME(x) x##_plain
#define VL 4
#define MR 4
#define NV 4
#include "kernel.h"

#if LEVELS == 3
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define NAME(x) x##_avx2
#define VL 8
#define MR 6
#define NV 2
#include "kernel.h"
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,fma")
#define NAME(x) x##_avx512
#define VL 16
#define MR 12
#define NV 2
#include "kernel.h"
#pragma GCC pop_options
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

/* 0 plain C, 1 AVX2, 2 AVX-512: the best that this processor has. */
int impasto_level(void) { return best_level(); }

typedef void (*block_function)(const struct job *, long, long, float *);
#if LEVELS == 3
static const block_function blocks_of[] = {block_plain, block_avx2, block_avx512};
static const block_function transforms_of[] = {transform_plain, transform_avx2, transform_avx512};
static const block_function tiles_of[] = {tiles_plain, tiles_avx2, tiles_avx512};
static const block_function panels_of[] = {panels_plain, panels_avx2, panels_avx512};
#else
static const block_function blocks_of[] = {block_plain}, transforms_of[] = {transform_plain};
static const block_function tiles_of[] = {tiles_plain}, panels_of[] = {panels_plain};
#endif

/* Columns of the kernel that lie together in memory, for a level. */
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

/* Let threads do the blocks of a job: those of the pool that is given, or some made for the purpose. */
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
 * weights: [inputs][3][3][outputs], turned around by half a turn, as the adjoint kernel lies in memory. kernel: [36]
 * [outputs by panels][inputs][panel].
 */
void impasto_transform(const float *weights, float *kernel, long inputs, long outputs, int level, long threads,
                       parallel run) {
    struct job job = {.weights = weights, .y = kernel, .inputs = inputs, .outputs = outputs};
    job.work = inputs;
    job.per_block = 16;
    job.block = transforms_of[level];
    share(&job, threads, run);
}

/* y = x convolved with the kernel, plus bias, rectified if asked for.
 *
 * x, mask: (height, width, inputs); where a mask is given, x counts only where it is positive. kernel: as
 * impasto_transform makes it. bias: (outputs), or NULL. y: (height, width, outputs). padding: 0 zeros, 1 replicate,
 * 2 circular. per_block: tiles done at once. scratch: impasto_scratch floats. run: GOMP_parallel of the pool to share.
 */
void impasto_convolve(const float *x, const float *mask, const float *kernel, const float *bias, float *y, long height,
                      long width, long inputs, long outputs, long padding, long relu, long per_block, int level,
                      float *scratch, long threads, parallel run) {
    struct job job = {.x = x, .mask = mask, .kernel = kernel, .bias = bias, .y = y, .height = height, .width = width,
                      .inputs = inputs, .outputs = outputs, .padding = padding, .relu = relu, .per_block = per_block};
    job.tiles_across = (width + 3) / 4;
    job.work = job.tiles = job.tiles_across * ((height + 3) / 4);
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

/* The same as impasto_transform and impasto_convolve, for a large kernel and a small picture: all tiles at once, a panel
 * of the kernel after another, transformed while it is in the cache and then forgotten.
 *
 * weights: as impasto_transform reads them; scratch: impasto_scratch_panels floats. */
void impasto_convolve_panels(const float *x, const float *mask, const float *weights, const float *bias, float *y,
                             long height, long width, long inputs, long outputs, long padding, long relu, int level,
                             float *scratch, long threads, parallel run) {
    struct job job = {.x = x, .mask = mask, .weights = weights, .bias = bias, .y = y, .height = height, .width = width,
                      .inputs = inputs, .outputs = outputs, .padding = padding, .relu = relu};
    job.tiles_across = (width + 3) / 4;
    job.work = job.tiles = job.tiles_across * ((height + 3) / 4);
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

/* Convolutions and pooling under AddressSanitizer and UndefinedBehaviorSanitizer, compared with the direct method in
 * double precision: random shapes, paddings, masks and instruction sets, and buffers of the smallest sizes that are
 * allowed. Run by ./sanitize. */
#include "../src/impasto/vgg/native/native.c"

#include <math.h>
#include <stdio.h>

/* New memory: random numbers in [-1, 1] if `filled`, else NaN. */
static float *buffer(long count, int filled) {
    float *values = malloc(sizeof(float) * count);
    for (long i = 0; i < count; i++) values[i] = filled ? (float)(rand() / (double)RAND_MAX * 2 - 1) : NAN;
    return values;
}

static double direct(const float *x, const float *masking, const float *weights, const float *bias, long h, long w, long c,
                     long k, long padding, int backward, long i, long j, long o) {
    double sum = bias[o];
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++) {
            long row = inside(i + a - 1, h, padding), column = inside(j + b - 1, w, padding);
            if (row < 0 || column < 0) continue;
            for (long n = 0; n < c; n++) {
                long at = (row * w + column) * c + n;
                double weight = backward ? weights[(n * 9 + 8 - (3 * a + b)) * k + o] : weights[(o * 9 + 3 * a + b) * c + n];
                if (!masking || masking[at] > 0) sum += x[at] * weight;
            }
        }
    return sum;
}

/* 1, with a message, if the outputs are not the maxima or means, or the gradients do not sum to those given, where the
 * maximum is positive. */
static int pooling_fails(long h, long w, long c, const float *x, int level, long threads) {
    long count = h / 2 * (w / 2) * c, average = rand() % 2;
    float *y = buffer(count, 0), *gradient = buffer(count, 1), *back = buffer(h * w * c, 0);
    unsigned char *choices = malloc(count);
    double error = 0, sum = 0;
    impasto_pool(x, y, choices, h, w, c, average, level, threads, NULL);
    impasto_pool_back(gradient, choices, back, h, w, c, average, level, threads, NULL);
    for (long at = 0; at < count; at++) {
        const float *from = x + (at / c / (w / 2) * 2 * w + at / c % (w / 2) * 2) * c + at % c;
        float a = from[0], b = from[c], d = from[w * c], e = from[(w + 1) * c];
        error += fabs(y[at] - (average ? (a + b + d + e) / 4 : fmax(fmax(a, b), fmax(d, e))));
        sum += average || y[at] > 0 ? gradient[at] : 0;
    }
    for (long at = 0; at < h * w * c; at++) sum -= back[at];
    free(y), free(gradient), free(back), free(choices);
    if (error < 1e-3 && fabs(sum) < 1e-2) return 0;
    printf("pooling %ldx%ld, %ld channels, level %d: error %g, %g lost\n", h, w, c, level, error, sum);
    return 1;
}

int main(void) {
    srand(7);
    for (int round = 0; round < 400; round++) {
        long h = 1 + rand() % 19, w = 1 + rand() % 19, c = 1 + rand() % 37, k = 1 + rand() % 37;
        long padding = rand() % 3, relu = rand() % 2, per = 1 + rand() % 30, threads = 1 + rand() % 3;
        int level = rand() % (impasto_level() + 1), masked = rand() % 2, backward = rand() % 2;
        long panel = impasto_panel(level), count = 36 * c * round_up(k, panel);
        float *x = buffer(h * w * c, 1), *masking = masked ? buffer(h * w * c, 1) : NULL, *bias = buffer(k, 1);
        unsigned char *mask = masked ? malloc(h * w * ((c + 7) / 8)) : NULL;
        float *weights = buffer(9 * c * k, 1), *kernel = buffer(count, 0), *y = buffer(h * w * k, 0);
        int thin = c < 16 || k < 16, by_panels = rand() % 2;
        long floats = thin        ? impasto_scratch_thin(w, c, k, threads)
                      : by_panels ? impasto_scratch_panels(h, w, c, threads)
                                  : impasto_scratch(per, c, k, threads);
        float *scratch = buffer(floats, 0);
        if (masked) impasto_signs(masking, mask, h * w, c, level, threads, NULL);
        if (thin) {
            impasto_convolve_thin(x, mask, weights, bias, y, h, w, c, k, padding, relu, backward, level, scratch, threads,
                                  NULL);
        } else if (by_panels) {
            impasto_convolve_panels(x, mask, weights, bias, y, h, w, c, k, padding, relu, backward, level, scratch,
                                    threads, NULL);
        } else {
            impasto_transform(weights, kernel, c, k, backward, level, threads, NULL);
            impasto_convolve(x, mask, kernel, bias, y, h, w, c, k, padding, relu, per, level, scratch, threads, NULL);
        }
        double error = 0, size = 1e-12;
        for (long i = 0; i < h; i++)
            for (long j = 0; j < w; j++)
                for (long o = 0; o < k; o++) {
                    double right = direct(x, masking, weights, bias, h, w, c, k, padding, backward, i, j, o);
                    if (relu && right < 0) right = 0;
                    double wrong = y[(i * w + j) * k + o] - right;
                    error += wrong * wrong, size += right * right;
                }
        if (!(sqrt(error / size) < 1e-5)) {
            printf("round %d: %ldx%ld, %ld to %ld channels, level %d: error %g\n", round, h, w, c, k, level, sqrt(error / size));
            return 1;
        }
        if (pooling_fails(h, w, c, x, level, threads)) return 1;
        free(x), free(masking), free(mask), free(bias), free(weights), free(kernel), free(y), free(scratch);
    }
    puts("400 rounds, no errors");
    return 0;
}

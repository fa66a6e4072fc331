/* All the work for one instruction set: included once for each.
 *
 * Before each inclusion: NAME(x), the names' suffix; VL, floats in a vector; MR, rows of the small product held in
 * registers; NV, vectors in each of them.
 */

typedef float NAME(vec) __attribute__((vector_size(4 * VL), aligned(4)));
#define VEC NAME(vec)
#define LOAD(p) (*(const VEC *)(p))
#define STORE(p, v) (*(VEC *)(p) = (v))

#include "winograd.h"
#include "small_channels.h"
#include "pooling.h"

#undef NAME
#undef VEC
#undef LOAD
#undef STORE
#undef VL
#undef MR
#undef NV

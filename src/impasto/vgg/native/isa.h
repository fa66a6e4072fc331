/* The kernels for one instruction set; included once for each.
 *
 * The includer defines: NAME(x), which adds the instruction set's suffix to a name; VL, the floats in a vector; MR, the
 * rows of the matrix product that are kept in registers; NV, the vectors in each of these rows.
 */

typedef float NAME(vec) __attribute__((vector_size(4 * VL), aligned(4)));
typedef int NAME(ints) __attribute__((vector_size(4 * VL), aligned(4)));
typedef unsigned char NAME(bytes) __attribute__((vector_size(VL), aligned(1)));
#define VEC NAME(vec)
#define INTS NAME(ints)
#define BYTES NAME(bytes)
#define LOAD(p) (*(const VEC *)(p))
#define STORE(p, v) (*(VEC *)(p) = (v))

#include "masks.h"
#include "winograd.h"
#include "small_channels.h"
#include "pooling.h"

#undef NAME
#undef VEC
#undef INTS
#undef BYTES
#undef LOAD
#undef STORE
#undef VL
#undef MR
#undef NV

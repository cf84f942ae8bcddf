/* Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011): the random bits of a counter under a key, in any order, on any thread. */
#ifndef FASTGD_PHILOX_H
#define FASTGD_PHILOX_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t word[4];
} philox_block;

static inline philox_block philox(uint64_t seed, uint64_t index, uint32_t stream, uint32_t substream)
{
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = stream, c3 = substream;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (philox_block){{c0, c1, c2, c3}};
}

/* Draw number i, uniform on the multiples of 2^-53 in [0, 1): two draws come from one block. */
static inline double philox_uniform(uint64_t seed, uint64_t i, uint32_t stream, uint32_t substream)
{
    philox_block block = philox(seed, i >> 1, stream, substream);
    uint32_t low = block.word[(i & 1) * 2], high = block.word[(i & 1) * 2 + 1];
    return (double)(((uint64_t)high << 32 | low) >> 11) * 0x1p-53;
}

#define SHUFFLE_STREAM 1

/* Fisher and Yates from the top: position i is drawn with draw number i. */
static inline void philox_permutation(uint64_t seed, uint32_t epoch, ptrdiff_t n, ptrdiff_t *order)
{
    for (ptrdiff_t i = 0; i < n; i++)
        order[i] = i;
    for (ptrdiff_t i = n - 1; i > 0; i--) {
        ptrdiff_t j = (ptrdiff_t)(philox_uniform(seed, (uint64_t)i, SHUFFLE_STREAM, epoch) * (double)(i + 1));
        ptrdiff_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}

#endif

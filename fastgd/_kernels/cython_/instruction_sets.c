/* The instruction sets compiled into this build.  Compiled without any of their flags: nothing here may run code that the
 * processor does not have. */
#include "engine.h"

#define TABLES(set) &fastgd_##set##_float32, &fastgd_##set##_float64
#define DECLARE(set) extern const kernel_table fastgd_##set##_float32, fastgd_##set##_float64;

#if defined(FASTGD_HAS_AVX512)
DECLARE(avx512)
#endif
#if defined(FASTGD_HAS_AVX2)
DECLARE(avx2)
#endif
DECLARE(baseline)

static int always(void) { return 1; }

#if defined(FASTGD_LOWERED)
/* Every vector length was compiled for the baseline's registers: any machine can run them all. */
#define HAS_AVX512 always
#define HAS_AVX2 always
#elif defined(FASTGD_HAS_AVX2) || defined(FASTGD_HAS_AVX512)
/* The builtin asks the operating system too whether it saves the wide registers. */
static int has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static int has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#define HAS_AVX512 has_avx512
#define HAS_AVX2 has_avx2
#endif

const instruction_set fastgd_instruction_sets[] = {
#if defined(FASTGD_HAS_AVX512)
    {"avx512", HAS_AVX512, TABLES(avx512)},
#endif
#if defined(FASTGD_HAS_AVX2)
    {"avx2", HAS_AVX2, TABLES(avx2)},
#endif
    {"baseline", always, TABLES(baseline)},
    {NULL, NULL, NULL, NULL},
};

#include "core/files/dtype.h"

#include <string.h>

#include "core/base/memory.h"

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [BE_DTYPE_BOOL] = {"BOOL", 1}, [BE_DTYPE_U8] = {"U8", 1},   [BE_DTYPE_I8] = {"I8", 1},
    [BE_DTYPE_U16] = {"U16", 2},   [BE_DTYPE_I16] = {"I16", 2}, [BE_DTYPE_U32] = {"U32", 4},
    [BE_DTYPE_I32] = {"I32", 4},   [BE_DTYPE_U64] = {"U64", 8}, [BE_DTYPE_I64] = {"I64", 8},
    [BE_DTYPE_F16] = {"F16", 2},   [BE_DTYPE_BF16] = {"BF16", 2}, [BE_DTYPE_F32] = {"F32", 4},
    [BE_DTYPE_F64] = {"F64", 8},
};

size_t be_dtype_size(be_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *be_dtype_name(be_dtype dtype)
{
    return dtypes[dtype].name;
}

bool be_dtype_parse(const char *name, size_t length, be_dtype *dtype)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strlen(dtypes[i].name) == length && memcmp(dtypes[i].name, name, length) == 0) {
            *dtype = (be_dtype)i;
            return true;
        }
    }
    return false;
}

bool be_dtype_parse_numpy(const char *text, be_dtype *dtype)
{
    static const struct {
        char text[3];
        be_dtype dtype;
    } known[] = {
        {"b1", BE_DTYPE_BOOL}, {"u1", BE_DTYPE_U8},  {"i1", BE_DTYPE_I8},  {"u2", BE_DTYPE_U16},
        {"i2", BE_DTYPE_I16},  {"u4", BE_DTYPE_U32}, {"i4", BE_DTYPE_I32}, {"u8", BE_DTYPE_U64},
        {"i8", BE_DTYPE_I64},  {"f2", BE_DTYPE_F16}, {"f4", BE_DTYPE_F32}, {"f8", BE_DTYPE_F64},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(text, known[i].text) == 0) {
            *dtype = known[i].dtype;
            return true;
        }
    }
    return false;
}

bool be_dtype_is_float(be_dtype dtype)
{
    return dtype == BE_DTYPE_F16 || dtype == BE_DTYPE_BF16 || dtype == BE_DTYPE_F32 || dtype == BE_DTYPE_F64;
}

bool be_shape_count(size_t n_dims, const size_t *shape, size_t *product)
{
    size_t count = 1, bytes = sizeof(uint64_t);
    for (size_t i = 0; i < n_dims; i++) {
        if (!be_size_multiply(bytes, shape[i] ? shape[i] : 1, &bytes))
            return false;
        count *= shape[i];
    }
    *product = count;
    return true;
}

/* `value` = *from, whatever the alignment of `from`. */
#define LOAD(value, from) memcpy(&(value), (from), sizeof(value))

static float float_of_bits(uint32_t bits)
{
    float value;
    LOAD(value, &bits);
    return value;
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
static float half_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 0x1fu, fraction = half & 0x3ffu;
    if (exponent == 0x1f) /* infinity, NaN */
        return float_of_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0)
        return float_of_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13);
    float magnitude = (float)fraction * 0x1p-24f; /* subnormal, zero */
    return sign ? -magnitude : magnitude;
}

static float bfloat_to_f32(uint16_t bfloat)
{
    return float_of_bits((uint32_t)bfloat << 16);
}

/* A bfloat16 is the upper half of a float: adding half a unit of its last place carries into it, in an exponent too. */
static uint16_t f32_to_bfloat(float value)
{
    uint32_t bits;
    LOAD(bits, &value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u); /* a NaN whose payload lay in the lower half must not become infinity */
    uint32_t odd = bits >> 16 & 1u;
    return (uint16_t)((bits + 0x7fffu + odd) >> 16);
}

void be_f32_to_bf16(const float *values, size_t count, uint16_t *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = f32_to_bfloat(values[i]);
}

static bool element_to_i64(be_dtype dtype, const unsigned char *from, int64_t *out)
{
    switch (dtype) {
    case BE_DTYPE_BOOL: *out = *from != 0; return true;
    case BE_DTYPE_U8: *out = *from; return true;
    case BE_DTYPE_I8: { int8_t v; LOAD(v, from); *out = v; return true; }
    case BE_DTYPE_U16: { uint16_t v; LOAD(v, from); *out = v; return true; }
    case BE_DTYPE_I16: { int16_t v; LOAD(v, from); *out = v; return true; }
    case BE_DTYPE_U32: { uint32_t v; LOAD(v, from); *out = v; return true; }
    case BE_DTYPE_I32: { int32_t v; LOAD(v, from); *out = v; return true; }
    case BE_DTYPE_I64: LOAD(*out, from); return true;
    case BE_DTYPE_U64: LOAD(*out, from); return *out >= 0;
    case BE_DTYPE_F16: case BE_DTYPE_BF16: case BE_DTYPE_F32: case BE_DTYPE_F64: break;
    }
    return false;
}

bool be_dtype_to_i64(be_dtype dtype, const void *values, size_t count, int64_t *out)
{
    const unsigned char *from = values;
    for (size_t i = 0; i < count; i++) {
        if (!element_to_i64(dtype, from + i * be_dtype_size(dtype), &out[i]))
            return false;
    }
    return true;
}

double be_dtype_to_f64(be_dtype dtype, const void *value)
{
    if (dtype == BE_DTYPE_F64) {
        double number;
        LOAD(number, value);
        return number;
    }
    float number;
    be_dtype_to_f32(dtype, value, 1, &number);
    return number;
}

static float integer_to_f32(be_dtype dtype, const unsigned char *from)
{
    if (dtype == BE_DTYPE_U64) {
        uint64_t wide;
        LOAD(wide, from);
        return (float)wide;
    }
    int64_t integer = 0;
    (void)element_to_i64(dtype, from, &integer);
    return (float)integer;
}

static float element_to_f32(be_dtype dtype, const unsigned char *from)
{
    uint16_t bits;
    double number;
    switch (dtype) {
    case BE_DTYPE_F16: LOAD(bits, from); return half_to_f32(bits);
    case BE_DTYPE_BF16: LOAD(bits, from); return bfloat_to_f32(bits);
    case BE_DTYPE_F64: LOAD(number, from); return (float)number;
    default: return integer_to_f32(dtype, from);
    }
}

void be_dtype_to_f32(be_dtype dtype, const void *values, size_t count, float *out)
{
    const unsigned char *from = values;
    if (dtype == BE_DTYPE_F32) {
        if (count)
            memcpy(out, from, count * sizeof *out);
        return;
    }
    for (size_t i = 0; i < count; i++)
        out[i] = element_to_f32(dtype, from + i * be_dtype_size(dtype));
}

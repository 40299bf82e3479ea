#include "tests/unit/random.h"

uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state;
}

float next_uniform(uint32_t *state)
{
    return (float)(next_random(state) >> 8) / 8388608.0f - 1.0f;
}

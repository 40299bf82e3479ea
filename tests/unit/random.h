/* Numbers that look random and are the same in every run. */
#ifndef BRAINENC_TESTS_RANDOM_H
#define BRAINENC_TESTS_RANDOM_H

#include <stdint.h>

/* Any 32 bits; the high ones are the better ones. */
uint32_t next_random(uint32_t *state);
/* From -1 to 1. */
float next_uniform(uint32_t *state);

#endif

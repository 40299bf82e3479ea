/* What a precision other than f32 costs the answers of a model, measured when it is opened. For model.c too: a model keeps what was
 * measured. */
#ifndef BRAINENC_PRECISION_ERROR_H
#define BRAINENC_PRECISION_ERROR_H

#include "core/brainenc.h"

/* How far a subject's answers are from those in f32, `vertices` long each: the worst of `pictures` pictures. found and reference
 * [pictures][vertices]. */
be_precision_error be_precision_error_of(const float *found, const float *reference, size_t pictures, size_t vertices);

#endif

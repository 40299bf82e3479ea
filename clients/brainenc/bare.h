/* The matrix products of a prediction and nothing else, at their own shapes: what a prediction is measured against. */
#ifndef BRAINENC_TOOL_BARE_H
#define BRAINENC_TOOL_BARE_H

#include "core/brainenc.h"

typedef struct bare bare;

/* Makes operands of random numbers for the products of one such image: be_model_list_products. The readout, which is bound by
 * memory, is no matrix product and is left out. */
be_status bare_create(const be_model *model, const be_image *image, size_t threads, bare **bare, be_error *error);
void bare_free(bare *bare);
/* Floating-point operations of one image's products. */
double bare_operations(const bare *bare);
/* Of them those of a stage that a prediction computes in this precision. */
double bare_stage_operations(const bare *bare, be_stage stage, be_precision precision);
/* Seconds for one image's products on all threads, each product cut evenly among them. */
double bare_together(bare *bare);
/* Seconds an image for `images` images' products, each image by one thread. */
double bare_stream(bare *bare, size_t images);

#endif

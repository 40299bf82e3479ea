/* Transformers of noise, and what MODEL sections 3 and 4 make of them in double precision. */
#ifndef BRAINENC_TESTS_REFERENCE_ENCODER_H
#define BRAINENC_TESTS_REFERENCE_ENCODER_H

#include "tests/unit/weights.h"

#include "core/encoder/encoder.h"

/* Two panels of queries; a grid that is no square. */
enum { WIDTH = 32, CHANNELS = 20, QUERIES = 37, HIDDEN = 24, ROWS = 2, COLUMNS = 3, TOKENS = ROWS * COLUMNS, MOST_HEADS = 16 };

/* The tensors of an encoder ("transformer" or "custom_transformer") behind the prefix "m."; to be released with free_weights. */
weights make_encoder(const be_encoder_settings *settings, uint32_t *random);
/* Makes small what every layer adds to its state, so that the epsilon of the norms shows. */
void shrink_branches(weights *it);

typedef double row[WIDTH];

typedef struct reference {
    const be_encoder_settings *settings; /* `channels` CHANNELS with an input projection, else WIDTH */
    weights *from;
    char layer[64];                      /* what the names of the layer under way begin with */
    row memory[TOKENS], position[TOKENS];
    row state[QUERIES];                  /* in the end the output tokens */
    double maps[MOST_HEADS][QUERIES][TOKENS]; /* of the last attention of the queries */
} reference;

/* features [TOKENS][channels]. */
void compute_reference(reference *self, const float *features);

#endif

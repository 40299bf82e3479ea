/* Pictures that are drawn, not read: the same on every machine, with what a vision model looks for in them. */
#ifndef BRAINENC_IMAGE_DRAWN_H
#define BRAINENC_IMAGE_DRAWN_H

#include "core/image/image.h"

/* Draws picture `number` over `rgb`, [side][side][3]: overlapping discs with gratings, blobs that fade outwards and bars with hard
 * edges, in places, sizes, directions and colours that follow from the number. Integers only: one result on every machine. */
void be_image_draw(unsigned number, size_t side, unsigned char *rgb);

#endif

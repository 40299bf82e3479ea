/* How the rows of a matrix are shared out among tasks: by their number alone, whoever computes. */
#ifndef BRAINENC_COMPUTE_PANELS_H
#define BRAINENC_COMPUTE_PANELS_H

#include <stddef.h>

/* Panels are of equal height to within one row, none above BE_PANEL_ROWS. Panel p of n holds rows be_panel_start(rows, n, p) to
 * be_panel_start(rows, n, p + 1) - 1. */
enum { BE_PANEL_ROWS = 256 };
size_t be_panels(size_t rows);
size_t be_panel_start(size_t rows, size_t panels, size_t panel);

#endif

/* How the rows of a matrix are shared out among tasks. */
#ifndef BRAINENC_COMPUTE_PANELS_H
#define BRAINENC_COMPUTE_PANELS_H

#include <stddef.h>

/* Panels are of equal height to within one row, none above BE_PANEL_ROWS. Panel p of n holds rows be_panel_start(rows, n, p) to
 * be_panel_start(rows, n, p + 1) - 1. */
enum { BE_PANEL_ROWS = 256 };
size_t be_panels(size_t rows);
size_t be_panel_start(size_t rows, size_t panels, size_t panel);

/* The same for work that `workers` share: a multiple of them where there are rows enough, cut at multiples of BE_PANEL_STEP rows,
 * so that products waste no tiles; none above BE_PANEL_ROWS. Panel p of n holds rows be_shared_panel_start(rows, n, p) to
 * be_shared_panel_start(rows, n, p + 1) - 1. */
enum { BE_PANEL_STEP = 32 };
size_t be_shared_panels(size_t rows, size_t workers);
size_t be_shared_panel_start(size_t rows, size_t panels, size_t panel);

#endif

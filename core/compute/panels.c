#include "core/compute/panels.h"

size_t be_panels(size_t rows)
{
    return (rows + BE_PANEL_ROWS - 1) / BE_PANEL_ROWS;
}

size_t be_panel_start(size_t rows, size_t panels, size_t panel)
{
    return rows / panels * panel + (panel < rows % panels ? panel : rows % panels);
}

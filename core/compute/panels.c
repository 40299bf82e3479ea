#include "core/compute/panels.h"

size_t be_panels(size_t rows)
{
    return (rows + BE_PANEL_ROWS - 1) / BE_PANEL_ROWS;
}

size_t be_panel_start(size_t rows, size_t panels, size_t panel)
{
    return rows / panels * panel + (panel < rows % panels ? panel : rows % panels);
}

static size_t steps_of(size_t rows)
{
    return (rows + BE_PANEL_STEP - 1) / BE_PANEL_STEP;
}

size_t be_shared_panels(size_t rows, size_t workers)
{
    size_t steps = steps_of(rows), wanted = (be_panels(rows) + workers - 1) / workers * workers;
    return wanted < steps ? wanted : steps;
}

size_t be_shared_panel_start(size_t rows, size_t panels, size_t panel)
{
    size_t start = be_panel_start(steps_of(rows), panels, panel) * BE_PANEL_STEP;
    return start < rows ? start : rows;
}

#include "core/compute/team.h"

#include "core/base/clock.h"
#include "core/compute/panels.h"

const char *be_stage_name(be_stage stage)
{
    static const char *const names[BE_STAGES] = {"embed", "project", "attend", "feed_forward", "features", "encode",
                                                 "read_out"};
    return names[stage];
}

size_t be_team_workers(const be_team *team)
{
    return team->pool ? be_pool_threads(team->pool) : 1;
}

size_t be_team_panels(const be_team *team, size_t rows)
{
    return be_shared_panels(rows, be_team_workers(team));
}

be_rows be_team_panel(const be_team *team, size_t rows, size_t panel)
{
    size_t panels = be_team_panels(team, rows), first = be_shared_panel_start(rows, panels, panel);
    return (be_rows){first, be_shared_panel_start(rows, panels, panel + 1) - first};
}

void be_team_run(const be_team *team, be_stage stage, size_t n_tasks, be_task run, void *context)
{
    double start = be_clock();
    if (team->pool) {
        be_pool_run(team->pool, n_tasks, run, context);
    } else {
        for (size_t task = 0; task < n_tasks; task++)
            run(context, task, team->worker);
    }
    if (team->stages)
        team->stages[stage] += be_clock() - start;
}

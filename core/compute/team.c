#include "core/compute/team.h"

#include "core/base/clock.h"

const char *be_stage_name(be_stage stage)
{
    static const char *const names[BE_STAGES] = {"embed", "project", "attend", "feed_forward", "features", "encode",
                                                 "read_out"};
    return names[stage];
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

#include "core/pace.h"

#include <stdbool.h>

/* One that was interrupted counts twice as long at most. */
static void note(double *mean, double seconds, size_t cells)
{
    if (cells == 0)
        return;
    double each = seconds / (double)cells;
    if (*mean > 0)
        each = 0.7 * *mean + 0.3 * (each < 2 * *mean ? each : 2 * *mean);
    *mean = each;
}

void be_pace_note_alone(be_pace *pace, double seconds, size_t cells)
{
    note(&pace->alone, seconds, cells);
}

void be_pace_note_together(be_pace *pace, double seconds, size_t cells)
{
    note(&pace->together, seconds, cells);
}

/* A round of `images` alone takes as long as one of them. */
static bool is_sooner_alone(const be_pace *pace, size_t images)
{
    return pace->alone < (double)images * pace->together;
}

size_t be_pace_alone(be_pace *pace, size_t images, size_t threads)
{
    size_t rounds = images / threads, rest = images % threads;
    if (threads == 1)
        return images;
    bool known = pace->alone > 0 && pace->together > 0;
    bool whole_alone = !known || is_sooner_alone(pace, threads), rest_alone = known && is_sooner_alone(pace, rest);
    bool trial = (rounds > 0 || rest_alone) && ++pace->decisions % BE_PACE_TRIAL == 0;
    if (rest_alone)
        return trial ? rounds * threads : images;
    if (!trial)
        return whole_alone ? rounds * threads : 0;
    return whole_alone ? (rounds - 1) * threads : threads;
}

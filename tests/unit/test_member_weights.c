/* What each member of an ensemble counts. */
#include "tests/unit/support.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/subject/member_weights.h"

/* As many members as there may be, their layers in any order and of any number of runs: in time that grows with the members, not
 * with their square, and each as the formula has it. */
static void test_weights_of_many_members(void **state)
{
    (void)state;
    enum { MEMBERS = BE_MOST_MEMBERS, VERTICES = 3000, LAYERS = 12, SECONDS = 4 };
    static be_member_info members[MEMBERS];
    static float correlations[BE_HEMISPHERES][MEMBERS * VERTICES];
    const float *const given[] = {correlations[BE_LEFT], correlations[BE_RIGHT]};
    const size_t vertices[] = {VERTICES, VERTICES};
    float *weights = NULL;
    be_error error;
    for (size_t m = 0; m < MEMBERS; m++)
        members[m].tap.layer = (m * m + 3 * m) % 31 % LAYERS;
    for (size_t i = 0; i < MEMBERS * VERTICES; i++) {
        correlations[BE_LEFT][i] = (float)(i * 7919 % 1000) / 1000 - 0.3f;
        correlations[BE_RIGHT][i] = i % 17 ? (float)(i * 104729 % 1000) / 1000 : NAN;
    }
    double start = be_clock();
    assert_ok(be_member_weights(members, MEMBERS, vertices, given, &weights, &error), &error);
    assert_true(be_clock() - start < SECONDS);
    for (size_t v = 0; v < 2 * VERTICES; v += 97) {
        const float *of = given[v / VERTICES] + v % VERTICES;
        double sum[LAYERS] = {0}, runs[LAYERS] = {0}, total = 0;
        for (size_t m = 0; m < MEMBERS; m++) {
            sum[members[m].tap.layer] += isnan(of[m * VERTICES]) ? 0 : (double)of[m * VERTICES];
            runs[members[m].tap.layer]++;
        }
        for (size_t l = 0; l < LAYERS; l++)
            total += runs[l] > 0 ? exp(40 * sum[l] / runs[l]) : 0;
        for (size_t m = 0; m < MEMBERS; m++) {
            size_t l = members[m].tap.layer;
            double want = exp(40 * sum[l] / runs[l]) / runs[l] / total;
            assert_true(fabs((double)weights[m * 2 * VERTICES + v] - want) <= 1e-6 * want);
        }
    }
    free(weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_weights_of_many_members)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

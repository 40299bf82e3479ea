/* brainencd: answers predictions over HTTP until it is told to end. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "server/lifecycle.h"

static const char help[] =
    "brainencd " BRAINENC_VERSION ": predicts the response of visual cortex to pictures, over HTTP\n\n"
    "usage: brainencd --config FILE [--check]\n\n"
    "  --config FILE  the configuration; config/brainencd.yaml shows every key\n"
    "  --check        reads the configuration, loads and tests the weights, and exits: 0 when all is good\n"
    "  --version      prints the version\n\n"
    "signals: SIGTERM finishes what is in flight and ends (a second one ends at once), SIGHUP loads the configuration\n"
    "and weights anew and swaps them in when they are good\n\n"
    "exit codes: 0 ended as told, or --check found all good; 1 it could not start or go on, or --check found a fault;\n"
    "2 wrong command line\n\n"
    "example: brainenc demo -o demo && brainencd --config demo/brainencd.yaml\n";

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 'k'}, {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0},
    };
    const char *path = NULL;
    bool check = false;
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (option) {
        case 'c': path = optarg; break;
        case 'k': check = true; break;
        case 'v': puts("brainencd " BRAINENC_VERSION); return 0;
        case 'h': fputs(help, stdout); return 0;
        default: return 2;
        }
    }
    if (!path || optind != argc) {
        fputs("brainencd: --config FILE is needed, and nothing else (see --help)\n", stderr);
        return 2;
    }
    return check ? lifecycle_check(path) : lifecycle_run(path);
}

/* brainenc: the command line of libbrainenc. */
#include <stdio.h>
#include <string.h>

#include "clients/brainenc/tool.h"
#include "core/base/utf8.h"

static const command *const commands[] = {
    &command_predict, &command_attention, &command_import, &command_inspect, &command_demo, &command_bench,
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_help(void)
{
    puts("brainenc " BRAINENC_VERSION ": predicts the response of visual cortex to pictures\n\n"
         "usage: brainenc COMMAND [OPTION]... (brainenc COMMAND --help tells the options and shows an example)\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
    puts("\nbrainenc --version prints the version\n\n"
         "exit codes: 0 done, 1 the system refused (files, memory), 2 wrong command line, 3 a file or name does not\n"
         "exist, 4 an input is damaged, unsupported or over a limit, 5 done but some images failed");
}

static bool asks_for_help(const char *argument)
{
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

static int run_command(const command *it, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (asks_for_help(argv[i])) {
            fputs(it->help, stdout);
            return EXIT_DONE;
        }
    }
    char name[] = "brainenc"; /* what getopt's sentences begin with */
    argv[0] = name;
    tool_set_command(it->name);
    return it->run(argc, argv);
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        print_help();
        return EXIT_USAGE;
    }
    if (asks_for_help(argv[1]) || strcmp(argv[1], "help") == 0) {
        print_help();
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("brainenc " BRAINENC_VERSION);
        return EXIT_DONE;
    }
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(argv[1], commands[i]->name) == 0)
            return run_command(commands[i], argc - 1, argv + 1);
    }
    be_make_printable(argv[1]); /* the shell may have made it of a file's name */
    fprintf(stderr, "brainenc: there is no command '%s' (see `brainenc --help`)\n", argv[1]);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    int code = run(argc, argv);
    if (code == EXIT_DONE && (fflush(stdout) != 0 || ferror(stdout))) {
        fputs("brainenc: standard output cannot be written\n", stderr);
        code = EXIT_SYSTEM;
    }
    return code;
}

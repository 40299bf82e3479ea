/* AMX's instructions on a machine without it: the machine code that ships is run as it is, and each of its tile instructions, at
 * which such a processor traps, is decoded and done in a signal handler, on tiles of the thread's own. They are LDTILECFG,
 * TILERELEASE, TILEZERO, TILELOADD, TILELOADDT1, TILESTORED and TDPBF16PS, in every form of addressing without a prefix, as Intel's
 * Software Developer's Manual has them (volume 2: each one's operation, and the exceptions AMX-E1 to AMX-E6).
 */
#ifndef BRAINENC_TESTS_TILE_INSTRUCTIONS_H
#define BRAINENC_TESTS_TILE_INSTRUCTIONS_H

#if defined(__x86_64__)

/* Makes tile instructions run, on every thread, from now on; the processor must have AVX-512 and no AMX. To be called in every test
 * anew: cmocka sets a handler of its own before each. What AMX would refuse prints a sentence and ends the program by SIGILL, as do
 * all other instructions that the processor does not know. */
void emulate_tile_instructions(void);

/* Runs `run`, in which tile instructions that would be refused are skipped instead: the sentence that says why the first of them
 * was, or NULL when none was. A constant. */
const char *refused_tile_instruction(void (*run)(void *context), void *context);

#endif
#endif

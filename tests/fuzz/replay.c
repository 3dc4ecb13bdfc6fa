/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Runs a fuzzer without libFuzzer: with files as arguments, those; without, its corpus and the same few thousand
 * mutations of it every time, as two TAP cases. An input that ends the process is left in a file, for ./fuzz-NAME FILE.
 */
#include <config.h>

#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MUTATIONS 20000
#define MUTATIONS_US (1500 * 1000) /* no more are begun after this */
#define INPUT_MAX 4096
#define INPUT_LIMIT_S 20 /* one that takes longer hangs */

/* ---- what is left behind ---- */

static struct {
    const uint8_t *data;
    size_t size;
    char reproducer[512];
    char verdict[640];
} now;

/* In a signal handler, or from a sanitizer about to end the process. */
static void
leave_reproducer(void)
{
    int fd = now.data ? open(now.reproducer, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;
    if (fd < 0)
        return;
    bool ok = write(fd, now.data, now.size) == (ssize_t)now.size;
    close(fd);
    if (ok)
        ok = write(STDOUT_FILENO, now.verdict, strlen(now.verdict)) > 0;
}

static void
on_signal(int number)
{
    leave_reproducer();
    _exit(1);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void
prepare(const char *program)
{
    static const int numbers[] = { SIGABRT, SIGALRM, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
    bool sanitized = __sanitizer_set_death_callback != NULL; /* it has better handlers for faults */
    g_autofree char *base = g_path_get_basename(program);
    g_autofree char *here = g_get_current_dir();
    g_snprintf(now.reproducer, sizeof now.reproducer, "%s/%s.reproducer", here, base);
    g_snprintf(now.verdict, sizeof now.verdict, "not ok - %s ended the process; run: %s FILE\n", now.reproducer,
               program);
    for (size_t i = 0; i < (sanitized ? 3 : G_N_ELEMENTS(numbers)); i++)
        signal(numbers[i], on_signal);
    if (sanitized)
        __sanitizer_set_death_callback(leave_reproducer);
}

static void
run(const uint8_t *data, size_t size)
{
    now.size = size;
    now.data = data;
    alarm(INPUT_LIMIT_S);
    LLVMFuzzerTestOneInput(data, size);
    alarm(0);
    now.data = NULL;
}

/* ---- mutations ---- */

static uint32_t
next_random(uint32_t below)
{
    static uint32_t state = 2463534242; /* xorshift32, the same numbers every time */
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % below;
}

static void
cut_and_insert(GByteArray *input, guint at, guint remove, const uint8_t *data, guint size)
{
    g_autoptr(GByteArray) tail = g_byte_array_new();
    g_byte_array_append(tail, input->data + at + remove, input->len - at - remove);
    g_byte_array_set_size(input, at);
    g_byte_array_append(input, data, size);
    g_byte_array_append(input, tail->data, tail->len);
}

static void
mutate_once(GByteArray *input, GBytes *other)
{
    static const uint8_t telling[] = { 0,   1,   '\n', ' ', '/',  '.',  '%',  '=',
                                       ';', '[', ']',  '"', '\\', 0x7f, 0x80, 0xff };
    gsize size;
    const uint8_t *bytes = g_bytes_get_data(other, &size);
    guint at = next_random(input->len + 1), left = input->len - at;
    guint from = size ? next_random((uint32_t)size) : 0;
    switch (next_random(7)) {
    case 0:
        if (left)
            input->data[at] ^= (uint8_t)(1u << next_random(8));
        break;
    case 1:
        if (left)
            input->data[at] = telling[next_random(sizeof telling)];
        break;
    case 2:
        cut_and_insert(input, at, 0, &telling[next_random(sizeof telling)], 1);
        break;
    case 3:
        cut_and_insert(input, at, next_random(MIN(left, 16) + 1), NULL, 0);
        break;
    case 4:
        cut_and_insert(input, at, 0, bytes + from, next_random(MIN((guint)size - from, 64) + 1));
        break;
    case 5:
        cut_and_insert(input, at, left, bytes + from, (guint)size - from);
        break;
    default:
        for (uint32_t n = next_random(300); n > 0; n--)
            cut_and_insert(input, at, 0, (const uint8_t *)"a", 1);
        break;
    }
    if (input->len > INPUT_MAX)
        g_byte_array_set_size(input, INPUT_MAX);
}

static unsigned
run_mutations(GPtrArray *corpus)
{
    gint64 end = g_get_monotonic_time() + MUTATIONS_US;
    unsigned n = 0;
    for (; n < MUTATIONS && g_get_monotonic_time() < end; n++) {
        g_autoptr(GByteArray) input = g_byte_array_new();
        gsize size;
        const uint8_t *seed = g_bytes_get_data(corpus->pdata[n % corpus->len], &size);
        g_byte_array_append(input, seed, (guint)size);
        for (uint32_t times = 1 + next_random(6); times > 0; times--)
            mutate_once(input, corpus->pdata[next_random(corpus->len)]);
        /* Memory of exactly its size, so that a sanitizer sees a read behind its end. */
        g_autofree uint8_t *exact = g_memdup2(input->data, input->len);
        run(exact ? exact : (const uint8_t *)"", input->len);
    }
    return n;
}

/* ---- the corpus ---- */

static GBytes *
read_input(const char *path)
{
    char *text;
    gsize size;
    g_autoptr(GError) error = NULL;
    if (!g_file_get_contents(path, &text, &size, &error))
        g_error("%s", error->message);
    return g_bytes_new_take(text, size);
}

static int
compare_names(gconstpointer left, gconstpointer right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static GPtrArray *
read_corpus(const char *folder)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    GPtrArray *corpus = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    g_autoptr(GDir) directory = g_dir_open(folder, 0, NULL);
    for (const char *name; directory && (name = g_dir_read_name(directory));)
        g_ptr_array_add(names, g_build_filename(folder, name, NULL));
    g_ptr_array_sort(names, compare_names);
    for (guint i = 0; i < names->len; i++)
        g_ptr_array_add(corpus, read_input(names->pdata[i]));
    return corpus;
}

static char *
corpus_folder(const char *program)
{
    g_autofree char *base = g_path_get_basename(program);
    const char *name = strstr(base, "fuzz-");
    const char *top = g_getenv("G_TEST_SRCDIR");
    return g_build_filename(top ? top : "tests", "fuzz", "corpus", name ? name + strlen("fuzz-") : base, NULL);
}

static void
run_input(GBytes *input)
{
    gsize size;
    const uint8_t *data = g_bytes_get_data(input, &size);
    run(data ? data : (const uint8_t *)"", size);
}

int
main(int argc, char **argv)
{
    LLVMFuzzerInitialize(&argc, &argv);
    prepare(argv[0]);
    for (int i = 1; i < argc; i++) {
        g_autoptr(GBytes) input = read_input(argv[i]);
        run_input(input);
    }
    if (argc > 1)
        return 0;
    g_autofree char *folder = corpus_folder(argv[0]);
    g_autoptr(GPtrArray) corpus = read_corpus(folder);
    printf("1..2\n");
    for (guint i = 0; i < corpus->len; i++)
        run_input(corpus->pdata[i]);
    printf("%sok 1 - the corpus, %u inputs\n", corpus->len ? "" : "not ", corpus->len);
    fflush(stdout);
    unsigned n = corpus->len ? run_mutations(corpus) : 0;
    printf("%sok 2 - mutations of it\n# %u of them\n", n ? "" : "not ", n);
    return corpus->len && n ? 0 : 1;
}

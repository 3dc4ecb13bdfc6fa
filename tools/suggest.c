/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/suggest.h"

#include <string.h>

#include <glib.h>

#define LONGEST 32 /* bytes of the words compared; longer ones are near to nothing */
#define FAR 99u

/* What people call things elsewhere. */
static const char *const synonyms[][2] = {
    { "ls", "list" },       { "slots", "list" },        { "info", "show" },         { "get", "show" },
    { "rm", "clear" },      { "delete", "clear" },      { "remove", "clear" },      { "erase", "clear" },
    { "add", "provision" }, { "import", "provision" },  { "sas", "token" },         { "post", "send" },
    { "publish", "send" },  { "flush", "queue flush" }, { "drain", "queue flush" },
};

/* Optimal string alignment: three rows of the table are enough. */
unsigned
suggest_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    unsigned before[LONGEST + 1], above[LONGEST + 1], row[LONGEST + 1];
    if (n > LONGEST || m > LONGEST)
        return FAR;
    for (size_t j = 0; j <= m; j++)
        above[j] = before[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            row[j] = MIN(MIN(above[j] + 1, row[j - 1] + 1), above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = MIN(row[j], before[j - 2] + 1);
        }
        memcpy(before, above, sizeof before);
        memcpy(above, row, sizeof above);
    }
    return above[m];
}

static const char *
find_word(const char *text, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(words[i], text) == 0)
            return words[i];
    return NULL;
}

const char *
suggest_word(const char *text, const char *const *words, size_t n_words)
{
    const char *best = NULL;
    size_t len = strlen(text);
    unsigned least = MIN((unsigned)len / 3 + 1, 3u) + 1; /* further away is not meant */
    g_autofree char *lower = g_ascii_strdown(text, -1);

    for (size_t i = 0; i < G_N_ELEMENTS(synonyms); i++)
        if (strcmp(lower, synonyms[i][0]) == 0 && (best = find_word(synonyms[i][1], words, n_words)))
            return best;
    for (size_t i = 0; i < n_words; i++) {
        unsigned distance = suggest_distance(lower, words[i]);
        if (len >= 2 && g_str_has_prefix(words[i], lower))
            distance = 0;
        if (distance < least) {
            least = distance;
            best = words[i];
        }
    }
    return best;
}

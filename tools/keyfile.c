/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tools/keyfile.h"
#include "common/error.h"
#include "common/text.h"
#include "tools/quiet-terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Base64 of the longest key and its newline, with room for a longer one to be told so. */
#define TEXT_MAX 4096

static struct secret *
read_text(const char *path, const char *what, GError **error)
{
    bool is_stdin = strcmp(path, "-") == 0;
    const char *shown = is_stdin ? "stdin" : path;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        error_set(error, ERROR_INVALID_ARGUMENT, "cannot open %s: %s", path, g_strerror(errno));
        return NULL;
    }
    if (is_stdin)
        quiet_terminal_begin(what);
    struct secret *text = secret_read_fd(fd, TEXT_MAX, error);
    if (is_stdin)
        quiet_terminal_end();
    else
        close(fd);
    if (!text) {
        g_prefix_error(error, "%s: ", shown);
    } else if (text->len == 0) {
        error_set(error, ERROR_INVALID_ARGUMENT, "%s is empty; it must hold the %s", shown, what);
        g_clear_pointer(&text, secret_free);
    }
    return text;
}

/* The base64 text of a key into its bytes. */
static struct secret *
decode(const char *text, size_t len, const char *shown, GError **error)
{
    g_autoptr(secret_auto) key = secret_new(3 * (len / 4) + 3);
    g_autoptr(GError) problem = NULL;
    if (len >= 21 && g_ascii_strncasecmp(text, "SharedAccessSignature", 21) == 0) {
        error_set(error, ERROR_INVALID_ARGUMENT,
                  "%s holds a SAS token, which ends soon, not a key; copy the primary key", shown);
        return NULL;
    }
    if (!text_base64_decode(text, len, key->data, &key->len, &problem)) {
        error_set(error, ERROR_INVALID_ARGUMENT,
                  "the key in %s is not base64 (%s); copy the device's primary key whole", shown, problem->message);
        return NULL;
    }
    if (key->len < 1 || key->len > KEYFILE_KEY_MAX) {
        error_set(error, ERROR_INVALID_ARGUMENT, "the key in %s has %zu bytes; 1 to %d are allowed", shown, key->len,
                  KEYFILE_KEY_MAX);
        return NULL;
    }
    return g_steal_pointer(&key);
}

static const char *
shown_path(const char *path)
{
    return strcmp(path, "-") == 0 ? "stdin" : path;
}

/* Takes one newline off the end. */
static void
trim(struct secret *text)
{
    size_t len = text->len;
    if (text->data[len - 1] == '\n')
        len--;
    if (len > 0 && len < text->len && text->data[len - 1] == '\r')
        len--;
    text->len = len;
}

/* As pasted from a program or a page: neither keys nor connection strings begin or end like that. */
static bool
refuse_quotes(const struct secret *text, const char *path, const char *what, GError **error)
{
    static const char *const quotes[] = { "\"", "'", "`", "\u2018", "\u2019", "\u201c", "\u201d" };
    const char *begin = (const char *)text->data, *end = begin + text->len;
    while (begin < end && g_ascii_isspace(*begin))
        begin++;
    while (begin < end && g_ascii_isspace(end[-1]))
        end--;
    for (size_t i = 0; i < G_N_ELEMENTS(quotes); i++) {
        size_t len = strlen(quotes[i]);
        if ((size_t)(end - begin) < len)
            continue;
        if (memcmp(begin, quotes[i], len) == 0 || memcmp(end - len, quotes[i], len) == 0) {
            error_set(error, ERROR_INVALID_ARGUMENT, "%s: the %s stands in quotes (%s); take them away",
                      shown_path(path), what, quotes[i]);
            return false;
        }
    }
    return true;
}

struct secret *
keyfile_read(const char *path, GError **error)
{
    g_autoptr(secret_auto) text = read_text(path, "key", error);
    if (!text || !refuse_quotes(text, path, "key", error))
        return NULL;
    trim(text);
    return decode((const char *)text->data, text->len, shown_path(path), error);
}

struct secret *
keyfile_read_text(const char *path, GError **error)
{
    g_autoptr(secret_auto) text = read_text(path, "key", error);
    if (!text || !refuse_quotes(text, path, "key", error))
        return NULL;
    trim(text);
    /* Any text can be a key, so nothing else would notice that the hub refuses all tokens of this one. */
    if (identity_has_secret((const char *)text->data, text->len)) {
        error_set(error, ERROR_INVALID_ARGUMENT,
                  "%s holds a connection string or a token, not a key; copy the policy's primary key alone",
                  shown_path(path));
        return NULL;
    }
    if (text->len >= 1 && text->len <= KEYFILE_KEY_MAX)
        return g_steal_pointer(&text);
    error_set(error, ERROR_INVALID_ARGUMENT, "the key in %s has %zu bytes; 1 to %d are allowed", shown_path(path),
              text->len, KEYFILE_KEY_MAX);
    return NULL;
}

struct identity *
keyfile_read_connection_string(const char *path, struct secret **key, GError **error)
{
    const char *secret = NULL;
    size_t len = 0;
    g_autoptr(secret_auto) text = read_text(path, "connection string", error);
    if (!text || !refuse_quotes(text, path, "connection string", error))
        return NULL;
    g_autoptr(identity_auto)
        identity = identity_parse_connection_string((const char *)text->data, text->len, &secret, &len, error);
    if (!identity) {
        g_prefix_error(error, "%s: ", shown_path(path));
        return NULL;
    }
    *key = decode(secret, len, shown_path(path), error);
    return *key ? g_steal_pointer(&identity) : NULL;
}

int
keyfile_to_pipe(const struct secret *key, GError **error)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        error_set(error, ERROR_INTERNAL, "cannot make a pipe: %s", g_strerror(errno));
        return -1;
    }
    /* A pipe takes this much at once (POSIX: PIPE_BUF is atomic, its capacity larger). */
    ssize_t n = write(ends[1], key->data, key->len);
    close(ends[1]);
    if (n == (ssize_t)key->len)
        return ends[0];
    error_set(error, ERROR_INTERNAL, "cannot write to a pipe: %s", g_strerror(errno));
    close(ends[0]);
    return -1;
}

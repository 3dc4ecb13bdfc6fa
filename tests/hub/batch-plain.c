/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The JSON library spends some 13 ns on each byte, which for batches of 255 KiB would make the hub slower than its
 * clients. This reader knows only the regular form of a batch, and leaves all else, above all every error, to the
 * library.
 */
#include <config.h>

#include "tests/hub/batch-plain.h"

#include <stdint.h>
#include <string.h>

#define PROPERTIES_MAX 16u

struct scan {
    char *at;
    char *end;
};

struct span {
    char *text;
    size_t len;
};

static void
skip_space(struct scan *in)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\n' || *in->at == '\r' || *in->at == '\t'))
        in->at++;
}

static bool
take(struct scan *in, char c)
{
    skip_space(in);
    if (in->at == in->end || *in->at != c)
        return false;
    in->at++;
    return true;
}

static bool
take_word(struct scan *in, const char *word)
{
    const size_t n = strlen(word);

    skip_space(in);
    if ((size_t)(in->end - in->at) < n || memcmp(in->at, word, n) != 0)
        return false;
    in->at += n;
    return true;
}

static bool
is_plain(const struct span *span)
{
    unsigned char odd = 0;

    for (size_t i = 0; i < span->len; i++) {
        const unsigned char c = (unsigned char)span->text[i];
        odd |= (unsigned char)(c < 0x20 || c >= 0x7f || c == '\\');
    }
    return !odd;
}

/* What stands within the quotes up to the next quote, whatever it is. */
static bool
take_quoted(struct scan *in, struct span *span)
{
    char *quote;

    if (!take(in, '"') || !(quote = memchr(in->at, '"', (size_t)(in->end - in->at))))
        return false;
    *span = (struct span){ in->at, (size_t)(quote - in->at) };
    in->at = quote + 1;
    return true;
}

static bool
take_plain(struct scan *in, struct span *span)
{
    return take_quoted(in, span) && is_plain(span);
}

static bool
is_repeated(const struct batch *batch, guint first, const struct span *name, size_t name_len)
{
    for (guint i = first; i < batch->properties->len; i++) {
        const struct batch_property *property = &g_array_index(batch->properties, struct batch_property, i);
        if (strncmp(property->name, name->text, name_len + 1) == 0)
            return true;
    }
    return false;
}

static bool
take_properties(struct scan *in, struct batch *batch, struct batch_element *element)
{
    struct span name, value;

    element->first = batch->properties->len;
    if (!take(in, '{'))
        return false;
    if (take(in, '}'))
        return true;
    do {
        /* The name ends with its quote for now, which is also what a repeated one would end with. */
        if (element->properties++ == PROPERTIES_MAX || !take_plain(in, &name) ||
            is_repeated(batch, element->first, &name, name.len) || !take(in, ':') || !take_plain(in, &value))
            return false;
        const struct batch_property property = { name.text, value.text, value.len };
        g_array_append_val(batch->properties, property);
    } while (take(in, ','));
    return take(in, '}');
}

static bool
take_bool(struct scan *in, bool *value)
{
    *value = take_word(in, "true");
    return *value || take_word(in, "false");
}

static bool
is(const struct span *span, const char *name)
{
    return span->len == strlen(name) && memcmp(span->text, name, span->len) == 0;
}

/* Base64 proves itself plain when it is decoded; a text has to be looked at. */
static bool
check_body(const struct batch_element *element)
{
    const struct span body = { (char *)(uintptr_t)element->body, element->body_len };

    return element->body && (element->base64 ? !memchr(body.text, '\\', body.len) : is_plain(&body));
}

static bool
take_element(struct scan *in, struct batch *batch)
{
    struct batch_element element = { .base64 = true };
    bool body = false, base64 = false, properties = false;
    struct span name, value;

    if (!take(in, '{'))
        return false;
    do {
        if (!take_plain(in, &name) || !take(in, ':'))
            return false;
        if (!body && is(&name, "body") && take_quoted(in, &value)) {
            body = true;
            element.body = value.text;
            element.body_len = value.len;
        } else if (!base64 && is(&name, "base64Encoded") && take_bool(in, &element.base64)) {
            base64 = true;
        } else if (!properties && is(&name, "properties") && take_properties(in, batch, &element)) {
            properties = true;
        } else {
            return false;
        }
    } while (take(in, ','));
    g_array_append_val(batch->elements, element);
    return take(in, '}') && check_body(&element);
}

/* Every text ends with its quote, which becomes its NUL once nothing can fail any more. */
static void
terminate(struct batch *batch)
{
    for (guint i = 0; i < batch->properties->len; i++) {
        const struct batch_property *property = &g_array_index(batch->properties, struct batch_property, i);
        *strchr((char *)(uintptr_t)property->name, '"') = '\0';
        ((char *)(uintptr_t)property->value)[property->len] = '\0';
    }
}

bool
batch_plain(char *text, size_t len, struct batch *batch)
{
    struct scan in = { text, text + len };
    bool ok = take(&in, '[');

    if (ok) {
        do
            ok = take_element(&in, batch);
        while (ok && take(&in, ','));
    }
    ok = ok && take(&in, ']');
    skip_space(&in);
    if (ok && in.at == in.end) {
        terminate(batch);
        return true;
    }
    g_array_set_size(batch->elements, 0);
    g_array_set_size(batch->properties, 0);
    return false;
}

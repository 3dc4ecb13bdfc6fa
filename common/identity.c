/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "common/identity.h"
#include "common/error.h"

#include <string.h>

struct identity *
identity_new(void)
{
    return g_new0(struct identity, 1);
}

struct identity *
identity_copy(const struct identity *from)
{
    struct identity *to = identity_new();
    *to = (struct identity){
        .host = g_strdup(from->host),         .device = g_strdup(from->device),
        .module = g_strdup(from->module),     .gateway = g_strdup(from->gateway),
        .audience = g_strdup(from->audience), .key_name = g_strdup(from->key_name),
    };
    return to;
}

void
identity_free(struct identity *identity)
{
    if (!identity)
        return;
    g_free(identity->host);
    g_free(identity->device);
    g_free(identity->module);
    g_free(identity->gateway);
    g_free(identity->audience);
    g_free(identity->key_name);
    g_free(identity);
}

bool
identity_equal(const struct identity *a, const struct identity *b)
{
    return g_strcmp0(a->host, b->host) == 0 && g_strcmp0(a->device, b->device) == 0 &&
           g_strcmp0(a->module, b->module) == 0 && g_strcmp0(a->gateway, b->gateway) == 0 &&
           g_strcmp0(a->audience, b->audience) == 0 && g_strcmp0(a->key_name, b->key_name) == 0;
}

/* A DNS name: labels of letters, digits and inner hyphens (RFC 1123 section 2.1). Lower-cased in place. */
static bool
check_host(const char *what, char *host, GError **error)
{
    size_t len = strlen(host), label = 0;
    bool good = len >= 1 && len <= IDENTITY_HOST_MAX;
    for (size_t i = 0; good && i <= len; i++) {
        char c = host[i];
        if (c == '.' || c == '\0') {
            good = label >= 1 && label <= 63 && host[i - 1] != '-';
            label = 0;
        } else {
            good = g_ascii_isalnum(c) || (c == '-' && label > 0);
            host[i] = g_ascii_tolower(c);
            label++;
        }
    }
    if (!good)
        error_set(error, ERROR_INVALID_ARGUMENT,
                  "%s is not a host name: up to %d of letters, digits, '-' and '.', as in myhub.azure-devices.net",
                  what, IDENTITY_HOST_MAX);
    return good;
}

bool
identity_has_secret(const char *text, size_t len)
{
    static const char *const telling[] = { "SharedAccessKey=", "SharedAccessKeyName=", "SharedAccessSignature" };
    for (size_t at = 0; at < len; at++)
        for (size_t i = 0; i < G_N_ELEMENTS(telling); i++) {
            size_t n = strlen(telling[i]);
            if (n <= len - at && g_ascii_strncasecmp(text + at, telling[i], n) == 0)
                return true;
        }
    return false;
}

/* Whoever pastes a whole connection string here would show its key to every user: identities can be read by all. */
static bool
check_no_string(const char *what, const char *text, GError **error)
{
    if (!strchr(text, ';') && !identity_has_secret(text, strlen(text)))
        return true;
    error_set(error, ERROR_INVALID_ARGUMENT,
              "%s looks like a connection string, in which a key may stand; give only %s", what,
              strcmp(what, "Audience") == 0  ? "the resource, as sb://name.servicebus.windows.net/hub"
              : strcmp(what, "KeyName") == 0 ? "the name of the policy"
                                             : "the ID");
    return false;
}

static bool
check_id(const char *what, const char *id, GError **error)
{
    size_t len = strlen(id);
    if (len < 1 || len > IDENTITY_ID_MAX) {
        error_set(error, ERROR_INVALID_ARGUMENT, "%s has %zu characters; 1 to %d are allowed", what, len,
                  IDENTITY_ID_MAX);
        return false;
    }
    for (size_t i = 0; i < len; i++)
        if (!g_ascii_isalnum(id[i]) && !strchr("-:.+%_#*?!(),=@$'", id[i])) {
            error_set(error, ERROR_INVALID_ARGUMENT,
                      "%s: character %zu is not allowed; letters, digits and - : . + %% _ # * ? ! ( ) , = @ $ ' are",
                      what, i + 1);
            return false;
        }
    if (strcmp(id, ".") == 0 || strcmp(id, "..") == 0) {
        error_set(error, ERROR_INVALID_ARGUMENT, "%s must not be \".\" or \"..\", which URLs give another meaning",
                  what);
        return false;
    }
    return check_no_string(what, id, error);
}

/* Printable ASCII without space: it goes through percent-encoding, so nothing more is needed. */
static bool
check_printable(const char *what, const char *text, size_t max, GError **error)
{
    size_t len = strlen(text);
    bool good = len >= 1 && len <= max;
    for (size_t i = 0; good && i < len; i++)
        good = g_ascii_isgraph(text[i]);
    if (!good)
        error_set(error, ERROR_INVALID_ARGUMENT, "%s must be 1 to %zu printable ASCII characters without spaces", what,
                  max);
    return good;
}

static bool
check_audience(const struct identity *identity, GError **error)
{
    if (identity->host || identity->device || identity->module || identity->gateway) {
        error_set(error, ERROR_INVALID_ARGUMENT,
                  "Audience and KeyName go with no HostName, DeviceId, ModuleId or GatewayHostName");
        return false;
    }
    if (!identity->audience || !identity->key_name) {
        error_set(error, ERROR_INVALID_ARGUMENT, "Audience and KeyName go together; %s is missing",
                  identity->audience ? "KeyName" : "Audience");
        return false;
    }
    return check_no_string("Audience", identity->audience, error) &&
           check_no_string("KeyName", identity->key_name, error) &&
           check_printable("Audience", identity->audience, IDENTITY_AUDIENCE_MAX, error) &&
           check_printable("KeyName", identity->key_name, IDENTITY_KEY_NAME_MAX, error);
}

bool
identity_check(struct identity *identity, GError **error)
{
    if (identity->audience || identity->key_name)
        return check_audience(identity, error);
    if (!identity->host || !identity->device) {
        error_set(error, ERROR_INVALID_ARGUMENT, "HostName and DeviceId are needed; %s is missing",
                  identity->host ? "DeviceId" : "HostName");
        return false;
    }
    return check_host("HostName", identity->host, error) && check_id("DeviceId", identity->device, error) &&
           (!identity->module || check_id("ModuleId", identity->module, error)) &&
           (!identity->gateway || check_host("GatewayHostName", identity->gateway, error));
}

char *
identity_resource(const struct identity *identity)
{
    if (identity->audience)
        return g_strdup(identity->audience);
    if (identity->module)
        return g_strdup_printf("%s/devices/%s/modules/%s", identity->host, identity->device, identity->module);
    return g_strdup_printf("%s/devices/%s", identity->host, identity->device);
}

/* One "Name=value" of a connection string; secrets stay where they are, only their place is noted. */
static bool
take_part(struct identity *identity, const char *part, size_t len, const char **secret, size_t *secret_len,
          GError **error)
{
    const char *equals = memchr(part, '=', len);
    size_t name_len = equals ? (size_t)(equals - part) : 0;
    const char *value = equals ? equals + 1 : part;
    size_t value_len = equals ? len - name_len - 1 : 0;
    const struct {
        const char *name;
        char **text;
    } parts[] = {
        { "HostName", &identity->host },           { "DeviceId", &identity->device },
        { "ModuleId", &identity->module },         { "GatewayHostName", &identity->gateway },
        { "SharedAccessKey", NULL },               { "SharedAccessSignature", NULL },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (strlen(parts[i].name) != name_len || g_ascii_strncasecmp(parts[i].name, part, name_len) != 0)
            continue;
        if (parts[i].text ? *parts[i].text != NULL : *secret != NULL) {
            error_set(error, ERROR_INVALID_ARGUMENT, "the connection string has %s twice",
                      parts[i].text ? parts[i].name : "a SharedAccessKey or SharedAccessSignature");
            return false;
        }
        if (parts[i].text) {
            *parts[i].text = g_strndup(value, value_len);
        } else {
            *secret = value;
            *secret_len = value_len;
        }
        return true;
    }
    error_set(error, ERROR_INVALID_ARGUMENT,
              "not a device connection string: a part is none of HostName, DeviceId, ModuleId, GatewayHostName, "
              "SharedAccessKey; copy the \"primary connection string\" of the device, not of the hub");
    return false;
}

struct identity *
identity_parse_connection_string(const char *text, size_t len, const char **secret, size_t *secret_len, GError **error)
{
    g_autoptr(identity_auto) identity = identity_new();
    const char *found = NULL;
    size_t found_len = 0;

    while (len > 0 && g_ascii_isspace(text[len - 1]))
        len--;
    while (len > 0 && g_ascii_isspace(text[0]))
        text++, len--;
    if (memchr(text, '\0', len)) {
        error_set(error, ERROR_INVALID_ARGUMENT, "the connection string contains a NUL byte");
        return NULL;
    }
    while (len > 0) {
        const char *end = memchr(text, ';', len);
        size_t part = end ? (size_t)(end - text) : len;
        if (part > 0 && !take_part(identity, text, part, &found, &found_len, error))
            return NULL;
        text += end ? part + 1 : part;
        len -= end ? part + 1 : part;
    }
    if (!found || found_len == 0) {
        error_set(error, ERROR_INVALID_ARGUMENT, "the connection string has no SharedAccessKey");
        return NULL;
    }
    if (!identity_check(identity, error))
        return NULL;
    *secret = found;
    *secret_len = found_len;
    return g_steal_pointer(&identity);
}

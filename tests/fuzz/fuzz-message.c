/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A method call to hubkeyd's objects, over a private bus and storage in memory. Either the bytes of a message, or text:
 * path, interface, member and signature, then a line for each value (an array's is its length, a variant's its
 * signature, a descriptor's what can be read from it). Whatever comes, one answer comes back, and what is read from a
 * descriptor stands in no answer and no log.
 */
#include <config.h>

#include "common/error.h"
#include "dbus/names.h"
#include "dbus/object.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/api-bus.h"
#include "tests/lib/await.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX 12    /* of nested values */
#define ELEMENTS_MAX 32 /* of an array */
#define FDS_MAX 12      /* of a message: a bus disconnects who sends more than 16 */
#define SECRET "raw-secret" /* what is in a descriptor is looked for where this is in it */
#define SETTLED_EVERY 512 /* inputs after which nothing may be left over */

static struct api_bus api;
static GPtrArray *secrets;
static int descriptors;

/* ---- what must not be told ---- */

static void
expect_silence(const char *text, size_t len)
{
    for (guint i = 0; secrets && i < secrets->len; i++) {
        const char *secret = secrets->pdata[i];
        g_assert_null(memmem(text, len, secret, strlen(secret)));
    }
}

static GLogWriterOutput
hear(GLogLevelFlags level, const GLogField *fields, gsize n, gpointer user)
{
    if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL))
        return g_log_writer_default(level, fields, n, NULL);
    for (gsize i = 0; i < n; i++)
        expect_silence(fields[i].value, fields[i].length < 0 ? strlen(fields[i].value) : (size_t)fields[i].length);
    return G_LOG_WRITER_HANDLED;
}

/* What the caller says itself, anywhere else, is no secret. */
static void
keep_secret(const char *secret, size_t times, const uint8_t *data, size_t size)
{
    for (const uint8_t *end = data + size; (data = memmem(data, (size_t)(end - data), secret, strlen(secret))); data++)
        if (times-- == 0)
            return;
    g_ptr_array_add(secrets, g_strdup(secret));
}

/* ---- a message ---- */

struct reader {
    char **next; /* line */
    GArray *fds;
    unsigned depth;
    const uint8_t *data; /* the whole input */
    size_t size;
};

static const char *
take_line(struct reader *reader)
{
    return *reader->next ? *reader->next++ : "";
}

static int
make_pipe(struct reader *reader, const char *content)
{
    int ends[2];
    size_t len = MIN(strlen(content), 4096);
    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
    g_assert_cmpint(write(ends[1], content, len), ==, (ssize_t)len);
    close(ends[1]);
    g_array_append_val(reader->fds, ends[0]);
    if (strstr(content, SECRET))
        keep_secret(content, 1, reader->data, reader->size);
    return ends[0];
}

static void append_values(struct reader *reader, DBusMessageIter *iter, DBusSignatureIter *types);

static void
append_text(struct reader *reader, DBusMessageIter *iter, int type)
{
    g_autofree char *text = g_utf8_make_valid(take_line(reader), -1);
    const char *value = type == DBUS_TYPE_OBJECT_PATH && !dbus_validate_path(text, NULL)     ? "/"
                        : type == DBUS_TYPE_SIGNATURE && !dbus_signature_validate(text, NULL) ? ""
                                                                                              : text;
    if (type == DBUS_TYPE_STRING && !dbus_validate_utf8(text, NULL))
        value = "";
    dbus_message_iter_append_basic(iter, type, &value);
}

static void
append_basic(struct reader *reader, DBusMessageIter *iter, int type)
{
    DBusBasicValue value = { 0 };
    if (type == DBUS_TYPE_STRING || type == DBUS_TYPE_OBJECT_PATH || type == DBUS_TYPE_SIGNATURE) {
        append_text(reader, iter, type);
        return;
    }
    const char *line = take_line(reader);
    if (type == DBUS_TYPE_UNIX_FD)
        value.fd = make_pipe(reader, line);
    else if (type == DBUS_TYPE_BOOLEAN)
        value.bool_val = line[0] == '1';
    else if (type == DBUS_TYPE_DOUBLE)
        value.dbl = g_ascii_strtod(line, NULL);
    else
        value.u64 = g_ascii_strtoull(line, NULL, 10);
    dbus_message_iter_append_basic(iter, type, &value);
}

static void
append_array(struct reader *reader, DBusMessageIter *iter, DBusSignatureIter *types)
{
    DBusSignatureIter element;
    DBusMessageIter inner;
    dbus_signature_iter_recurse(types, &element);
    char *signature = dbus_signature_iter_get_signature(&element);
    guint64 n = MIN(g_ascii_strtoull(take_line(reader), NULL, 10), ELEMENTS_MAX);
    dbus_message_iter_open_container(iter, DBUS_TYPE_ARRAY, signature, &inner);
    for (; n > 0 && reader->depth < DEPTH_MAX && *reader->next; n--) {
        dbus_signature_iter_recurse(types, &element); /* has the one complete type */
        append_values(reader, &inner, &element);
    }
    dbus_message_iter_close_container(iter, &inner);
    dbus_free(signature);
}

static void
append_variant(struct reader *reader, DBusMessageIter *iter)
{
    const char *signature = take_line(reader);
    DBusSignatureIter types;
    DBusMessageIter inner;
    if (reader->depth >= DEPTH_MAX || !dbus_signature_validate_single(signature, NULL))
        signature = "y";
    dbus_signature_iter_init(&types, signature);
    dbus_message_iter_open_container(iter, DBUS_TYPE_VARIANT, signature, &inner);
    append_values(reader, &inner, &types);
    dbus_message_iter_close_container(iter, &inner);
}

static void
append_struct(struct reader *reader, DBusMessageIter *iter, DBusSignatureIter *types, int type)
{
    DBusSignatureIter members;
    DBusMessageIter inner;
    dbus_signature_iter_recurse(types, &members);
    dbus_message_iter_open_container(iter, type, NULL, &inner);
    append_values(reader, &inner, &members);
    dbus_message_iter_close_container(iter, &inner);
}

static void
append_values(struct reader *reader, DBusMessageIter *iter, DBusSignatureIter *types)
{
    reader->depth++;
    do {
        int type = dbus_signature_iter_get_current_type(types);
        if (type == DBUS_TYPE_ARRAY)
            append_array(reader, iter, types);
        else if (type == DBUS_TYPE_VARIANT)
            append_variant(reader, iter);
        else if (type == DBUS_TYPE_STRUCT || type == DBUS_TYPE_DICT_ENTRY)
            append_struct(reader, iter, types, type);
        else if (type != DBUS_TYPE_INVALID)
            append_basic(reader, iter, type);
    } while (dbus_signature_iter_next(types));
    reader->depth--;
}

static DBusMessage *
build(struct reader *reader)
{
    const char *path = take_line(reader), *interface = take_line(reader), *member = take_line(reader);
    const char *signature = take_line(reader);
    DBusSignatureIter types;
    DBusMessageIter iter;
    if (!dbus_validate_path(path, NULL) || (*interface && !dbus_validate_interface(interface, NULL)) ||
        !dbus_validate_member(member, NULL) || !dbus_signature_validate(signature, NULL))
        return NULL;
    DBusMessage *message = dbus_message_new_method_call(NULL, path, *interface ? interface : NULL, member);
    dbus_message_iter_init_append(message, &iter);
    dbus_signature_iter_init(&types, signature);
    if (*signature)
        append_values(reader, &iter, &types);
    return message;
}

static DBusMessage *
read_message(const uint8_t *data, size_t size)
{
    g_autofree char *text = fuzz_text(data, size);
    if (!text || text[0] != '/')
        return dbus_message_demarshal((const char *)data, (int)size, NULL);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    struct reader reader = { lines, g_array_new(FALSE, FALSE, sizeof(int)), 0, data, size };
    DBusMessage *message = build(&reader);
    if (message && reader.fds->len > FDS_MAX)
        g_clear_pointer(&message, dbus_message_unref);
    for (guint i = 0; i < reader.fds->len; i++)
        close(g_array_index(reader.fds, int, i)); /* the message has copies */
    g_array_free(reader.fds, TRUE);
    return message;
}

/* ---- its answer ---- */

/* What libdbus itself ends a connection for says nothing about hubkeyd. */
static bool
is_for_us(DBusMessage *message)
{
    const char *path = dbus_message_get_path(message), *interface = dbus_message_get_interface(message);
    return dbus_message_get_type(message) == DBUS_MESSAGE_TYPE_METHOD_CALL && !dbus_message_get_no_reply(message) &&
           g_strcmp0(path, DBUS_PATH_LOCAL) != 0 && g_strcmp0(interface, DBUS_INTERFACE_LOCAL) != 0;
}

static void
check_text(const char *text)
{
    expect_silence(text, strlen(text));
    if (g_str_has_prefix(text, "SharedAccessSignature"))
        g_assert_true(g_str_has_prefix(text, "SharedAccessSignature sr=" API_BUS_HOST "%2Fdevices%2Fd"));
}

static void
check_values(DBusMessageIter *iter)
{
    for (int type; (type = dbus_message_iter_get_arg_type(iter)) != DBUS_TYPE_INVALID; dbus_message_iter_next(iter)) {
        DBusMessageIter inner;
        const char *text;
        if (type == DBUS_TYPE_STRING) {
            dbus_message_iter_get_basic(iter, &text);
            check_text(text);
        } else if (!dbus_type_is_basic(type)) {
            dbus_message_iter_recurse(iter, &inner);
            check_values(&inner);
        }
    }
}

/* True where the call may have changed what stands in a slot. */
static bool
check_answer(DBusMessage *answer)
{
    DBusMessageIter iter;
    const char *name = dbus_message_get_error_name(answer);
    if (dbus_message_iter_init(answer, &iter))
        check_values(&iter);
    if (!name)
        return true;
    g_assert_cmpstr(name, !=, DBUS_ERROR_NO_REPLY);
    g_assert_cmpstr(name, !=, DBUS_ERROR_DISCONNECTED);
    g_assert_true(g_str_has_prefix(name, NAMES_ERROR_PREFIX) || g_str_has_prefix(name, "org.freedesktop.DBus.Error."));
    if (g_str_has_prefix(name, NAMES_ERROR_PREFIX)) {
        g_assert_cmpstr(name, !=, NAMES_ERROR_PREFIX "Internal");
        g_assert_cmpstr(dbus_message_get_signature(answer), ==, "s");
    }
    return false;
}

/* ---- the inputs ---- */

static void
reset_slots(void)
{
    for (uint32_t slot = 0; slot < SLOT_TPM_COUNT; slot++)
        fake_storage_put(api.storage, slot, SLOT_EMPTY, 1, NULL, NULL, NULL);
    fake_storage_put(api.storage, 0, SLOT_READY, 3, API_BUS_HOST, "d", API_BUS_KEY);
    fake_storage_put(api.storage, 1, SLOT_FOUND, 0, "other.azure-devices.net", "found", NULL);
    fake_storage_put(api.storage, 2, SLOT_TAMPERED, 5, API_BUS_HOST, "tampered", NULL);
    api_bus_look(&api);
    g_ptr_array_set_size(api.signals, 0);
}

static int
count_descriptors(void)
{
    int n = 0;
    g_autoptr(GDir) directory = g_dir_open("/proc/self/fd", 0, NULL);
    while (g_dir_read_name(directory))
        n++;
    return n;
}

static void
stop(void)
{
    api_bus_stop(&api);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_begin(hear);
    secrets = g_ptr_array_new_with_free_func(g_free);
    api_bus_start(&api, "[slot 0]\nAllowGroups=root\nScopes=/;messages/events\nMaxTtl=7200\n");
    atexit(stop);
    reset_slots();
    return 0;
}

static void
check_descriptors(void)
{
    static unsigned inputs;
    int now;
    if (++inputs % SETTLED_EVERY != 0)
        return;
    now = count_descriptors();
    if (descriptors == 0)
        descriptors = now;
    g_assert_cmpint(now, <=, descriptors + 2); /* libFuzzer opens some of its own */
}

static const char *const changing[] = { "Provision", "Adopt", "Rotate", "UndoRotate", "Clear", NULL };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_ptr_array_set_size(secrets, 0);
    keep_secret(API_BUS_KEY, 0, data, size);
    DBusMessage *message = read_message(data, size);
    if (message && is_for_us(message)) {
        bool changes = g_strv_contains(changing, dbus_message_get_member(message));
        dbus_message_set_destination(message, api.name);
        DBusMessage *answer = api_bus_send(&api, message);
        if (check_answer(answer) && changes)
            reset_slots();
        dbus_message_unref(answer);
    } else if (message) {
        dbus_message_unref(message);
    }
    g_ptr_array_set_size(api.signals, 0);
    check_descriptors();
    return 0;
}

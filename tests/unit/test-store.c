/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * daemon/store.c and daemon/intent.c: what is read back is what was written, or it is said that it is not.
 */
#include <config.h>

#include "common/error.h"
#include "daemon/intent.h"
#include "daemon/store.h"
#include "tests/lib/folder.h"
#include "tests/lib/refuse.h"
#include "tests/lib/store-fixture.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

static struct identity *
make_identity(void)
{
    struct identity *identity = identity_new();
    identity->host = g_strdup("myhub.azure-devices.net");
    identity->device = g_strdup("d-:.+%_#*?!(),=@$'"); /* whatever GKeyFile might take for its own */
    return identity;
}

/* With everything that a record can hold. */
static struct store_key
make_key(char letter)
{
    static const uint8_t blob[] = { 0, 1, 2, 255, 10, 13 };
    return (struct store_key){ make_identity(), g_strnfill(68, letter), g_bytes_new(blob, sizeof blob),
                               g_strdup("Myhub.azure-devices.net/") };
}

static struct store_record
make_record(uint64_t generation)
{
    return (struct store_record){ true, true, generation, g_strnfill(68, 'b'), make_key('a'), make_key('c') };
}

static void
expect_same_key(const struct store_key *a, const struct store_key *b)
{
    g_assert_true(identity_equal(a->identity, b->identity));
    g_assert_cmpstr(a->name, ==, b->name);
    g_assert_cmpstr(a->nv_text, ==, b->nv_text);
    g_assert_true(g_bytes_equal(a->blob, b->blob));
}

static void
save(struct store_fixture *fixture, uint32_t slot, uint64_t generation)
{
    g_autoptr(GError) error = NULL;
    struct store_record record = make_record(generation);
    g_assert_true(store_save_record(fixture->store, slot, &record, &error));
    g_assert_no_error(error);
    store_record_clear(&record);
}

static char *
path_of(struct store_fixture *fixture, const char *name)
{
    return g_build_filename(fixture->folder, name, NULL);
}

static GBytes *
bytes_of(struct store_fixture *fixture, const char *name)
{
    g_autofree char *path = path_of(fixture, name), *text = NULL;
    gsize len;
    g_assert_true(g_file_get_contents(path, &text, &len, NULL));
    return g_bytes_new_take(g_steal_pointer(&text), len);
}

static void
overwrite(struct store_fixture *fixture, const char *name, const void *bytes, size_t len)
{
    g_autofree char *path = path_of(fixture, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    g_assert_cmpint(write(fd, bytes, len), ==, (ssize_t)len);
    close(fd);
}

static void
expect_damaged(struct store_fixture *fixture, uint32_t slot)
{
    g_autoptr(GError) error = NULL;
    struct store_record record;
    g_assert_false(store_load_record(fixture->store, slot, &record, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_DAMAGED);
    g_assert_false(record.in_use);
    g_assert_null(record.key.identity);
}

/* ---- damage ---- */

/* Whatever single bit is turned in a record, it is noticed. */
static void
test_flipped_bits(struct store_fixture *fixture, gconstpointer unused)
{
    save(fixture, 3, 7);
    g_autoptr(GBytes) good = bytes_of(fixture, "slot-3");
    gsize len;
    const uint8_t *bytes = g_bytes_get_data(good, &len);
    g_autofree char *path = path_of(fixture, "slot-3");
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    for (gsize i = 0; i < len; i++)
        for (int bit = 0; bit < 8; bit++) {
            uint8_t bad = bytes[i] ^ (uint8_t)(1 << bit);
            g_assert_cmpint(pwrite(fd, &bad, 1, (off_t)i), ==, 1);
            expect_damaged(fixture, 3);
            g_assert_cmpint(pwrite(fd, &bytes[i], 1, (off_t)i), ==, 1);
        }
    close(fd);
    struct store_record record;
    g_assert_true(store_load_record(fixture->store, 3, &record, NULL)); /* put right again */
    store_record_clear(&record);
}

/* Cut short at every length, grown, or with another's end. */
static void
test_torn(struct store_fixture *fixture, gconstpointer unused)
{
    save(fixture, 3, 7);
    g_autoptr(GBytes) good = bytes_of(fixture, "slot-3");
    gsize len;
    const char *bytes = g_bytes_get_data(good, &len);
    for (gsize cut = 0; cut < len; cut++) {
        overwrite(fixture, "slot-3", bytes, cut);
        expect_damaged(fixture, 3);
    }
    g_autofree char *grown = g_strconcat(bytes, "\n", NULL), *twice = g_strconcat(bytes, bytes, NULL);
    overwrite(fixture, "slot-3", grown, strlen(grown));
    expect_damaged(fixture, 3);
    overwrite(fixture, "slot-3", twice, strlen(twice));
    expect_damaged(fixture, 3);
    g_autofree char *zeros = g_malloc0(len);
    overwrite(fixture, "slot-3", zeros, len);
    expect_damaged(fixture, 3);
    /* The longest that is read at all, and one more. */
    g_autofree char *huge = g_strnfill(STORE_FILE_MAX + 1, '#');
    overwrite(fixture, "slot-3", huge, STORE_FILE_MAX);
    expect_damaged(fixture, 3);
    overwrite(fixture, "slot-3", huge, STORE_FILE_MAX + 1);
    expect_damaged(fixture, 3);
}

/* A file that is whole, but does not say what a record must. */
static void
test_wrong_content(struct store_fixture *fixture, gconstpointer unused)
{
    static const char *const lines[][2] = {
        { "Generation", "" }, { "Generation", "-1" }, { "Generation", "9007199254740993" }, { "Generation", "1x" },
        { "HostName", "bad host" }, { "DeviceId", ".." }, { "ModuleId", "" }, { "Audience", "x" }, { "Blob", "=" },
    };
    static const char *const needed[] = { "Generation", "HostName", "DeviceId", "TpmName", "Storage", "SrkName" };
    for (size_t i = 0; i < G_N_ELEMENTS(lines) + G_N_ELEMENTS(needed); i++) {
        bool absent;
        save(fixture, 1, 5);
        g_autoptr(GKeyFile) file = store_read(fixture->store, "slot-1", &absent, NULL);
        if (i < G_N_ELEMENTS(lines))
            g_key_file_set_string(file, "slot", lines[i][0], lines[i][1]);
        else
            g_key_file_remove_key(file, "slot", needed[i - G_N_ELEMENTS(lines)], NULL);
        g_assert_true(store_write(fixture->store, "slot-1", file, NULL));
        expect_damaged(fixture, 1);
    }
}

/* Nobody leads us elsewhere by a symbolic link. */
static void
test_symlinks(struct store_fixture *fixture, gconstpointer unused)
{
    save(fixture, 1, 5);
    g_autofree char *link = path_of(fixture, "slot-2"), *temporary = path_of(fixture, "slot-3.new"),
                    *victim = path_of(fixture, "victim"), *dangling = path_of(fixture, "slot-4");
    g_assert_cmpint(symlink("slot-1", link), ==, 0);
    expect_damaged(fixture, 2);
    g_assert_cmpint(symlink("nowhere", dangling), ==, 0);
    expect_damaged(fixture, 4); /* not the same as never used */

    overwrite(fixture, "victim", "precious", 8);
    g_assert_cmpint(symlink("victim", temporary), ==, 0);
    g_autoptr(GError) error = NULL;
    struct store_record record = make_record(1);
    g_assert_false(store_save_record(fixture->store, 3, &record, &error));
    g_assert_nonnull(error);
    store_record_clear(&record);
    g_autoptr(GBytes) left = bytes_of(fixture, "victim");
    g_assert_cmpmem(g_bytes_get_data(left, NULL), g_bytes_get_size(left), "precious", 8);
    /* Replacing a link replaces the link, not what it points to. */
    save(fixture, 2, 9);
    g_assert_false(g_file_test(link, G_FILE_TEST_IS_SYMLINK));
    g_assert_true(store_load_record(fixture->store, 1, &record, NULL));
    g_assert_cmpuint(record.generation, ==, 5);
    store_record_clear(&record);
}

static void
test_folder_in_place(struct store_fixture *fixture, gconstpointer unused)
{
    g_autofree char *path = path_of(fixture, "slot-1");
    g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
    expect_damaged(fixture, 1);
    g_autoptr(GError) error = NULL;
    struct store_record record = make_record(1);
    g_assert_false(store_save_record(fixture->store, 1, &record, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_INTERNAL);
    g_assert_nonnull(strstr(error->message, fixture->folder));
    store_record_clear(&record);
}

static void
test_no_folder(void)
{
    g_autoptr(GError) missing = NULL, file = NULL;
    char *folder = folder_new();
    g_autofree char *deep = g_build_filename(folder, "a", "b", NULL), *plain = folder_file(folder, "plain", "x", 1);
    g_assert_null(store_open(deep, &missing));
    g_assert_error(missing, ERROR_DOMAIN, ERROR_INTERNAL);
    g_assert_null(store_open(plain, &file));
    g_assert_error(file, ERROR_DOMAIN, ERROR_INTERNAL);
    g_assert_nonnull(strstr(file->message, plain));
    folder_remove(folder);
}

/* ---- what lasts ---- */

static void
test_modes(struct store_fixture *fixture, gconstpointer unused)
{
    struct stat info;
    g_autofree char *below = path_of(fixture, "state"), *file = path_of(fixture, "slot-0");
    mode_t before = umask(0);
    struct store *store = store_open(below, NULL);
    g_assert_nonnull(store);
    save(fixture, 0, 1);
    umask(before);
    g_assert_cmpint(stat(below, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0700);
    g_assert_cmpint(stat(file, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 07777, ==, 0600);
    store_close(store);
}

static void
test_records(struct store_fixture *fixture, gconstpointer unused)
{
    static const uint64_t generations[] = { 1, 2, STORE_GENERATION_MAX };
    struct store_record read, emptied = { .generation = 8 };
    g_assert_true(store_load_record(fixture->store, 9, &read, NULL)); /* never used */
    g_assert_false(read.in_use);
    g_assert_cmpuint(read.generation, ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(generations); i++) {
        struct store_record written = make_record(generations[i]);
        save(fixture, 65535, generations[i]);
        g_assert_true(store_load_record(fixture->store, 65535, &read, NULL));
        g_assert_true(read.in_use && read.file);
        expect_same_key(&read.key, &written.key);
        expect_same_key(&read.previous, &written.previous);
        g_assert_cmpuint(read.generation, ==, generations[i]);
        g_assert_cmpstr(read.srk_name, ==, written.srk_name);
        store_record_clear(&read);
        store_record_clear(&written);
    }
    g_assert_true(store_save_record(fixture->store, 65535, &emptied, NULL)); /* its generation is kept */
    g_assert_true(store_load_record(fixture->store, 65535, &read, NULL));
    g_assert_false(read.in_use);
    g_assert_cmpuint(read.generation, ==, 8);
}

/* The old one or the new one at any moment: the new one comes by rename, and what a crash left is swept away. */
static void
test_replacing(struct store_fixture *fixture, gconstpointer unused)
{
    struct stat first, second;
    struct store_record record;
    g_autofree char *file = path_of(fixture, "slot-1"), *left = path_of(fixture, "slot-1.new"),
                    *other = path_of(fixture, "slot-2");
    save(fixture, 1, 1);
    save(fixture, 2, 1);
    int fd = open(file, O_RDONLY | O_CLOEXEC); /* keeps the old inode, so that its number is not used again */
    g_assert_cmpint(fstat(fd, &first), ==, 0);
    overwrite(fixture, "slot-1.new", "half a rec", 10); /* died while writing */
    g_assert_true(store_load_record(fixture->store, 1, &record, NULL));
    store_record_clear(&record);
    store_sweep(fixture->store);
    g_assert_false(g_file_test(left, G_FILE_TEST_EXISTS));
    g_assert_true(g_file_test(file, G_FILE_TEST_EXISTS) && g_file_test(other, G_FILE_TEST_EXISTS));
    overwrite(fixture, "slot-1.new", "half a record that is longer than the record itself", 50);
    save(fixture, 1, 2);
    g_assert_cmpint(stat(file, &second), ==, 0);
    g_assert_true(first.st_ino != second.st_ino);
    g_assert_false(g_file_test(left, G_FILE_TEST_EXISTS));
    g_assert_true(store_load_record(fixture->store, 1, &record, NULL));
    g_assert_cmpuint(record.generation, ==, 2);
    store_record_clear(&record);
    close(fd);
    store_sweep(fixture->store); /* twice does no harm: the directory is read from its start */
    overwrite(fixture, "a.new", "", 0);
    store_sweep(fixture->store);
    g_autofree char *again = path_of(fixture, "a.new");
    g_assert_false(g_file_test(again, G_FILE_TEST_EXISTS));
}

static bool
note_slot(uint32_t slot, void *user, GError **error)
{
    ((bool *)user)[slot] = true;
    return true;
}

/* Which slots have a record, and which an intent: by the files' names, and only names that are a slot's. */
static void
test_listing(struct store_fixture *fixture, gconstpointer unused)
{
    static const char *const others[] = { "slot-",      "slot-04",       "slot-65536", "slot-1x",          "slot--1",
                                          "slot-5.new", "slot-6.intent", "srk",        "slot-7.intent.new" };
    g_autofree bool *records = g_new0(bool, UINT16_MAX + 1), *intents = g_new0(bool, UINT16_MAX + 1);
    save(fixture, 3, 1);
    save(fixture, 65535, 1);
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++)
        overwrite(fixture, others[i], "x", 1);
    g_assert_true(store_each_slot(fixture->store, note_slot, records, NULL));
    g_assert_true(store_each_intent(fixture->store, note_slot, intents, NULL));
    for (uint32_t slot = 0; slot <= UINT16_MAX; slot++) {
        g_assert_true(records[slot] == (slot == 3 || slot == 65535));
        g_assert_true(intents[slot] == (slot == 6));
    }
}

static bool
stop_here(uint32_t slot, void *user, GError **error)
{
    ++*(unsigned *)user;
    error_set(error, ERROR_TPM_FAILED, "slot %u", slot);
    return false;
}

/* One that is false ends it, with its error. */
static void
test_stopping(struct store_fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    unsigned calls = 0;
    save(fixture, 1, 1);
    save(fixture, 2, 1);
    g_assert_false(store_each_slot(fixture->store, stop_here, &calls, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_TPM_FAILED);
    g_assert_cmpuint(calls, ==, 1);
}

/* No descriptor is left to look with: that is told, and nothing is taken for absent, damaged or unused. */
static void
test_starving(struct store_fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) list = NULL, read = NULL;
    g_autofree bool *records = g_new0(bool, UINT16_MAX + 1);
    struct store_record record;
    save(fixture, 1, 5);
    unsigned usual = refuse_descriptors(0);
    g_assert_false(store_each_slot(fixture->store, note_slot, records, &list));
    g_assert_error(list, ERROR_DOMAIN, ERROR_INTERNAL);
    g_assert_nonnull(strstr(list->message, fixture->folder));
    g_assert_false(store_load_record(fixture->store, 1, &record, &read));
    g_assert_error(read, ERROR_DOMAIN, ERROR_INTERNAL);
    refuse_descriptors(usual);
    g_assert_true(store_load_record(fixture->store, 1, &record, NULL));
    store_record_clear(&record);
}

static void
test_srk(struct store_fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(store_load_srk(fixture->store, &error));
    g_assert_no_error(error);
    g_autofree char *name = g_strnfill(68, 'c');
    g_assert_true(store_save_srk(fixture->store, name, NULL));
    g_autofree char *read = store_load_srk(fixture->store, NULL);
    g_assert_cmpstr(read, ==, name);
    overwrite(fixture, "srk", "[srk]\nTpmName=cc\n", 17);
    g_assert_null(store_load_srk(fixture->store, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_DAMAGED);
}

/* ---- intents ---- */

static void
expect_intent_damaged(struct store_fixture *fixture, uint32_t slot)
{
    g_autoptr(GError) error = NULL;
    struct intent intent;
    bool absent = true;
    g_assert_false(intent_read(fixture->store, slot, &intent, &absent, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_DAMAGED);
    g_assert_false(absent);
    g_assert_null(intent.made.identity);
    g_assert_null(intent.old.identity);
}

static void
test_bad_intents(struct store_fixture *fixture, gconstpointer unused)
{
    struct intent intent = { INTENT_ROTATE, false, 4, make_key('d'), make_key('e') };
    static const char *const bad[][3] = {
        { "intent", "Operation", "rotor" }, { "intent", "Operation", "" }, { "intent", "Generation", "x" },
        { "made", "HostName", "" },         { "old", "DeviceId", "a/b" },  { "made", "Blob", "?" },
    };
    static const char *const needed[][2] = {
        { "intent", "Operation" }, { "intent", "Generation" }, { "intent", "Storage" }, { "made", "TpmName" },
        { "made", "DeviceId" },    { "old", "TpmName" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad) + G_N_ELEMENTS(needed); i++) {
        bool absent;
        g_assert_true(intent_write(fixture->store, 2, &intent, NULL));
        g_autoptr(GKeyFile) file = store_read(fixture->store, "slot-2.intent", &absent, NULL);
        if (i < G_N_ELEMENTS(bad))
            g_key_file_set_string(file, bad[i][0], bad[i][1], bad[i][2]);
        else
            g_key_file_remove_key(file, needed[i - G_N_ELEMENTS(bad)][0], needed[i - G_N_ELEMENTS(bad)][1], NULL);
        g_assert_true(store_write(fixture->store, "slot-2.intent", file, NULL));
        expect_intent_damaged(fixture, 2);
    }
    overwrite(fixture, "slot-2.intent", "torn", 4);
    expect_intent_damaged(fixture, 2);
    const struct intent clear = { .operation = INTENT_CLEAR, .file = true, .generation = 4, .old = intent.old };
    g_assert_true(intent_write(fixture->store, 2, &clear, NULL));
    expect_intent_damaged(fixture, 2);
    intent_clear(&intent);
}

static void
test_intents(struct store_fixture *fixture, gconstpointer unused)
{
    static const enum intent_operation operations[] = { INTENT_PROVISION, INTENT_CLEAR, INTENT_ROTATE, INTENT_UNDO };
    struct intent read, written = { .generation = 3, .file = true, .made = make_key('d'), .old = make_key('e') };
    bool absent = false;
    g_assert_true(intent_read(fixture->store, 2, &read, &absent, NULL));
    g_assert_true(absent);
    for (size_t i = 0; i < G_N_ELEMENTS(operations); i++) {
        written.operation = operations[i];
        g_assert_true(intent_write(fixture->store, 2, &written, NULL));
        g_assert_true(intent_read(fixture->store, 2, &read, &absent, NULL));
        g_assert_false(absent);
        g_assert_cmpint(read.operation, ==, operations[i]);
        g_assert_true(read.file);
        g_assert_cmpuint(read.generation, ==, 3);
        expect_same_key(&read.made, &written.made);
        expect_same_key(&read.old, &written.old);
        intent_clear(&read);
    }
    intent_clear(&written);
    g_assert_true(intent_read(fixture->store, 1, &read, &absent, NULL) && absent); /* of that slot alone */
    g_assert_true(intent_remove(fixture->store, 2, NULL));
    g_assert_true(intent_remove(fixture->store, 2, NULL)); /* gone already is fine */
    g_assert_true(intent_read(fixture->store, 2, &read, &absent, NULL) && absent);
}

static void
test_srk_intent(struct store_fixture *fixture, gconstpointer unused)
{
    bool absent = false;
    g_autofree char *scene = NULL;
    g_autoptr(GError) error = NULL;
    g_assert_true(intent_read_srk(fixture->store, &scene, &absent, NULL) && absent && !scene);
    g_assert_true(intent_write_srk(fixture->store, "1.2 80000000", NULL));
    g_assert_true(intent_read_srk(fixture->store, &scene, &absent, NULL) && !absent);
    g_assert_cmpstr(scene, ==, "1.2 80000000");
    g_free(scene);
    g_assert_true(intent_remove_srk(fixture->store, NULL) && intent_remove_srk(fixture->store, NULL));
    g_assert_true(intent_read_srk(fixture->store, &scene, &absent, NULL) && absent && !scene);
    for (int i = 0; i < 2; i++) { /* once more over what was set aside before */
        char content = (char)('0' + i);
        overwrite(fixture, "srk.intent", &content, 1);
        g_assert_false(intent_read_srk(fixture->store, &scene, &absent, &error));
        g_assert_error(error, ERROR_DOMAIN, ERROR_DAMAGED);
        g_clear_error(&error);
        g_assert_true(intent_set_srk_aside(fixture->store, &error));
        g_autoptr(GBytes) kept = bytes_of(fixture, "srk.intent.damaged");
        g_assert_cmpmem(g_bytes_get_data(kept, NULL), g_bytes_get_size(kept), &content, 1);
        g_assert_true(intent_read_srk(fixture->store, &scene, &absent, NULL) && absent);
    }
    g_assert_false(intent_set_srk_aside(fixture->store, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_INTERNAL);
}

#define ADD(path, test)                                                                                                \
    g_test_add(path, struct store_fixture, NULL, store_fixture_set_up, test, store_fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL); /* a damaged file warns */
    ADD("/store/damage/flipped-bits", test_flipped_bits);
    ADD("/store/damage/torn", test_torn);
    ADD("/store/damage/wrong-content", test_wrong_content);
    ADD("/store/damage/symlinks", test_symlinks);
    ADD("/store/damage/folder-in-place", test_folder_in_place);
    g_test_add_func("/store/no-folder", test_no_folder);
    ADD("/store/modes", test_modes);
    ADD("/store/records", test_records);
    ADD("/store/replacing", test_replacing);
    ADD("/store/listing", test_listing);
    ADD("/store/stopping", test_stopping);
    ADD("/store/starving", test_starving);
    ADD("/store/srk", test_srk);
    ADD("/intent/bad", test_bad_intents);
    ADD("/intent/slots", test_intents);
    ADD("/intent/srk", test_srk_intent);
    return g_test_run();
}

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 * client/queue-rows.c, queue-check.c and stored.c: a queue's messages without a client.
 */
#include <config.h>

#include "client/failure.h"
#include "client/hubkey.h"
#include "common/clock.h"
#include "tests/lib/scratch.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>


static const char *const texts[] = { "one", "two", "three", "four", "five" };

/* What a walk saw: "1:one,2:two". */
struct walk {
    GString *seen;
    uint32_t n, enough; /* enough 0: never */
    struct scratch *scratch; /* to post into meanwhile; NULL: nothing */
};

static int
see(const struct hubkey_queue_row *row, void *user)
{
    struct walk *walk = user;
    g_assert_cmpuint(row->size, ==, sizeof *row);
    g_string_append_printf(walk->seen, "%s%d:%.*s", walk->seen->len ? "," : "", (int)row->seq, (int)row->message->len,
                           (const char *)row->message->body);
    if (walk->scratch && walk->n == 0)
        scratch_post(walk->scratch, texts, 1); /* no transaction is open */
    return ++walk->n == walk->enough;
}

static char *
walk(struct scratch *scratch, uint32_t which, uint64_t after, uint64_t limit, uint32_t enough)
{
    struct hubkey_error error;
    struct walk walk = { .seen = g_string_new(NULL), .enough = enough };
    g_assert_cmpint(hubkey_queue_each(scratch->path, which, after, limit, see, &walk, &error), ==, 0);
    g_assert_cmpint(error.code, ==, 0);
    return g_string_free(walk.seen, FALSE);
}

static void
expect_walk(struct scratch *scratch, uint32_t which, uint64_t after, uint64_t limit, const char *expected)
{
    g_autofree char *seen = walk(scratch, which, after, limit, 0);
    g_assert_cmpstr(seen, ==, expected);
}

static void
bury(struct scratch *scratch, uint64_t seq)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(queue_bury(scratch->queue, seq, 413, "too large", &error));
    g_assert_no_error(error);
}

static void
test_each(void)
{
    struct scratch scratch;
    scratch_open(&scratch);
    expect_walk(&scratch, HUBKEY_ROWS_WAITING, 0, 0, "");
    scratch_post(&scratch, texts, 5);
    expect_walk(&scratch, HUBKEY_ROWS_WAITING, 0, 0, "1:one,2:two,3:three,4:four,5:five");
    expect_walk(&scratch, HUBKEY_ROWS_WAITING, 2, 2, "3:three,4:four");
    expect_walk(&scratch, HUBKEY_ROWS_WAITING, 5, 0, "");
    expect_walk(&scratch, HUBKEY_ROWS_DEAD, 0, 0, "");
    bury(&scratch, 2);
    bury(&scratch, 4);
    expect_walk(&scratch, HUBKEY_ROWS_WAITING, 0, 0, "1:one,3:three,5:five");
    expect_walk(&scratch, HUBKEY_ROWS_DEAD, 0, 0, "2:two,4:four");
    g_autofree char *enough = walk(&scratch, HUBKEY_ROWS_WAITING, 0, 0, 2);
    g_assert_cmpstr(enough, ==, "1:one,3:three");
    scratch_close(&scratch);
}

/* More than a page, and a function that writes to the queue it is shown. */
static void
test_each_pages(void)
{
    struct scratch scratch;
    struct walk seen = { .seen = g_string_new(NULL), .scratch = &scratch };
    const char *many[1203];
    scratch_open(&scratch);
    for (size_t i = 0; i < G_N_ELEMENTS(many); i++)
        many[i] = texts[i % 5];
    scratch_post(&scratch, many, G_N_ELEMENTS(many));
    g_assert_cmpint(hubkey_queue_each(scratch.path, HUBKEY_ROWS_WAITING, 0, 0, see, &seen, NULL), ==, 0);
    g_assert_cmpuint(seen.n, ==, G_N_ELEMENTS(many) + 1);
    g_string_free(seen.seen, TRUE);

    g_autofree char *large = g_strnfill(200000, 'x');
    for (size_t i = 0; i < 20; i++)
        many[i] = large;
    scratch_post(&scratch, many, 20);
    struct walk again = { .seen = g_string_new(NULL) };
    g_assert_cmpint(hubkey_queue_each(scratch.path, HUBKEY_ROWS_WAITING, 1204, 0, see, &again, NULL), ==, 0);
    g_assert_cmpuint(again.n, ==, 20);
    g_string_free(again.seen, TRUE);
    scratch_close(&scratch);
}

static int
never(const struct hubkey_queue_row *row, void *user)
{
    g_assert_not_reached();
}

static void
test_each_wrong(void)
{
    struct scratch scratch;
    scratch_open(&scratch);
    scratch_post(&scratch, texts, 1);
    g_assert_cmpint(hubkey_queue_each(scratch.path, 0, 0, 0, never, NULL, NULL), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_queue_each(scratch.path, 3, 0, 0, never, NULL, NULL), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_queue_each(scratch.path, 1, 0, 0, NULL, NULL, NULL), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_queue_each(scratch.path, 1, UINT64_MAX, 0, never, NULL, NULL), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_queue_each(NULL, 1, 0, 0, never, NULL, NULL), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_queue_each("/nonexistent/q", 1, 0, 0, never, NULL, NULL), ==, HUBKEY_E_QUEUE_OPEN);
    scratch_close(&scratch);
}

/* ---- a message there and back */

static const struct hubkey_property properties[] = { { "unit", "K" }, { "Iothub-app-x", "'$" } };
static const struct hubkey_message full = {
    .size = sizeof full,
    .body = "\0\xff{}",
    .len = 4,
    .id = "an-id:1",
    .correlation_id = "with",
    .content_type = "application/json",
    .content_encoding = "utf-8",
    .properties = properties,
    .n_properties = 2,
    .created_ms = 1700000000123,
};

static int
is_full(const struct hubkey_queue_row *row, void *user)
{
    const struct hubkey_message *message = row->message;
    g_assert_cmpmem(message->body, message->len, full.body, full.len);
    g_assert_cmpstr(message->id, ==, full.id);
    g_assert_cmpstr(message->correlation_id, ==, full.correlation_id);
    g_assert_cmpstr(message->content_type, ==, full.content_type);
    g_assert_cmpstr(message->content_encoding, ==, full.content_encoding);
    g_assert_cmpint(message->created_ms, ==, full.created_ms);
    g_assert_cmpuint(message->n_properties, ==, 2);
    for (int i = 0; i < 2; i++) {
        g_assert_cmpstr(message->properties[i].name, ==, properties[i].name);
        g_assert_cmpstr(message->properties[i].value, ==, properties[i].value);
    }
    uint32_t counted;
    g_assert_cmpint(hubkey_message_check(message, &counted, NULL), ==, 0);
    g_assert_cmpuint(row->counted, ==, counted);
    ++*(int *)user;
    return 0;
}

static void
test_import(void)
{
    struct scratch scratch;
    uint64_t first = 0;
    int seen = 0;
    const struct hubkey_message bad = { .size = sizeof bad, .len = 1 };
    const struct hubkey_message *messages[] = { &full, &full, &bad };
    struct hubkey_error error;
    scratch_open(&scratch);
    scratch_post(&scratch, texts, 3);
    g_assert_cmpint(hubkey_queue_import(scratch.path, messages, 3, &first, &error), ==, HUBKEY_E_INVALID);
    g_assert_cmpstr(error.text, ==, "message 3 of 3: body is NULL but len is not 0");
    g_assert_cmpuint(scratch_counts(&scratch).accepted, ==, 3);
    g_assert_cmpint(hubkey_queue_import(scratch.path, messages, 2, &first, &error), ==, 0);
    g_assert_cmpuint(first, ==, 4);
    g_assert_cmpint(hubkey_queue_each(scratch.path, HUBKEY_ROWS_WAITING, 3, 0, is_full, &seen, NULL), ==, 0);
    g_assert_cmpint(seen, ==, 2);
    g_assert_cmpuint(scratch_counts(&scratch).accepted, ==, 5);
    g_assert_cmpint(hubkey_queue_import(scratch.path, messages, 0, NULL, NULL), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_queue_import(scratch.path, NULL, 1, NULL, NULL), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_queue_import(NULL, messages, 1, NULL, NULL), ==, HUBKEY_E_INVALID);
    scratch_close(&scratch);
}

static void
test_import_makes_queue(void)
{
    struct scratch scratch;
    const struct hubkey_message *messages[] = { &full };
    struct hubkey_queue_info info = { .size = sizeof info };
    scratch_open(&scratch);
    g_autofree char *path = g_build_filename(scratch.dir, "new", NULL);
    g_assert_cmpint(hubkey_queue_import(path, messages, 1, NULL, NULL), ==, 0);
    g_assert_cmpint(hubkey_queue_status(path, &info, NULL), ==, 0);
    g_assert_cmpuint(info.counts.waiting, ==, 1);
    g_assert_cmpint(info.oldest_ms, ==, full.created_ms);
    scratch_close(&scratch);
}

/* ---- ends */

static int
see_end(const struct hubkey_queue_row *row, void *user)
{
    const int64_t *expected = user; /* in how many ms, and ttl_s */
    g_assert_cmpint(row->expires_ms, ==, expected[0] ? clock_wall_us() / 1000 + expected[0] : 0);
    g_assert_cmpint((int64_t)row->message->ttl_s, ==, expected[1]);
    return 0;
}

static void
expect_end(struct scratch *scratch, int64_t in_ms, int64_t ttl_s)
{
    int64_t expected[] = { in_ms, ttl_s };
    g_assert_cmpint(hubkey_queue_each(scratch->path, HUBKEY_ROWS_WAITING, 0, 0, see_end, expected, NULL), ==, 0);
}

/* Who takes a message to another queue can take its end along. */
static void
test_ends(void)
{
    struct scratch scratch;
    uint64_t n;
    scratch_clock_start();
    scratch_clock_set_wall(RELEASE_TIME + 1000000); /* else nobody goes by it */
    scratch_open(&scratch);
    scratch_post(&scratch, texts, 1);
    expect_end(&scratch, 0, 0);
    g_assert_true(queue_remove(scratch.queue, HUBKEY_DROP_WAITING, UINT64_MAX, &n, NULL));
    scratch_post_for(&scratch, "a minute", 60);
    expect_end(&scratch, 60000, 60);
    scratch_clock_move(20);
    expect_end(&scratch, 40000, 40);
    int64_t now_s = clock_wall_s();
    scratch_clock_set_wall(now_s + 3600); /* of no consequence within a boot */
    expect_end(&scratch, 40000, 40);
    scratch_clock_set_wall(now_s);
    scratch_clock_reboot("next");
    expect_end(&scratch, 40000, 40);
    scratch_clock_move(100);
    expect_end(&scratch, -60000, 1);
    scratch_close(&scratch);
    clock_set_source(NULL);
}

/* ---- requeue */

static int
note_id(const struct hubkey_queue_row *row, void *user)
{
    g_string_append_printf(user, "%s ", row->message->id);
    return 0;
}

static void
test_requeue(void)
{
    struct scratch scratch;
    uint64_t n = 0;
    g_autoptr(GString) before = g_string_new(NULL), after = g_string_new(NULL);
    scratch_open(&scratch);
    scratch_post(&scratch, texts, 5);
    bury(&scratch, 1);
    bury(&scratch, 2);
    bury(&scratch, 4);
    g_assert_cmpint(hubkey_queue_each(scratch.path, HUBKEY_ROWS_DEAD, 0, 2, note_id, before, NULL), ==, 0);
    g_assert_cmpint(hubkey_queue_requeue(scratch.path, 3, 3, &n, NULL), ==, 0);
    g_assert_cmpuint(n, ==, 0);
    g_assert_cmpint(hubkey_queue_requeue(scratch.path, 1, 3, &n, NULL), ==, 0);
    g_assert_cmpuint(n, ==, 2);
    expect_walk(&scratch, HUBKEY_ROWS_WAITING, 0, 0, "3:three,5:five,6:one,7:two");
    expect_walk(&scratch, HUBKEY_ROWS_DEAD, 0, 0, "4:four");
    g_assert_cmpint(hubkey_queue_each(scratch.path, HUBKEY_ROWS_WAITING, 5, 0, note_id, after, NULL), ==, 0);
    g_assert_cmpstr(before->str, ==, after->str);
    g_assert_cmpint(queue_fate(scratch.queue, 1, NULL), ==, HUBKEY_GONE_REMOVED);
    g_assert_cmpint(queue_fate(scratch.queue, 6, NULL), ==, 0);
    g_assert_cmpint(queue_fate(scratch.queue, 4, NULL), ==, HUBKEY_GONE_DEAD);
    struct hubkey_counts counts = scratch_counts(&scratch);
    g_assert_cmpuint(counts.accepted, ==, 5);
    g_assert_cmpuint(counts.waiting, ==, 4);
    g_assert_cmpuint(counts.dead, ==, 1);
    g_assert_cmpuint(counts.last_seq, ==, 7);
    g_assert_cmpint(hubkey_queue_check(scratch.path, NULL, NULL, NULL), ==, 0);
    g_assert_cmpint(hubkey_queue_requeue(scratch.path, 0, 1, NULL, NULL), ==, HUBKEY_E_INVALID);
    g_assert_cmpint(hubkey_queue_requeue(scratch.path, 2, 1, NULL, NULL), ==, HUBKEY_E_INVALID);
    scratch_close(&scratch);
}

/* More than go into one transaction. */
static void
test_requeue_many(void)
{
    struct scratch scratch;
    const char *many[1100];
    uint64_t n = 0;
    scratch_open(&scratch);
    for (size_t i = 0; i < G_N_ELEMENTS(many); i++)
        many[i] = texts[i % 5];
    scratch_post(&scratch, many, G_N_ELEMENTS(many));
    for (uint64_t seq = 1; seq <= G_N_ELEMENTS(many); seq++)
        bury(&scratch, seq);
    g_assert_cmpint(hubkey_queue_requeue(scratch.path, 1, UINT64_MAX, &n, NULL), ==, 0);
    g_assert_cmpuint(n, ==, G_N_ELEMENTS(many));
    struct hubkey_counts counts = scratch_counts(&scratch);
    g_assert_cmpuint(counts.dead, ==, 0);
    g_assert_cmpuint(counts.last_seq, ==, 2 * G_N_ELEMENTS(many));
    expect_walk(&scratch, HUBKEY_ROWS_WAITING, 0, 2, "1101:one,1102:two");
    g_assert_cmpint(hubkey_queue_check(scratch.path, NULL, NULL, NULL), ==, 0);
    scratch_close(&scratch);
}

/* ---- who holds it */

static void
test_held(void)
{
    struct scratch scratch;
    struct hubkey_error error;
    const struct hubkey_message *messages[] = { &full };
    struct hubkey_options options = { .size = sizeof options, .flags = HUBKEY_FLAG_MUST_SEND };
    hubkey_client *client;
    scratch_open(&scratch);
    scratch_post(&scratch, texts, 2);
    bury(&scratch, 1);
    options.queue_path = scratch.path;
    g_assert_true(lock_try(scratch.lock));
    g_assert_cmpint(hubkey_queue_import(scratch.path, messages, 1, NULL, &error), ==, HUBKEY_E_QUEUE_HELD);
    g_assert_cmpint(hubkey_queue_requeue(scratch.path, 1, 1, NULL, &error), ==, HUBKEY_E_QUEUE_HELD);
    g_assert_cmpint(hubkey_client_open(&options, &client, &error), ==, HUBKEY_E_QUEUE_HELD);
    g_autofree char *pid = g_strdup_printf("process %d (test-queue-rows)", (int)getpid());
    g_assert_nonnull(strstr(error.text, pid));
    g_assert_null(client);
    expect_walk(&scratch, HUBKEY_ROWS_WAITING, 0, 0, "2:two");
    g_assert_cmpint(hubkey_queue_check(scratch.path, NULL, NULL, NULL), ==, 0);
    scratch_reopen(&scratch);
    options.queue_path = scratch.path;

    g_assert_cmpint(hubkey_client_open(&options, &client, &error), ==, 0);
    g_assert_false(lock_try(scratch.lock));
    hubkey_client_close(client, 0);
    options.flags |= HUBKEY_FLAG_QUEUE_ONLY;
    g_assert_cmpint(hubkey_client_open(&options, &client, &error), ==, HUBKEY_E_INVALID);
    scratch_close(&scratch);
}

/* ---- who only looks */

/* All bytes of the file and its journal. */
static GBytes *
snapshot(struct scratch *scratch)
{
    static const char *const suffixes[] = { "", "-wal" };
    g_autoptr(GByteArray) all = g_byte_array_new();
    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *path = g_strconcat(scratch->path, suffixes[i], NULL), *text = NULL;
        gsize len;
        g_assert_true(g_file_get_contents(path, &text, &len, NULL));
        g_byte_array_append(all, (const guint8 *)text, (guint)len);
    }
    return g_byte_array_free_to_bytes(g_steal_pointer(&all));
}

static void
expect_looks(struct scratch *scratch, int result, const char *text)
{
    struct hubkey_queue_info info = { .size = sizeof info };
    struct hubkey_error errors[3] = { 0 };
    g_autoptr(GBytes) before = snapshot(scratch);
    g_assert_cmpint(hubkey_queue_status(scratch->path, &info, &errors[0]), ==, result);
    g_assert_cmpint(hubkey_queue_check(scratch->path, NULL, NULL, &errors[1]), ==, result);
    struct walk seen = { .seen = g_string_new(NULL) };
    g_assert_cmpint(hubkey_queue_each(scratch->path, HUBKEY_ROWS_WAITING, 0, 0, see, &seen, &errors[2]), ==, result);
    g_string_free(seen.seen, TRUE);
    for (size_t i = 0; i < G_N_ELEMENTS(errors); i++)
        g_assert_nonnull(strstr(errors[i].text, text));
    g_autoptr(GBytes) after = snapshot(scratch);
    g_assert_true(g_bytes_equal(before, after));
}

/* Whoever looks leaves everything as it was, also what the last to leave would clear up, and a form that is not his. */
static void
test_look(void)
{
    struct scratch scratch;
    for (int form = 1; form <= 3; form++) {
        scratch_open(&scratch);
        scratch_post(&scratch, texts, 5);
        expect_looks(&scratch, 0, "");
        scratch_age(&scratch, form);
        expect_looks(&scratch, HUBKEY_E_QUEUE_OLDER, "queue flush");
        scratch_reopen(&scratch);
        expect_looks(&scratch, 0, "");
        scratch_sql(&scratch, "PRAGMA user_version = 77");
        expect_looks(&scratch, HUBKEY_E_QUEUE_NEWER, "its form is 77");
        scratch_close(&scratch);
    }
}

/* Nobody has it open, and the last one who had was killed. */
static void
test_look_alone(void)
{
    struct scratch scratch;
    scratch_open(&scratch);
    pid_t child = fork();
    if (child == 0) {
        scratch_reopen(&scratch);
        scratch_post(&scratch, texts, 5);
        kill(getpid(), SIGKILL);
    }
    g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
    queue_close(g_steal_pointer(&scratch.queue));
    expect_looks(&scratch, 0, "");
    expect_walk(&scratch, HUBKEY_ROWS_WAITING, 0, 0, "1:one,2:two,3:three,4:four,5:five");
    scratch_close(&scratch);
}

/* A file that nobody has posted to yet. */
static void
test_look_unused(void)
{
    struct hubkey_error error;
    struct hubkey_queue_info info = { .size = sizeof info };
    struct scratch scratch;
    struct stat st;
    scratch_open(&scratch);
    g_autofree char *path = g_build_filename(scratch.dir, "unused", NULL);
    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    g_assert_cmpint(hubkey_queue_status(path, &info, &error), ==, HUBKEY_E_QUEUE_OLDER);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 0);
    scratch_close(&scratch);
}

/* ---- check */

static void
note_fault(int32_t level, const char *text, void *user)
{
    g_assert_cmpint(level, ==, HUBKEY_LOG_ERROR);
    g_string_append_printf(user, "%s\n", text);
}

static void
test_check_counters(void)
{
    static const struct {
        const char *sql, *text;
        int found;
    } rows[] = {
        { "UPDATE state SET waiting = waiting + 1", "counter of waiting messages is 5, but there are 4", 2 },
        { "UPDATE state SET waiting_bytes = 7", "counter of waiting bytes is 7", 1 },
        { "UPDATE state SET dead = 9", "counter of dead messages is 9, but there are 1", 2 },
        { "UPDATE state SET accepted = 77", "77 messages were accepted", 1 },
        { "UPDATE state SET last_seq = 2", "message 5 is there, but the last number given was 2", 1 },
        { "INSERT INTO expiry (seq, boot, due, ttl) VALUES (3, 1, 1, 1), (77, 1, 1, 1)", "1 of the ends", 1 },
        { "UPDATE waiting SET properties = '[]', crc = NULL WHERE seq = 3", "the properties of message 3", 1 },
        { "UPDATE dead SET properties = '{\"x\":\"y\"}', crc = NULL", "the properties of message 1", 1 },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct scratch scratch;
        g_autoptr(GString) told = g_string_new(NULL);
        scratch_open(&scratch);
        scratch_post(&scratch, texts, 5);
        bury(&scratch, 1);
        g_assert_cmpint(hubkey_queue_check(scratch.path, note_fault, told, NULL), ==, 0);
        g_assert_cmpstr(told->str, ==, "");
        scratch_sql(&scratch, rows[i].sql);
        g_assert_cmpint(hubkey_queue_check(scratch.path, note_fault, told, NULL), ==, rows[i].found);
        g_assert_nonnull(strstr(told->str, rows[i].text));
        scratch_close(&scratch);
    }
}

/* A page of the file that was overwritten. */
static void
test_check_damage(void)
{
    struct scratch scratch;
    const char *many[300];
    g_autoptr(GString) told = g_string_new(NULL);
    g_autofree char *long_text = g_strnfill(1000, 'x');
    g_autofree char *contents = NULL;
    gsize len;
    scratch_open(&scratch);
    for (size_t i = 0; i < G_N_ELEMENTS(many); i++)
        many[i] = long_text;
    scratch_post(&scratch, many, G_N_ELEMENTS(many));
    queue_close(scratch.queue); /* the last to leave moves the journal into the file */
    g_assert_true(g_file_get_contents(scratch.path, &contents, &len, NULL));
    g_assert_cmpuint(len, >, 100000);
    memset(contents + 65536, 0xa5, 8192);
    g_assert_true(g_file_set_contents(scratch.path, contents, (gssize)len, NULL));
    g_assert_cmpint(hubkey_queue_check(scratch.path, note_fault, told, NULL), >, 0);
    g_assert_nonnull(strstr(told->str, "damaged"));
    g_assert_cmpint(hubkey_queue_check("/nonexistent/q", NULL, NULL, NULL), ==, HUBKEY_E_QUEUE_OPEN);
    scratch.queue = NULL;
    scratch_close(&scratch);
}

/* One byte of a message changed under way to the disk and back: that one is left out, its neighbours are not. */
static void
test_checksum(void)
{
    static const char *const changes[] = {
        "UPDATE waiting SET body = CAST('tWo' AS BLOB) WHERE seq = 2",
        "UPDATE waiting SET properties = replace(properties, 'messageid\":\"', 'messageid\":\"0') WHERE seq = 2",
        "UPDATE waiting SET created = created + 1 WHERE seq = 2",
        "UPDATE waiting SET counted = counted + 1 WHERE seq = 2",
        "UPDATE waiting SET crc = crc - 1 WHERE seq = 2",
        "UPDATE waiting SET crc = crc + 4294967296 WHERE seq = 2",
        "UPDATE waiting SET seq = 1000 WHERE seq = 2",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++) {
        struct scratch scratch;
        struct hubkey_error error;
        g_autoptr(GString) told = g_string_new(NULL);
        struct walk walk = { .seen = g_string_new(NULL) };
        scratch_open(&scratch);
        scratch_post(&scratch, texts, 3);
        scratch_sql(&scratch, changes[i]);
        g_assert_cmpint(hubkey_queue_each(scratch.path, HUBKEY_ROWS_WAITING, 0, 0, see, &walk, &error), ==,
                        HUBKEY_E_QUEUE_DAMAGED);
        g_assert_cmpstr(walk.seen->str, ==, "1:one,3:three");
        g_assert_nonnull(strstr(error.text, "1 damaged messages were left out"));
        g_assert_cmpint(hubkey_queue_check(scratch.path, note_fault, told, NULL), >, 0);
        g_assert_nonnull(strstr(told->str, "is not what was stored"));
        g_string_free(walk.seen, TRUE);
        scratch_close(&scratch);
    }
}

/* A dead message keeps its checksum, one that is put back gets another. */
static void
test_checksum_moves(void)
{
    struct scratch scratch;
    scratch_open(&scratch);
    scratch_post(&scratch, texts, 2);
    bury(&scratch, 1);
    expect_walk(&scratch, HUBKEY_ROWS_DEAD, 0, 0, "1:one");
    scratch_sql(&scratch, "UPDATE dead SET body = CAST('0ne' AS BLOB)");
    g_assert_cmpint(hubkey_queue_each(scratch.path, HUBKEY_ROWS_DEAD, 0, 0, never, NULL, NULL), ==,
                    HUBKEY_E_QUEUE_DAMAGED);
    g_assert_cmpint(hubkey_queue_requeue(scratch.path, 1, 1, NULL, NULL), ==, HUBKEY_E_QUEUE_DAMAGED);
    scratch_sql(&scratch, "UPDATE dead SET body = CAST('one' AS BLOB)");
    g_assert_cmpint(hubkey_queue_requeue(scratch.path, 1, 1, NULL, NULL), ==, 0);
    expect_walk(&scratch, HUBKEY_ROWS_WAITING, 0, 0, "2:two,3:one");
    scratch_close(&scratch);
}

/* One that is damaged keeps no other one back, nor does it go along. */
static void
test_requeue_damaged(void)
{
    struct scratch scratch;
    struct hubkey_error error;
    uint64_t n = 0;
    scratch_open(&scratch);
    scratch_post(&scratch, texts, 4);
    for (uint64_t seq = 1; seq <= 4; seq++)
        bury(&scratch, seq);
    scratch_sql(&scratch, "UPDATE dead SET body = CAST('0ne' AS BLOB) WHERE seq = 1;"
                          "UPDATE dead SET body = CAST('thr33' AS BLOB) WHERE seq = 3");
    g_assert_cmpint(hubkey_queue_requeue(scratch.path, 1, UINT64_MAX, &n, &error), ==, HUBKEY_E_QUEUE_DAMAGED);
    g_assert_cmpuint(n, ==, 2);
    g_assert_nonnull(strstr(error.text, "2 damaged messages were left out; the first: message 1 "));
    expect_walk(&scratch, HUBKEY_ROWS_WAITING, 0, 0, "5:two,6:four");
    g_assert_cmpuint(scratch_counts(&scratch).dead, ==, 2);
    g_assert_cmpint(hubkey_queue_requeue(scratch.path, 2, 2, &n, &error), ==, 0);
    g_assert_cmpuint(n, ==, 0);
    scratch_close(&scratch);
}

/* What an earlier libhubkey stored has no checksum, and is taken as it is. */
static void
test_no_checksum(void)
{
    struct scratch scratch;
    scratch_open(&scratch);
    scratch_post(&scratch, texts, 2);
    scratch_age(&scratch, 2);
    scratch_reopen(&scratch);
    scratch_post(&scratch, texts, 1);
    expect_walk(&scratch, HUBKEY_ROWS_WAITING, 0, 0, "1:one,2:two,3:one");
    bury(&scratch, 1);
    expect_walk(&scratch, HUBKEY_ROWS_DEAD, 0, 0, "1:one");
    g_assert_cmpint(hubkey_queue_check(scratch.path, NULL, NULL, NULL), ==, 0);
    scratch_close(&scratch);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", TRUE);
    g_setenv("HUBKEY_SOCKET", "/nonexistent/socket", TRUE);
    g_test_add_func("/queue-rows/look/alone", test_look_alone); /* first: it forks, and threads come later */
    g_test_add_func("/queue-rows/each", test_each);
    g_test_add_func("/queue-rows/each/pages", test_each_pages);
    g_test_add_func("/queue-rows/each/wrong", test_each_wrong);
    g_test_add_func("/queue-rows/import", test_import);
    g_test_add_func("/queue-rows/import/makes-queue", test_import_makes_queue);
    g_test_add_func("/queue-rows/requeue", test_requeue);
    g_test_add_func("/queue-rows/requeue/many", test_requeue_many);
    g_test_add_func("/queue-rows/held", test_held);
    g_test_add_func("/queue-rows/look", test_look);
    g_test_add_func("/queue-rows/look/unused", test_look_unused);
    g_test_add_func("/queue-rows/check/counters", test_check_counters);
    g_test_add_func("/queue-rows/check/damage", test_check_damage);
    g_test_add_func("/queue-rows/checksum", test_checksum);
    g_test_add_func("/queue-rows/checksum/moves", test_checksum_moves);
    g_test_add_func("/queue-rows/ends", test_ends);
    g_test_add_func("/queue-rows/requeue-damaged", test_requeue_damaged);
    g_test_add_func("/queue-rows/checksum/none", test_no_checksum);
    return g_test_run();
}

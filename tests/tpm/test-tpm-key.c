/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The storage root key and HMAC keys, with a real TPM's commands.
 */
#include <config.h>

#include "daemon/tpm-key.h"
#include "daemon/tpm-srk.h"
#include "common/error.h"
#include "tests/tpm/bench.h"

#include <stdio.h>
#include <string.h>

#define HANDLE BENCH_KEY(4)

static const uint8_t key_bytes[TPM_KEY_BYTES_MAX] = "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789ABCDEF";

static struct bench *
opened(struct bench *bench)
{
    g_autoptr(GError) error = NULL;
    tpm_open(bench->tpm, &error);
    g_assert_no_error(error);
    return bench;
}

static struct bench *
start_open(void)
{
    return opened(bench_start());
}

static struct bench *
start_injected(void)
{
    return opened(bench_start_injected("record=%s/record,"));
}

static void
make_srk(struct bench *bench, struct tpm_name *name)
{
    g_autoptr(GError) error = NULL;
    tpm_srk_make(bench->tpm, name, &error);
    g_assert_no_error(error);
}

static GBytes *
create(struct bench *bench, const struct tpm_name *srk, size_t len, struct tpm_name *name)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_auto) key = secret_new(len);
    GBytes *blob = NULL;
    memcpy(key->data, key_bytes, len);
    key->len = len;
    tpm_key_create(bench->tpm, srk, key, NULL, &blob, name, &error);
    g_assert_no_error(error);
    return blob;
}

/* Both ways to load a key. */
typedef bool (*load_fn)(struct tpm *tpm, GBytes *blob, uint32_t *key, GError **error);
static const load_fn ways[] = { tpm_key_load, tpm_key_load_to_sign };

static uint32_t
load_by(struct bench *bench, load_fn way, GBytes *blob)
{
    g_autoptr(GError) error = NULL;
    uint32_t key;
    way(bench->tpm, blob, &key, &error);
    g_assert_no_error(error);
    return key;
}

static uint32_t
load(struct bench *bench, GBytes *blob)
{
    return load_by(bench, tpm_key_load, blob);
}

static void
expect_hmac(struct bench *bench, uint32_t key, size_t key_len, const uint8_t *text, size_t len)
{
    g_autoptr(GError) error = NULL;
    uint8_t mac[TPM_MAC_BYTES], expected[SLOT_MAC_BYTES];
    tpm_key_hmac(bench->tpm, key, text, len, mac, &error);
    g_assert_no_error(error);
    bench_hmac(key_bytes, key_len, text, len, expected);
    g_assert_cmpmem(mac, sizeof mac, expected, sizeof expected);
}

/* ---- the SRK ---- */

static void
test_srk_make(void)
{
    struct bench *bench = start_open();
    struct stranger_usage before = stranger_usage(bench->stranger);
    struct tpm_name made, found;
    g_autoptr(GError) error = NULL;
    bool present = true;
    g_assert_true(tpm_srk_find(bench->tpm, &found, &present, &error));
    g_assert_false(present);
    make_srk(bench, &made);
    g_assert_true(tpm_srk_find(bench->tpm, &found, &present, &error));
    g_assert_true(present);
    g_assert_cmpmem(&found, sizeof found, &made, sizeof made);
    /* The public area is the TCG's template: RSA, SHA-256 name, 00030472, no policy, AES-128-CFB, no scheme, 2048. */
    static const uint8_t area[] = { 0x01, 0x1a, 0x00, 0x01, 0x00, 0x0b, 0x00, 0x03, 0x04, 0x72,
                                    0x00, 0x00, 0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0x00, 0x10,
                                    0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00 };
    g_autoptr(GBytes) srk = stranger_look(bench->stranger, BENCH_SRK);
    g_assert_cmpmem(g_bytes_get_data(srk, NULL), sizeof area, area, sizeof area);
    /* A second one finds the handle taken, and leaves nothing. */
    g_assert_false(tpm_srk_make(bench->tpm, &made, &error));
    bench_expect_error(&error, ERROR_TPM_FAILED, "EvictControl");
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_stop(bench);
}

static void
test_srk_ecc(void)
{
    struct bench *bench = start_open();
    struct tpm_name srk, name;
    bool present;
    stranger_put(bench->stranger, BENCH_SRK, STRANGER_ECC_STORAGE, NULL);
    g_assert_true(tpm_srk_find(bench->tpm, &srk, &present, NULL));
    g_assert_true(present);
    g_autoptr(GBytes) blob = create(bench, &srk, 32, &name);
    uint32_t key = load(bench, blob);
    expect_hmac(bench, key, 32, key_bytes, 20);
    tpm_key_flush(bench->tpm, &key, NULL);
    bench_stop(bench);
}

static void
test_srk_foreign(void)
{
    static const enum stranger_kind kinds[] = { STRANGER_ECC_SIGN, STRANGER_HMAC, STRANGER_ECC_STORAGE_384,
                                                STRANGER_ECC_STORAGE_LOOSE, STRANGER_SYMMETRIC_STORAGE };
    struct bench *bench = start_open();
    struct stranger_usage before = stranger_usage(bench->stranger);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        struct tpm_name srk;
        g_autoptr(GError) error = NULL;
        bool present;
        stranger_put(bench->stranger, BENCH_SRK, kinds[i], NULL);
        g_assert_false(tpm_srk_find(bench->tpm, &srk, &present, &error));
        bench_expect_error(&error, ERROR_FOREIGN, "0x81000001");
        stranger_evict(bench->stranger, BENCH_SRK);
    }
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_stop(bench);
}

/* Nothing that is secret goes to an SRK that is not the one that was pinned. */
static void
test_srk_exchanged(void)
{
    struct bench *bench = start_open();
    struct stranger_usage before = stranger_usage(bench->stranger);
    struct tpm_name srk, name;
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_auto) key = secret_new(32);
    GBytes *blob = NULL;
    make_srk(bench, &srk);
    stranger_evict(bench->stranger, BENCH_SRK);
    stranger_put(bench->stranger, BENCH_SRK, STRANGER_ECC_STORAGE, NULL);
    key->len = 32;
    g_assert_false(tpm_key_create(bench->tpm, &srk, key, NULL, &blob, &name, &error));
    bench_expect_error(&error, ERROR_TPM_FAILED, "exchanged");
    g_assert_null(blob);
    stranger_evict(bench->stranger, BENCH_SRK);
    g_assert_false(tpm_key_create(bench->tpm, &srk, key, NULL, &blob, &name, &error));
    bench_expect_error(&error, ERROR_TPM_FAILED, "exchanged");
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_stop(bench);
}

/* ---- life of a key ---- */

static void
test_life(void)
{
    struct bench *bench = start_open();
    struct stranger_usage before = stranger_usage(bench->stranger);
    struct tpm_name srk, name, opened, other = { { 0, 0x0b, 1, 2, 3 } };
    g_autoptr(GError) error = NULL;
    bool usable;
    uint32_t key;
    make_srk(bench, &srk);
    g_autoptr(GBytes) blob = create(bench, &srk, 32, &name);
    key = load(bench, blob);
    g_assert_true(tpm_key_persist(bench->tpm, key, HANDLE, &error));
    tpm_key_flush(bench->tpm, &key, NULL);
    g_assert_true(tpm_key_open(bench->tpm, HANDLE, &key, &opened, &usable, &error));
    g_assert_true(usable);
    g_assert_cmpmem(&opened, sizeof opened, &name, sizeof name);
    expect_hmac(bench, key, 32, key_bytes, 40);
    tpm_key_close(bench->tpm, &key);
    /* Windows' public form: KEYEDHASH, SHA-256 name, 00040440, no policy, HMAC with SHA-256. */
    static const uint8_t area[] = { 0x00, 0x30, 0x00, 0x08, 0x00, 0x0b, 0x00, 0x04, 0x04, 0x40, 0x00, 0x00, 0x00, 0x05,
                                    0x00, 0x0b, 0x00, 0x20 };
    g_autoptr(GBytes) public = stranger_look(bench->stranger, HANDLE);
    g_assert_cmpmem(g_bytes_get_data(public, NULL), sizeof area, area, sizeof area);
    /* Only by its own Name does it go. */
    g_assert_true(tpm_key_evict(bench->tpm, HANDLE, &other, &error));
    g_assert_true(tpm_key_evict(bench->tpm, HANDLE + 1, &name, &error));
    g_autoptr(GBytes) still = stranger_look(bench->stranger, HANDLE);
    g_assert_true(g_bytes_equal(public, still));
    g_assert_true(tpm_key_evict(bench->tpm, HANDLE, &name, &error));
    g_assert_null(stranger_look(bench->stranger, HANDLE));
    g_assert_true(tpm_key_evict(bench->tpm, HANDLE, &name, &error));
    g_assert_true(tpm_key_open(bench->tpm, HANDLE, &key, &opened, &usable, &error));
    g_assert_cmphex(key, ==, TPM_KEY_NONE);
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_stop(bench);
}

static void
test_open_kinds(void)
{
    static const struct {
        enum stranger_kind kind;
        bool usable;
    } rows[] = {
        { STRANGER_HMAC, true },    { STRANGER_HMAC_SHA1, false },  { STRANGER_HMAC_384, false },
        { STRANGER_SEALED, false }, { STRANGER_RESTRICTED, false }, { STRANGER_ECC_SIGN, false },
        { STRANGER_ECC_STORAGE, false },
    };
    struct bench *bench = start_open();
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct tpm_name name;
        g_autoptr(GError) error = NULL;
        bool usable = !rows[i].usable;
        uint32_t key;
        stranger_put(bench->stranger, HANDLE, rows[i].kind, NULL);
        g_assert_true(tpm_key_open(bench->tpm, HANDLE, &key, &name, &usable, &error));
        g_assert_cmphex(key, !=, TPM_KEY_NONE);
        g_assert_cmpint(usable, ==, rows[i].usable);
        tpm_key_close(bench->tpm, &key);
        stranger_evict(bench->stranger, HANDLE);
    }
    bench_stop(bench);
}

static void
test_damaged_blob(void)
{
    struct bench *bench = start_open();
    struct stranger_usage before = stranger_usage(bench->stranger);
    struct tpm_name srk, name;
    g_autoptr(GError) error = NULL;
    uint32_t key = 0;
    size_t size;
    make_srk(bench, &srk);
    g_autoptr(GBytes) blob = create(bench, &srk, 32, &name);
    g_autofree uint8_t *bytes = g_memdup2(g_bytes_get_data(blob, &size), g_bytes_get_size(blob));
    for (size_t cut = 0; cut < size; cut++) {
        g_autoptr(GBytes) part = g_bytes_new(bytes, cut);
        g_assert_false(tpm_key_load(bench->tpm, part, &key, &error));
        bench_expect_error(&error, ERROR_DAMAGED, "blob");
        g_assert_cmphex(key, ==, TPM_KEY_NONE);
    }
    bytes[size - 1] ^= 1;
    g_autoptr(GBytes) altered = g_bytes_new(bytes, size);
    g_assert_false(tpm_key_load(bench->tpm, altered, &key, &error));
    bench_expect_error(&error, ERROR_DAMAGED, "TPM2_Load");
    g_assert_cmphex(key, ==, TPM_KEY_NONE);
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    bench_stop(bench);
}

/* ---- flushing ---- */

static void
flush(struct bench *bench, uint32_t *key)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(tpm_key_flush(bench->tpm, key, &error));
    g_assert_no_error(error);
    g_assert_cmphex(*key, ==, TPM_KEY_NONE);
}

/* A reset, a stranger on a TPM without resource manager: what is gone already is what was wanted. */
static void
test_flush_gone(void)
{
    struct bench *bench = start_open();
    struct stranger_usage before = stranger_usage(bench->stranger);
    struct tpm_name srk, name;
    make_srk(bench, &srk);
    g_autoptr(GBytes) blob = create(bench, &srk, 32, &name);
    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        uint32_t key = load_by(bench, ways[i], blob);
        stranger_flush_all(bench->stranger);
        flush(bench, &key);
        flush(bench, &key); /* none is fine, too */
        key = load_by(bench, ways[i], blob);
        expect_hmac(bench, key, 32, key_bytes, 20);
        flush(bench, &key);
        g_assert_true(stranger_same_usage(bench->stranger, &before));
    }
    bench_stop(bench);
}

/* What the TPM refuses is told, because the key may still be there; what it puts off is done a little later. */
static void
test_flush_refused(void)
{
    struct bench *bench = start_injected();
    struct stranger_usage before = stranger_usage(bench->stranger);
    struct tpm_name srk, name;
    make_srk(bench, &srk);
    g_autoptr(GBytes) blob = create(bench, &srk, 32, &name);
    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_autoptr(GError) error = NULL;
        uint32_t key = load_by(bench, ways[i], blob);
        bench_inject(bench, "0x165 1 1 refuse 0x12f\n");
        g_assert_false(tpm_key_flush(bench->tpm, &key, &error));
        bench_expect_error(&error, ERROR_TPM_FAILED, "TPM2_FlushContext: the TPM refused with 0x12f");
        g_assert_cmphex(key, ==, TPM_KEY_NONE);
        g_assert_cmpuint(stranger_usage(bench->stranger).transient, ==, before.transient + 1);
        g_assert_true(tpm_key_flush_leftovers(bench->tpm, &name, NULL));
        key = load_by(bench, ways[i], blob);
        bench_inject(bench, "0x165 1 3 refuse 0x922\n");
        flush(bench, &key);
        g_assert_cmpuint(bench_injected(bench), ==, 3);
        g_assert_true(stranger_same_usage(bench->stranger, &before));
    }
    bench_stop(bench);
}

/* A connection that breaks at it is closed, and what is left of it not used any more. */
static void
test_flush_broken(void)
{
    struct bench *bench = start_injected();
    struct tpm_name srk, name;
    make_srk(bench, &srk);
    g_autoptr(GBytes) blob = create(bench, &srk, 32, &name);
    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_autoptr(GError) error = NULL;
        uint32_t key = load_by(bench, ways[i], blob), other = load_by(bench, ways[i], blob);
        bench_inject(bench, "0x165 1 0 break\n");
        g_assert_false(tpm_key_flush(bench->tpm, &key, &error));
        bench_expect_error(&error, ERROR_TPM_ABSENT, "was lost");
        g_assert_false(tpm_is_open(bench->tpm));
        flush(bench, &other);
        g_assert_cmpuint(bench_injected(bench), ==, 1);
        bench_inject(bench, NULL);
        opened(bench);
        g_assert_true(tpm_key_flush_leftovers(bench->tpm, &name, NULL));
        g_assert_cmpuint(stranger_usage(bench->stranger).transient, ==, 0);
    }
    bench_stop(bench);
}

/* ---- signing ---- */

/* By one command or by a sequence, whichever way the key was loaded. */
static void
test_hmac_lengths(void)
{
    static const size_t long_ones[] = { 1025, 1500, 2047, 2048, 2049, 3000, 3072, 3073 };
    struct bench *bench = start_open();
    struct stranger_usage before = stranger_usage(bench->stranger);
    struct tpm_name srk, name;
    uint8_t text[4096];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 7 + i / 256);
    make_srk(bench, &srk);
    g_autoptr(GBytes) blob = create(bench, &srk, 32, &name);
    for (size_t way = 0; way < G_N_ELEMENTS(ways); way++) {
        uint32_t key = load_by(bench, ways[way], blob);
        for (size_t len = 0; len <= 1024; len++)
            expect_hmac(bench, key, 32, text, len);
        for (size_t i = 0; i < G_N_ELEMENTS(long_ones); i++)
            expect_hmac(bench, key, 32, text, long_ones[i]);
        flush(bench, &key);
        g_assert_true(stranger_same_usage(bench->stranger, &before));
    }
    bench_stop(bench);
}

static void
test_key_lengths(void)
{
    struct bench *bench = start_open();
    struct tpm_name srk, name;
    make_srk(bench, &srk);
    for (size_t len = 1; len <= TPM_KEY_BYTES_MAX; len++) {
        g_autoptr(GBytes) blob = create(bench, &srk, len, &name);
        uint32_t key = load(bench, blob);
        expect_hmac(bench, key, len, key_bytes, 33);
        tpm_key_flush(bench->tpm, &key, NULL);
    }
    bench_stop(bench);
}

/* ---- what a killed process leaves ---- */

static void
test_leftovers(void)
{
    struct bench *bench = start_open();
    struct tpm_name srk, name;
    g_autoptr(GError) error = NULL;
    make_srk(bench, &srk);
    g_autoptr(GBytes) blob = create(bench, &srk, 32, &name);
    uint32_t sequence = stranger_begin_sequence(bench->stranger);
    struct stranger_usage before = stranger_usage(bench->stranger);
    load(bench, blob); /* and forgotten, as if the process ended */
    uint32_t strange_key = stranger_load(bench->stranger);
    before.transient += 2;
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    before.transient--;
    g_assert_true(tpm_key_flush_leftovers(bench->tpm, &name, &error));
    g_assert_no_error(error);
    g_assert_true(stranger_same_usage(bench->stranger, &before));
    /* What was the stranger's is still there. */
    stranger_flush(bench->stranger, sequence);
    stranger_flush(bench->stranger, strange_key);
    bench_stop(bench);
}

static void
flush_since(struct bench *bench, const char *scene)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(tpm_srk_flush_leftovers(bench->tpm, scene, &error));
    g_assert_no_error(error);
}

/* Of each object the TPM must have told what it is: one that it kept to itself for a moment may be ours, and one that
 * is missing in the scene would be taken for ours later. */
static void
test_leftovers_untold(void)
{
    struct bench *bench = start_injected();
    struct tpm_name srk, name;
    g_autoptr(GError) error = NULL;
    char *scene;
    make_srk(bench, &srk);
    g_autoptr(GBytes) blob = create(bench, &srk, 32, &name);
    uint32_t theirs = stranger_load_rsa_storage(bench->stranger, true);
    load(bench, blob);
    for (unsigned n = 1; n <= 2; n++) {
        g_autofree char *rules = g_strdup_printf("0x173 %u 1 refuse 0x12f\n", n);
        bench_inject(bench, rules);
        g_assert_false(tpm_key_flush_leftovers(bench->tpm, &name, &error));
        bench_expect_error(&error, ERROR_TPM_FAILED, "0x12f");
        bench_inject(bench, rules);
        g_assert_null(tpm_key_list_transient(bench->tpm, &error));
        bench_expect_error(&error, ERROR_TPM_FAILED, "0x12f");
        bench_inject(bench, rules);
        g_assert_false(tpm_srk_dup_scene(bench->tpm, &scene, &error));
        bench_expect_error(&error, ERROR_TPM_FAILED, "0x12f");
    }
    bench_inject(bench, "0x165 1 1 refuse 0x12f\n");
    g_assert_false(tpm_key_flush_leftovers(bench->tpm, &name, &error));
    bench_expect_error(&error, ERROR_TPM_FAILED, "TPM2_FlushContext");
    g_assert_cmpuint(stranger_usage(bench->stranger).transient, ==, 2);
    g_assert_true(tpm_key_flush_leftovers(bench->tpm, &name, NULL));
    /* What its owner flushes between two commands of ours is not there, and nothing else is wrong. */
    load(bench, blob);
    bench_inject(bench, "0x173 1 1 refuse 0x910\n");
    g_assert_true(tpm_key_flush_leftovers(bench->tpm, &name, &error));
    g_assert_no_error(error);
    stranger_flush(bench->stranger, theirs);
    g_assert_cmpuint(stranger_usage(bench->stranger).transient, ==, 0);
    bench_stop(bench);
}

static char *
scene_of(struct bench *bench)
{
    g_autoptr(GError) error = NULL;
    char *scene;
    g_assert_true(tpm_srk_dup_scene(bench->tpm, &scene, &error));
    g_assert_no_error(error);
    return scene;
}

static void
expect_transient(struct bench *bench, unsigned n)
{
    g_assert_cmpuint(stranger_usage(bench->stranger).transient, ==, n);
}

/* A storage key of another kind, and a sequence, are never taken for one of ours; nor is one that was there before. */
static void
test_srk_leftovers(void)
{
    struct bench *bench = start_open();
    uint32_t theirs = stranger_load_rsa_storage(bench->stranger, true);
    g_autofree char *scene = scene_of(bench);
    uint32_t other = stranger_load_rsa_storage(bench->stranger, false);
    flush_since(bench, scene);
    expect_transient(bench, 2);
    stranger_load_rsa_storage(bench->stranger, true); /* as a killed hubkeyd leaves it */
    flush_since(bench, scene);
    expect_transient(bench, 2);
    stranger_flush(bench->stranger, theirs); /* they are still there */
    stranger_flush(bench->stranger, other);
    uint32_t sequence = stranger_begin_sequence(bench->stranger);
    flush_since(bench, scene);
    stranger_flush(bench->stranger, sequence);
    bench_stop(bench);
}

/* Of two that are new, one is a stranger's, and nobody can tell which. */
static void
test_srk_lookalike(void)
{
    struct bench *bench = start_open();
    g_autofree char *scene = scene_of(bench);
    uint32_t ours = stranger_load_rsa_storage(bench->stranger, true);
    uint32_t theirs = stranger_load_rsa_storage(bench->stranger, true);
    flush_since(bench, scene);
    expect_transient(bench, 2);
    stranger_flush(bench->stranger, ours);
    stranger_flush(bench->stranger, theirs);
    /* Of another run of the TPM nothing is left: whatever stands there now is somebody else's. */
    theirs = stranger_load_rsa_storage(bench->stranger, true);
    flush_since(bench, "0.0");
    flush_since(bench, "");
    expect_transient(bench, 1);
    stranger_flush(bench->stranger, theirs);
    bench_stop(bench);
}

/* ---- what stays in memory ---- */

#ifndef __SANITIZE_ADDRESS__
/* How often the bytes stand in the heap, which what was freed is part of. */
static unsigned
count_in_heap(const uint8_t *bytes, size_t len)
{
    unsigned long from = 0, to = 0;
    g_autofree char *maps = NULL;
    g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(maps, "\n", -1);
    for (char **line = lines; *line; line++)
        if (g_str_has_suffix(*line, "[heap]"))
            g_assert_cmpint(sscanf(*line, "%lx-%lx", &from, &to), ==, 2);
    g_assert_cmpuint(from, <, to);
    unsigned found = 0;
    const char *at = (const char *)from;
    while ((at = memmem(at, to - (uintptr_t)at, bytes, len))) {
        found++;
        at += len;
    }
    return found;
}

/* The connection breaks around TPM2_Create: ESYS closes its context, and no copy of the key stays behind. */
static void
test_broken_create(gconstpointer verb)
{
    struct bench *bench = start_injected();
    struct tpm_name srk, name;
    g_autoptr(GError) error = NULL;
    GBytes *blob = NULL;
    g_autoptr(secret_auto) key = secret_new(32);
    make_srk(bench, &srk);
    memcpy(key->data, "a key that must not stay around!", 32);
    key->len = 32;
    unsigned before = count_in_heap(key->data, 32);
    g_autofree char *rules = g_strdup_printf("0x153 1 1 %s\n", (const char *)verb);
    bench_inject(bench, rules);
    g_assert_false(tpm_key_create(bench->tpm, &srk, key, NULL, &blob, &name, &error));
    bench_expect_error(&error, ERROR_TPM_ABSENT, "was lost");
    g_assert_cmpuint(bench_injected(bench), ==, 1);
    g_assert_cmpuint(count_in_heap(key->data, 32), ==, before);
    bench_inject(bench, NULL);
    bench_stop(bench);
}
#endif

int
main(int argc, char **argv)
{
    if (!bench_init(&argc, &argv))
        return 0;
    g_test_add_func("/tpm-key/srk/make", test_srk_make);
    g_test_add_func("/tpm-key/srk/ecc", test_srk_ecc);
    g_test_add_func("/tpm-key/srk/foreign", test_srk_foreign);
    g_test_add_func("/tpm-key/srk/exchanged", test_srk_exchanged);
    g_test_add_func("/tpm-key/srk/leftovers", test_srk_leftovers);
    g_test_add_func("/tpm-key/srk/lookalike", test_srk_lookalike);
    g_test_add_func("/tpm-key/life", test_life);
    g_test_add_func("/tpm-key/open-kinds", test_open_kinds);
    g_test_add_func("/tpm-key/damaged-blob", test_damaged_blob);
    g_test_add_func("/tpm-key/flush/gone", test_flush_gone);
    g_test_add_func("/tpm-key/flush/refused", test_flush_refused);
    g_test_add_func("/tpm-key/flush/broken", test_flush_broken);
    g_test_add_func("/tpm-key/hmac-lengths", test_hmac_lengths);
    g_test_add_func("/tpm-key/key-lengths", test_key_lengths);
    g_test_add_func("/tpm-key/leftovers", test_leftovers);
    g_test_add_func("/tpm-key/leftovers-untold", test_leftovers_untold);
#ifndef __SANITIZE_ADDRESS__ /* whose heap is not where this looks */
    g_test_add_data_func("/tpm-key/create/broken", "break", test_broken_create);
    g_test_add_data_func("/tpm-key/create/lost", "lose", test_broken_create);
#endif
    return g_test_run();
}

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/tpm/bench.h"
#include "common/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <glib/gstdio.h>
#include <openssl/hmac.h>

bool
bench_init(int *argc, char ***argv)
{
    g_setenv("TSS2_LOG", "all+none", FALSE);
    if (!swtpm_available())
        return false;
    g_test_init(argc, argv, NULL);
    /* Warnings are what the daemon tells its administrator; tests make it tell a lot. */
    g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
    return true;
}

char *
bench_file(const struct bench *bench, const char *name)
{
    return g_build_filename(bench->swtpm->dir, name, NULL);
}

/* ---- our side ---- */

static void
open_ours(struct bench *bench)
{
    g_autoptr(GError) error = NULL;
    bench->store = store_open(bench->state_dir, &error);
    g_assert_no_error(error);
    store_sweep(bench->store);
    bench->tpm = tpm_new(bench->tcti, bench->owner_file);
    bench->storage = slot_storage_new(bench->tpm, bench->store);
}

static void
close_ours(struct bench *bench)
{
    slot_storage_free(bench->storage);
    tpm_free(bench->tpm);
    store_close(bench->store);
    g_clear_pointer(&bench->medium.srk_name, g_free);
    bench->medium.cleared = false;
}

static struct bench *
start(char *(*make_tcti)(const struct bench *, const char *), const char *options)
{
    struct bench *bench = g_new0(struct bench, 1);
    bench->swtpm = swtpm_start();
    bench->stranger = stranger_open(bench->swtpm->tcti);
    bench->state_dir = bench_file(bench, "state");
    bench->tcti = make_tcti(bench, options);
    open_ours(bench);
    return bench;
}

static char *
plain_tcti(const struct bench *bench, const char *options)
{
    return g_strdup(bench->swtpm->tcti);
}

static char *
stand_between(const struct bench *bench, const char *name, const char *options, const char *child)
{
    g_autofree char *library = g_test_build_filename(G_TEST_BUILT, "tests", "lib", ".libs", name, NULL);
    g_auto(GStrv) parts = g_strsplit(options, "%s", -1);
    g_autofree char *filled = g_strjoinv(bench->swtpm->dir, parts);
    return g_strdup_printf("%s:%schild=%s", library, filled, child);
}

static char *
spied_tcti(const struct bench *bench, const char *options)
{
    return stand_between(bench, "libtcti-spy.so", options, bench->swtpm->tcti);
}

static char *
injected_tcti(const struct bench *bench, const char *options)
{
    g_autofree char *spy = spied_tcti(bench, options);
    return stand_between(bench, "libtcti-inject.so", "rules=%s/rules,", spy);
}

struct bench *
bench_start(void)
{
    return start(plain_tcti, NULL);
}

struct bench *
bench_start_spied(const char *options)
{
    return start(spied_tcti, options);
}

struct bench *
bench_start_injected(const char *options)
{
    return start(injected_tcti, options);
}

void
bench_inject(struct bench *bench, const char *rules)
{
    g_autofree char *file = bench_file(bench, "rules");
    if (rules)
        g_assert_true(g_file_set_contents(file, rules, -1, NULL));
    else
        g_unlink(file);
}

unsigned
bench_injected(struct bench *bench)
{
    g_autofree char *file = bench_file(bench, "rules.fired"), *text = NULL;
    return g_file_get_contents(file, &text, NULL, NULL) ? (unsigned)atoi(text) : 0;
}

static void
remove_folder(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        g_unlink(file);
    }
    if (dir)
        g_dir_close(dir);
    g_rmdir(path);
}

void
bench_stop(struct bench *bench)
{
    close_ours(bench);
    stranger_close(bench->stranger);
    remove_folder(bench->state_dir);
    g_autofree char *dir = g_strdup(bench->swtpm->dir);
    swtpm_stop(bench->swtpm);
    remove_folder(dir);
    g_free(bench->state_dir);
    g_free(bench->tcti);
    g_free(bench->owner_file);
    g_free(bench);
}

void
bench_restart(struct bench *bench)
{
    close_ours(bench);
    open_ours(bench);
    bench_attach(bench);
}

void
bench_give_owner(struct bench *bench, const char *password)
{
    if (!bench->owner_file)
        bench->owner_file = bench_file(bench, "owner");
    if (password)
        g_assert_true(g_file_set_contents(bench->owner_file, password, -1, NULL));
    else
        g_unlink(bench->owner_file);
    bench_restart(bench);
}

/* ---- what it does ---- */

void
bench_attach(struct bench *bench)
{
    g_autoptr(GError) error = NULL;
    g_clear_pointer(&bench->medium.srk_name, g_free);
    bench->medium.cleared = false;
    slot_storage_ops.attach(bench->storage, false, &bench->medium, &error);
    g_assert_no_error(error);
}

static const struct identity plain_identity = { .host = (char *)BENCH_HOST, .device = (char *)BENCH_DEVICE };

static struct secret *
secret_of(const void *key, size_t len)
{
    struct secret *secret = secret_new(len);
    memcpy(secret->data, key, len);
    secret->len = len;
    return secret;
}

bool
bench_provision_as(struct bench *bench, uint32_t slot, bool file, const struct identity *identity, const void *key,
                   size_t len, GError **error)
{
    g_autoptr(secret_auto) secret = secret_of(key, len);
    return slot_storage_ops.provision(bench->storage, slot, file, identity ? identity : &plain_identity, secret, error);
}

bool
bench_provision(struct bench *bench, uint32_t slot, const void *key, size_t len, GError **error)
{
    return bench_provision_as(bench, slot, slot >= SLOT_TPM_COUNT, NULL, key, len, error);
}

struct slot_finding
bench_look(struct bench *bench, uint32_t slot)
{
    struct slot_finding finding;
    g_autoptr(GError) error = NULL;
    slot_storage_ops.survey(bench->storage, slot, &finding, &error);
    g_assert_no_error(error);
    return finding;
}

bool
bench_rotate(struct bench *bench, uint32_t slot, const struct identity *identity, const void *key, size_t len,
             GError **error)
{
    struct slot_finding now;
    g_autoptr(secret_auto) secret = secret_of(key, len);
    slot_storage_ops.load(bench->storage, slot, &now);
    bool ok = slot_storage_ops.rotate(bench->storage, slot, now.generation, identity ? identity : now.identity, secret,
                                      error);
    slot_finding_clear(&now);
    return ok;
}

bool
bench_undo(struct bench *bench, uint32_t slot, GError **error)
{
    struct slot_finding now;
    slot_storage_ops.load(bench->storage, slot, &now);
    uint64_t number = now.generation;
    slot_finding_clear(&now);
    return slot_storage_ops.undo(bench->storage, slot, number, error);
}

bool
bench_adopt(struct bench *bench, uint32_t slot, const char *host, const char *device, const char *tpm_name,
            GError **error)
{
    struct identity identity = { .host = (char *)host, .device = (char *)device };
    const struct slot_expected expected = { &identity, (char *)tpm_name };
    return slot_storage_ops.adopt(bench->storage, slot, &expected, error);
}

bool
bench_clear(struct bench *bench, uint32_t slot, GError **error)
{
    return slot_storage_ops.clear(bench->storage, slot, error);
}

static uint64_t
generation(struct bench *bench, uint32_t slot)
{
    struct slot_finding finding;
    slot_storage_ops.load(bench->storage, slot, &finding);
    uint64_t number = finding.generation;
    slot_finding_clear(&finding);
    return number;
}

bool
bench_sign(struct bench *bench, uint32_t slot, const void *text, size_t len, uint8_t mac[SLOT_MAC_BYTES],
           GError **error)
{
    return slot_storage_ops.sign(bench->storage, slot, generation(bench, slot), text, len, mac, error);
}

/* ---- what must hold ---- */

void
bench_expect(struct bench *bench, uint32_t slot, enum slot_state state, const char *words)
{
    struct slot_finding finding = bench_look(bench, slot);
    if (finding.state != state || !words != !finding.reason || (words && !strstr(finding.reason, words)))
        g_error("slot %u is \"%s\" (%s), not \"%s\" (%s)", slot, slot_state_name(finding.state),
                finding.reason ? finding.reason : "", slot_state_name(state), words ? words : "");
    slot_finding_clear(&finding);
}

void
bench_hmac(const void *key, size_t len, const void *text, size_t text_len, uint8_t mac[SLOT_MAC_BYTES])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    g_assert_nonnull(HMAC(EVP_sha256(), key, (int)len, text, text_len, digest, NULL));
    memcpy(mac, digest, SLOT_MAC_BYTES);
}

void
bench_expect_signs(struct bench *bench, uint32_t slot, const void *key, size_t len)
{
    static const char text[] = "hub.azure-devices.net%2fdevices%2fweather-1\n1893456000";
    uint8_t mac[SLOT_MAC_BYTES], expected[SLOT_MAC_BYTES];
    g_autoptr(GError) error = NULL;
    bench_sign(bench, slot, text, strlen(text), mac, &error);
    g_assert_no_error(error);
    bench_hmac(key, len, text, strlen(text), expected);
    g_assert_cmpmem(mac, sizeof mac, expected, sizeof expected);
}

void
bench_expect_error(GError **error, int code, const char *words)
{
    g_assert_error(*error, ERROR_DOMAIN, code);
    if (!strstr((*error)->message, words))
        g_error("\"%s\" does not say \"%s\"", (*error)->message, words);
    g_clear_error(error);
}

void
bench_expect_tidy(struct bench *bench)
{
    g_autoptr(GError) error = NULL;
    GDir *dir = g_dir_open(bench->state_dir, 0, &error);
    g_assert_no_error(error);
    for (const char *name; (name = g_dir_read_name(dir));)
        if (g_str_has_suffix(name, ".intent") || g_str_has_suffix(name, ".new"))
            g_error("%s was left in the state directory", name);
    g_dir_close(dir);
}

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "tests/lib/fake-storage.h"
#include "common/error.h"

#include <string.h>

struct content {
    enum slot_state state;
    uint64_t generation;
    bool file;
    struct identity *identity;
    GBytes *key;
    struct identity *previous_identity; /* before a rotation */
    GBytes *previous_key;
};

struct fake_storage {
    GMutex lock;
    GCond changed;
    struct content slots[FAKE_STORAGE_SLOTS];
    bool cleared;
    char *srk_name;
    int errors[FAKE_STORAGE_OPS];
    unsigned counts[FAKE_STORAGE_OPS];
    int held; /* an op, -1 for none */
    unsigned let;
    bool inside;
};

static void
empty(struct content *content)
{
    identity_free(content->identity);
    identity_free(content->previous_identity);
    g_clear_pointer(&content->key, g_bytes_unref);
    g_clear_pointer(&content->previous_key, g_bytes_unref);
    *content = (struct content){ .generation = content->generation };
}

struct fake_storage *
fake_storage_new(void)
{
    struct fake_storage *storage = g_new0(struct fake_storage, 1);
    g_mutex_init(&storage->lock);
    g_cond_init(&storage->changed);
    storage->held = -1;
    storage->srk_name = g_strdup(FAKE_STORAGE_SRK);
    return storage;
}

void
fake_storage_free(struct fake_storage *storage)
{
    for (uint32_t slot = 0; slot < FAKE_STORAGE_SLOTS; slot++)
        empty(&storage->slots[slot]);
    g_free(storage->srk_name);
    g_mutex_clear(&storage->lock);
    g_cond_clear(&storage->changed);
    g_free(storage);
}

/* ---- what the test does ---- */

/* identity and key become the content's. */
static void
fill(struct content *content, enum slot_state state, uint64_t generation, struct identity *identity, GBytes *key)
{
    empty(content);
    *content = (struct content){ .state = state, .generation = generation, .identity = identity, .key = key };
}

void
fake_storage_put(struct fake_storage *storage, uint32_t slot, enum slot_state state, uint64_t generation,
                 const char *host, const char *device, const char *key)
{
    struct identity *identity = NULL;
    if (host) {
        identity = identity_new();
        identity->host = g_strdup(host);
        identity->device = g_strdup(device);
    }
    g_mutex_lock(&storage->lock);
    fill(&storage->slots[slot], state, generation, identity, key ? g_bytes_new(key, strlen(key)) : NULL);
    storage->slots[slot].file = slot >= SLOT_TPM_COUNT;
    g_mutex_unlock(&storage->lock);
}

void
fake_storage_set_medium(struct fake_storage *storage, bool cleared, const char *srk_name)
{
    g_mutex_lock(&storage->lock);
    storage->cleared = cleared;
    g_free(storage->srk_name);
    storage->srk_name = g_strdup(srk_name);
    g_mutex_unlock(&storage->lock);
}

void
fake_storage_fail(struct fake_storage *storage, enum fake_storage_op op, int code)
{
    g_mutex_lock(&storage->lock);
    storage->errors[op] = code;
    g_mutex_unlock(&storage->lock);
}

void
fake_storage_hold(struct fake_storage *storage, enum fake_storage_op op)
{
    g_mutex_lock(&storage->lock);
    storage->held = (int)op;
    storage->let = 0;
    g_mutex_unlock(&storage->lock);
}

void
fake_storage_let_one(struct fake_storage *storage)
{
    g_mutex_lock(&storage->lock);
    storage->let++;
    storage->inside = false;
    g_cond_broadcast(&storage->changed);
    g_mutex_unlock(&storage->lock);
}

void
fake_storage_release(struct fake_storage *storage)
{
    g_mutex_lock(&storage->lock);
    storage->held = -1;
    storage->inside = false;
    g_cond_broadcast(&storage->changed);
    g_mutex_unlock(&storage->lock);
}

bool
fake_storage_is_inside(void *user)
{
    struct fake_storage *storage = user;
    g_mutex_lock(&storage->lock);
    bool inside = storage->inside;
    g_mutex_unlock(&storage->lock);
    return inside;
}

unsigned
fake_storage_count(struct fake_storage *storage, enum fake_storage_op op)
{
    g_mutex_lock(&storage->lock);
    unsigned count = storage->counts[op];
    g_mutex_unlock(&storage->lock);
    return count;
}

/* ---- what the worker does ---- */

/* Ends with the lock held, whatever it returns. */
static bool
enter(struct fake_storage *storage, enum fake_storage_op op, GError **error)
{
    g_mutex_lock(&storage->lock);
    storage->counts[op]++;
    while (storage->held == (int)op && storage->let == 0) {
        storage->inside = true;
        g_main_context_wakeup(NULL); /* whoever awaits this waits for the loop */
        g_cond_wait(&storage->changed, &storage->lock);
    }
    storage->inside = false;
    if (storage->held == (int)op)
        storage->let--;
    if (storage->errors[op] == 0)
        return true;
    error_set(error, storage->errors[op], "the storage was told to fail");
    return false;
}

static void
describe(const struct content *content, struct slot_finding *finding)
{
    *finding = (struct slot_finding){ .state = content->state, .generation = content->generation };
    if (content->state == SLOT_EMPTY)
        return;
    if (content->state != SLOT_READY)
        finding->reason = g_strdup("the storage was told so");
    finding->tpm_name = g_strnfill(68, 'e');
    finding->file = content->file;
    finding->can_undo = content->previous_key != NULL;
    finding->identity = content->identity ? identity_copy(content->identity) : NULL;
}

static void
load(void *user, uint32_t slot, struct slot_finding *finding)
{
    struct fake_storage *storage = user;
    g_mutex_lock(&storage->lock);
    describe(&storage->slots[slot], finding);
    g_mutex_unlock(&storage->lock);
}

static bool
load_all(void *data, slot_loaded_fn loaded, void *user, GError **error)
{
    struct fake_storage *storage = data;
    bool ok = enter(storage, FAKE_STORAGE_LOAD_ALL, error);
    g_mutex_unlock(&storage->lock);
    for (uint32_t slot = FAKE_STORAGE_SLOTS; ok && slot-- > 0;) {
        struct slot_finding finding;
        load(storage, slot, &finding);
        loaded(slot, &finding, user);
        slot_finding_clear(&finding);
    }
    return ok;
}

static bool
attach(void *user, bool afresh, struct slot_medium *medium, GError **error)
{
    struct fake_storage *storage = user;
    bool ok = enter(storage, FAKE_STORAGE_ATTACH, error);
    if (ok)
        *medium = (struct slot_medium){ storage->cleared, g_strdup(storage->srk_name) };
    g_mutex_unlock(&storage->lock);
    return ok;
}

static bool
survey(void *user, uint32_t slot, struct slot_finding *finding, GError **error)
{
    struct fake_storage *storage = user;
    bool ok = enter(storage, FAKE_STORAGE_SURVEY, error);
    if (ok)
        describe(&storage->slots[slot], finding);
    g_mutex_unlock(&storage->lock);
    return ok;
}

static bool
sign_with(const struct content *content, uint64_t generation, const void *data, size_t len, uint8_t mac[SLOT_MAC_BYTES],
          GError **error)
{
    if (content->state != SLOT_READY || content->generation != generation) {
        error_set(error, content->state == SLOT_TAMPERED ? ERROR_TAMPERED : ERROR_NOT_PROVISIONED,
                  "the slot has changed");
        return false;
    }
    gsize key_len, n = SLOT_MAC_BYTES;
    const guchar *key = g_bytes_get_data(content->key, &key_len);
    g_autoptr(GHmac) hmac = g_hmac_new(G_CHECKSUM_SHA256, key, key_len);
    g_hmac_update(hmac, data, (gssize)len);
    g_hmac_get_digest(hmac, mac, &n);
    return true;
}

static bool
sign(void *user, uint32_t slot, uint64_t generation, const void *data, size_t len, uint8_t mac[SLOT_MAC_BYTES],
     GError **error)
{
    struct fake_storage *storage = user;
    bool ok = enter(storage, FAKE_STORAGE_SIGN, error) &&
              sign_with(&storage->slots[slot], generation, data, len, mac, error);
    g_mutex_unlock(&storage->lock);
    return ok;
}

static void
idle(void *user)
{
    struct fake_storage *storage = user;
    (void)enter(storage, FAKE_STORAGE_IDLE, NULL);
    g_mutex_unlock(&storage->lock);
}

static bool
provision(void *user, uint32_t slot, bool file, const struct identity *identity, const struct secret *key,
          GError **error)
{
    struct fake_storage *storage = user;
    struct content *content = &storage->slots[slot];
    bool ok = enter(storage, FAKE_STORAGE_PROVISION, error);
    if (ok && content->state != SLOT_EMPTY) {
        bool foreign = content->state == SLOT_FOREIGN;
        error_set(error, foreign ? ERROR_FOREIGN : ERROR_SLOT_IN_USE, "slot %u is not empty", slot);
        ok = false;
    } else if (ok) {
        fill(content, SLOT_READY, content->generation + 1, identity_copy(identity), g_bytes_new(key->data, key->len));
        content->file = file;
    }
    g_mutex_unlock(&storage->lock);
    return ok;
}

static bool
rotate(void *user, uint32_t slot, uint64_t generation, const struct identity *identity, const struct secret *key,
       GError **error)
{
    struct fake_storage *storage = user;
    struct content *content = &storage->slots[slot];
    bool ok = enter(storage, FAKE_STORAGE_ROTATE, error);
    if (ok && content->generation != generation) {
        error_set(error, ERROR_BUSY, "slot %u was changed", slot);
        ok = false;
    } else if (ok) {
        identity_free(content->previous_identity);
        g_clear_pointer(&content->previous_key, g_bytes_unref);
        content->previous_identity = g_steal_pointer(&content->identity);
        content->previous_key = g_steal_pointer(&content->key);
        content->identity = identity_copy(identity);
        content->key = g_bytes_new(key->data, key->len);
        content->generation++;
    }
    g_mutex_unlock(&storage->lock);
    return ok;
}

static bool
undo(void *user, uint32_t slot, uint64_t generation, GError **error)
{
    struct fake_storage *storage = user;
    struct content *content = &storage->slots[slot];
    bool ok = enter(storage, FAKE_STORAGE_UNDO, error);
    if (ok && !content->previous_key) {
        error_set(error, ERROR_UNSUPPORTED, "slot %u has no earlier key", slot);
        ok = false;
    } else if (ok) {
        fill(content, SLOT_READY, generation + 1, g_steal_pointer(&content->previous_identity),
             g_steal_pointer(&content->previous_key));
    }
    g_mutex_unlock(&storage->lock);
    return ok;
}

static bool
adopt(void *user, uint32_t slot, const struct slot_expected *expected, GError **error)
{
    struct fake_storage *storage = user;
    struct content *content = &storage->slots[slot];
    bool ok = enter(storage, FAKE_STORAGE_ADOPT, error);
    if (ok && (content->state != SLOT_FOUND || !identity_equal(content->identity, expected->identity))) {
        error_set(error, ERROR_TAMPERED, "slot %u holds something else", slot);
        ok = false;
    } else if (ok) {
        content->state = SLOT_READY;
        content->generation++;
    }
    g_mutex_unlock(&storage->lock);
    return ok;
}

static bool
clear(void *user, uint32_t slot, GError **error)
{
    struct fake_storage *storage = user;
    bool ok = enter(storage, FAKE_STORAGE_CLEAR, error);
    if (ok) {
        empty(&storage->slots[slot]);
        storage->slots[slot].generation++;
    }
    g_mutex_unlock(&storage->lock);
    return ok;
}

const struct slot_ops fake_storage_ops = {
    .load_all = load_all,
    .load = load,
    .attach = attach,
    .survey = survey,
    .sign = sign,
    .idle = idle,
    .provision = provision,
    .rotate = rotate,
    .undo = undo,
    .adopt = adopt,
    .clear = clear,
};

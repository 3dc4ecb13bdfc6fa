/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * An HMAC of 80 bytes by C_SignInit and C_Sign (CKM_SHA256_HMAC) of any PKCS#11 module, in one session that stays open.
 *
 *     bench-pkcs11 ROW MODULE SAMPLES     with the token labelled "bench", whose user PIN is 1234
 *
 * A token without a secret key gets one for the time of the session. The functions are looked up by their names, as
 * PKCS#11 2.40, section 3, has them exported, so that no header of a vendor is needed; the types are those of its
 * sections 3 and 4, as far as they are used here.
 */
#include "tests/bench/timing.h"

#include <dlfcn.h>
#include <err.h>
#include <string.h>

#define TOKEN "bench"
#define PIN "1234"
#define SLOTS_MAX 16
#define WARM_UP 20
#define DATA_BYTES 80
#define MAC_BYTES 32
#define KEY_BYTES 32

enum {
    CKF_RW_SESSION = 2,
    CKF_SERIAL_SESSION = 4,
    CKU_USER = 1,
    CKA_CLASS = 0,
    CKO_SECRET_KEY = 4,
    CKA_KEY_TYPE = 0x100,
    CKK_GENERIC_SECRET = 0x10,
    CKA_SIGN = 0x108,
    CKA_VALUE = 0x11,
    CKM_SHA256_HMAC = 0x251,
};

typedef unsigned long ck; /* CK_ULONG, and all that is defined as one: handles, flags, CK_RV */

struct ck_attribute {
    ck type;
    void *value;
    ck len;
};

struct ck_mechanism {
    ck mechanism;
    void *parameter;
    ck len;
};

struct ck_token_info {
    unsigned char label[32], manufacturer[32], model[16], serial[16];
    ck flags, counts[10];
    unsigned char versions[4], utc_time[16];
};

struct token {
    void *module;
    ck session;
    ck key;
};

static void
check(ck rv, const char *what)
{
    if (rv != 0)
        errx(1, "%s: 0x%lx", what, rv);
}

/* A function of the module; every one of them returns a CK_RV. */
#define CALL(token, name, types, ...) check(((ck(*) types)look_up((token)->module, #name))(__VA_ARGS__), #name)

static void *
look_up(void *module, const char *name)
{
    void *function = dlsym(module, name);
    if (!function)
        errx(1, "%s", dlerror());
    return function;
}

static ck
find_slot(const struct token *token)
{
    ck slots[SLOTS_MAX], count = SLOTS_MAX;
    CALL(token, C_GetSlotList, (unsigned char, ck *, ck *), 1, slots, &count);
    for (ck i = 0; i < count; i++) {
        struct ck_token_info info = { 0 };
        CALL(token, C_GetTokenInfo, (ck, struct ck_token_info *), slots[i], &info);
        if (memcmp(info.label, TOKEN " ", sizeof TOKEN) == 0)
            return slots[i];
    }
    errx(1, "there is no token " TOKEN);
}

static ck
find_key(const struct token *token)
{
    ck class = CKO_SECRET_KEY, key = 0, count = 0;
    struct ck_attribute wanted = { CKA_CLASS, &class, sizeof class };
    CALL(token, C_FindObjectsInit, (ck, struct ck_attribute *, ck), token->session, &wanted, 1);
    CALL(token, C_FindObjects, (ck, ck *, ck, ck *), token->session, &key, 1, &count);
    CALL(token, C_FindObjectsFinal, (ck), token->session);
    return count ? key : 0;
}

static ck
make_key(const struct token *token)
{
    ck class = CKO_SECRET_KEY, type = CKK_GENERIC_SECRET, key = 0;
    unsigned char yes = 1, value[KEY_BYTES] = "bench";
    struct ck_attribute wanted[] = {
        { CKA_CLASS, &class, sizeof class },
        { CKA_KEY_TYPE, &type, sizeof type },
        { CKA_SIGN, &yes, sizeof yes },
        { CKA_VALUE, value, sizeof value },
    };
    CALL(token, C_CreateObject, (ck, struct ck_attribute *, ck, ck *), token->session, wanted, 4, &key);
    return key;
}

static void
token_open(struct token *token, const char *module)
{
    token->module = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    if (!token->module) {
        warnx("%s", dlerror());
        exit(77);
    }
    CALL(token, C_Initialize, (void *), NULL);
    CALL(token, C_OpenSession, (ck, ck, void *, void *, ck *), find_slot(token), CKF_SERIAL_SESSION | CKF_RW_SESSION,
         NULL, NULL, &token->session);
    CALL(token, C_Login, (ck, ck, const char *, ck), token->session, CKU_USER, PIN, strlen(PIN));
    token->key = find_key(token);
    if (!token->key)
        token->key = make_key(token);
}

static int64_t
measure(const struct token *token)
{
    struct ck_mechanism hmac = { .mechanism = CKM_SHA256_HMAC };
    unsigned char data[DATA_BYTES] = { 0 }, mac[MAC_BYTES];
    ck len = sizeof mac;
    int64_t start = timing_now_ns();
    CALL(token, C_SignInit, (ck, struct ck_mechanism *, ck), token->session, &hmac, token->key);
    CALL(token, C_Sign, (ck, const unsigned char *, ck, unsigned char *, ck *), token->session, data, sizeof data, mac,
         &len);
    int64_t end = timing_now_ns();
    if (len != MAC_BYTES)
        errx(1, "C_Sign gave %lu bytes", len);
    return end - start;
}

int
main(int argc, char **argv)
{
    struct token token = { 0 };
    size_t n = argc == 4 ? timing_samples(strtoul(argv[3], NULL, 10)) : 0;
    if (n == 0)
        errx(2, "usage: bench-pkcs11 ROW MODULE SAMPLES");
    int64_t *samples = calloc(n, sizeof *samples);
    token_open(&token, argv[2]);
    for (size_t i = 0; samples && i < WARM_UP + n; i++) {
        int64_t took = measure(&token);
        if (i >= WARM_UP)
            samples[i - WARM_UP] = took;
    }
    timing_print(argv[1], samples, n);
    free(samples);
    CALL(&token, C_Finalize, (void *), NULL);
    return 0;
}

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * ECDSA on P-256 for both. Valid from a year ago, so that a client whose clock is slow can be tested.
 */
#include <config.h>

#include "tests/hub/certificate.h"

#include <stdbool.h>
#include <sys/types.h>

#include <glib.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#define DAY_S (24L * 60 * 60)

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BIO, BIO_free)

struct pair {
    X509 *certificate;
    EVP_PKEY *key;
};

static void
pair_clear(struct pair *pair)
{
    X509_free(pair->certificate);
    EVP_PKEY_free(pair->key);
    *pair = (struct pair){ NULL, NULL };
}

static bool
write_file(const char *path, BIO *text, mode_t mode, GError **error)
{
    char *data;
    const long len = BIO_get_mem_data(text, &data);

    if (!g_file_set_contents_full(path, data, len, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE,
                                  (int)mode, error))
        return false;
    return true;
}

static bool
save(const struct pair *pair, const char *certificate_path, const char *key_path, GError **error)
{
    g_autoptr(BIO) certificate = BIO_new(BIO_s_mem());
    g_autoptr(BIO) key = BIO_new(BIO_s_mem());

    PEM_write_bio_X509(certificate, pair->certificate);
    PEM_write_bio_PKCS8PrivateKey(key, pair->key, NULL, NULL, 0, NULL, NULL);
    return write_file(key_path, key, 0600, error) && write_file(certificate_path, certificate, 0644, error);
}

static bool
load(struct pair *pair, const char *certificate_path, const char *key_path)
{
    g_autoptr(BIO) certificate = BIO_new_file(certificate_path, "r");
    g_autoptr(BIO) key = BIO_new_file(key_path, "r");

    if (!certificate || !key)
        return false;
    pair->certificate = PEM_read_bio_X509(certificate, NULL, NULL, NULL);
    pair->key = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
    if (pair->certificate && pair->key && X509_check_private_key(pair->certificate, pair->key) == 1)
        return true;
    pair_clear(pair);
    return false;
}

static bool
set_name(X509_NAME *name, const char *text)
{
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)text, -1, -1, 0) == 1;
}

static bool
add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;
    bool ok;

    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    ok = extension && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static bool
set_serial(X509 *certificate)
{
    uint64_t serial;

    return RAND_bytes((unsigned char *)&serial, sizeof serial) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) == 1;
}

/* A certificate for a fresh key, all but its extensions and signature. */
static bool
begin(struct pair *pair, const char *name, X509_NAME *issuer)
{
    X509 *x = pair->certificate = X509_new();

    pair->key = EVP_EC_gen("P-256");
    return x && pair->key && X509_set_version(x, X509_VERSION_3) && set_serial(x) &&
           X509_gmtime_adj(X509_getm_notBefore(x), -365 * DAY_S) &&
           X509_gmtime_adj(X509_getm_notAfter(x), 3650 * DAY_S) && X509_set_pubkey(x, pair->key) &&
           set_name(X509_get_subject_name(x), name) &&
           X509_set_issuer_name(x, issuer ? issuer : X509_get_subject_name(x));
}

static bool
make_ca(struct pair *ca)
{
    return begin(ca, "hubkey test hub CA", NULL) &&
           add_extension(ca->certificate, ca->certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           add_extension(ca->certificate, ca->certificate, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           add_extension(ca->certificate, ca->certificate, NID_subject_key_identifier, "hash") &&
           X509_sign(ca->certificate, ca->key, EVP_sha256()) > 0;
}

static bool
make_server(struct pair *server, const struct pair *ca, const char *host)
{
    g_autofree char *names = g_strdup_printf("DNS:%s", host);

    /* A common name holds 64 characters, a host name may have more: the alternative name is what counts. */
    return begin(server, "hubkey test hub", X509_get_subject_name(ca->certificate)) &&
           add_extension(server->certificate, ca->certificate, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(server->certificate, ca->certificate, NID_key_usage, "critical,digitalSignature") &&
           add_extension(server->certificate, ca->certificate, NID_ext_key_usage, "serverAuth") &&
           add_extension(server->certificate, ca->certificate, NID_subject_alt_name, names) &&
           add_extension(server->certificate, ca->certificate, NID_authority_key_identifier, "keyid") &&
           X509_sign(server->certificate, ca->key, EVP_sha256()) > 0;
}

static bool
fits(const struct pair *server, const struct pair *ca, const char *host)
{
    return X509_check_host(server->certificate, host, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1 &&
           X509_verify(server->certificate, ca->key) == 1;
}

static bool
load_or_make(const char *const paths[4], const char *host, GError **error)
{
    struct pair ca = { NULL, NULL }, server = { NULL, NULL };
    bool ok = load(&ca, paths[0], paths[1]) || (make_ca(&ca) && save(&ca, paths[0], paths[1], error));

    if (ok && !(load(&server, paths[2], paths[3]) && fits(&server, &ca, host))) {
        pair_clear(&server);
        ok = make_server(&server, &ca, host) && save(&server, paths[2], paths[3], error);
    }
    if (!ok && error && !*error)
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "OpenSSL could not make a certificate for %s", host);
    pair_clear(&ca);
    pair_clear(&server);
    return ok;
}

gboolean
certificate_load(struct certificate *certificate, const char *dir, const char *host, GError **error)
{
    g_autofree char *ca = g_build_filename(dir, "ca.pem", NULL);
    g_autofree char *ca_key = g_build_filename(dir, "ca-key.pem", NULL);
    g_autofree char *server = g_build_filename(dir, "server.pem", NULL);
    g_autofree char *server_key = g_build_filename(dir, "server-key.pem", NULL);
    const char *const paths[4] = { ca, ca_key, server, server_key };

    *certificate = (struct certificate){ NULL, NULL, NULL };
    if (!load_or_make(paths, host, error) || !g_file_get_contents(server, &certificate->chain, NULL, error) ||
        !g_file_get_contents(server_key, &certificate->key, NULL, error)) {
        certificate_clear(certificate);
        return FALSE;
    }
    certificate->ca_file = g_canonicalize_filename(ca, NULL);
    return TRUE;
}

void
certificate_clear(struct certificate *certificate)
{
    g_free(certificate->ca_file);
    g_free(certificate->chain);
    g_free(certificate->key);
    *certificate = (struct certificate){ NULL, NULL, NULL };
}

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/http-trust.h"

#include <string.h>

#include <curl/curl.h>
#include <glib.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

/* A stranger's text: cut, and printable. */
static void
name_issuer(const X509 *certificate, struct http_trust *trust)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (!bio)
        return;
    if (X509_NAME_print_ex(bio, X509_get_issuer_name(certificate), 0, XN_FLAG_RFC2253) > 0) {
        int n = BIO_read(bio, trust->issuer, sizeof trust->issuer - 1);
        trust->issuer[MAX(n, 0)] = '\0';
    }
    BIO_free(bio);
    for (char *c = trust->issuer; *c; c++)
        if (!g_ascii_isprint(*c))
            *c = '?';
}

/* In place of OpenSSL's own call of the same function. */
static int
verify(X509_STORE_CTX *context, void *user)
{
    struct http_trust *trust = user;
    int good = X509_verify_cert(context);
    const X509 *certificate = X509_STORE_CTX_get_current_cert(context);
    trust->issuer[0] = '\0';
    if (good <= 0 && certificate)
        name_issuer(certificate, trust);
    return good;
}

static CURLcode
on_context(CURL *easy, void *context, void *user)
{
    SSL_CTX_set_cert_verify_callback(context, verify, user);
    return CURLE_OK;
}

void
http_trust_watch(void *easy, struct http_trust *trust)
{
    const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
    g_autofree char *ours = g_strdup_printf("OpenSSL/%d.", OPENSSL_VERSION_MAJOR);
    trust->issuer[0] = '\0';
    if (!info->ssl_version || !g_str_has_prefix(info->ssl_version, ours))
        return;
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_context);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, trust);
}

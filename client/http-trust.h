/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Who issued a certificate that is not trusted: behind a firewall that looks into TLS its name says all. Verification
 * itself is OpenSSL's, unchanged; with another TLS library behind libcurl nothing is learnt.
 */
#pragma once

#define HTTP_TRUST_MAX 160

struct http_trust {
    char issuer[HTTP_TRUST_MAX]; /* "" where the certificate was trusted, or none came */
};

/* easy: the CURL handle; trust lives as long. */
void http_trust_watch(void *easy, struct http_trust *trust);

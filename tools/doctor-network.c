/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The hubs of the slots: a TLS handshake, and what time it is there. No token is sent.
 */
#include <config.h>

#include "tools/doctor.h"
#include "tools/slots.h"
#include "common/clock.h"

#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#define CHECK "network"
#define HOSTS_MAX 16 /* looked at */
#define LIMIT_S 10L
#define SKEW_S 60 /* as libhubkey judges it */

static size_t
take_header(char *bytes, size_t size, size_t n, void *user)
{
    g_autofree char *line = g_strndup(bytes, size * n);
    if (g_ascii_strncasecmp(line, "date:", 5) == 0)
        *(time_t *)user = curl_getdate(line + 5, NULL);
    return size * n;
}

static void
check_skew(struct doctor *doctor, const char *host, int64_t there_s, int64_t here_s)
{
    int64_t slow_s = there_s - here_s;
    if (there_s <= 0)
        doctor_say(doctor, DOCTOR_OK, CHECK, NULL, "%s answers, but does not say what time it is", host);
    else if (llabs(slow_s) > SKEW_S)
        doctor_say(doctor, DOCTOR_BAD, CHECK, "timedatectl set-ntp true",
                   "this machine's clock is %lld s %s that of %s", llabs(slow_s), slow_s > 0 ? "behind" : "ahead of",
                   host);
    else
        doctor_say(doctor, DOCTOR_OK, CHECK, NULL, "%s answers, and its clock agrees to %lld s", host, llabs(slow_s));
}

static const char *
mend_for(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return "resolvectl status; is the host name of the slot right?";
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return "apt-get install ca-certificates && update-ca-certificates; is something between here and the hub?";
    default:
        return "open TCP port 443 to the hub in the firewall";
    }
}

/* HUBKEY_CONNECT_TO and HUBKEY_CA_FILE hold as for libhubkey. */
static void
check_host(struct doctor *doctor, const char *host)
{
    g_autofree char *url = g_strdup_printf("https://%s/", host);
    const char *connect_to = getenv("HUBKEY_CONNECT_TO"), *ca_file = getenv("HUBKEY_CA_FILE");
    struct curl_slist *route = connect_to && *connect_to ? curl_slist_append(NULL, connect_to) : NULL;
    char text[CURL_ERROR_SIZE] = "";
    time_t date = 0;
    CURL *curl = curl_easy_init();
    if (!curl)
        g_error("out of memory: libcurl");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, LIMIT_S);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &date);
    curl_easy_setopt(curl, CURLOPT_CONNECT_TO, route);
    if (ca_file && *ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file);
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        check_skew(doctor, host, (int64_t)date, clock_wall_s());
    else
        doctor_say(doctor, DOCTOR_BAD, CHECK, mend_for(code), "%s cannot be reached by TLS: %s", host,
                   *text ? text : curl_easy_strerror(code));
    curl_easy_cleanup(curl);
    curl_slist_free_all(route);
}

static void
add_host(const struct slot_row *row, void *user)
{
    GHashTable *hosts = user;
    const char *host = row->texts[SLOTS_HOST];
    if (*host && strcmp(row->texts[SLOTS_STATE], "ready") == 0 && g_hash_table_size(hosts) < HOSTS_MAX)
        g_hash_table_add(hosts, g_strdup(host));
}

void
doctor_network(struct doctor *doctor)
{
    g_autoptr(GHashTable) hosts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GError) error = NULL;
    GHashTableIter iter;
    gpointer host;
    if (!slots_walk(doctor->bus, add_host, hosts, &error))
        doctor_say(doctor, DOCTOR_BAD, CHECK, "systemctl restart hubkeyd", "%s", error->message);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    g_hash_table_iter_init(&iter, hosts);
    while (g_hash_table_iter_next(&iter, &host, NULL))
        check_host(doctor, host);
    if (g_hash_table_size(hosts) == 0)
        doctor_say(doctor, DOCTOR_WARNING, CHECK, "hubkeyctl provision N",
                   "no slot is ready, so there is no hub to reach");
}

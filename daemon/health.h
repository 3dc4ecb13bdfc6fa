/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * How the TPM is beyond being there: locked out, or under an owner's password that is not known. Neither stops tokens,
 * since keys of ours need no password and are exempt from lockout (noDA); what they stop is told. Looked at when the
 * TPM gets ready, when something has failed, when somebody asks, and again and again while not all is well.
 *
 * Main thread; the reading is a job of the worker.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include <glib.h>

#define HEALTH_KEPT_MS 1000 /* an answer serves everybody who asks within this time */
#define HEALTH_AGAIN_S 10   /* between looks while something is the matter */
#define HEALTH_LIMIT_US (5 * G_USEC_PER_SEC)

struct limits;
struct slots;
struct tpm_info;
struct worker;

/* On the worker thread. */
typedef bool (*health_read_fn)(void *source, struct tpm_info *info, GError **error);

struct health;

/* changed: health_state has become another one, and slots' tpm_changed hook does not say so. */
struct health *health_new(struct worker *worker, struct slots *slots, struct limits *limits, health_read_fn read,
                          void *source, void (*changed)(void *user), void *user);
void health_free(struct health *health); /* after the worker has stopped; who waits is told so */

/* TpmState, as on the bus. */
const char *health_state(const struct health *health);

void health_look(struct health *health);
void health_tpm_changed(struct health *health); /* for slots' tpm_changed hook */

/* info is NULL where error is set. */
typedef void (*health_told_fn)(const struct tpm_info *info, const GError *error, void *user);

/* Calls told once: before returning where the answer is at hand or there will be none, else later. */
void health_ask(struct health *health, uid_t uid, health_told_fn told, void *user);

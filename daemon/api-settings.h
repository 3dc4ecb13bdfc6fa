/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What an administrator says of a slot in an a{sv}: whom it speaks for, and where its key is kept. Main thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <dbus/dbus.h>

#include "common/identity.h"

struct api_settings {
    struct identity *identity;
    char *storage;  /* "tpm", "file", NULL where not said */
    char *tpm_name; /* of Adopt's expected */
};

enum api_settings_of { API_SETTINGS_PROVISION, API_SETTINGS_ADOPT, API_SETTINGS_ROTATE };

/* Reads the a{sv} that iter stands on. Only the keys that the call knows, each once, each a string; InvalidArgument
 * else. Nothing is checked beyond that. */
bool api_settings_read(struct api_settings *settings, DBusMessageIter *iter, enum api_settings_of call, GError **error);
void api_settings_clear(struct api_settings *settings);

/* Provision: the identity by its rules, and whether the key goes into a file, said or by default. */
bool api_settings_check_new(struct api_settings *settings, uint32_t slot, bool *file, GError **error);

/* Adopt: host, device and Name, all of them. */
bool api_settings_check_expected(struct api_settings *settings, GError **error);

/* Rotate: the identity that the slot will speak for, what was not said being as it is now; but with another host or
 * device module and gateway are those said, or none. */
bool api_settings_check_next(struct api_settings *settings, const struct identity *now, bool file, GError **error);

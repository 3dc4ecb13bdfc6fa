/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * hubkeyd's objects on a connection, and the signals that they send.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <dbus/dbus.h>
#include <glib.h>

struct api;
struct caller;
struct config;
struct identity;

/* Registers both objects on a connection; api must outlive them, and its fields be set before any call comes. caller is
 * who is at the other end, NULL for the bus, where it is asked who sent each message. */
bool api_objects_add(struct api *api, DBusConnection *connection, struct caller *caller, GError **error);
void api_objects_remove(struct api *api, DBusConnection *connection);
bool api_objects_busy(const struct api *api, DBusConnection *connection); /* a call that came by it is under way */

/* Hooks of the slot table; what they tell goes to the bus and to everybody at the private socket. */
void api_objects_slot_changed(uint32_t slot, void *api);
void api_objects_slot_appeared(uint32_t slot, bool there, void *api);
/* api->config has taken the place of old. */
void api_objects_config_changed(struct api *api, const struct config *old);
void api_objects_slot_invalidated(uint32_t slot, uint64_t generation, void *api);
void api_objects_tpm_changed(void *api);
void api_objects_adopted(uint32_t slot, const GError *error, void *api); /* leaves a record of it */
const struct identity *api_objects_wanted(uint32_t slot, void *api); /* by the configuration */

void api_objects_health_changed(void *api);                /* hook of health */
void api_objects_clock_stepped(uint32_t slot, void *api); /* hook of clock-step */

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Queues without a client: the hubkey_queue_* functions, for tools.
 */
#include <config.h>

#include "client/api.h"
#include "client/damaged.h"
#include "client/failure.h"
#include "client/opened.h"
#include "client/place.h"
#include "client/sized.h"
#include "client/state-file.h"
#include "common/text.h"
#include "dbus/names.h"

#include <string.h>
#include <sys/stat.h>

#define INFO_MIN offsetof(struct hubkey_queue_info, sender_pid) /* the first published form */

int
hubkey_queue_path(uint32_t slot, char **path, struct hubkey_error *error)
{
    g_autoptr(GError) problem = NULL;
    if (!path || slot > NAMES_SLOT_MAX)
        return failure_now(error, HUBKEY_E_INVALID, "%s", path ? "slot must be 0 to 65535" : "path is NULL");
    g_autofree char *found = place_default(slot, &problem);
    if (found)
        *path = api_hand_out(found);
    return failure_export(problem, 0, error);
}

static bool
read_info(struct opened *opened, struct hubkey_queue_info *info, GError **error)
{
    struct queue_state state;
    struct queue_row row;
    struct lock_holder holder;
    g_autoptr(GError) failed = NULL;
    if (!queue_get_state(opened->queue, &state, error))
        return false;
    queue_scan(opened->queue, 0);
    int found = queue_scan_next(opened->queue, &row, error);
    info->oldest_ms = found == 1 ? row.created_ms : 0;
    queue_scan_end(opened->queue);
    g_autoptr(identity_auto) owner = queue_get_identity(opened->queue, &failed);
    if (found < 0 || failed) {
        if (failed)
            g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    info->counts = state.counts;
    info->expired = state.expired;
    info->lost = state.lost;
    info->salvage = state.salvage;
    info->damaged_files = damaged_kept(opened->path);
    g_strlcpy(info->host, owner ? owner->host : "", sizeof info->host);
    g_strlcpy(info->device, owner ? owner->device : "", sizeof info->device);
    g_strlcpy(info->module, owner && owner->module ? owner->module : "", sizeof info->module);
    info->file_bytes = place_size(opened->path, "") + place_size(opened->path, "-wal");
    lock_ask(opened->lock, &holder);
    info->holder_pid = (int32_t)holder.pid;
    info->holder_since_ms = holder.since_ms;
    g_strlcpy(info->holder, holder.program, sizeof info->holder);
    return true;
}

static void
read_sender(const struct opened *opened, struct hubkey_queue_info *info)
{
    struct pump_status status;
    (void)state_file_read(opened->path, &status, &info->sender_pid);
    info->state = status.state;
    info->reason = status.reason;
    info->http_status = status.http_status;
    info->state_since_ms = status.since_ms;
    info->next_attempt_ms = status.next_attempt_ms;
    info->last_delivery_ms = status.last_delivery_ms;
    info->clock_skew_s = status.clock_skew_s;
    text_copy(info->state_text, sizeof info->state_text, status.text);
}

int
hubkey_queue_status(const char *path, struct hubkey_queue_info *out, struct hubkey_error *error)
{
    g_autoptr(GError) problem = NULL;
    struct hubkey_queue_info info = { 0 };
    struct opened opened;
    if (opened_open(&opened, path, 0, &problem) && read_info(&opened, &info, &problem)) {
        read_sender(&opened, &info);
        (void)sized_write("info", out, &info, sizeof info, INFO_MIN, &problem);
    }
    opened_close(&opened);
    return failure_export(problem, 0, error);
}

static bool
rebind(const char *path, const struct identity *identity, GError **error)
{
    struct opened opened;
    bool good = opened_open(&opened, path, OPENED_HOLD, error) &&
                queue_record_identity(opened.queue, identity, true, error);
    opened_close(&opened);
    return good;
}

int
hubkey_queue_rebind(const char *path, const char *host, const char *device, const char *module,
                    struct hubkey_error *error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(identity_auto) identity = NULL;
    if ((!host) != (!device) || (module && !host))
        return failure_now(error, HUBKEY_E_INVALID, "host and device go together, and module needs both");
    if (host) {
        identity = identity_new();
        identity->host = g_strdup(host);
        identity->device = g_strdup(device);
        identity->module = module && module[0] ? g_strdup(module) : NULL;
        if (!identity_check(identity, &problem))
            return failure_now(error, HUBKEY_E_INVALID, "%s", problem->message);
    }
    (void)rebind(path, identity, &problem);
    return failure_export(problem, 0, error);
}

int
hubkey_queue_drop(const char *path, uint32_t which, uint64_t *n, struct hubkey_error *error)
{
    return hubkey_queue_drop_through(path, which, UINT64_MAX, n, error);
}

int
hubkey_queue_drop_through(const char *path, uint32_t which, uint64_t through, uint64_t *n, struct hubkey_error *error)
{
    g_autoptr(GError) problem = NULL;
    struct opened opened;
    uint64_t removed = 0;
    if (which == 0 || (which & ~(HUBKEY_DROP_WAITING | HUBKEY_DROP_DEAD)))
        return failure_now(error, HUBKEY_E_INVALID, "which must be HUBKEY_DROP_WAITING, HUBKEY_DROP_DEAD or both");
    if (opened_open(&opened, path, OPENED_HOLD, &problem) &&
        queue_remove(opened.queue, which, through, &removed, &problem) && n)
        *n = removed;
    opened_close(&opened);
    return failure_export(problem, 0, error);
}

static void
tell_salvaged(const struct opened *opened, hubkey_log_fn log, void *user)
{
    const struct queue_salvaged *told = &opened->salvaged;
    g_autofree char *text = g_strdup_printf("%s was damaged: %" G_GUINT64_FORMAT
                                            " messages were carried over, %s%" G_GUINT64_FORMAT
                                            " could not be read any more; the file is kept as %s.damaged-%u",
                                            opened->path, told->carried, told->known ? "" : "at least ", told->lost,
                                            opened->path, told->n);
    log(HUBKEY_LOG_ERROR, text, user);
}

int
hubkey_queue_salvage(const char *path, hubkey_log_fn log, void *user, struct hubkey_error *error)
{
    g_autoptr(GError) problem = NULL;
    struct opened opened;
    if (opened_open(&opened, path, OPENED_HOLD, &problem) && opened.salvaged.ended && log)
        tell_salvaged(&opened, log, user);
    opened_close(&opened);
    return failure_export(problem, 0, error);
}

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The slots: their pins hold, or the reason why not. Many that fell to one cause make one finding.
 */
#include <config.h>

#include "tools/bus.h"
#include "tools/doctor.h"
#include "tools/slots.h"
#include "dbus/loop.h"

#include <string.h>

#define CHECK "slots"
#define SINGLE_MAX 5 /* slots with the same reason that are told one by one */

struct group {
    unsigned n;
    uint32_t slots[SINGLE_MAX]; /* the first ones */
    char *reasons[SINGLE_MAX];
    char *state;
    char *reason; /* with N for the slot's number */
};

struct slots_check {
    DBusConnection *bus;
    unsigned ready;
    GPtrArray *groups;   /* in the order found */
    GHashTable *by_text; /* state and reason -> group, borrowed */
};

static void
group_free(void *data)
{
    struct group *group = data;
    for (unsigned i = 0; i < SINGLE_MAX; i++)
        g_free(group->reasons[i]);
    g_free(group->state);
    g_free(group->reason);
    g_free(group);
}

/* ---- gathering ---- */

/* The reason of any slot: with N where it has this one's number as a word. g_free. */
static char *
without_number(const char *reason, uint32_t slot)
{
    g_autofree char *pattern = g_strdup_printf("\\b%u\\b", slot);
    g_autoptr(GRegex) regex = g_regex_new(pattern, G_REGEX_RAW, 0, NULL);
    return g_regex_replace_literal(regex, reason, -1, 0, "N", 0, NULL);
}

static struct group *
group_of(struct slots_check *check, const char *state, uint32_t slot, const char *reason)
{
    g_autofree char *common = without_number(reason, slot);
    char *text = g_strdup_printf("%s: %s", state, common);
    struct group *group = g_hash_table_lookup(check->by_text, text);
    if (group) {
        g_free(text);
        return group;
    }
    group = g_new0(struct group, 1);
    group->state = g_strdup(state);
    group->reason = g_steal_pointer(&common);
    g_ptr_array_add(check->groups, group);
    g_hash_table_insert(check->by_text, text, group);
    return group;
}

static void
take_slot(const struct slot_row *row, void *user)
{
    struct slots_check *check = user;
    const char *state = row->texts[SLOTS_STATE];
    if (strcmp(state, "ready") == 0) {
        check->ready++;
        return;
    }
    g_autoptr(dbus_message_auto) properties = bus_slot_properties(check->bus, row->slot, NULL);
    const char *reason = properties ? bus_string(properties, "StateReason") : "";
    struct group *group = group_of(check, state, row->slot, reason);
    if (group->n < SINGLE_MAX) {
        group->slots[group->n] = row->slot;
        group->reasons[group->n] = g_strdup(reason);
    }
    group->n++;
}

/* ---- telling ---- */

/* What mends slot number (text). Of a pending slot hubkeyd takes care itself as soon as it can. g_free. */
static char *
mend_of(const char *state, const char *number)
{
    if (strcmp(state, "foreign") == 0)
        return g_strdup("the commands that the reason names, if nobody needs what stands there");
    bool lost = strcmp(state, "tampered") == 0 || strcmp(state, "damaged") == 0;
    const char *command = lost ? "clear" : strcmp(state, "found") == 0 ? "adopt" : "show";
    return g_strdup_printf("hubkeyctl %s %s", command, number);
}

static void
say_many(struct doctor *doctor, enum doctor_level level, const struct group *group)
{
    g_autofree char *mend = mend_of(group->state, "N");
    g_autofree char *each = g_strdup_printf("for each N that hubkeyctl list shows so: %s", mend);
    g_autoptr(GString) first = g_string_new(NULL);
    for (unsigned i = 0; i < SINGLE_MAX; i++)
        g_string_append_printf(first, "%s%u", i ? ", " : "", group->slots[i]);
    doctor_say(doctor, level, CHECK, each, "%u slots (%s and %u more) are %s: %s", group->n, first->str,
               group->n - SINGLE_MAX, group->state, group->reason);
}

static void
say_group(void *data, void *user)
{
    const struct group *group = data;
    enum doctor_level level = strcmp(group->state, "found") == 0 ? DOCTOR_WARNING : DOCTOR_BAD;
    if (group->n > SINGLE_MAX) {
        say_many(user, level, group);
        return;
    }
    for (unsigned i = 0; i < group->n; i++) {
        g_autofree char *number = g_strdup_printf("%u", group->slots[i]);
        g_autofree char *mend = mend_of(group->state, number);
        doctor_say(user, level, CHECK, mend, "slot %s is %s: %s", number, group->state, group->reasons[i]);
    }
}

void
doctor_slots(struct doctor *doctor)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) groups = g_ptr_array_new_with_free_func(group_free);
    g_autoptr(GHashTable) by_text = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    struct slots_check check = { .bus = doctor->bus, .groups = groups, .by_text = by_text };
    bool listed = slots_walk(doctor->bus, take_slot, &check, &error);
    g_ptr_array_foreach(groups, say_group, doctor);
    if (listed)
        doctor_say(doctor, DOCTOR_OK, CHECK, NULL, "%u slot%s ready: key, identity and storage root key are those of "
                   "the pin", check.ready, check.ready == 1 ? " is" : "s are");
    else
        doctor_say(doctor, DOCTOR_BAD, CHECK, "systemctl restart hubkeyd", "the slots cannot be listed: %s",
                   error->message);
}

/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A fault whose count is used up matches nothing more. A stall stays alive all the same until its time or DELETE,
 * because the requests that it holds wait for that.
 */
#include <config.h>

#include "tests/hub/fault.h"

#include <string.h>

#define MS_MAX 600000
#define SECONDS_MAX 86400
#define COUNT_MAX 1000000000
#define OFFSET_MAX (INT64_C(100) * 366 * 86400)

enum {
    TAKES_STATUS = 1,
    TAKES_MS = 2,
    TAKES_OFFSET = 4,
    TAKES_MATCH = 8, /* device, skip, onlyBatch, count */
};

static const struct {
    const char *name;
    unsigned takes;
} kinds[] = {
    [FAULT_STATUS] = { "status", TAKES_MATCH | TAKES_STATUS },
    [FAULT_STALL] = { "stall", TAKES_MATCH },
    [FAULT_DELAY] = { "delay", TAKES_MATCH | TAKES_MS },
    [FAULT_RESET_BEFORE] = { "reset-before", TAKES_MATCH },
    [FAULT_RESET_AFTER] = { "reset-after", TAKES_MATCH },
    [FAULT_CLOSE_BETWEEN] = { "close-between", TAKES_MATCH },
    [FAULT_TRUNCATE] = { "truncate", TAKES_MATCH },
    [FAULT_DATE] = { "date", TAKES_MATCH | TAKES_OFFSET },
    [FAULT_LATE_ACCEPT] = { "late-accept", TAKES_MATCH | TAKES_MS },
    [FAULT_REFUSE_CONNECT] = { "refuse-connect", 0 },
};

static const struct {
    const char *name;
    unsigned takes; /* 0: every kind does */
} fields[] = {
    { "kind", 0 },
    { "seconds", 0 },
    { "device", TAKES_MATCH },
    { "skip", TAKES_MATCH },
    { "onlyBatch", TAKES_MATCH },
    { "count", TAKES_MATCH },
    { "code", TAKES_STATUS },
    { "retryAfter", TAKES_STATUS },
    { "errorCode", TAKES_STATUS },
    { "shape", TAKES_STATUS },
    { "ms", TAKES_MS },
    { "offset", TAKES_OFFSET },
};

struct fault {
    struct fault_effect effect;
    const char *device; /* interned; NULL: every device */
    bool only_batch;
    bool counted;
    int64_t skip;
    int64_t left;   /* with counted */
    int64_t end_us; /* INT64_MAX: never by time */
};

GPtrArray *
fault_list_new(void)
{
    return g_ptr_array_new_with_free_func(g_free);
}

static enum fault_kind
find_kind(const json_t *json)
{
    const char *name = json_string_value(json_object_get(json, "kind"));

    for (unsigned kind = FAULT_STATUS; name && kind <= FAULT_REFUSE_CONNECT; kind++)
        if (strcmp(kinds[kind].name, name) == 0)
            return (enum fault_kind)kind;
    return FAULT_NONE;
}

static bool
takes_all(const json_t *json, unsigned takes)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)json, name, value)
    {
        size_t i = 0;
        while (i < G_N_ELEMENTS(fields) && strcmp(fields[i].name, name) != 0)
            i++;
        if (i == G_N_ELEMENTS(fields) || (fields[i].takes && !(fields[i].takes & takes)))
            return false;
    }
    return true;
}

/* False when it is there but no integer from min to max. */
static bool
get_integer(const json_t *json, const char *name, int64_t min, int64_t max, int64_t *value)
{
    const json_t *found = json_object_get(json, name);

    if (!found)
        return true;
    *value = json_integer_value(found);
    return json_is_integer(found) && *value >= min && *value <= max;
}

/* False when it is there but no printable text of at most 128 bytes. */
static bool
get_text(const json_t *json, const char *name, const char **value)
{
    const json_t *found = json_object_get(json, name);
    const char *text = json_string_value(found);

    if (!found)
        return true;
    if (!text || !*text || strlen(text) > 128)
        return false;
    for (const char *c = text; *c; c++)
        if (!g_ascii_isprint(*c))
            return false;
    *value = g_intern_string(text);
    return true;
}

static const char *
parse_match(const json_t *json, struct fault *fault)
{
    const json_t *batch = json_object_get(json, "onlyBatch");

    fault->left = COUNT_MAX;
    if (!get_text(json, "device", &fault->device))
        return "device must be a device id";
    if (!get_integer(json, "skip", 0, COUNT_MAX, &fault->skip))
        return "skip must be an integer from 0 to 1000000000";
    if (!get_integer(json, "count", 1, COUNT_MAX, &fault->left))
        return "count must be an integer from 1 to 1000000000";
    if (batch && !json_is_boolean(batch))
        return "onlyBatch must be true or false";
    fault->counted = json_object_get(json, "count") != NULL;
    fault->only_batch = json_is_true(batch);
    return NULL;
}

static const char *
parse_retry_after(const json_t *json, struct fault_effect *effect)
{
    const json_t *value = json_object_get(json, "retryAfter");
    g_autofree char *digits = NULL;

    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        digits = g_strdup_printf("%lld", (long long)json_integer_value(value));
        effect->retry_after = g_intern_string(digits);
        return NULL;
    }
    return get_text(json, "retryAfter", &effect->retry_after) ? NULL : "retryAfter must be seconds or an HTTP date";
}

static const char *
parse_status(const json_t *json, struct fault_effect *effect)
{
    static const char *const shapes[] = { "A", "B", "big", "chunked", "cut", "number", "html", "empty" };
    const char *shape = "A";
    int64_t status = 0;
    unsigned i = 0;

    if (!get_integer(json, "code", 200, 599, &status) || !status)
        return "code must be an integer from 200 to 599";
    if (!get_text(json, "errorCode", &effect->error_code))
        return "errorCode must be the name of an error, or its six digits";
    if (!get_text(json, "shape", &shape))
        return "shape must be a text";
    while (i < G_N_ELEMENTS(shapes) && strcmp(shapes[i], shape) != 0)
        i++;
    if (i == G_N_ELEMENTS(shapes))
        return "shape must be A, B, big, chunked, cut, number, html or empty";
    if (status < 300 && i != FAULT_SHAPE_HTML && i != FAULT_SHAPE_EMPTY)
        return "code below 300 goes with the shapes html (nothing is accepted) and empty (accepted)";
    effect->status = (unsigned)status;
    effect->shape = (enum fault_shape)i;
    return parse_retry_after(json, effect);
}

static const char *
parse_seconds(const json_t *json, int64_t now_us, struct fault *fault)
{
    const json_t *value = json_object_get(json, "seconds");
    const double seconds = json_number_value(value);

    fault->end_us = INT64_MAX;
    if (!value)
        return NULL;
    if (!json_is_number(value) || seconds <= 0 || seconds > SECONDS_MAX)
        return "seconds must be a number above 0 and at most 86400";
    fault->end_us = now_us + (int64_t)(seconds * 1e6);
    return NULL;
}

static const char *
parse(const json_t *json, int64_t now_us, struct fault *fault)
{
    struct fault_effect *effect = &fault->effect;
    const enum fault_kind kind = find_kind(json);
    const unsigned takes = kinds[kind].takes;
    const char *why = parse_seconds(json, now_us, fault);

    if (kind == FAULT_NONE)
        return "kind must be status, stall, delay, reset-before, reset-after, close-between, truncate, date, "
               "late-accept or "
               "refuse-connect";
    if (!takes_all(json, takes))
        return "the body has a field that this kind of fault does not take";
    effect->kind = kind;
    effect->name = kinds[kind].name;
    effect->ms = -1;
    effect->offset_s = INT64_MIN;
    if (!why && takes & TAKES_MATCH)
        why = parse_match(json, fault);
    if (!why && takes & TAKES_STATUS)
        why = parse_status(json, effect);
    if (!why && takes & TAKES_MS && (!get_integer(json, "ms", 0, MS_MAX, &effect->ms) || effect->ms < 0))
        why = "ms must be an integer from 0 to 600000";
    if (!why && takes & TAKES_OFFSET &&
        (!get_integer(json, "offset", -OFFSET_MAX, OFFSET_MAX, &effect->offset_s) || effect->offset_s == INT64_MIN))
        why = "offset must be an integer number of seconds within 100 years";
    return why;
}

uint64_t
fault_post(GPtrArray *faults, const json_t *json, int64_t now_us, const char **why)
{
    static uint64_t last_id;
    g_autofree struct fault *fault = g_new0(struct fault, 1);

    *why = json_is_object(json) ? parse(json, now_us, fault) : "the body must be an object";
    if (*why)
        return 0;
    fault->effect.id = ++last_id;
    g_ptr_array_add(faults, g_steal_pointer(&fault));
    return last_id;
}

static bool
matches(const struct fault *fault, const char *device, bool batch)
{
    return fault->effect.kind != FAULT_REFUSE_CONNECT && !(fault->counted && fault->left == 0) &&
           (!fault->device || strcmp(fault->device, device) == 0) && (batch || !fault->only_batch);
}

struct fault_effect
fault_match(GPtrArray *faults, const char *device, bool batch, int64_t now_us)
{
    fault_expire(faults, now_us);
    for (guint i = 0; i < faults->len; i++) {
        struct fault *fault = faults->pdata[i];
        if (!matches(fault, device, batch) || (fault->skip > 0 && fault->skip-- > 0))
            continue;
        const struct fault_effect effect = fault->effect;
        if (fault->counted && --fault->left == 0 && effect.kind != FAULT_STALL)
            g_ptr_array_remove_index(faults, i);
        return effect;
    }
    return (struct fault_effect){ .kind = FAULT_NONE };
}

void
fault_expire(GPtrArray *faults, int64_t now_us)
{
    for (guint i = faults->len; i-- > 0;) {
        const struct fault *fault = faults->pdata[i];
        if (fault->end_us <= now_us)
            g_ptr_array_remove_index(faults, i);
    }
}

void
fault_delete_all(GPtrArray *faults)
{
    g_ptr_array_set_size(faults, 0);
}

bool
fault_is_alive(const GPtrArray *faults, uint64_t id)
{
    for (guint i = 0; i < faults->len; i++)
        if (((const struct fault *)faults->pdata[i])->effect.id == id)
            return true;
    return false;
}

bool
fault_refuses_connections(const GPtrArray *faults)
{
    for (guint i = 0; i < faults->len; i++)
        if (((const struct fault *)faults->pdata[i])->effect.kind == FAULT_REFUSE_CONNECT)
            return true;
    return false;
}

int64_t
fault_next_end(const GPtrArray *faults)
{
    int64_t next = INT64_MAX;

    for (guint i = 0; i < faults->len; i++)
        next = MIN(next, ((const struct fault *)faults->pdata[i])->end_us);
    return next;
}

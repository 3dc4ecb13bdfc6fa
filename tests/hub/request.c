/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Numbers first, then texts, then the ids, in a fixed order.
 */
#include <config.h>

#include "tests/hub/request.h"

#include <string.h>

void
request_clear(struct request *request)
{
    g_free(request->device);
    g_free(request->module);
    g_free(request->path);
    g_free(request->api_version);
    g_free(request->content_type);
    g_free(request->token_id);
    g_free(request->sr_raw);
    g_free(request->fault);
    *request = (struct request){ 0 };
}

void
request_pack(const struct request *request, const GByteArray *ids, GByteArray *out)
{
    const guint start = out->len;
    uint32_t len;

    pack_u32(out, 0);
    pack_u64(out, request->number);
    pack_u64(out, request->connection);
    pack_u64(out, (uint64_t)request->start_us);
    pack_u64(out, (uint64_t)request->end_us);
    pack_u64(out, (uint64_t)request->token_expiry);
    pack_u64(out, (uint64_t)request->accepted_ms);
    pack_u64(out, request->first_seq);
    pack_u32(out, request->items);
    pack_u32(out, request->bytes);
    pack_u32(out, request->status);
    pack_u32(out, request->unexplained);
    pack_u32(out, request->accepted);
    pack_u32(out, request->reply_sent);
    pack_text(out, request->device);
    pack_text(out, request->module);
    pack_text(out, request->path);
    pack_text(out, request->api_version);
    pack_text(out, request->content_type);
    pack_text(out, request->token_id);
    pack_text(out, request->sr_raw);
    pack_text(out, request->fault);
    pack_bytes(out, ids->data, ids->len);
    len = out->len - start - (guint)sizeof len;
    memcpy(out->data + start, &len, sizeof len);
}

bool
request_unpack(struct unpack *in, struct request *request, struct unpack *ids)
{
    size_t len;

    unpack_u32(in);
    request->number = unpack_u64(in);
    request->connection = unpack_u64(in);
    request->start_us = (int64_t)unpack_u64(in);
    request->end_us = (int64_t)unpack_u64(in);
    request->token_expiry = (int64_t)unpack_u64(in);
    request->accepted_ms = (int64_t)unpack_u64(in);
    request->first_seq = unpack_u64(in);
    request->items = unpack_u32(in);
    request->bytes = unpack_u32(in);
    request->status = unpack_u32(in);
    request->unexplained = unpack_u32(in);
    request->accepted = unpack_u32(in);
    request->reply_sent = unpack_u32(in);
    request->device = unpack_text(in);
    request->module = unpack_text(in);
    request->path = unpack_text(in);
    request->api_version = unpack_text(in);
    request->content_type = unpack_text(in);
    request->token_id = unpack_text(in);
    request->sr_raw = unpack_text(in);
    request->fault = unpack_text(in);
    ids->at = unpack_bytes(in, &len);
    ids->end = ids->at + len;
    ids->bad = in->bad;
    return !in->bad;
}
